"""A run's record as pictures: the training loss, the held-out tasks over the run, and the adaptation curve."""

from __future__ import annotations

from typing import Any

import numpy as np

from metalab.analysis.history import History, Look
from metalab.figures.bands import LABEL_GAP, bounds_of, height
from metalab.figures.style import (
    FONT,
    INK,
    SOFT,
    Figure,
    Picture,
    Say,
    axis,
    colour_of,
    layout,
    line,
    number,
    spread,
    static,
    steps_axis,
)

ColourKey = tuple[str, int]
"""An algorithm's name and order."""


def training_loss(record: History, who: ColourKey, say: Say) -> Picture:
    """The training loss against outer step, on a logarithmic axis where it is positive."""
    log = bool(len(record.loss)) and bool((record.loss[np.isfinite(record.loss)] > 0).all())
    trace = _line(record.steps, record.loss, line(colour_of(*who), 2), say("training loss"))
    first, last = (number(float(record.loss[i])) if len(record.loss) else "–" for i in (0, -1))
    alt = say("Over {steps} outer steps the training loss goes from {first} to {last}.")
    return Picture(
        "training_loss",
        say("What did it train on?"),
        alt.format(steps=f"{int(record.steps[-1]) if len(record.steps) else 0:,}", first=first, last=last),
        {
            "data": [trace],
            "layout": layout(
                xaxis=axis(say("outer step")),
                yaxis=axis(
                    say("training loss ({unit})").format(unit=say(record.loss_name)), type="log" if log else "linear"
                ),
            ),
        },
        columns=("outer_step", "training_loss"),
    )


def held_out(record: History, who: ColourKey, axis_name: str, say: Say) -> Picture:
    """The metric on held-out tasks before and after adaptation, with 95% bands, against outer step. Needs looks."""
    looks = record.looks
    x = np.array([look.step for look in looks])
    data: list[dict[str, Any]] = []
    named = ((0, SOFT, say("before adaptation")), (-1, colour_of(*who), say("after adaptation")))
    for k, colour, name in named:
        mean = np.array([look.mean[k] for look in looks])
        data += _band(x, mean, np.array([look.ci95[k] for look in looks]), colour)
        data.append(_line(x, mean, line(colour, 3), name, percent=_percent(record)))
    last = looks[-1]
    alt = say("After {steps} outer steps, held-out {metric} goes from {before} to {after} in {k} {axis}s.").format(
        steps=f"{last.step:,}",
        metric=record.metric,
        before=_figure(record, last.mean[0]),
        after=_figure(record, last.mean[-1]),
        k=len(last.mean) - 1,
        axis=say(axis_name),
    )
    figure = _figure_of(data, axis(say("outer step")), record, say)
    _name_ends(figure, [(name, float(last.mean[k]), colour) for k, colour, name in named])
    return Picture("held_out", say("Does meta-training help?"), alt, figure, columns=("outer_step", record.metric))


def adaptation(record: History, who: ColourKey, axis_name: str, say: Say) -> Picture:
    """The adaptation curve at the first look and at the last, with 95% bands. Needs looks."""
    first, last = record.looks[0], record.looks[-1]
    drawn: list[tuple[Look, str]] = [(last, colour_of(*who))]
    if first.step != last.step:
        drawn.insert(0, (first, SOFT))
    data: list[dict[str, Any]] = []
    labels = []
    for look, colour in drawn:
        x = np.arange(len(look.mean))
        name = say("outer step {step}").format(step=f"{look.step:,}")
        data += _band(x, look.mean, look.ci95, colour)
        data.append(_line(x, look.mean, line(colour, 3), name, percent=_percent(record)))
        labels.append((name, float(look.mean[-1]), colour))
    figure = _figure_of(data, steps_axis(say(axis_name), len(last.mean) - 1), record, say)
    _name_ends(figure, labels)
    alt = say("Over {tasks} held-out tasks {metric} is {end} (±{ci}, 95% interval) after {k} {axis}s.").format(
        tasks=last.tasks,
        metric=record.metric,
        end=_figure(record, last.mean[-1]),
        ci=_figure(record, last.ci95[-1]),
        k=len(last.mean) - 1,
        axis=say(axis_name),
    )
    return Picture("adaptation", say("How fast does it adapt?"), alt, figure, columns=("inner_step", record.metric))


def _figure_of(data: list[dict[str, Any]], x: dict[str, Any], record: History, say: Say) -> Figure:
    percent = {"tickformat": ".0%", "range": [0, 1.04]} if _percent(record) else {}
    title = say("query {metric}").format(metric=say(record.metric))
    if record.metric == "loss":
        title = say("query loss ({unit})").format(unit=say(record.loss_name))
    return {"data": data, "layout": layout(xaxis=x, yaxis=axis(title, **percent), hovermode="x unified")}


def _percent(record: History) -> bool:
    return record.metric == "accuracy"


def _figure(record: History, value: float) -> str:
    return f"{value:.1%}" if _percent(record) else number(float(value))


def _line(x: Any, y: Any, look: dict[str, Any], name: str, *, percent: bool = False) -> dict[str, Any]:
    form = ".1%" if percent else ".4g"
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": look,
        "name": name,
        "hovertemplate": f"%{{y:{form}}}<extra>{name}</extra>",
    }


def _band(x: Any, mean: Any, ci95: Any, colour: str) -> list[dict[str, Any]]:
    edge = {"type": "scatter", "mode": "lines", "x": x, "line": {"width": 0, "color": colour}, "hoverinfo": "skip"}
    return [
        {**edge, "y": mean - ci95, **static()},
        {**edge, "y": mean + ci95, "fill": "tonexty", "fillcolor": _faint(colour), **static()},
    ]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _name_ends(figure: Figure, ends: list[tuple[str, float, str]]) -> None:
    """Names (text, value, colour) beside the ends of the lines, moved apart, on a y axis that holds all of them."""
    look = figure["layout"]
    if "range" not in look["yaxis"]:
        look["yaxis"]["range"] = bounds_of([np.asarray(trace["y"], np.float64) for trace in figure["data"]])
    heights = [height(value, look["yaxis"]["range"]) for _text, value, _colour in ends]
    look["annotations"] = [
        _label(text, y, colour) for (text, _value, colour), y in zip(ends, spread(heights, LABEL_GAP), strict=True)
    ]
    look["margin"] = look["margin"] | {"r": 150}


def _label(text: str, y: float, colour: str) -> dict[str, Any]:
    return {
        "text": text,
        "x": 1,
        "xref": "paper",
        "y": y,
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "middle",
        "xshift": 8,
        "showarrow": False,
        "font": {"size": FONT, "color": INK if colour == SOFT else colour},
    }
