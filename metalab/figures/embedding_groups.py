"""Embeddings compared, and how an encircled group of tasks is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.bootstrap import apart
from metalab.analysis.embedding_groups import Learning
from metalab.analysis.embedding_views import View
from metalab.analysis.neighbourhood import Agreement, Interval
from metalab.figures.adaptation import LABEL_GAP, value_range
from metalab.figures.speed import metric_title
from metalab.figures.style import (
    FONT,
    SOFT,
    Picture,
    Say,
    axis,
    contender_colour,
    fixed,
    layout,
    line,
    number,
    plain,
    spread,
    static,
    steps_axis,
)
from metalab.tasks.base import HIGHER_IS_BETTER


def views(
    found: Mapping[View, Agreement], names: Mapping[View, str], colour_key: tuple[str, int, int], say: Say
) -> Picture:
    """One attribute's score by every embedding, each with its interval, and by the raw inputs.

    `names` says what to call each embedding.
    """
    rows: list[tuple[str, Interval, str]] = []
    for view, agreement in found.items():
        last = agreement.stages[-1]
        if last is not None:
            rows.append((names[view], last, contender_colour(colour_key)))
    agreement = next(iter(found.values()))
    rows.sort(key=lambda row: row[1].value)
    if agreement.raw is not None:
        rows.insert(0, (say("raw inputs"), agreement.raw, SOFT))
    data = [_dot(name, each, colour) for name, each, colour in rows]
    lowest = min([0.0, *(each.low for _name, each, _colour in rows)])
    look = layout(
        xaxis=axis(
            say("score of {attribute}, 1 = perfect").format(attribute=agreement.attribute),
            range=[lowest - 0.05, 1.05],
        ),
        yaxis=axis("", type="category", showgrid=False, tickfont={"size": FONT}),
        hovermode="closest",
    )
    told = say("{verdict} All scores: {parts}.").format(
        verdict=views_verdict(rows, agreement.attribute, say),
        parts=", ".join(f"{name} {fixed(each.value, 2)}" for name, each, _colour in reversed(rows)),
    )
    return Picture(
        "views",
        say("Which embedding knows it best?"),
        told,
        {"data": data, "layout": look},
        columns=("score", "embedding"),
        key=(("line", say("95% interval over tasks")),),
    )


def views_verdict(rows: Sequence[tuple[str, Interval, str]], attribute: str, say: Say) -> str:
    """Which of the embeddings (name, score, colour) knows the attribute best, where any knows it at all."""
    name, best, _colour = max(rows, key=lambda row: row[1].value)
    if not any(each.low > 0 for _name, each, _hue in rows):
        told = say("None of them orders {attribute}: no score's 95% interval lies above 0, which is guessing.")
        return told.format(attribute=attribute)
    ends = (best.value, best.low, best.high)
    level = [
        other for other, each, _hue in rows if other != name and not apart((each.value, each.low, each.high), ends)
    ]
    if best.low <= 0 or level:
        told = say("{attribute} scores highest by {best}, {score}; not to be told from it: {others}.")
    else:
        told = say(
            "{attribute} is known best by {best}, {score}: every other is behind by more than chance leaves open."
        )
    said = told.format(attribute=attribute, best=name, score=fixed(best.value, 2), others=", ".join(level))
    return said[:1].upper() + said[1:]


def _dot(name: str, each: Interval, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [each.value],
        "y": [plain(name)],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [each.high - each.value],
            "arrayminus": [each.value - each.low],
            "color": colour,
            "thickness": 2.5,
            "width": 0,
        },
        "marker": {"size": 13, "color": colour},
        "name": plain(name),
        "hovertemplate": "%{x:.2f}<extra>%{fullData.name}</extra>",
    }


def group_curves(found: Learning, group: Sequence[int], say: Say) -> Picture:
    """The adaptation curves of a group of tasks: each faint, their mean, and the others' mean."""
    inside = np.zeros(len(found.values), bool)
    inside[list(group)] = True
    colour = contender_colour(found.colour_key)
    data = _faint(found.values[inside], colour)
    drawn = []
    for name, rows, hue, width in (
        (say("all others"), found.values[~inside], SOFT, 2.4),
        (say("your group"), found.values[inside], colour, 3.6),
    ):
        if len(rows):
            data += _mean(name, rows, hue, width)
            drawn.append((name, rows.mean(0), hue))
    metric = metric_title(found.metric, found.loss_name, say)
    percent = found.metric == "accuracy"
    steps = found.values.shape[1] - 1
    bounds = [0.0, 1.04] if percent else value_range([1.5 * mean for _name, mean, _hue in drawn], log=False)
    heights = [(float(mean[-1]) - bounds[0]) / (bounds[1] - bounds[0]) for _name, mean, _hue in drawn]
    ends = zip(drawn, spread(heights, LABEL_GAP), strict=True)
    look = layout(
        xaxis=steps_axis(say("inner step"), steps),
        yaxis=axis(metric, tickformat=".0%" if percent else "", range=bounds),
        hovermode="x unified",
        margin={"l": 62, "r": 96, "t": 10, "b": 50},
        annotations=[_end(name, height, hue) for (name, _mean, hue), height in ends],
    )
    return Picture(
        "group_curves",
        say("Are the tasks of your group learned like the others?"),
        _told(found, inside, say),
        {"data": data, "layout": look},
        columns=("inner_step", f"query_{found.metric}"),
        key=(
            ("line", say("mean over tasks; faint: single tasks of your group")),
            ("band", say("95% interval of the mean")),
        ),
    )


def _faint(rows: NDArray, colour: str) -> list[dict[str, Any]]:
    """All tasks' curves as one line with gaps."""
    x = np.tile(np.append(np.arange(rows.shape[1], dtype=np.float32), np.nan), len(rows))
    y = np.concatenate([rows, np.full_like(rows[:, :1], np.nan)], 1).ravel()
    look = {"type": "scatter", "mode": "lines", "line": line(colour, 1), "opacity": 0.25, "hoverinfo": "skip"}
    return [{**look, "x": x, "y": y, **static()}]


def _mean(name: str, rows: NDArray, colour: str, width: float) -> list[dict[str, Any]]:
    mean = rows.mean(0)
    half = 1.96 * rows.std(0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.zeros_like(mean)
    x = np.arange(rows.shape[1], dtype=np.int16)
    band = {
        "type": "scatter",
        "mode": "lines",
        "x": np.concatenate([x, x[::-1]]),
        "y": np.concatenate([mean + half, (mean - half)[::-1]]).astype(np.float32),
        "fill": "toself",
        "line": {"width": 0, "color": colour},
        "opacity": 0.25,
        "hoverinfo": "skip",
        **static(),
    }
    middle = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": mean.astype(np.float32),
        "line": line(colour, width),
        "name": name,
        "hovertemplate": "%{y:.3g}<extra>%{fullData.name}</extra>",
    }
    return [band, middle]


def _end(name: str, height: float, colour: str) -> dict[str, Any]:
    return {
        "name": "end",
        "text": name,
        "x": 1.0,
        "xref": "paper",
        "xshift": 8,
        "y": height,
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "middle",
        "showarrow": False,
        "font": {"size": FONT, "color": colour},
    }


def _told(found: Learning, inside: NDArray, say: Say) -> str:
    form = (lambda v: f"{v:.0%}") if found.metric in HIGHER_IS_BETTER - {"return"} else number
    mine, rest = found.values[inside], found.values[~inside]
    told = say("{n} tasks go from {start} to {end} in {steps} inner steps").format(
        n=len(mine), start=form(float(mine[:, 0].mean())), end=form(float(mine[:, -1].mean())), steps=mine.shape[1] - 1
    )
    if not len(rest):
        return told + "."
    others = say("the other {n} from {start} to {end}.").format(
        n=len(rest), start=form(float(rest[:, 0].mean())), end=form(float(rest[:, -1].mean()))
    )
    return f"{told}, {others}"
