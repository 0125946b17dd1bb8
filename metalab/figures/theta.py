"""What theta is doing, as pictures: f_theta, before and after, what each layer does, and which of them are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metalab.analysis.bootstrap import Band
from metalab.analysis.theta import Starts
from metalab.analysis.theta_layers import Layers, Spread
from metalab.figures.bands import banded, forest, name_ends
from metalab.figures.sensitivity import counted
from metalab.figures.style import (
    INK,
    Picture,
    Say,
    axis,
    contender_colour,
    fixed,
    layout,
    line,
    number,
    plain,
    steps_axis,
)

BESIDE = 0.13
"""Between the dots of two contenders in one layer."""
ROOM = 0.8
"""Share of the axis up to which an interval leaves room for a number at its right."""


def metric_title(metric: str, loss_name: str, say: Say) -> str:
    """A metric of the query set as an axis' label, with its unit."""
    if metric == "accuracy":
        return say("query accuracy")
    return say("query loss ({unit})").format(unit=say(loss_name))


def told(value: float, metric: str) -> str:
    """A metric in a sentence."""
    return f"{fixed(100 * value, 0)}%" if metric == "accuracy" and np.isfinite(value) else number(value)


# --- before adaptation


def functions(found: Starts, say: Say) -> Picture:
    """f_theta of every contender, and the best predictor that never adapts. Needs functions of one variable."""
    data: list[dict[str, Any]] = []
    drawn = [start for start in found.starts if start.function is not None]
    best = found.best
    assert best is not None
    for start in drawn:
        data.append(_curve(best.x, start.function, plain(start.label), line(contender_colour(start.colour_key), 3.4)))
    data.append(_curve(best.x, best.mean, say("best without adaptation"), line(INK, 2.6, "dash")))
    bounds = _function_bounds(found)
    look = layout(
        xaxis=axis("x", range=[float(best.x[0]), float(best.x[-1])]),
        yaxis=axis("y", range=bounds),
        hovermode="x unified",
    )
    name_ends(look, drawn, [float(start.function[-1]) for start in drawn if start.function is not None], bounds)
    parts = ", ".join(
        say("{name} {distance}").format(name=plain(start.label), distance=number(start.distance or 0.0))
        for start in drawn
    )
    alt = say("Root mean square distance of f with θ from the best predictor that never adapts: {parts}.")
    return Picture(
        "theta_functions",
        say("What does it predict before it has seen a task?"),
        alt.format(parts=parts),
        {"data": data, "layout": look},
        columns=("x", "y"),
        key=(("line", say("f with θ")), ("dash", say("best predictor that never adapts"))),
    )


def _function_bounds(found: Starts) -> list[float]:
    assert found.best is not None
    every = [found.best.mean, *(start.function for start in found.starts if start.function is not None)]
    room = 3 * max(float(np.abs(found.best.mean).max()), 1.0)
    kept = np.clip(np.nan_to_num(np.concatenate(every), nan=0.0), -room, room)
    low, high = float(kept.min()), float(kept.max())
    return [low - 0.08 * (high - low + 0.1), high + 0.08 * (high - low + 0.1)]


def _curve(x: Any, y: Any, name: str, look: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.asarray(x, np.float32),
        "y": np.asarray(y, np.float32),
        "line": look,
        "name": name,
        "hovertemplate": "%{y:.3g}<extra>%{fullData.name}</extra>",
    }


def before_and_after(found: Starts, say: Say) -> Picture:
    """The metric of each contender with phi_0 = theta and after K steps, with what is possible without adapting."""
    rows: list[tuple[str, tuple[str, int, int], float, float, float, str]] = []
    for start in found.starts:
        for when, band in ((say("θ"), start.before), (say("φ"), start.after)):
            values = (float(band.mean), float(band.low), float(band.high))
            rows.append((f"{start.label}, {when}", start.colour_key, *values, told(values[0], found.metric)))
    figure = forest(rows, metric_title(found.metric, found.loss_name, say), say, **_percent(found.metric))
    level, words = _level(found, say)
    low, high = figure["layout"]["xaxis"]["range"]
    if level is not None:
        low, high = min(low, level - 0.03 * (high - low)), max(high, level * 1.05)
    if found.metric == "accuracy":
        low, high = max(low, -0.02), min(high, 1.02)
    figure["layout"]["xaxis"]["range"] = [low, high]
    for i, (note, row) in enumerate(zip(figure["layout"]["annotations"], rows, strict=True)):
        note |= {"y": i} | _beside(*row[2:5], low, high)
    if level is not None:
        figure["layout"]["shapes"] = [
            {
                "type": "line",
                "x0": level,
                "x1": level,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": line(INK, 1.6, "dash"),
            }
        ]
    parts = "; ".join(
        say("{name} from {before} to {after}").format(
            name=plain(start.label),
            before=told(float(start.before.mean), found.metric),
            after=told(float(start.after.mean), found.metric),
        )
        for start in found.starts
    )
    alt = say("After {steps} on {n} held-out tasks the query {metric} has gone: {parts}.").format(
        steps=counted(found.steps, say), n=found.n_tasks, metric=say(found.metric), parts=parts
    )
    point = say("mean over {n} held-out tasks, in its 95% interval").format(n=found.n_tasks)
    key = (("point", point), *((("dash", words),) if level is not None else ()))
    question = say("How good is it before adaptation, and after?")
    return Picture("theta_before_after", question, alt, figure, columns=(found.metric, "contender"), key=key)


def _beside(value: float, first: float, last: float, low: float, high: float) -> dict[str, Any]:
    """Where a row's number stands: at the right of its interval, or at the left where there is no room."""
    if not np.isfinite([value, first, last]).all():
        return {}
    right = (last - low) / (high - low) < ROOM
    side = {"xanchor": "left", "xshift": 12} if right else {"xanchor": "right", "xshift": -12}
    return {"x": last if right else first, "xref": "x", **side}


def _level(found: Starts, say: Say) -> tuple[float | None, str]:
    """What is possible without adapting, and its words."""
    if found.best is not None:
        words = say("the best that never adapts: {loss}").format(loss=number(found.best.loss))
        return found.best.loss, words
    if found.chance is not None:
        return found.chance, say("chance, 1/N: {share}").format(share=f"{100 * found.chance:.0f}%")
    return None, ""


def _percent(metric: str) -> dict[str, Any]:
    return {"tickformat": ".0%"} if metric == "accuracy" else {}


# --- layers


def layer_name(name: str, say: Say) -> str:
    """A layer as people call it."""
    if name == "head":
        return say("head")
    return say("layer {number}").format(number=name) if name.isdigit() else name


def movement(found: Sequence[Layers], say: Say) -> Picture:
    """How far each layer moves, as a share of its length."""
    spreads = [each.movement for each in found]
    most = max((float(np.nanmax(each.high, initial=0)) for each in spreads), default=0.0)
    title = say("distance moved / length before")
    figure = _by_layer(found, spreads, title, [-0.03 * most, most * 1.08 or 1.0], ".0%", say)
    parts = "; ".join(_first_and_last(each, each.movement, say) for each in found)
    return Picture(
        "theta_movement",
        say("Which layers move?"),
        say("Share of its length that a layer moves, mean over tasks: {parts}.").format(parts=parts),
        figure,
        columns=("layer", "movement"),
        key=(("point", say("mean over tasks")), ("line", say("middle 80% of the tasks"))),
    )


def similarity(found: Sequence[Layers], say: Say) -> Picture:
    """CKA of each layer's features before and after adaptation. Leaves out whoever has none."""
    known = [each for each in found if each.similarity is not None]
    spreads = [each.similarity for each in known if each.similarity is not None]
    least = min((float(np.nanmin(each.low)) for each in spreads), default=0.0)
    bounds = [min(0.9, least) - 0.05, 1.03]
    figure = _by_layer(known, spreads, say("CKA of features before and after"), bounds, ".2f", say)
    parts = "; ".join(
        _first_and_last(each, spread, say, share=False) for each, spread in zip(known, spreads, strict=True)
    )
    return Picture(
        "theta_similarity",
        say("Do the features change?"),
        say("CKA of features before and after adaptation, 1 for the same, mean over tasks: {parts}.").format(
            parts=parts
        ),
        figure,
        columns=("layer", "cka"),
        key=(("point", say("mean over tasks")), ("line", say("middle 80% of the tasks"))),
    )


def _first_and_last(each: Layers, spread: Spread, say: Say, *, share: bool = True) -> str:
    form = (lambda value: f"{100 * value:.1f}%") if share else (lambda value: f"{value:.3f}")
    return say("{who}: {first} in {layer}, {last} in the head").format(
        who=plain(each.label),
        first=form(float(spread.mean[0])),
        layer=layer_name(each.names[0], say),
        last=form(float(spread.mean[-1])),
    )


def _by_layer(
    found: Sequence[Layers], spreads: Sequence[Spread], title: str, bounds: list[float], form: str, say: Say
) -> dict[str, Any]:
    """Dots with whiskers, a place on the x axis for each layer, the contenders beside each other."""
    names = max((each.names for each in found), key=len, default=())
    data: list[dict[str, Any]] = []
    for n, (each, spread) in enumerate(zip(found, spreads, strict=True)):
        aside = (n - (len(found) - 1) / 2) * BESIDE
        places = np.array([names.index(name) for name in each.names], np.float32) + aside
        colour = contender_colour(each.colour_key)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": places,
                "y": spread.mean.astype(np.float32),
                "line": line(colour, 1.4, "dot"),
                "marker": {"size": 11, "color": colour},
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": (spread.high - spread.mean).astype(np.float32),
                    "arrayminus": (spread.mean - spread.low).astype(np.float32),
                    "color": colour,
                    "thickness": 2.4,
                    "width": 5,
                },
                "name": plain(each.label),
                "hovertemplate": f"<b>%{{y:{form}}}</b> %{{fullData.name}}<extra></extra>",
            }
        )
    ticks = {"tickvals": list(range(len(names))), "ticktext": [layer_name(name, say) for name in names]}
    look = layout(
        xaxis=axis("", range=[-0.5, len(names) - 0.5], showgrid=False, **ticks),
        yaxis=axis(title, range=bounds, tickformat=form),
        hovermode="closest",
    )
    name_ends(look, found, [float(spread.mean[-1]) for spread in spreads], bounds)
    return {"data": data, "layout": look}


# --- freezing


def frozen(found: Sequence[Layers], metric: str, loss_name: str, say: Say) -> Picture:
    """The metric after adaptation with the first layers frozen, one more at each place."""
    counts = np.arange(max(len(each.names) for each in found) + 1)
    data = _bands(found, [each.frozen for each in found], metric, say)
    bounds = _bounds([each.frozen for each in found], metric)
    names = max((each.names for each in found), key=len)
    ends = [names[0] if n == 0 else f"{names[0]}–{name}" for n, name in enumerate(names[:-1])]
    texts = [say("none"), *ends, say("all")]
    look = layout(
        xaxis=axis(say("frozen layers"), tickvals=counts.tolist(), ticktext=texts),
        yaxis=axis(metric_title(metric, loss_name, say), range=bounds, **_percent(metric)),
        hovermode="closest",
    )
    name_ends(look, found, [float(each.frozen.mean[-1]) for each in found], bounds)
    parts = "; ".join(
        say("{who} {free} with none frozen, {head} with the head alone, {nothing} with all").format(
            who=plain(each.label),
            free=told(float(each.frozen.mean[0]), metric),
            head=told(float(each.frozen.mean[-2]), metric),
            nothing=told(float(each.frozen.mean[-1]), metric),
        )
        for each in found
    )
    return Picture(
        "theta_frozen",
        say("Which layers have to adapt?"),
        say("Query {metric} after the inner loop: {parts}.").format(metric=say(metric), parts=parts),
        {"data": data, "layout": look},
        columns=("frozen_layers", metric),
        key=(("line", say("mean over held-out tasks, in its 95% band")),),
    )


def chosen(
    found: Sequence[Layers], curves: Sequence[Band], layers: Sequence[str], metric: str, loss_name: str, say: Say
) -> Picture:
    """Adaptation curves with the chosen layers frozen, and, thinner and dotted, with nothing frozen."""
    steps = len(found[0].free_curve.mean) - 1
    data = _bands(found, curves, metric, say)
    for each in found if layers else ():
        name = say("{who}, nothing frozen").format(who=plain(each.label))
        look = line(contender_colour(each.colour_key), 1.8, "dot")
        data.append(_curve(np.arange(steps + 1), each.free_curve.mean, name, look))
    bounds = _bounds([*curves, *(each.free_curve for each in found)], metric)
    look = layout(
        xaxis=steps_axis(say("inner step"), steps),
        yaxis=axis(metric_title(metric, loss_name, say), range=bounds, **_percent(metric)),
        hovermode="closest",
    )
    name_ends(look, found, [float(curve.mean[-1]) for curve in curves], bounds)
    which = ", ".join(layer_name(name, say) for name in layers) or say("nothing")
    parts = "; ".join(
        say("{who} from {first} to {last}").format(
            who=plain(each.label),
            first=told(float(curve.mean[0]), metric),
            last=told(float(curve.mean[-1]), metric),
        )
        for each, curve in zip(found, curves, strict=True)
    )
    return Picture(
        "theta_chosen",
        say("And with the layers that you choose?"),
        say("Frozen: {which}; after {steps} the query {metric} has gone: {parts}.").format(
            which=which, steps=counted(steps, say), metric=say(metric), parts=parts
        ),
        {"data": data, "layout": look},
        columns=("inner_step", metric),
        key=(
            ("line", say("mean over held-out tasks, in its 95% band")),
            *([("dot", say("nothing frozen"))] if layers else []),
        ),
    )


def _bands(found: Sequence[Layers], bands: Sequence[Band], metric: str, say: Say) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = []
    form = ".1%" if metric == "accuracy" else ".3g"
    for each, band in zip(found, bands, strict=True):
        x = np.arange(len(band.mean))
        data += banded(x, band.mean, band.low, band.high, each.label, each.colour_key, say, form)
    return data


def _bounds(bands: Sequence[Band], metric: str) -> list[float]:
    if metric == "accuracy":
        return [0.0, 1.04]
    firsts = [float(band.high[0]) for band in bands if np.isfinite(band.high[0])]
    every = np.concatenate([band.high for band in bands])
    kept = every[np.isfinite(every) & (every <= 3 * max(firsts, default=1.0) + 1e-6)]
    return [0.0, float(kept.max(initial=1e-9)) * 1.06]
