"""A plot on which people place and drag the points of a function, with model curves drawn behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import streamlit as st

from metalab.ui.canvas.bridge import asset, checked_colour, sequence_number, stored
from metalab.ui.i18n import _

Point = tuple[float, float]
Range = tuple[float, float]

MAX_CURVES = 64
MAX_SAMPLES = 2000

_mount = st.components.v2.component(
    "metalab_points",
    html='<div class="points"></div>',
    css=asset("canvas.css", "points.css"),
    js=asset("canvas.js", "points_draw.js", "points.js"),
)


class Curve(TypedDict, total=False):
    """One line behind the points. Only `y` is required."""

    y: Sequence[float]  # samples on an even grid over x_range, ends included; NaN = a gap
    label: str  # written at the curve's end; curves without one are not named
    colour: str  # '#rrggbb'; the text colour if absent
    width: float  # pixels, 0.5 to 10
    dash: bool
    opacity: float  # 0 to 1
    half: Sequence[float]  # half the height of a band around it, for each of y


def current_points(
    key: str,
    default: Sequence[Point] = (),
    *,
    revision: int = 0,
    x_range: Range = (-5, 5),
    y_range: Range = (-6, 6),
    max_points: int = 50,
) -> list[Point]:
    """The points that stand on the canvas `key` now; `default` before the first edit of this revision.

    A page calls this before `points_canvas`, computes its curves for these points and passes both on.
    """
    value = stored(key, "points", revision)
    given = list(default) if value is None else value.get("points")
    return parse_points(given, x_range, y_range, max_points)[0]


def points_canvas(
    points: Sequence[Point],
    *,
    key: str,
    revision: int = 0,
    x_range: Range = (-5, 5),
    y_range: Range = (-6, 6),
    max_points: int = 50,
    curves: Sequence[Curve] = (),
    height: int = 440,
) -> list[Point]:
    """Show the canvas and return its points.

    Args:
        points: what a new `revision` starts with. Within a revision the browser's points hold.
        key: the widget's name; one canvas each.
        revision: another number replaces the points on the canvas by `points` ("sample a new task").
        x_range, y_range: the two axes; points stay inside.
        max_points: the most points the canvas takes.
        curves: lines behind the points, redrawn at every rerun; at most 64 of 2,000 samples.
        height: of the plot in pixels.

    Returns:
        the points, each inside the ranges, in the order in which they were placed.

    Raises:
        ValueError: a range or a curve that cannot be drawn.
    """
    _check_range("x_range", x_range)
    _check_range("y_range", y_range)
    value = stored(key, "points", revision)
    given = list(points) if value is None else value.get("points")
    now, problem = parse_points(given, x_range, y_range, max_points)
    _mount(
        key=key,
        data={
            "revision": revision,
            "seq": sequence_number(value),
            "points": now,
            "x_range": [float(end) for end in x_range],
            "y_range": [float(end) for end in y_range],
            "max_points": max_points,
            "curves": _checked_curves(curves),
            "height": int(min(max(height, 200), 1200)),
            "problem": problem,
            "text": _texts(),
        },
        on_points_change=lambda: None,
    )
    return now


def _check_range(name: str, ends: Range) -> None:
    low, high = ends
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{name}=({low!r}, {high!r}): expected two finite numbers, the smaller first.")


def parse_points(value: Any, x_range: Range, y_range: Range, max_points: int) -> tuple[list[Point], str]:
    """Check a list of points that came from a browser.

    Returns:
        the usable points, clipped to the ranges, at most `max_points`; and one sentence that says what was
        changed or left out, empty if nothing was.
    """
    if value is None:
        return [], ""
    if not isinstance(value, list):
        return [], _("The points are not a list: none was taken.")
    points, dropped, clipped = [], 0, 0
    for item in value[:max_points]:
        if not (isinstance(item, list | tuple) and len(item) == 2 and all(map(_is_number, item))):
            dropped += 1
            continue
        x = min(max(float(item[0]), x_range[0]), x_range[1])
        y = min(max(float(item[1]), y_range[0]), y_range[1])
        clipped += (x, y) != (item[0], item[1])
        points.append((x, y))
    problems = []
    if len(value) > max_points:
        problems.append(_("Only the first {most} points were taken.").format(most=max_points))
    if dropped:
        problems.append(_("{count} entries were left out: not pairs of finite numbers.").format(count=dropped))
    if clipped:
        problems.append(_("{count} points were moved to the edge of the plot.").format(count=clipped))
    return points, " ".join(problems)


def _is_number(value: Any) -> bool:
    # The bound keeps an int with thousands of digits away from float(), which it would overflow.
    return type(value) in (int, float) and -1e300 < value < 1e300


def _checked_curves(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    if len(curves) > MAX_CURVES:
        raise ValueError(f"{len(curves)} curves: expected at most {MAX_CURVES}.")
    return [_checked_curve(curve, n) for n, curve in enumerate(curves)]


def _checked_curve(curve: Curve, n: int) -> dict[str, Any]:
    y = np.asarray(curve["y"], dtype=np.float64)
    if y.ndim != 1 or not 2 <= len(y) <= MAX_SAMPLES:
        raise ValueError(f"curve {n}: y has shape {y.shape}; expected 2 to {MAX_SAMPLES} numbers.")
    colour = curve.get("colour")
    half = np.asarray(curve.get("half", []), dtype=np.float64)
    if half.size and half.shape != y.shape:
        raise ValueError(f"curve {n}: half has shape {half.shape}; expected {y.shape}.")
    return {
        "y": [v if math.isfinite(v) else None for v in np.clip(y, -1e6, 1e6).round(4).tolist()],
        "label": str(curve.get("label", ""))[:60],
        "colour": checked_colour(colour) if colour else None,
        "width": min(max(float(curve.get("width", 3.0)), 0.5), 10.0),
        "dash": bool(curve.get("dash", False)),
        "opacity": min(max(float(curve.get("opacity", 1.0)), 0.0), 1.0),
        "half": np.clip(np.nan_to_num(half), 0, 1e6).round(4).tolist(),
    }


def _texts() -> dict[str, str]:
    return {
        "plot": _("Plot of the points of a function. Every point can be reached with the Tab key."),
        "hint": _("Click or tap to place points"),
        "add": _("Add point"),
        "remove": _("Remove point"),
        "undo": _("Undo"),
        "clear": _("Clear"),
        "count": _("{count} of {most} points"),
        "point": _("Point {number}: x {x}, y {y}. Arrow keys move it, Delete removes it."),
        "full": _("The canvas is full: remove a point to place another."),
        "added": _("Point added at x {x}, y {y}"),
        "removed": _("Point removed"),
        "cleared": _("All points removed"),
        "undone": _("Last change undone"),
    }
