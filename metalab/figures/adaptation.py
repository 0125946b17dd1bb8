"""A race as pictures: the functions, and losses, accuracies and gradients against inner step.

Each has one frame for each inner step 0 .. K; the base figure shows the end, step K. A contender without inner steps
reads its shots at once: beside others it is a dashed line at the height where it then stands. Where nobody takes inner
steps, curves and frames run over the number of shots.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.adaptation import Lane, Race
from metalab.figures.style import (
    FONT,
    INK,
    Figure,
    Picture,
    Say,
    axis,
    contender_colour,
    layout,
    line,
    number,
    plain,
    spread,
    static,
    steps_axis,
)

STEP = {"inner step": "inner_step", "shot": "shots"}
"""Heading of a table's column, by the race's axis."""
LABEL_LETTERS = 16
LABEL_GAP = 0.085
"""Between two labels at the lines' ends, as a share of the plot's height."""


def functions(race: Race, say: Say) -> Picture:
    """The truth, the support points, f_theta and f_phi_k of every contender. Needs functions of one variable."""
    x = race.probe_x
    assert x is not None
    data: list[dict[str, Any]] = []
    if race.truth is not None:
        data.append(_curve(x, race.truth, say("true function"), line(INK, 2.2, "dash")))
    for lane in race.lanes:
        name = f"{plain(lane.label)}, f<sub>θ</sub>"
        data.append(_curve(x, _functions(lane)[0], name, line(_colour(lane), 1.8, "dot"), opacity=0.65))
    unsure = [lane for lane in race.lanes if lane.spread is not None]
    moving = [len(data) + i for i in range(len(unsure) + len(race.lanes))]
    data += [_band(x, lane) for lane in unsure]
    for lane in race.lanes:
        name = f"{plain(lane.label)}, f<sub>φ</sub>"
        data.append(_curve(x, _functions(lane)[-1], name, line(_colour(lane), 3.8)))
    data.append(_support_points(race, say))
    frames = [
        {
            "name": str(k),
            "traces": moving,
            "data": [
                *({"y": _outline(lane, race.index(lane, k))} for lane in unsure),
                *({"y": _functions(lane)[race.index(lane, k)]} for lane in race.lanes),
            ],
        }
        for k in range(race.steps + 1)
    ]
    look = layout(
        xaxis=axis("x", range=[float(x[0]), float(x[-1])]),
        yaxis=axis("y", range=function_range(race)),
        hovermode="closest",
    )
    return Picture(
        "functions",
        say("What does it predict?"),
        _distances(race, say),
        {"data": data, "layout": look, "frames": frames},
        columns=("x", "y"),
        key=(
            *([("dash", say("true function"))] if race.truth is not None else []),
            ("dot", say("before adaptation, f with θ")),
            ("line", say("after adaptation, f with φ")),
            *([("band", say("how sure it is: ± 2σ"))] if unsure else []),
            ("point", say("support set")),
        ),
    )


def _support_points(race: Race, say: Say) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": race.support_x[:, 0],
        "y": race.support_y,
        "marker": {"size": 12, "color": INK, "line": {"color": "#FFFFFF", "width": 1.5}},
        "name": say("support set"),
        "hovertemplate": "(%{x:.3g}, %{y:.3g})<extra>%{fullData.name}</extra>",
    }


def function_range(race: Race) -> list[float]:
    """The y axis for all inner steps: what is true and given, and of the predictions what is not far off."""
    known = [race.support_y] if race.truth is None else [race.support_y, race.truth]
    low, high = float(min(v.min() for v in known)), float(max(v.max() for v in known))
    room = max(high - low, 1.0)
    fits = np.concatenate(
        [_outline(lane, k) if lane.spread is not None else _functions(lane)[k] for lane in race.lanes for k in (0, -1)]
    )
    fits = np.clip(np.nan_to_num(fits, nan=low, posinf=high, neginf=low), low - 0.6 * room, high + 0.6 * room)
    low, high = min(low, float(fits.min())), max(high, float(fits.max()))
    return [low - 0.08 * (high - low + 0.5), high + 0.08 * (high - low + 0.5)]


def support_loss(race: Race, say: Say, *, log: bool = False) -> Picture:
    """What the inner loop descends, against inner step."""
    unit = say(race.loss_name)
    figure = _curves(race, lambda lane: lane.support_loss, say("support loss ({unit})").format(unit=unit), say, log=log)
    return Picture(
        "support_loss",
        say("Does it fit the examples?"),
        _from_to(race, say, lambda lane: lane.support_loss, "support"),
        figure,
        columns=(STEP[race.axis], "support_loss"),
        key=_at_once(race, say),
    )


def query(race: Race, say: Say, metric: str = "loss", *, log: bool = False) -> Picture:
    """The adaptation curve: a metric of the query set against inner step. Needs a query set with known targets.

    Of an algorithm's own metric only the contenders that have it are drawn.
    """
    if metric == "accuracy":
        title, log = say("query accuracy"), False
        question = say("How many does it get right?")
    elif metric == "return":
        title, log = say("return of query trajectories"), False
        question = say("How much reward does it earn?")
    elif metric == "perplexity":
        title = say("query perplexity per letter")
        question = say("Among how many letters does it hesitate?")
    elif metric == "negative_log_likelihood":
        title, log = say("negative log-likelihood, nats"), False
        question = say("How surprised is it by the answers?")
    else:
        title = say("query loss ({unit})").format(unit=say(race.loss_name))
        question = say("Does it generalise?")

    def values(lane: Lane) -> NDArray:
        return lane.query.get(metric, np.zeros(0, np.float32))

    figure = _curves(race, values, title, say, log=log, percent=metric == "accuracy")
    return Picture(
        f"query_{metric}",
        question,
        _from_to(race, say, values, metric),
        figure,
        columns=(STEP[race.axis], f"query_{metric}"),
        key=_at_once(race, say),
    )


def gradient_norm(race: Race, say: Say, *, log: bool = False) -> Picture:
    """How long the gradient was that each inner step followed. Needs one inner step or more."""
    figure = _curves(race, lambda lane: lane.gradient_norm, say("gradient norm"), say, log=log)
    return Picture(
        "gradient_norm",
        say("How steep is it?"),
        _from_to(race, say, lambda lane: lane.gradient_norm, "gradient"),
        figure,
        columns=(STEP[race.axis], "gradient_norm"),
    )


def _curves(
    race: Race,
    values: Callable[[Lane], NDArray],
    title: str,
    say: Say,
    *,
    log: bool = False,
    percent: bool = False,
) -> Figure:
    """One line a contender against inner step, and a dot on each where the step of the frame is."""
    form = ".1%" if percent else ".3g"
    drawn = [lane for lane in race.lanes if len(values(lane))]
    lines = [_line_of(race, lane, values(lane), form, say) for lane in drawn]
    moving_lanes = [lane for lane in drawn if lane.axis == race.axis]
    dots = [_dot_of(lane, values(lane), race.steps) for lane in moving_lanes]
    moving = [len(lines) + i for i in range(len(dots))]
    frames = [
        {"name": str(k), "traces": moving, "data": [_dot(values(lane), k) for lane in moving_lanes]}
        for k in range(race.steps + 1)
    ]
    bounds = [0.0, 1.04] if percent else value_range([values(lane) for lane in race.lanes], log=log)
    ends = [_height(values(lane), bounds, log) for lane in drawn]
    look = layout(
        xaxis=steps_axis(say("inner step") if race.axis == "inner step" else say("shots"), race.steps),
        yaxis=axis(title, type="log" if log else "linear", range=bounds, tickformat=".0%" if percent else ""),
        hovermode="x unified",
        annotations=_end_labels(drawn, ends),
    )
    if len(drawn) > 1:
        letters = max(len(_shortened(lane.label)) for lane in drawn)
        look["margin"] = look["margin"] | {"r": 16 + round(letters * FONT * 0.56)}
    return {"data": [*lines, *dots], "layout": look, "frames": frames}


def _line_of(race: Race, lane: Lane, y: NDArray, form: str, say: Say) -> dict[str, Any]:
    """A contender's curve; where it has no steps to be drawn against, a dashed line at its end's height."""
    drawn = {
        "type": "scatter",
        "mode": "lines+markers" if len(y) <= 21 else "lines",
        "x": np.arange(len(y), dtype=np.int16),
        "y": y,
        "line": line(_colour(lane), 3),
        "marker": {"size": 5, "color": _colour(lane)},
        "name": plain(lane.label),
        "hovertemplate": f"%{{y:{form}}}<extra>%{{fullData.name}}</extra>",
    }
    if lane.axis == race.axis:
        return drawn
    name = say("{contender}, {shots} shots").format(contender=plain(lane.label), shots=lane.steps)
    level = np.repeat(y[-1:], race.steps + 1)
    across = {"x": np.arange(race.steps + 1, dtype=np.int16), "y": level, "mode": "lines"}
    return drawn | across | {"name": name, "line": line(_colour(lane), 3, "dash")}


def _at_once(race: Race, say: Say) -> tuple[tuple[str, str], ...]:
    """What a dashed line means, where there is one."""
    if all(lane.axis == race.axis for lane in race.lanes):
        return ()
    return (("dash", say("without inner steps: after all its shots")),)


def _dot_of(lane: Lane, y: NDArray, k: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "marker": {"size": 14, "color": _colour(lane), "line": {"color": "#FFFFFF", "width": 2}},
        "hoverinfo": "skip",
        "cliponaxis": False,
        "name": plain(lane.label),
        **static(),
        **_dot(y, k),
    }


def value_range(series: Sequence[NDArray], *, log: bool) -> list[float]:
    """A y axis that holds all series, from or to zero where linear; one that ran away does not flatten the others."""
    if not log and any(len(y) for y in series) and all((np.asarray(y) <= 0).all() for y in series):
        low, high = value_range([-np.asarray(y) for y in series], log=False)
        return [-high, -low]
    firsts = [abs(float(y[0])) for y in series if len(y) and math.isfinite(y[0])]
    limit = 3 * max(firsts, default=1.0) + 1e-6
    every = np.concatenate([np.asarray(y, np.float64) for y in series])
    kept = every[np.isfinite(every) & (every <= limit)]
    high = float(kept.max()) if kept.size else limit
    if not log:
        return [1.06 * min(0.0, float(kept.min()) if kept.size else 0.0), high * 1.06 or 1.0]
    positive = kept[kept > 0]
    low = max(float(positive.min()) if positive.size else high / 10, high * 1e-6)
    return [math.log10(low) - 0.1, math.log10(max(high, low * 2)) + 0.1]


def _dot(values: NDArray, k: int) -> dict[str, Any]:
    """Where a contender stands at step k; beyond the values' end there is no dot."""
    return {"x": [k], "y": [float(values[k])]} if k < len(values) and np.isfinite(values[k]) else {"x": [], "y": []}


def _height(values: NDArray, bounds: Sequence[float], log: bool) -> float:
    last = float(values[-1]) if len(values) else 0.0
    if log:
        last = math.log10(last) if math.isfinite(last) and last > 0 else bounds[0]
    if not math.isfinite(last):
        return 1.0
    return (last - bounds[0]) / (bounds[1] - bounds[0])


def _end_labels(lanes: Sequence[Lane], heights: Sequence[float]) -> list[dict[str, Any]]:
    """Names at the lines' right ends, moved apart; nothing for a single contender."""
    if len(lanes) < 2:
        return []
    return [
        {
            "name": "end",
            "text": plain(_shortened(lane.label)),
            "x": 1.0,
            "xshift": 10,
            "y": y,
            "xref": "paper",
            "yref": "paper",
            "xanchor": "left",
            "yanchor": "middle",
            "showarrow": False,
            "font": {"size": FONT, "color": _colour(lane)},
        }
        for lane, y in zip(lanes, spread(heights, LABEL_GAP), strict=True)
    ]


def _curve(x: NDArray, y: NDArray, name: str, look: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": look,
        "name": name,
        "hovertemplate": "%{y:.3g}<extra>%{fullData.name}</extra>",
    } | more


def _band(x: NDArray, lane: Lane) -> dict[str, Any]:
    """Where a contender that says how unsure it is takes the values to be, after its last step."""
    name, there_and_back = f"{plain(lane.label)}, ± 2σ", np.concatenate([x, x[::-1]])
    filled = {"fill": "toself", "fillcolor": _colour(lane), "opacity": 0.2, "hoverinfo": "skip"}
    return _curve(there_and_back, _outline(lane, -1), name, line(_colour(lane), 0), **filled)


def _outline(lane: Lane, k: int) -> NDArray:
    """Two standard deviations above its function at step k, and back below it: (2 m,)."""
    assert lane.spread is not None
    middle, wide = _functions(lane)[k], 2 * lane.spread[k]
    return np.concatenate([middle + wide, (middle - wide)[::-1]])


def _functions(lane: Lane) -> NDArray:
    assert lane.functions is not None
    return lane.functions


def _colour(lane: Lane) -> str:
    return contender_colour(lane.colour_key)


def _shortened(label: str) -> str:
    return label if len(label) <= LABEL_LETTERS else label[: LABEL_LETTERS - 1] + "…"


def _distances(race: Race, say: Say) -> str:
    """One sentence: how far each contender's function is from the truth, or else from the support points."""
    if race.truth is None:
        return _from_to(race, say, lambda lane: lane.support_loss, "support")
    parts = "; ".join(
        say("{contender} {distance}").format(
            contender=lane.label, distance=number(float(np.sqrt(np.mean((_functions(lane)[-1] - race.truth) ** 2))))
        )
        for lane in race.lanes
    )
    sentence = say("After {steps} the functions lie this far from the true one (root mean square): {parts}.")
    return " ".join([sentence.format(steps=steps_in_words(race, say), parts=parts), *_caught(race, say)])


def _caught(race: Race, say: Say) -> list[str]:
    """For each contender that says how unsure it is: how much of the truth lies where it expects it."""
    found = []
    for lane in race.lanes:
        if lane.spread is not None:
            within = np.abs(_functions(lane)[-1] - race.truth) <= 2 * lane.spread[-1]
            share = f"{within.mean():.0%}"
            found.append(say("{name} has {share} of the truth within ± 2σ.").format(name=lane.label, share=share))
    return found


def _from_to(race: Race, say: Say, values: Callable[[Lane], NDArray], what: str) -> str:
    """One sentence: where each contender starts and where it ends."""
    name = {
        "support": say("the support loss"),
        "loss": say("the query loss"),
        "accuracy": say("the query accuracy"),
        "return": say("the return of query trajectories"),
        "perplexity": say("the query perplexity"),
        "negative_log_likelihood": say("the negative log-likelihood"),
        "gradient": say("the gradient norm"),
    }.get(what, what)
    form = (lambda v: f"{v:.0%}") if what == "accuracy" else number
    parts: dict[str, list[str]] = {}
    for lane in race.lanes:
        if len(values(lane)):
            start, end = (form(float(values(lane)[k])) for k in (0, -1))
            part = say("{contender} from {start} to {end}").format(contender=lane.label, start=start, end=end)
            # Beside inner steps, one that reads its shots at once goes that far in those.
            mixed = lane.axis != race.axis
            steps = say("{steps} shots").format(steps=lane.steps) if mixed else steps_in_words(race, say)
            parts.setdefault(steps, []).append(part)
    sentence = say("In {steps} {what} goes: {parts}.")
    return " ".join(sentence.format(steps=steps, what=name, parts="; ".join(each)) for steps, each in parts.items())


def steps_in_words(race: Race, say: Say) -> str:
    """How far the race goes, e.g. "4 inner steps"."""
    if race.steps == 1:
        return say("1 inner step") if race.axis == "inner step" else say("1 shot")
    words = say("{steps} inner steps") if race.axis == "inner step" else say("{steps} shots")
    return words.format(steps=race.steps)
