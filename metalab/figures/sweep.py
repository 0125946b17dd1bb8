"""A sweep as pictures: every trial as a line through its values, and the results over two settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from metalab.analysis.sweep import Landscape, Table, Tried, influence, landscape
from metalab.figures.maps import lost
from metalab.figures.speed import metric_title, spelled
from metalab.figures.style import FONT_SMALL, INK, SOFT, Picture, Say, axis, layout, line

GOOD, BAD = (0, 114, 178), (213, 94, 0)
"""The best result's colour and the worst's; between them through grey."""
MIDDLE = (150, 156, 163)
LINE = 14
TICKS = 4
"""Values that are written along an axis of many."""
MOST_TICKS = 8
"""Whole numbers that are written along a logarithmic axis."""


_EXTRA = "<extra>%{fullData.name}</extra>"


def parallel(found: Table, names: Sequence[str], loss_name: str, say: Say) -> Picture:
    """One line for each finished trial: its settings from left to right, the result last and upwards the better.

    `customdata` is the trial's place.
    """
    ranked = found.ranked
    shares = _shares(found)
    heights = [_heights([row.values[n] for row in ranked], found.log[n]) for n in range(len(found.settings))]
    data = []
    for i in range(len(ranked) - 1, -1, -1):  # the best is drawn last, over the others
        row = ranked[i]
        told = "<br>".join(f"{name}: {_value(value)}" for name, value in zip(names, row.values, strict=True))
        trace = _trial([*(height[i] for height in heights), shares[i]], row.place, say, best=i == 0)
        data.append(trace | {"hovertemplate": f"<b>{spelled(row.result, found.metric)}</b><br>{told}{_EXTRA}"})
    marks = [mark for n in range(len(names)) for mark in _marks(found, n, heights[n])]
    marks += _result_marks(found, len(names))
    look = layout(
        xaxis=axis(
            "",
            tickmode="array",
            tickvals=list(range(len(names) + 1)),
            ticktext=[_wrapped(name) for name in (*names, metric_title(found.metric, loss_name, say))],
            range=[-0.3, len(names) + 0.3],
            showgrid=True,
        ),
        yaxis=axis("", range=[-0.07, 1.07], showticklabels=False, showgrid=False),
        hovermode="closest",
        annotations=marks,
    )
    # The picture's tools appear above the best result, not over it.
    look["margin"] = look["margin"] | {"l": 20, "r": 20, "t": 44}
    return Picture(
        "parallel",
        say("Which settings lead where?"),
        _told(found, names, say),
        {"data": data, "layout": look},
        columns=("axis", "height"),
        key=(("line", say("the best trial is thick; blue is good, orange is bad")),),
    )


def _trial(heights: Sequence[float], place: int, say: Say, *, best: bool) -> dict[str, Any]:
    """A trial's line through all axes, whose last height is its result's share of the best."""
    colour = _colour(heights[-1])
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(range(len(heights))),
        "y": list(heights),
        "customdata": [place] * len(heights),
        "line": line(colour, 5 if best else 2),
        "marker": {"size": 9 if best else 6, "color": colour},
        "opacity": 1.0 if best else 0.75,
        "name": say("trial {n}").format(n=place + 1),
    }


def heatmap(found: Table, x: str, y: str, names: dict[str, str], loss_name: str, say: Say) -> Picture:
    """The results of a grid over two settings; the mean where others vary, too."""
    land = landscape(found, x, y)
    shown = np.where(np.isfinite(land.mean), land.mean, np.nan)
    log = not found.higher and bool((shown[np.isfinite(shown)] > 0).all())
    z = np.log10(shown) if log else shown
    text = [["" if math.isnan(v) else spelled(float(v), found.metric) for v in row] for row in shown]
    columns, rows = [_value(value) for value in land.x], [_value(value) for value in land.y]
    trace = {
        "type": "heatmap",
        "x": columns,
        "y": rows,
        "z": z,
        "text": text,
        "texttemplate": "%{text}",
        "textfont": {"size": FONT_SMALL, "color": INK},
        "colorscale": _scale(found.higher),
        "showscale": False,
        "xgap": 3,
        "ygap": 3,
        "hovertemplate": f"{names[x]} %{{x}}<br>{names[y]} %{{y}}<br><b>%{{text}}</b><extra></extra>",
        "name": metric_title(found.metric, loss_name, say),
    }
    look = layout(
        xaxis=axis(names[x], type="category", showgrid=False), yaxis=axis(names[y], type="category", showgrid=False)
    )
    return Picture(
        "heatmap",
        say("Where is the good region?"),
        _region(found, land, (names[x], names[y]), say),
        {"data": [trace, *lost(columns, rows, shown, say, say("no result"))], "layout": look},
        columns=(x, y),
        key=(("lost", say("no result: not tried, not trained to its end, or diverged")),)
        if np.isnan(shown).any()
        else (),
    )


def _region(found: Table, land: Landscape, names: tuple[str, str], say: Say) -> str:
    """Where the best cell lies and where the worst."""
    signed = np.where(np.isfinite(land.mean), land.mean if found.higher else -land.mean, np.nan)
    parts = []
    for told, place in ((say("Best"), np.nanargmax(signed)), (say("worst"), np.nanargmin(signed))):
        row, column = divmod(int(place), len(land.x))
        where = f"{names[0]} {_value(land.x[column])}, {names[1]} {_value(land.y[row])}"
        value = spelled(float(land.mean[row, column]), found.metric)
        parts.append(say("{rank} at {where}: {value}").format(rank=told, where=where, value=value))
    said = "; ".join(parts) + "."
    if int(land.trials.max()) > 1:
        said += " " + say("Each cell is the mean over whatever else varies.")
    return said


def scattered(found: Table, setting: str, name: str, loss_name: str, say: Say) -> Picture:
    """The result against one setting, with 95% intervals; `customdata` is the trial's place."""
    n = found.settings.index(setting)
    rows = [row for row in found.ranked if isinstance(row.values[n], int | float)]
    shares = dict(zip((row.place for row in found.ranked), _shares(found), strict=True))
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [row.values[n] for row in rows],
        "y": [row.result for row in rows],
        "customdata": [row.place for row in rows],
        "error_y": {"type": "data", "array": [row.ci95 for row in rows], "color": SOFT, "thickness": 1.5, "width": 0},
        "marker": {"size": 12, "color": [_colour(shares[row.place]) for row in rows]},
        "name": name,
        "hovertemplate": f"{name} %{{x}}<br><b>%{{y:.4g}}</b><extra></extra>",
    }
    positive = not found.higher and all(row.result - row.ci95 > 0 for row in rows)
    percent = found.metric == "accuracy"
    look = layout(
        xaxis=axis(name, **_ticks([row.values[n] for row in rows], found.log[n])),
        yaxis=axis(
            metric_title(found.metric, loss_name, say),
            type="log" if positive else "linear",
            tickformat=".0%" if percent else "",
        ),
        hovermode="closest",
    )
    title = say("What does {setting} do?").format(setting=name)
    alt = _told(found, [name], say)
    return Picture(f"scattered_{n}", title, alt, {"data": [trace], "layout": look}, columns=(setting, found.metric))


def _ticks(values: Sequence[float], log: bool) -> dict[str, Any]:
    """The kind of an axis for these values; between whole numbers it has no ticks."""
    kind = {"type": "log" if log else "linear"}
    if not values or not all(isinstance(value, int) for value in values):
        return kind
    if log:
        return kind | {"tickmode": "array", "tickvals": _some(sorted(set(values)), MOST_TICKS)}
    # Over a wider range plotly's own steps are whole.
    return kind | ({"dtick": 1} if max(values) - min(values) < 10 else {})


def _some(values: Sequence[float], most: int) -> list[float]:
    """At most so many of the values, evenly by their places, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def _told(found: Table, names: Sequence[str], say: Say) -> str:
    ranked = found.ranked
    if not ranked:
        return say("No trial has a result yet.")
    if len(ranked) == 1:
        told = say("One trial has a result: {metric} {best}.")
        return told.format(metric=say(found.metric), best=spelled(ranked[0].result, found.metric))
    sentence = say("Over {n} trials {metric} goes from {best} at best to {worst} at worst.")
    said = sentence.format(
        n=len(ranked),
        metric=say(found.metric),
        best=spelled(ranked[0].result, found.metric),
        worst=spelled(ranked[-1].result, found.metric),
    )
    shares = influence(found)
    if shares and len(names) == len(found.settings):
        first = max(shares, key=lambda each: shares[each])
        name = names[found.settings.index(first)]
        said += " " + say("{setting} alone explains {share} of the differences.").format(
            setting=name, share=f"{shares[first]:.0%}"
        )
    return said


def _shares(found: Table) -> list[float]:
    """Of each ranked trial how good it is, 1 the best and 0 the worst: losses by their logarithms where positive."""
    y = np.array([row.result for row in found.ranked], float)
    if not found.higher and len(y) and (y > 0).all():
        y = np.log(y)
    if not found.higher:
        y = -y
    low, high = (float(y.min()), float(y.max())) if len(y) else (0.0, 1.0)
    return [(float(value) - low) / (high - low) if high > low else 1.0 for value in y]


def _heights(values: Sequence[Any], log: bool) -> list[float]:
    """Where values stand on an axis from 0 to 1: numbers by size, others evenly as they come."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not numbers:
        different = list(dict.fromkeys(values))
        return [(different.index(value) + 0.5) / len(different) for value in values]
    places = [math.log(value) if log and value > 0 else float(value) for value in values]
    low, high = min(places, default=0.0), max(places, default=1.0)
    return [(place - low) / (high - low) if high > low else 0.5 for place in places]


def _marks(found: Table, n: int, heights: Sequence[float]) -> list[dict[str, Any]]:
    """Some values written beside an axis."""
    known: dict[float, Any] = dict(zip(heights, (row.values[n] for row in found.ranked), strict=True))
    places = sorted(known)
    if len(places) > TICKS + 2:
        places = _some(places, TICKS)
    return [_mark(n, place, _value(known[place])) for place in places]


def _result_marks(found: Table, n: int) -> list[dict[str, Any]]:
    ranked: Sequence[Tried] = found.ranked
    if not ranked:
        return []
    ends = [(1.0, ranked[0])] + ([(0.0, ranked[-1])] if len(ranked) > 1 else [])
    return [_mark(n, height, spelled(row.result, found.metric)) for height, row in ends]


def _mark(x: float, y: float, text: str) -> dict[str, Any]:
    # Left of the first axis there are no lines; elsewhere a value stands a little above them.
    side = {"xanchor": "right", "xshift": -9} if x == 0 else {"xanchor": "left", "xshift": 7, "yshift": 9}
    look = {"showarrow": False, "yanchor": "middle", **side}
    return {"text": text, "x": x, "y": y, "font": {"size": FONT_SMALL, "color": INK}, **look}


def _wrapped(name: str) -> str:
    """A name in lines of about LINE letters, so that the axes' names fit beside each other on a phone."""
    lines = [""]
    for word in name.split():
        if lines[-1] and len(lines[-1]) + len(word) >= LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)


def _colour(share: float) -> str:
    """From the worst (0) over grey to the best (1)."""
    start, end, t = (BAD, MIDDLE, 2 * share) if share < 0.5 else (MIDDLE, GOOD, 2 * share - 1)
    return "#" + "".join(f"{round(a + (b - a) * t):02X}" for a, b in zip(start, end, strict=True))


def _scale(higher: bool) -> list[list[Any]]:
    """A colour scale for raw values: the good end blue."""
    stops = [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)] if higher else [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    return [[place, _faint(_colour(share))] for place, share in stops]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.55)"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.3g}" if isinstance(value, float) else str(value)
