"""Adaptation speed as pictures: curves in their bands with the level that is asked about, who arrives first, who is
better on the whole, and what each step gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.bootstrap import Band
from metalab.analysis.speed import Comparison, Cost, Path, Speed, Standing, gains, path
from metalab.figures.adaptation import value_range
from metalab.figures.bands import Row, banded, bounds_of, forest, level_line, name_ends, shares_range
from metalab.figures.style import (
    Picture,
    Say,
    axis,
    contender_colour,
    fixed,
    layout,
    number,
    plain,
    steps_axis,
)

BAND_ROOM = 1.2
"""How much farther than the curves' means, in shares of the largest, their bands are shown."""


def metric_title(metric: str, loss_name: str, say: Say) -> str:
    """A metric as an axis' label, with its unit."""
    known = {
        "accuracy": say("query accuracy"),
        "return": say("return of query trajectories"),
        "perplexity": say("query perplexity per letter"),
    }
    return known.get(metric) or say("query loss ({unit})").format(unit=say(loss_name))


def spelled(value: float, metric: str) -> str:
    """A figure of a metric in a sentence."""
    if metric == "accuracy" and math.isfinite(value):
        return f"{100 * value:.1f}%"
    return number(value)


def gained(value: float, metric: str, say: Say) -> str:
    """A difference of a metric in a sentence; an accuracy's is given in percentage points."""
    if metric == "accuracy" and math.isfinite(value):
        return say("{n} percentage points").format(n=fixed(value, 1))
    return number(value)


def roughly(value: float) -> str:
    """The end of an interval in a sentence: two significant digits."""
    return number(float(f"{value:.2g}"))


def cost_title(speed: Speed, cost: Cost, say: Say) -> str:
    """A cost as an axis' label."""
    if cost == "seconds":
        return say("wall-clock for one task (milliseconds)")
    if cost == "gradients":
        return say("gradients of the whole support loss")
    return say("inner step") if speed.axis == "inner step" else say("shots")


def cost_in_words(value: float, comparison: Comparison, speed: Speed, say: Say) -> str:
    """An amount of a cost, e.g. "2.1 inner steps"."""
    if comparison.cost == "seconds":
        return say("{n} milliseconds").format(n=number(1000 * value))
    one, many = _units(comparison.cost, speed, say)
    return (one if number(value) == "1" else many).format(n=number(value))


def _units(cost: Cost, speed: Speed, say: Say) -> tuple[str, str]:
    if cost == "gradients":
        return say("{n} gradient"), say("{n} gradients")
    if speed.axis == "inner step":
        return say("{n} inner step"), say("{n} inner steps")
    return say("{n} shot"), say("{n} shots")


def saved_in_words(value: float, comparison: Comparison, speed: Speed, say: Say) -> str:
    """How much less of a cost, e.g. "2.1 fewer inner steps"."""
    if comparison.cost == "seconds":
        return say("{n} milliseconds less").format(n=number(1000 * value))
    one, many = say("{n} fewer inner step"), say("{n} fewer inner steps")
    if comparison.cost == "gradients":
        one, many = say("{n} fewer gradient"), say("{n} fewer gradients")
    elif speed.axis == "shot":
        one, many = say("{n} fewer shot"), say("{n} fewer shots")
    return (one if number(value) == "1" else many).format(n=number(value))


def _scale(cost: Cost) -> float:
    return 1000.0 if cost == "seconds" else 1.0


# --- the curves


def curves(speed: Speed, comparison: Comparison, say: Say, *, log: bool = False) -> Picture:
    """Every mean curve in its band against the cost, the level as a line, and where each curve crosses it."""
    cost, metric = comparison.cost, speed.metric
    paths = [path(speed, curve, cost) for curve in speed.curves]
    log = log and all(bool((one.mean > 0).all()) for one in paths)
    end = max(float(one.cost[-1]) for one in paths) * _scale(cost) or 1.0
    form = ".1%" if metric == "accuracy" else ".3g"
    data: list[dict[str, Any]] = []
    for curve, one in zip(speed.curves, paths, strict=True):
        x, drawn = _stretched(one, cost, end)
        dash = "dash" if one.at_once else "solid"
        data += banded(x, drawn.mean, drawn.low, drawn.high, curve.label, curve.colour_key, say, form, dash)
    # A band may be endless where a task diverges: it is shown as far as the curves themselves reach, and a little on.
    most = BAND_ROOM * max(float(np.abs(one.mean[np.isfinite(one.mean)]).max(initial=0.0)) for one in paths)
    ends = [np.clip(part, -most, most) for one in paths for part in (one.low, one.high)]
    shown = [*(one.mean for one in paths), *(one.start for one in paths), *ends, np.array([comparison.level])]
    bounds = shares_range(shown) if metric == "accuracy" else value_range(shown, log=log)
    data += [_crossing(one, comparison, end, say) for one in comparison.arrivals if math.isfinite(one.value)]
    text = say("level {level}").format(level=spelled(comparison.level, metric))
    shape, words = level_line(comparison.level, text, log=log, below=_roomier_below(paths, comparison.level))
    title = cost_title(speed, cost, say)
    room = 0.02 * end
    x_axis = steps_axis(title, round(end)) if cost != "seconds" else axis(title, range=[-room, end + room])
    look = layout(
        xaxis=x_axis,
        yaxis=axis(
            metric_title(metric, speed.loss_name, say),
            type="log" if log else "linear",
            range=bounds,
            tickformat=".0%" if metric == "accuracy" else "",
        ),
        hovermode="closest",
        shapes=[shape],
        annotations=[words],
    )
    name_ends(look, speed.curves, [float(one.mean[-1]) for one in paths], bounds, log=log)
    key = [("line", say("mean over {n} held-out tasks, in its 95% band").format(n=speed.n_tasks))]
    if any(one.at_once for one in paths):
        key.append(("dash", say("reads its shots at once, from before that to after it")))
    key.append(("point", say("first at the level, with its 95% interval")))
    return Picture(
        "curves",
        say("How good is it, and when?"),
        _ends(speed, say),
        {"data": data, "layout": look},
        columns=("cost", metric),
        key=tuple(key),
    )


def _roomier_below(paths: Sequence[Path], level: float) -> bool:
    """Whether at its right end the level has more room below it than above, before the next curve."""
    away = [float(one.mean[-1]) - level for one in paths]
    above, below = ([abs(gap) for gap in away if gap * side >= 0] for side in (1, -1))
    return min(below, default=math.inf) > min(above, default=math.inf)


def _stretched(one: Path, cost: Cost, end: float) -> tuple[NDArray, Band]:
    """The path in the axis' unit; of one that reads at once, a rise from its start where it has read, then level."""
    x, found = one.cost * _scale(cost), Band(one.mean, one.low, one.high)
    if not one.at_once:
        return x, found
    parts = zip(one.start, (one.mean, one.low, one.high), strict=True)
    return np.array([0.0, x[0], x[0], end]), Band(
        *(np.array([start, start, part[0], part[0]]) for start, part in parts)
    )


def _crossing(standing: Standing, comparison: Comparison, end: float, say: Say) -> dict[str, Any]:
    colour, scale = contender_colour(standing.colour_key), _scale(comparison.cost)
    high = standing.high * scale if math.isfinite(standing.high) else end
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [standing.value * scale],
        "y": [comparison.level],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - standing.value * scale],
            "arrayminus": [(standing.value - standing.low) * scale],
            "color": colour,
            "thickness": 2.5,
            "width": 6,
        },
        "meta": {"ends": [[standing.low * scale, standing.high * scale]]},
        "marker": {"size": 13, "symbol": "diamond", "color": colour, "line": {"color": "#FFFFFF", "width": 1.5}},
        "name": say("{name} reaches the level").format(name=plain(standing.label)),
        "hovertemplate": "%{x:.3g}<extra>%{fullData.name}</extra>",
        "cliponaxis": False,
    }


def _ends(speed: Speed, say: Say) -> str:
    unit = say("inner steps") if speed.axis == "inner step" else say("shots")
    parts = "; ".join(
        say("{name} from {start} to {end}").format(
            name=curve.label,
            start=spelled(float(curve.band.mean[0]), speed.metric),
            end=spelled(float(curve.band.mean[-1]), speed.metric),
        )
        for curve in speed.curves
    )
    sentence = say("In {steps} {unit} the mean over {n} tasks goes, {what}: {parts}.")
    what = metric_title(speed.metric, speed.loss_name, say)
    return sentence.format(steps=speed.steps, unit=unit, n=speed.n_tasks, what=what, parts=parts)


# --- who is ahead


def arrivals(speed: Speed, comparison: Comparison, say: Say) -> Picture:
    """What it costs each to reach the level, the first on top, and how far the others are behind."""
    scale = _scale(comparison.cost)
    ranked = sorted(comparison.arrivals, key=lambda one: one.value)
    rows: list[Row] = []
    for one in ranked:
        if not math.isfinite(one.value):
            words = say("never within the picture")
        elif one is ranked[0]:
            words = number(one.value * scale)
        else:
            words = behind_in_words(one, number(one.value * scale), scale, "", say)
        rows.append(
            (one.label, one.colour_key, one.value * scale, one.low * scale, one.high * scale, words),
        )
    level = spelled(comparison.level, speed.metric)
    never = say("{name} never gets there")
    told = _told(ranked, lambda one: cost_in_words(one.value, comparison, speed, say), say("needs"), never, say)
    return Picture(
        "arrivals",
        say("Who reaches {level} first?").format(level=level),
        " ".join([told, *filter(None, (endless(one, ranked[0], say) for one in ranked[1:]))]),
        forest(rows, cost_title(speed, comparison.cost, say), say),
        columns=(comparison.cost, "row"),
        key=(("point", _of_arrivals(comparison.cost, say)),),
    )


def _of_arrivals(cost: Cost, say: Say) -> str:
    if cost == "seconds":
        return say("in its 95% interval over tasks, which holds no chance of the clock; in brackets: behind the first")
    return say("in its 95% interval; in brackets: behind the first")


def areas(speed: Speed, comparison: Comparison, say: Say) -> Picture:
    """The mean of each curve over its steps, the best on top."""
    sign = -1.0 if speed.higher else 1.0
    ranked = sorted(comparison.areas, key=lambda one: (not math.isfinite(one.value), one.value))
    percent = 100.0 if speed.metric == "accuracy" else 1.0
    rows: list[Row] = []
    for one in ranked:
        low, high = sorted((sign * one.low * percent, sign * one.high * percent))
        value = spelled(sign * one.value, speed.metric)
        unit = " " + say("points") if percent > 1 else ""
        if not math.isfinite(one.value):
            words = say("diverges")
        elif one is ranked[0]:
            words = value
        else:
            words = behind_in_words(one, value, percent, unit, say)
        rows.append((one.label, one.colour_key, sign * one.value * percent, low, high, words))
    title = metric_title(speed.metric, speed.loss_name, say)
    unit = say("{metric}, mean over the curve").format(metric=title + (" (%)" if percent > 1 else ""))
    told = _told(ranked, lambda one: spelled(sign * one.value, speed.metric), say("has"), say("{name} diverges"), say)
    return Picture(
        "areas",
        say("Who is better on the whole way?"),
        " ".join([told, *_covered(speed, say)]),
        forest(rows, unit, say),
        columns=(speed.metric, "row"),
        key=(("point", say("area under the curve, per step, in its 95% interval; in brackets: behind the first")),),
    )


def _covered(speed: Speed, say: Say) -> list[str]:
    """What the area is of, in sentences."""
    if speed.axis == "shot":
        return [say("The area goes from 0 to {n} shots.").format(n=speed.steps)]
    told = [say("The area goes from inner step 0, before anybody has seen the task, to {n}.").format(n=speed.steps)]
    readers = [curve.label for curve in speed.curves if curve.axis != speed.axis]
    if readers:
        sentence = say("Who reads its shots at once ({names}) does so in the first step.")
        told.append(sentence.format(names=", ".join(readers)))
    return told


def behind_in_words(one: Standing, value: str, scale: float, unit: str, say: Say) -> str:
    """A figure and, in brackets, how far it is behind the first's, as far as that is known."""
    low, high = one.behind_low * scale, one.behind_high * scale
    if math.isfinite(low) and math.isfinite(high):
        words = say("{value} (behind by {low} to {high}{unit})")
    elif math.isfinite(low):
        words = say("{value} (behind by {low}{unit} or more)")
    elif math.isfinite(high):
        words = say("{value} (behind by {high}{unit} at most)")
    else:
        words = say("{value} (how far behind cannot be told)")
    return words.format(value=value, low=roughly(low), high=roughly(high), unit=unit)


def endless(one: Standing, first: Standing, say: Say) -> str:
    """Why the distance between two that reach the level has no upper or no lower end; nothing where it has both."""
    said = {"name": one.label, "other": first.label}
    if not math.isfinite(one.value) or (math.isfinite(one.behind_low) and math.isfinite(one.behind_high)):
        return ""
    if math.isfinite(one.behind_low):
        return say("In some resamples of the tasks {name} never gets there.").format(**said)
    if math.isfinite(one.behind_high):
        return say("In some resamples of the tasks {other} never gets there.").format(**said)
    return say(
        "In some resamples of the tasks {other} never gets there, in others {name} does not: the difference cannot be "
        "told."
    ).format(**said)


def _told(ranked: Sequence[Standing], words: Any, verb: str, never: str, say: Say) -> str:
    parts = "; ".join(
        f"{one.label} {verb} {words(one)}" if math.isfinite(one.value) else never.format(name=one.label)
        for one in ranked
    )
    return say("In order: {parts}.").format(parts=parts)


def step_gains(speed: Speed, say: Say) -> Picture:
    """How much better each inner step makes it. Needs a contender that takes inner steps."""
    stepping = [curve for curve in speed.curves if curve.axis == speed.axis]
    points = speed.metric == "accuracy"
    scale = 100.0 if points else 1.0
    found = [Band(*(scale * part for part in astuple(gains(speed, curve)))) for curve in stepping]
    form = ".1f" if points else ".3g"
    data = []
    for curve, each in zip(stepping, found, strict=True):
        x = np.arange(1, len(each.mean) + 1)
        data += banded(x, each.mean, each.low, each.high, curve.label, curve.colour_key, say, form)
    bounds = bounds_of([np.clip(np.nan_to_num(each.mean), *_bearable(found)) for each in found])
    unit = say("step") if speed.axis == "inner step" else say("shot")
    what = metric_title(speed.metric, speed.loss_name, say)
    title = say("better by (percentage points)") if points else say("better by, {metric}").format(metric=what)
    look = layout(
        xaxis=steps_axis(say("inner step") if speed.axis == "inner step" else say("shots"), speed.steps),
        yaxis=axis(title, range=bounds, zeroline=True),
        hovermode="closest",
    )
    name_ends(look, stepping, [float(each.mean[-1]) for each in found], bounds)
    first = "; ".join(
        say("{name} {gain}").format(name=curve.label, gain=gained(float(each.mean[0]), speed.metric, say))
        for curve, each in zip(stepping, found, strict=True)
    )
    return Picture(
        "gains",
        say("What does each {unit} gain?").format(unit=unit),
        say("The first {unit} gains: {parts}.").format(unit=unit, parts=first),
        {"data": data, "layout": look},
        columns=("step", "gain"),
        key=(("line", say("mean over {n} held-out tasks, in its 95% band").format(n=speed.n_tasks)),),
    )


def _bearable(found: Sequence[Any]) -> tuple[float, float]:
    """Gains that are shown: a step that ruins everything does not flatten the others."""
    most = max((float(np.nanmax(np.abs(each.mean[:1]))) for each in found), default=1.0) or 1.0
    return -2 * most, 2 * most
