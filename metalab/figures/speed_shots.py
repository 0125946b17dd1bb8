"""Adaptation speed against the number of shots, and against how long a run has trained, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.speed_shots import Practice, Shots
from metalab.figures.adaptation import value_range
from metalab.figures.bands import SHADES, banded, colour_bar, name_ends, shares_range
from metalab.figures.speed import metric_title, spelled
from metalab.figures.style import SOFT, Picture, Say, axis, layout, line, plain, static
from metalab.tasks.base import HIGHER_IS_BETTER

PLACES = 1_000
"""A cell of the picture of a run's training is known by outer step * PLACES + inner step."""
FAR = 4
FEW_LOOKS = 8
"""Of so few outer steps each stands on the axis."""


def over_shots(shots: Shots, say: Say, *, log: bool = False) -> Picture:
    """The metric at the end of adaptation against the number of shots, in its band."""
    form = ".1%" if shots.metric == "accuracy" else ".3g"
    bands = [curve.band for curve in shots.curves]
    log = log and all(bool((each.mean > 0).all()) for each in bands)
    places = np.arange(len(shots.counts), dtype=np.float32)
    data: list[dict[str, Any]] = []
    for curve, each in zip(shots.curves, bands, strict=True):
        data += banded(places, each.mean, each.low, each.high, curve.label, curve.colour_key, say, form)
    if shots.metric == "accuracy":
        bounds = shares_range([part for each in bands for part in (each.low, each.high)])
    else:
        bounds = _bounds([each.mean for each in bands], log=log)
    look = layout(
        xaxis=axis(
            say("shots"),
            range=[-0.2, len(shots.counts) - 0.8],
            tickvals=list(range(len(shots.counts))),
            ticktext=[str(count) for count in shots.counts],
        ),
        yaxis=axis(
            metric_title(shots.metric, shots.loss_name, say),
            type="log" if log else "linear",
            range=bounds,
            tickformat=".0%" if shots.metric == "accuracy" else "",
        ),
        hovermode="closest",
    )
    if shots.trained in shots.counts:
        look["shapes"], look["annotations"] = _trained_mark(shots.counts.index(shots.trained), say)
    name_ends(look, shots.curves, [float(each.mean[-1]) for each in bands], bounds, log=log)
    parts = "; ".join(
        say("{name} from {start} to {end}").format(
            name=curve.label,
            start=spelled(float(each.mean[0]), shots.metric),
            end=spelled(float(each.mean[-1]), shots.metric),
        )
        for curve, each in zip(shots.curves, bands, strict=True)
    )
    sentence = say("From {few} to {many} shots, {what} goes: {parts}.")
    what = metric_title(shots.metric, shots.loss_name, say)
    whole = sentence.format(few=shots.counts[0], many=shots.counts[-1], what=what, parts=parts)
    return Picture(
        "shots",
        say("What do more examples bring?"),
        " ".join([whole, *_beyond(shots, bounds, say, log=log)]),
        {"data": data, "layout": look},
        columns=("shots_place", shots.metric),
        key=(("line", say("mean over {n} held-out tasks, in its 95% band").format(n=shots.n_tasks)),),
    )


def _bounds(means: Sequence[NDArray[np.float64]], *, log: bool) -> list[float]:
    """A y axis that is not stretched by who diverges with few shots: nothing counts that is FAR times what is usual
    with the fewest, the median of the contenders, of two the smaller figure."""
    firsts = sorted(abs(float(mean[0])) for mean in means if np.isfinite(mean[0]))
    limit = FAR * firsts[(len(firsts) - 1) // 2] if firsts else np.inf
    return value_range([mean[np.abs(mean) <= limit] for mean in means], log=log)


def _beyond(shots: Shots, bounds: Sequence[float], say: Say, *, log: bool) -> list[str]:
    """Whose curve leaves the picture and where it goes, in sentences."""
    low, high = (10**bound for bound in bounds) if log else bounds
    told = []
    for curve in shots.curves:
        mean = curve.band.mean
        above, below = np.isfinite(mean) & (mean > high), np.isfinite(mean) & (mean < low)
        for out, sentence in (
            (above, say("{name} leaves the picture at the top; with {count} {unit} it has {value}.")),
            (below, say("{name} leaves the picture at the bottom; with {count} {unit} it has {value}.")),
        ):
            if out.any():
                worst = int(np.where(out, np.abs(mean), -1.0).argmax())
                count, value = shots.counts[worst], spelled(float(mean[worst]), shots.metric)
                unit = say("shot") if count == 1 else say("shots")
                told.append(sentence.format(name=curve.label, count=count, unit=unit, value=value))
    return told


def _trained_mark(place: int, say: Say) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rule = {
        "type": "line",
        "yref": "paper",
        "x0": place,
        "x1": place,
        "y0": 0,
        "y1": 1,
        "line": line(SOFT, 1.4, "dot"),
        "layer": "below",
    }
    words = {
        "text": say("as trained"),
        "x": place,
        "xref": "x",
        "xanchor": "left",
        "xshift": 5,
        "y": 1.0,
        "yref": "paper",
        "yanchor": "top",
        "showarrow": False,
        "font": {"color": SOFT},
    }
    return [rule], [words]


def as_trained(found: Practice, label: str, say: Say) -> Picture:
    """The adaptation curve as the run trained: a cell for each outer step and inner step, the best one marked."""
    higher = found.metric in HIGHER_IS_BETTER
    kept = found.values[np.isfinite(found.values)]
    # Before training and before adaptation it is so bad that nothing else would show.
    ends = np.percentile(kept, [25, 100] if higher else [0, 75]) if kept.size else np.array([0.0, 1.0])
    best = _best(found, higher=higher)
    steps = found.values.shape[1]
    cells = (found.outer_steps[:, None] * PLACES + np.arange(steps)).T
    form = ".1%" if found.metric == "accuracy" else ".3g"
    title = metric_title(found.metric, found.loss_name, say)
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap",
            "x": found.outer_steps.astype(np.int32),
            "y": np.arange(steps, dtype=np.int32),
            "z": found.values.T.astype(np.float32),
            "customdata": cells.astype(np.int32),
            "zmin": float(ends[0]),
            "zmax": float(ends[1]),
            "colorscale": SHADES,
            "reversescale": not higher,
            "colorbar": colour_bar(title, percent=found.metric == "accuracy"),
            "name": plain(label),
            "hovertemplate": say("outer step {outer}, inner step {inner}: {value}").format(
                outer="%{x}", inner="%{y}", value=f"<b>%{{z:{form}}}</b><extra></extra>"
            ),
        }
    ]
    if best is not None:
        data.append(_ring(found.outer_steps[best[0]], best[1], say))
    ticks = {"dtick": 1} if steps <= 13 else {"nticks": 8}
    looks = {"tickvals": found.outer_steps.tolist()} if len(found.outer_steps) <= FEW_LOOKS else {}
    look = layout(
        xaxis=axis(say("outer step of the run"), showgrid=False, tickformat=",d", **looks),
        yaxis=axis(say("inner step"), range=[-0.5, steps - 0.5], showgrid=False, tickformat="d", **ticks),
        hovermode="closest",
    )
    return Picture(
        "as_trained",
        say("How did it get this fast?"),
        _practice_told(found, label, best, say) + _shade_told(found, float(ends[0 if higher else 1]), say),
        {"data": data, "layout": look},
        columns=("outer_step", "inner_step", found.metric),
        key=(("ring", say("the best of all")),) if best is not None else (),
    )


def _best(found: Practice, *, higher: bool) -> tuple[int, int] | None:
    if not np.isfinite(found.values).any():
        return None
    values = np.where(np.isfinite(found.values), found.values if higher else -found.values, -np.inf)
    row, column = np.unravel_index(values.argmax(), values.shape)
    return int(row), int(column)


def _ring(x: int, y: int, say: Say) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [int(x)],
        "y": [y],
        "marker": {"size": 15, "color": "rgba(0,0,0,0)", "line": {"color": "#D1495B", "width": 3}},
        "hoverinfo": "skip",
        "name": say("the best of all"),
        **static(),
    }


def _practice_told(found: Practice, label: str, best: tuple[int, int] | None, say: Say) -> str:
    if best is None:
        return say("{name} has no finite evaluation.").format(name=label)
    row, column = best
    return say("{name} is best at outer step {outer} and inner step {inner}, with {value}.").format(
        name=label,
        outer=f"{int(found.outer_steps[row]):,}",
        inner=column,
        value=spelled(float(found.values[row, column]), found.metric),
    )


def _shade_told(found: Practice, worst: float, say: Say) -> str:
    """What the darkest shade stands for, where cells lie beyond the scale."""
    kept = found.values[np.isfinite(found.values)]
    beyond = kept < worst if found.metric in HIGHER_IS_BETTER else kept > worst
    if not beyond.any():
        return ""
    return " " + say("The darkest shade is {value} and worse.").format(value=spelled(worst, found.metric))
