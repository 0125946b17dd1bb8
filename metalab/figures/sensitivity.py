"""How sensitive adaptation is, as maps: rates, shots and tested steps against the metric, each with its training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metalab.analysis.sensitivity import Grid, Modes
from metalab.analysis.speed import Speed
from metalab.figures.bands import SHADES, Row, colour_bar, forest
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
    static,
)

MARK = "#D1495B"
"""Lines and marks on a map; it stands out from all its shades."""
AROUND = 40
"""Size of a mark around a figure that is written in its cell."""
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
        ticks = [t for t in _ticks(float(low), float(high)) if low <= math.log10(t) <= high]
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
    return f"{100 * value:.0f} %" if percent and math.isfinite(value) else number(value).replace("-", "−")


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, .. between two logarithms; only powers of ten where there would be many."""
    steps = (1, 2, 5) if high - low < 2.5 else (1,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    return [step * 10.0**decade for decade in decades for step in steps]


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


def unadapted(values: NDArray) -> float:
    """Twice the worst loss before adaptation, in values (.., K + 1): what is worse still is all the same."""
    before = values[:, 0][np.isfinite(values[:, 0])]
    return 2 * float(before.max()) if before.size and (before > 0).all() else math.inf


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
    hover = say("α = {rate}, {steps} inner steps: {value}").format(rate="%{customdata}", steps="%{y}", value="{value}")
    trace = heat(
        places, np.arange(steps), grid.values.T, metric_title(grid.metric, grid.loss_name, say), hover,
        log=log, higher=grid.higher, percent=percent, worst=unadapted(grid.values),
    )  # fmt: skip
    trace["customdata"] = [[number(rate) for rate in grid.rows]] * steps
    trace["name"] = plain(grid.label)
    data = [trace]
    rate, trained_steps = grid.trained
    if trained_steps is not None and trained_steps < steps:
        data.append(mark(math.log10(rate), trained_steps, say("as trained"), "diamond"))
    row, column = grid.best
    data.append(mark(places[row], column, say("the best"), "circle"))
    room = 0.5 * (places[1] - places[0]) if len(places) > 1 else 0.5
    span = [float(places[0] - room), float(places[-1] + room)]
    ticks = [t for t in _ticks(span[0], span[1]) if span[0] <= math.log10(t) <= span[1]]
    x_axis = axis(
        say("inner learning rate α at test"),
        range=span,
        tickvals=[math.log10(t) for t in ticks],
        ticktext=[number(t) for t in ticks],
        showgrid=False,
    )
    look = _look(x_axis, steps, say)
    if grid.limits is not None:
        look["shapes"], look["annotations"] = _limit(grid.limits, span, say)
        look["margin"] = look["margin"] | {"t": 30}
    key = [
        ("point", say("◇ as trained, ○ the best")),
        ("dash", say("2/λ of the tasks: the middle one, and 80 % of them")),
    ]
    return Picture(
        "rates",
        say("Which rate and how many steps?"),
        _rates_told(grid, say),
        {"data": data, "layout": look},
        columns=("log10_inner_lr", "inner_step", f"log10_{grid.metric}" if log else grid.metric),
        key=tuple(key if grid.limits is not None else key[:1]),
    )


def _logarithmic(grid: Grid) -> bool:
    kept = grid.values[np.isfinite(grid.values)]
    return not grid.higher and bool((kept > 0).all())


def _limit(limits: NDArray, span: Sequence[float], say: Say) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    low, middle, high = (min(max(math.log10(value), span[0]), span[1]) for value in limits)
    shared = {"yref": "paper", "y0": 0, "y1": 1}
    zone = {
        "type": "rect",
        "x0": low,
        "x1": high,
        "fillcolor": MARK,
        "opacity": 0.18,
        "line": {"width": 0},
        **shared,
    }
    rule = {"type": "line", "x0": middle, "x1": middle, "line": line(MARK, 2.5, "dash"), **shared}
    words = {
        "text": say("2/λ<sub>max</sub> = {limit}").format(limit=number(float(limits[1]))),
        "x": middle,
        "xref": "x",
        "xanchor": "center"
        if span[0] + 0.2 < middle < span[1] - 0.2
        else ("right" if middle > span[0] + 0.2 else "left"),
        "y": 1.0,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"color": MARK, "size": FONT_SMALL},
    }
    return [zone, rule], [words]


def _rates_told(grid: Grid, say: Say) -> str:
    row, column = grid.best
    told = say("Best is α = {rate} after {steps} inner steps: {value}").format(
        rate=number(float(grid.rows[row])), steps=column, value=spelled(float(grid.values[row, column]), grid.metric)
    )
    rate, steps = grid.trained
    own = int(np.abs(np.log(grid.rows / rate)).argmin()) if rate > 0 else 0
    if steps is not None and steps < grid.values.shape[1]:
        told += say("; as trained, α = {rate} and {steps} steps: {value}").format(
            rate=number(rate), steps=steps, value=spelled(float(grid.values[own, steps]), grid.metric)
        )
    return told + "."


# --- shots and tested steps


def shots(grid: Grid, say: Say) -> Picture:
    """The metric over the number of shots and the inner step."""
    steps, percent = grid.values.shape[1], grid.metric == "accuracy"
    names = [str(int(count)) for count in grid.rows]
    hover = say("{shots} shots, {steps} inner steps: {value}").format(shots="%{x}", steps="%{y}", value="{value}")
    trace = heat(
        names, np.arange(steps), grid.values.T, metric_title(grid.metric, grid.loss_name, say), hover,
        log=_logarithmic(grid), higher=grid.higher, percent=percent, worst=unadapted(grid.values),
    )  # fmt: skip
    data = [trace | {"name": plain(grid.label)}]
    count, trained_steps = grid.trained
    if trained_steps is not None and trained_steps < steps and str(int(count)) in names:
        data.append(mark(str(int(count)), trained_steps, say("as trained"), "diamond", AROUND))
    row, column = grid.best
    told = say("Best are {shots} shots and {steps} inner steps: {value}; one shot and as many steps give {few}.")
    return Picture(
        "shots_and_steps",
        say("How many examples, how many steps?"),
        told.format(
            shots=names[row],
            steps=column,
            value=spelled(float(grid.values[row, column]), grid.metric),
            few=spelled(float(grid.values[0, column]), grid.metric),
        ),
        {"data": data, "layout": _look(axis(say("shots at test"), type="category", showgrid=False), steps, say)},
        columns=("shots", "inner_step", f"log10_{grid.metric}" if _logarithmic(grid) else grid.metric),
        key=(("point", say("◇ as trained")),),
    )


def matrix(speed: Speed, trained: Sequence[int], say: Say) -> Picture:
    """Runs that were trained with k inner steps, tested with k': the best k' of each is ringed, k' = k is marked."""
    values = np.stack([curve.band.mean for curve in speed.curves])
    steps, names = values.shape[1], [str(k) for k in trained]
    log = not speed.higher and bool((values[np.isfinite(values)] > 0).all())
    hover = say("trained with {own}, tested with {steps} inner steps: {value}").format(
        own="%{y}", steps="%{x}", value="{value}"
    )
    trace = heat(
        np.arange(steps), names, values, metric_title(speed.metric, speed.loss_name, say), hover,
        log=log, higher=speed.higher, percent=speed.metric == "accuracy", worst=unadapted(values),
    )  # fmt: skip
    data = [trace | {"name": plain(speed.curves[0].label)}]
    signed = np.where(np.isfinite(values), values if speed.higher else -values, -np.inf)
    parts = []
    for own, name, row, curve in zip(trained, names, signed, values, strict=True):
        best = int(row.argmax())
        data.append(mark(best, name, say("the best"), "circle", AROUND))
        if own < steps:
            data.append(mark(own, name, say("as trained"), "diamond", AROUND))
        told = say("trained with {own}, best tested with {best} ({value})")
        parts.append(told.format(own=own, best=best, value=spelled(float(curve[best]), speed.metric)))
    look = layout(
        xaxis=axis(say("inner steps at test, k′"), showgrid=False, tickformat="d", dtick=1 if steps <= 16 else 5),
        yaxis=axis(say("inner steps in training, k"), type="category", showgrid=False),
        hovermode="closest",
    )
    return Picture(
        "matrix",
        say("What if test steps differ from training steps?"),
        "; ".join(parts).capitalize() + ".",
        {"data": data, "layout": look},
        columns=("tested", "trained", f"log10_{speed.metric}" if log else speed.metric),
        key=(("point", say("◇ tested as trained, ○ the best of a row")),),
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
        words = f"{value:.1f} %"
        if mode != "transductive":
            words = say("{value} % (less by {low} to {high} %)").format(
                value=f"{value:.1f}", low=roughly(100 * float(gap.low)), high=roughly(100 * float(gap.high))
            )
        rows.append((mode_name(mode, say), found.colour_key, value, value - half, value + half, words))
        parts.append(f"{mode_name(mode, say)} {value:.1f} %")
    return Picture(
        "modes",
        say("What does batch normalisation give away?"),
        say("Accuracy over {n} tasks: {parts}.").format(n=found.n_tasks, parts="; ".join(parts)),
        forest(rows, say("query accuracy (%)"), say),
        columns=("accuracy_percent", "row"),
        key=(("point", say("in its 95 % interval; in brackets: the paired gap")),),
    )
