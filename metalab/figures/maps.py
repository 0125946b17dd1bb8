"""Parts of maps: cells in colour, grey ones without a mean, frames around some of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metalab.figures.bands import SHADES, colour_bar
from metalab.figures.style import FONT_SMALL, Say, fixed, line, number, static

MARK = "#D1495B"
"""Lines and marks on a map; it stands out from all its shades."""
EDGE = "#10161D"
"""Around bright cells, on a light page and on a dark one."""
LOST = "rgba(127,139,151,0.4)"
"""Of cells that have no mean."""
FEWEST_TICKS = 3
"""Of a colour scale: with fewer nobody can tell what lies between."""
INSET = 0.07
"""Between a row's edge and the outline of its own cells, as a share of its height."""
MOST_WRITTEN = 90
"""Cells of a map in which figures are still written."""


def heat(
    x: ArrayLike,
    y: ArrayLike,
    values: NDArray,
    title: str,
    hover: str,
    *,
    log: bool,
    higher: bool,
    percent: bool = False,
    cells: NDArray | None = None,
    worst: float = math.inf,
) -> dict[str, Any]:
    """A map of values (rows of y, columns of x); with `log` coloured, and told in a table, by their logarithms.

    `hover` names %{x} and %{y}, and {value} where the value goes. What is not finite stays blank. Losses above
    `worst` all have the last colour.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.log10(values) if log else np.asarray(values, np.float64)
    z = np.where(np.isfinite(z), z, np.nan)
    kept = z[np.isfinite(z)]
    low, high = np.percentile(kept, (5, 100) if higher else (1, 98)) if kept.size else (0.0, 1.0)
    if not higher:
        high = min(high, math.log10(worst) if log and math.isfinite(worst) else worst)
    words = [[_word(v, percent) for v in row] for row in values]
    bar = colour_bar(title, percent=percent)
    if log:
        ticks = scale_ticks(10 ** float(low), 10 ** float(high))
        bar |= {"tickvals": [math.log10(t) for t in ticks], "ticktext": [number(t) for t in ticks]}
    trace = {
        "type": "heatmap",
        "x": x,
        "y": y,
        "z": z.astype(np.float32),
        "text": words,
        "zmin": float(low),
        "zmax": float(high) if high > low else float(low) + 1e-6,
        "colorscale": SHADES,
        "reversescale": not higher,
        "colorbar": bar,
        "hovertemplate": hover.replace("{value}", "<b>%{text}</b>") + "<extra></extra>",
    }
    if z.size <= MOST_WRITTEN:
        trace |= {"texttemplate": "%{text}", "textfont": {"size": FONT_SMALL}}
    if cells is not None:
        trace["customdata"] = cells.astype(np.int32)
    return trace


def _word(value: float, percent: bool) -> str:
    return f"{fixed(100 * value, 0)}%" if percent and math.isfinite(value) else number(value)


def ticks_between(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, .. between two logarithms; only powers of ten where there would be many."""
    steps = (1, 2, 5) if high - low < 2.5 else (1,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    return [step * 10.0**decade for decade in decades for step in steps]


def scale_ticks(low: float, high: float) -> list[float]:
    """Round values for a logarithmic colour scale from `low` to `high`, both positive: at least three."""
    found = [t for t in ticks_between(math.log10(low), math.log10(high)) if low <= t <= high]
    if len(found) >= FEWEST_TICKS or not high > low:
        return found
    step = 10.0 ** math.ceil(math.log10(high - low))
    for part in (1, 2, 5, 10, 20, 50, 100):  # the widest steps of 1, 5 or 2 times a power of ten that leave enough
        first, last = math.ceil(low * part / step), math.floor(high * part / step)
        if last - first + 1 >= FEWEST_TICKS:
            return [n * step / part for n in range(first, last + 1)]
    return found


def mark(x: Any, y: Any, name: str, symbol: str, size: int = 16) -> dict[str, Any]:
    """A place on a map."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x],
        "y": [y],
        "marker": {"size": size, "symbol": symbol, "color": "rgba(0,0,0,0)", "line": {"color": MARK, "width": 3}},
        "name": name,
        "hoverinfo": "skip",
        **static(),
    }


def lost(x: ArrayLike, y: ArrayLike, values: NDArray, say: Say, why: str = "") -> list[dict[str, Any]]:
    """Grey cells where `values` (rows of y, columns of x) are no numbers; nothing where all are.

    `why` says what they are, by default that adaptation diverged.
    """
    gone = ~np.isfinite(values)
    if not gone.any():
        return []
    return [
        {
            "type": "heatmap",
            "x": x,
            "y": y,
            "z": np.where(gone, 1.0, np.nan).astype(np.float32),
            "colorscale": [[0, LOST], [1, LOST]],
            "showscale": False,
            "hovertemplate": (why or say("diverged on some task: no mean")) + "<extra></extra>",
            "name": why or say("diverged"),
            **static(),
        }
    ]


def lost_key(values: NDArray, say: Say) -> list[tuple[str, str]]:
    """What the grey cells are, where there are any."""
    return [] if np.isfinite(values).all() else [("lost", say("diverged on some task: no mean"))]


def frame(name: str, x: float, y: float, wide: float, dash: str) -> dict[str, Any]:
    """A frame around a cell, which leaves its figure free; x and y are its middle, as places on the axes."""
    edges = {"x0": x - wide / 2, "x1": x + wide / 2, "y0": y - 0.5, "y1": y + 0.5}
    return {"type": "rect", "name": name, **edges, "line": line(MARK, 3.5, dash), "layer": "above"}


def outline(inside: NDArray[np.bool_], name: str, begin: float = 0.0, wide: float = 1.0) -> list[dict[str, Any]]:
    """Lines around the cells `inside` (rows of y, columns of x), whose first column's middle is at x = `begin`."""
    padded = np.pad(inside, 1)
    shared = {"type": "line", "name": name, "line": line(EDGE, 2.2), "layer": "above"}
    shapes = []
    for row, edges in enumerate(padded[1:] != padded[:-1]):
        for first, last in _runs(edges[1:-1]):
            ends = {"x0": begin + (first - 0.5) * wide, "x1": begin + (last - 0.5) * wide}
            shapes.append(shared | ends | {"y0": row - 0.5, "y1": row - 0.5})
    for column, edges in enumerate((padded[:, 1:] != padded[:, :-1]).T):
        x = begin + (column - 0.5) * wide
        shapes += [
            shared | {"x0": x, "x1": x, "y0": first - 0.5, "y1": last - 0.5} for first, last in _runs(edges[1:-1])
        ]
    return shapes


def row_outlines(inside: NDArray[np.bool_], name: str) -> list[dict[str, Any]]:
    """A line around each row's own cells `inside`, apart from those of the rows beside it."""
    shared = {"type": "rect", "name": name, "line": line(EDGE, 2.2), "layer": "above"}
    return [
        shared | {"x0": first - 0.5, "x1": last - 0.5, "y0": row - 0.5 + INSET, "y1": row + 0.5 - INSET}
        for row, flags in enumerate(inside)
        for first, last in _runs(flags)
    ]


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Beginning and end (exclusive) of every stretch of flags."""
    steps = np.flatnonzero(np.diff(np.pad(flags.astype(np.int8), 1)))
    return [(int(first), int(last)) for first, last in steps.reshape(-1, 2)]


def unadapted(values: NDArray) -> float:
    """Twice the worst loss before adaptation, in values (.., K + 1): what is worse still is all the same."""
    before = values[:, 0][np.isfinite(values[:, 0])]
    return 2 * float(before.max()) if before.size and (before > 0).all() else math.inf
