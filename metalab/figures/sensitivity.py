"""How sensitive adaptation is, as maps: rates, shots and tested steps against the metric, each with its training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metalab.analysis.best_cell import best_cell
from metalab.analysis.sensitivity import Grid, Modes
from metalab.analysis.speed import Speed
from metalab.figures.bands import Row, forest
from metalab.figures.maps import MARK, frame, heat, lost, lost_key, outline, row_outlines, ticks_between, unadapted
from metalab.figures.speed import metric_title, roughly, spelled
from metalab.figures.style import (
    FONT_SMALL,
    Picture,
    Say,
    axis,
    layout,
    line,
    number,
    plain,
)


def _look(x_axis: dict[str, Any], rows: int, say: Say) -> dict[str, Any]:
    ticks: dict[str, Any] = {"dtick": 1} if rows <= 16 else {"nticks": 9}
    return layout(
        xaxis=x_axis,
        yaxis=axis(say("inner steps at test"), showgrid=False, tickformat="d", **ticks),
        hovermode="closest",
    )


# --- rates


def rates(grid: Grid, say: Say) -> Picture:
    """The metric over inner learning rate and inner step, the run's own setting, the best, and 2 / lambda_max."""
    steps = grid.values.shape[1]
    log, percent = _logarithmic(grid), grid.metric == "accuracy"
    places = np.log10(grid.rows)
    wide = float(places[1] - places[0]) if len(places) > 1 else 1.0
    hover = say("α = {rate}, inner step {step}: {value}").format(rate="%{customdata}", step="%{y}", value="{value}")
    trace = heat(
        places, np.arange(steps), grid.values.T, metric_title(grid.metric, grid.loss_name, say), hover,
        log=log, higher=grid.higher, percent=percent, worst=unadapted(grid.values),
    )  # fmt: skip
    trace["customdata"] = [[number(rate) for rate in grid.rows]] * steps
    trace["name"] = plain(grid.label)
    span = [float(places[0] - wide / 2), float(places[-1] + wide / 2)]
    ticks = [t for t in ticks_between(span[0], span[1]) if span[0] <= math.log10(t) <= span[1]]
    x_axis = axis(
        say("inner learning rate α at test"),
        range=span,
        tickvals=[math.log10(t) for t in ticks],
        ticktext=[number(t) for t in ticks],
        showgrid=False,
    )
    look = _look(x_axis, steps, say)
    shapes, key = _framed(grid, say, places, wide)
    if grid.limits is not None:
        lines, look["annotations"] = _limit(grid.limits, span, steps, written="texttemplate" in trace, say=say)
        shapes = lines + shapes
        look["margin"] = look["margin"] | {"t": 30}
        key.append(("dash mark", say("2/λ of the tasks: the middle one, and 80% of them")))
    if shapes:
        look["shapes"] = shapes
    return Picture(
        "rates",
        say("Which rate and how many steps?"),
        _rates_told(grid, say),
        {"data": [trace, *lost(places, np.arange(steps), grid.values.T, say)], "layout": look},
        columns=("log10_inner_lr", "inner_step", f"log10_{grid.metric}" if log else grid.metric),
        key=(*key, *lost_key(grid.values, say)),
    )


def _framed(grid: Grid, say: Say, places: ArrayLike, wide: float) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Frames around the run's own cell and the best, the outline of what cannot be told from it, and their key."""
    at = np.asarray(places, np.float64)
    shapes: list[dict[str, Any]] = []
    key = []
    if grid.best is not None:
        row, column = grid.best.place
        told = say("cannot be told from the best")
        shapes += outline(grid.best.level.T, told, float(at[0]), wide)
        shapes.append(frame(say("the best"), float(at[row]), column, wide, "solid"))
        key += [
            ("frame", say("chosen by half of the tasks")),
            ("edge", say("the other half cannot tell these from it")),
        ]
    if grid.own is not None:
        row, column = grid.own
        shapes.append(frame(say("as trained"), float(at[row]), column, wide, "dot"))
        key.insert(0, ("frame dots", say("as trained")))
    return shapes, key


def _logarithmic(grid: Grid) -> bool:
    kept = grid.values[np.isfinite(grid.values)]
    return not grid.higher and bool((kept > 0).all())


def _limit(
    limits: NDArray, span: Sequence[float], steps: int, *, written: bool, say: Say
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The zone of 2 / lambda_max and its middle, which leaves out the figures that are written in the cells."""
    low, middle, high = (min(max(math.log10(value), span[0]), span[1]) for value in limits)
    edges = {"y0": -0.5, "y1": steps - 0.5}
    zone = {
        "type": "rect",
        "name": say("80% of the tasks"),
        "x0": low,
        "x1": high,
        "fillcolor": MARK,
        "opacity": 0.18,
        "line": {"width": 0},
        **edges,
    }
    rule = {"type": "line", "name": "2/λ", "x0": middle, "x1": middle, "line": line(MARK, 2.5, "dash"), **edges}
    rules = [rule]
    if written:
        gaps = [(k - 0.8, k - 0.2) for k in range(1, steps)]
        solid = rule | {"line": line(MARK, 2.5)}
        rules = [solid | {"y0": y0, "y1": y1} for y0, y1 in ((-0.5, -0.2), *gaps, (steps - 0.8, steps - 0.5))]
    inside = span[0] + 0.2 < middle < span[1] - 0.2
    words = {
        "text": say("2/λ<sub>max</sub> = {limit}").format(limit=number(float(limits[1]))),
        "x": middle,
        "xref": "x",
        "xanchor": "center" if inside else ("right" if middle > span[0] + 0.2 else "left"),
        "y": 1.0,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"color": MARK, "size": FONT_SMALL},
    }
    return [zone, *rules], [words]


def counted(steps: int, say: Say) -> str:
    """Inner steps in a sentence."""
    return say("1 inner step") if steps == 1 else say("{n} inner steps").format(n=steps)


def _rates_told(grid: Grid, say: Say) -> str:
    said = []
    for cell, told in (
        (
            None if grid.best is None else grid.best.place,
            say("Chosen by half of the tasks: α = {rate} after {steps}: {value}"),
        ),
        (grid.own, say("as trained, α = {rate} and {steps}: {value}")),
    ):
        if cell is not None:
            value = spelled(float(grid.values[cell]), grid.metric)
            said.append(told.format(rate=number(float(grid.rows[cell[0]])), steps=counted(cell[1], say), value=value))
    return f"{'; '.join(said)} ({_over(grid, say)})." if said else f"{_over(grid, say)}."


def _over(grid: Grid, say: Say) -> str:
    return say("means over {n} held-out tasks").format(n=grid.n_tasks)


# --- shots and tested steps


def shots(grid: Grid, say: Say) -> Picture:
    """The metric over the number of shots and the inner step."""
    steps, percent = grid.values.shape[1], grid.metric == "accuracy"
    names = [str(int(count)) for count in grid.rows]
    hover = say("shots {shots}, inner step {step}: {value}").format(shots="%{x}", step="%{y}", value="{value}")
    trace = heat(
        names, np.arange(steps), grid.values.T, metric_title(grid.metric, grid.loss_name, say), hover,
        log=_logarithmic(grid), higher=grid.higher, percent=percent, worst=unadapted(grid.values),
    )  # fmt: skip
    data = [trace | {"name": plain(grid.label)}, *lost(names, np.arange(steps), grid.values.T, say)]
    look = _look(axis(say("shots at test"), type="category", showgrid=False), steps, say)
    shapes, key = _framed(grid, say, np.arange(len(names)), 1.0)
    if shapes:
        look["shapes"] = shapes
    return Picture(
        "shots_and_steps",
        say("How many examples, how many steps?"),
        _shots_told(grid, say),
        {"data": data, "layout": look},
        columns=("shots", "inner_step", f"log10_{grid.metric}" if _logarithmic(grid) else grid.metric),
        key=(*key, *lost_key(grid.values, say)),
    )


def _shots_told(grid: Grid, say: Say) -> str:
    if grid.best is None:
        return f"{_over(grid, say)}."
    row, column = grid.best.place
    told = say(
        "Chosen by half of the tasks: {shots} and {steps}: {value}; one shot and as many steps give {few} ({over})."
    )
    n = int(grid.rows[row])
    return told.format(
        shots=say("1 shot") if n == 1 else say("{n} shots").format(n=n),
        steps=counted(column, say),
        value=spelled(float(grid.values[row, column]), grid.metric),
        few=spelled(float(grid.values[0, column]), grid.metric),
        over=_over(grid, say),
    )


def matrix(speed: Speed, trained: Sequence[int], say: Say) -> Picture:
    """Runs trained with k inner steps, tested with k': framed what half of the tasks choose of each row, and k' = k."""
    values = np.stack([curve.band.mean for curve in speed.curves])
    steps, names = values.shape[1], [str(k) for k in trained]
    log = not speed.higher and bool((values[np.isfinite(values)] > 0).all())
    hover = say("trained with k = {own}, tested at inner step {step}: {value}").format(
        own="%{y}", step="%{x}", value="{value}"
    )
    trace = heat(
        np.arange(steps), names, values, metric_title(speed.metric, speed.loss_name, say), hover,
        log=log, higher=speed.higher, percent=speed.metric == "accuracy", worst=unadapted(values),
    )  # fmt: skip
    shapes: list[dict[str, Any]] = []
    level, parts = np.zeros(values.shape, bool), []
    for i, (own, curve) in enumerate(zip(trained, speed.curves, strict=True)):
        best = best_cell(curve.values.T[None], higher=speed.higher)
        if best is not None:
            column, level[i] = best.place[1], best.level[0]
            shapes.append(frame(say("the best"), column, i, 1.0, "solid"))
            told = say("trained with {own}, half of the tasks chose {best} at test ({value})")
            value = spelled(float(values[i, column]), speed.metric)
            parts.append(told.format(own=own, best=column, value=value))
        if own < steps:
            shapes.append(frame(say("as trained"), own, i, 1.0, "dot"))
    shapes += row_outlines(level, say("cannot be told from the best"))
    look = layout(
        xaxis=axis(say("inner steps at test, k′"), showgrid=False, tickformat="d", dtick=1 if steps <= 16 else 5),
        yaxis=axis(say("inner steps in training, k"), type="category", showgrid=False),
        hovermode="closest",
        shapes=shapes,
    )
    data = [trace | {"name": plain(speed.curves[0].label)}, *lost(np.arange(steps), names, values, say)]
    key = [
        ("frame dots", say("tested as trained")),
        ("frame", say("chosen by half of the tasks")),
        ("edge", say("the other half cannot tell these from it")),
    ]
    return Picture(
        "matrix",
        say("What if test steps differ from training steps?"),
        "; ".join(parts).capitalize() + ".",
        {"data": data, "layout": look},
        columns=("tested", "trained", f"log10_{speed.metric}" if log else speed.metric),
        key=(*key, *lost_key(values, say)),
    )


# --- batch normalisation


def mode_name(mode: str, say: Say) -> str:
    """A way of normalising query images, in words."""
    return {
        "transductive": say("all query images"),
        "support_plus_one": say("support set + one"),
        "running": say("running averages"),
    }[mode]


def modes(found: Modes, say: Say) -> Picture:
    """Accuracy with each way of normalising query images, and the gap to the transductive one."""
    rows: list[Row] = []
    parts = []
    for i, mode in enumerate(found.modes):
        each = found.values[i].astype(np.float64)
        value, gap = 100 * float(each.mean()), found.gap(mode)
        half = 196 * float(each.std(ddof=1)) / len(each) ** 0.5
        words = f"{value:.1f}%"
        if mode != "transductive":
            words = say("{value}% ({low} to {high} points less)").format(
                value=f"{value:.1f}", low=roughly(100 * float(gap.low)), high=roughly(100 * float(gap.high))
            )
        rows.append((mode_name(mode, say), found.colour_key, value, value - half, value + half, words))
        parts.append(f"{mode_name(mode, say)} {value:.1f}%")
    return Picture(
        "modes",
        say("What does batch normalisation give away?"),
        say("Accuracy over {n} tasks: {parts}.").format(n=found.n_tasks, parts="; ".join(parts)),
        forest(rows, say("query accuracy (%)"), say),
        columns=("accuracy_percent", "row"),
        key=(("point", say("in its 95% interval; in brackets: the paired gap")),),
    )
