"""Parts of figures that compare contenders with uncertainty: curves in their 95% bands, dots in their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metalab.figures.style import (
    FONT,
    FONT_SMALL,
    INK,
    Say,
    axis,
    contender_colour,
    layout,
    line,
    plain,
    spread,
    static,
)

LABEL_LETTERS = 22
LABEL_GAP = 0.085
"""Between two labels at the lines' ends, as a share of the plot's height."""
BAND = 0.2
"""Opacity of a band."""
SHADES = "Cividis"
"""Of maps: dark to bright, also for the colour-blind, on a light page and on a dark one; bright is good."""
Key = tuple[str, int, int]
Row = tuple[str, Key, float, float, float, str]
"""Of `forest`: label, colour, value, low, high, what stands at its right."""


def banded(
    x: ArrayLike,
    mean: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    label: str,
    colour_key: Key,
    say: Say,
    form: str = ".3g",
    dash: str = "solid",
) -> list[dict[str, Any]]:
    """A curve and its band, in the contender's colour; the band's ends are series of their own in a table."""
    colour, name = contender_colour(colour_key), plain(label)
    places, middle, bottom, top = (np.asarray(part, np.float32) for part in (x, mean, low, high))
    told = say("{name}, 95% from {low} to {high}").format(
        name=name, low=f"%{{customdata[0]:{form}}}", high=f"%{{customdata[1]:{form}}}"
    )
    curve = {
        "type": "scatter",
        "mode": "lines+markers" if len(places) <= 21 else "lines",
        "x": places,
        "y": middle,
        "customdata": np.stack([bottom, top], 1),
        "line": line(colour, 3, dash),
        "marker": {"size": 6, "color": colour},
        "name": name,
        "hovertemplate": f"<b>%{{y:{form}}}</b> {told}<extra></extra>",
    }
    ends = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": places,
            "y": values,
            "line": {"width": 0, "color": colour},
            "hoverinfo": "skip",
            "name": f"{name}, {end}",
        }
        for values, end in ((bottom, say("lower end of 95%")), (top, say("upper end of 95%")))
    ]
    return [_area(places, bottom, top, colour, name), *ends, curve]


def _area(x: NDArray, low: NDArray, high: NDArray, colour: str, name: str) -> dict[str, Any]:
    """What lies between two curves, where both are numbers."""
    kept = np.isfinite(low) & np.isfinite(high)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.concatenate([x[kept], x[kept][::-1]]),
        "y": np.concatenate([high[kept], low[kept][::-1]]),
        "fill": "toself",
        "fillcolor": colour,
        "opacity": BAND,
        "line": {"width": 0, "color": colour},
        "hoverinfo": "skip",
        "name": name,
        **static(),
    }


def colour_bar(title: str, *, percent: bool) -> dict[str, Any]:
    """The scale beside a map."""
    return {
        "title": {"text": title, "side": "right", "font": {"size": FONT_SMALL}},
        "thickness": 14,
        "outlinewidth": 0,
        "tickfont": {"size": FONT_SMALL},
        "tickformat": ".0%" if percent else "",
    }


def height(value: float, bounds: Sequence[float], *, log: bool = False) -> float:
    """Where a value stands between the ends of the y axis, as a share of it; what is no number stands on top."""
    if log:
        value = math.log10(value) if value > 0 else bounds[0]
    return (value - bounds[0]) / (bounds[1] - bounds[0]) if math.isfinite(value) else 1.0


class Named(Protocol):
    """Whatever is drawn for a contender."""

    @property
    def label(self) -> str:
        """Its name."""

    @property
    def colour_key(self) -> Key:
        """What decides its colour."""


def name_ends(
    look: dict[str, Any],
    lines: Sequence[Named],
    ends: Sequence[float],
    bounds: Sequence[float],
    *,
    log: bool = False,
    dashes: Sequence[str] = (),
) -> None:
    """Put the names of the lines at their right ends, moved apart, and make room for them.

    `dashes` says how each line is drawn, where they are not all solid: a narrow screen names them in a key.
    """
    heights = [height(value, bounds, log=log) for value in ends]
    names = [
        {
            "name": f"end {dash}".removesuffix(" solid"),
            "text": plain(shortened(one.label)),
            "x": 1.0,
            "xshift": 10,
            "y": y,
            "xref": "paper",
            "yref": "paper",
            "xanchor": "left",
            "yanchor": "middle",
            "showarrow": False,
            "font": {"size": FONT, "color": contender_colour(one.colour_key)},
        }
        for one, y, dash in zip(lines, spread(heights, LABEL_GAP), dashes or ["solid"] * len(lines), strict=True)
    ]
    longest = max((len(shortened(one.label)) for one in lines), default=0)
    look["annotations"] = [*look.get("annotations", []), *names]
    look["margin"] = look["margin"] | {"r": 18 + round(longest * FONT * 0.56)}


def shortened(label: str) -> str:
    """A label that fits beside a plot."""
    return label if len(label) <= LABEL_LETTERS else label[: LABEL_LETTERS - 1] + "…"


def forest(rows: Sequence[Row], title: str, say: Say, **axis_more: Any) -> dict[str, Any]:
    """Dots in their intervals, the first row on top.

    An infinite value has no dot, only its words; an interval without an end goes to the edge.
    """
    known = [v for row in rows for v in row[2:5] if math.isfinite(v)]
    least, most = (min(known), max(known)) if known else (0.0, 1.0)
    room = 0.06 * (most - least) or 0.06 * abs(most) or 1.0
    edges = [least - room, most + room] if least or most else [-0.06, 1.0]
    data = [_dot(label, key, value, low, high, edges, say) for label, key, value, low, high, _words in rows]
    names = [plain(shortened(row[0])) for row in rows]
    look = layout(
        xaxis=axis(title, range=edges, **axis_more),
        yaxis=axis("", range=[len(rows) - 0.4, -0.6], tickvals=list(range(len(rows))), ticktext=names, showgrid=False),
        hovermode="closest",
        annotations=[
            {
                "text": words,
                "x": 1.0,
                "xref": "paper",
                "xanchor": "right",
                "y": i - 0.32,
                "yref": "y",
                "showarrow": False,
                "font": {"size": FONT - 1, "color": contender_colour(key)},
            }
            for i, (_label, key, _value, _low, _high, words) in enumerate(rows)
        ],
    )
    for i, trace in enumerate(data):
        trace["y"] = [i] if trace["x"] else []
    return {"data": data, "layout": look}


def _dot(
    label: str, colour_key: Key, value: float, low: float, high: float, edges: Sequence[float], say: Say
) -> dict[str, Any]:
    colour, there = contender_colour(colour_key), math.isfinite(value)
    ends = [end if math.isfinite(end) else edges[i] for i, end in enumerate((low, high))]
    if math.isfinite(high):
        told = say("{name}: {value}, 95% from {low} to {high}")
    else:
        told = say("{name}: {value}, 95%: {low} or more")
    told = told.format(name=plain(label), value="%{x:.3g}", low=f"{low:.3g}", high=f"{high:.3g}")
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [value] if there else [],
        "marker": {"size": 13, "color": colour, "line": {"color": "#FFFFFF", "width": 1.5}},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [ends[1] - value] if there else [],
            "arrayminus": [value - ends[0]] if there else [],
            "color": colour,
            "thickness": 3,
            "width": 7,
        },
        "meta": {"ends": [[low, high]]},
        "name": plain(label),
        "hovertemplate": f"{told}<extra></extra>",
    }


def level_line(
    level: float, text: str, *, log: bool = False, below: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A horizontal line at `level`, as a shape, and its words above it, or below, as an annotation."""
    y = math.log10(level) if log and level > 0 else level
    shape = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": level,
        "y1": level,
        "line": line(INK, 1.6, "dash"),
        "layer": "above",
    }
    words = {
        "text": text,
        "x": 1.0,
        "xref": "paper",
        "xanchor": "right",
        "y": y,
        "yref": "y",
        "yanchor": "top" if below else "bottom",
        "xshift": -4,
        "showarrow": False,
        "font": {"size": FONT - 1, "color": INK},
    }
    return shape, words


def shares_range(series: Sequence[NDArray]) -> list[float]:
    """A y axis for accuracies: to 100% and a little on, from a whole tenth below the least of them."""
    every = np.concatenate([np.ravel(part) for part in series]) if series else np.zeros(1)
    least = float(every[np.isfinite(every)].min(initial=1.0))
    low = max(math.floor(10 * least - 1e-9) / 10, 0.0) if least > 0.5 else 0.0
    return [low, 1.0 + 0.04 * (1.0 - low)]


def bounds_of(series: Sequence[NDArray]) -> list[float]:
    """A y axis for figures of either sign: all of them, and zero."""
    every = np.concatenate([np.ravel(part) for part in series]) if series else np.zeros(1)
    every = every[np.isfinite(every)]
    low, high = (min(0.0, float(every.min())), max(0.0, float(every.max()))) if every.size else (0.0, 1.0)
    room = 0.06 * (high - low) or 1.0
    return [low - room, high + room]
