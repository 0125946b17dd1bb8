"""Exact, first-order and Reptile's directions as pictures: how they compare, what is left out, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.alignment import Alignment
from metalab.analysis.bootstrap import Band
from metalab.analysis.order import Sweep
from metalab.analysis.order_cost import Cost
from metalab.figures.bands import Key, banded, level_line, name_ends
from metalab.figures.style import FONT_SMALL, SOFT, Picture, Say, axis, layout, line, number, plain

COLOURS: Mapping[str, Key] = {"exact": ("maml", 2, 0), "fomaml": ("maml", 1, 0), "reptile": ("reptile", 2, 0)}
MOST_RATIO = 3.0
"""Longer directions leave the picture."""


@dataclass(frozen=True)
class Line:
    """A curve's name and colour."""

    label: str
    colour_key: Key


def lines(say: Say) -> dict[str, Line]:
    """What each algorithm's curve is called."""
    names = {"exact": say("exact (MAML)"), "fomaml": say("first order"), "reptile": say("Reptile")}
    return {name: Line(names[name], COLOURS[name]) for name in COLOURS}


def place(sweep: Sweep, value: float | None = None) -> int:
    """Where a value stands in the sweep; by default the one that is looked at."""
    wanted = (sweep.inner_lr if sweep.over == "inner_lr" else sweep.inner_steps) if value is None else value
    return int(np.abs(sweep.values - wanted).argmin())


def _banded(
    x: NDArray, band: Band, one: Line, say: Say, form: str = ".3g", dash: str = "solid"
) -> list[dict[str, Any]]:
    return banded(x, band.mean, band.low, band.high, one.label, one.colour_key, say, form, dash)


# --- the directions


def cosine(sweep: Sweep, say: Say) -> Picture:
    """Cosine of each direction with the exact one."""
    drawn = {name: sweep.cosine[name] for name in sweep.cosine}
    least = _least([band.low for band in drawn.values()], 0.0)
    figure = _against(sweep, drawn, say("cosine with the exact direction"), [min(-0.04, least - 0.04), 1.05], say)
    return Picture(
        "order_cosine",
        say("Do they point the same way?"),
        _at(sweep, drawn, say("the cosine with the exact direction is"), say),
        figure,
        columns=(sweep.over, "cosine"),
        key=_statistic(sweep, say),
    )


def ratio(sweep: Sweep, say: Say) -> Picture:
    """Length of each direction as a share of the exact one's."""
    drawn = {name: sweep.ratio[name] for name in sweep.ratio}
    most = min(max(1.3, _most([band.high for band in drawn.values()], 1.0) * 1.05), MOST_RATIO)
    figure = _against(sweep, drawn, say("length / length of the exact one"), [-0.03 * most, most], say)
    shape, _words = level_line(1.0, "")
    figure["layout"]["shapes"].append(shape)
    return Picture(
        "order_ratio",
        say("Are they as long?"),
        " ".join(
            [_at(sweep, drawn, say("the length, as a share of the exact one's, is"), say), *_longer(sweep, most, say)]
        ),
        figure,
        columns=(sweep.over, "ratio"),
        key=(*_statistic(sweep, say), ("dash", say("as long as the exact one"))),
    )


def _longer(sweep: Sweep, most: float, say: Say) -> list[str]:
    """Whose lengths leave the picture at the top, and how long they get, in sentences."""
    told = []
    for name, band in sweep.ratio.items():
        kept = np.where(np.isfinite(band.mean), band.mean, -np.inf)
        i = int(kept.argmax())
        if kept[i] > most:
            at = say("α = {value}") if sweep.over == "inner_lr" else say("K = {value}")
            sentence = say("{name} leaves the picture at the top; at {where} it is {times} times as long.")
            where = at.format(value=number(float(sweep.values[i])))
            told.append(sentence.format(name=lines(say)[name].label, where=where, times=number(float(kept[i]))))
    return told


def neglected(sweep: Sweep, say: Say) -> Picture:
    """How much of the exact direction the first-order one leaves out."""
    most = min(max(0.2, _most([sweep.neglected.high], 1.0) * 1.05), 2.0)
    drawn = {"fomaml": sweep.neglected}
    figure = _against(sweep, drawn, say("|exact − first order| / |exact|"), [-0.03 * most, most], say, percent=True)
    i = place(sweep)
    told = say("{where} what first order leaves out is {share} as long as the exact direction (95% {low} to {high}).")
    return Picture(
        "order_neglected",
        say("How much does first order leave out?"),
        told.format(
            where=where(sweep, say), share=_percent(sweep.neglected.mean[i]), **_ends(sweep.neglected, i, True)
        ),
        figure,
        columns=(sweep.over, "neglected"),
        key=_statistic(sweep, say),
    )


def curvature(sweep: Sweep, say: Say) -> Picture:
    """Why: alpha times the Hessian's trace, and its bend along the step itself."""
    data: list[dict[str, Any]] = []
    named = [Line(say("trace of αH"), ("maml", 2, 0)), Line(say("along the step"), ("maml", 1, 0))]
    bands, dashes = [sweep.trace, sweep.curvature], ("solid", "dash")
    for one, band, dash in zip(named, bands, dashes, strict=True):
        kept = Band(*(_positive(part) for part in (band.mean, band.low, band.high)))
        data += _banded(sweep.values, kept, one, say, dash=dash)
    every = np.concatenate([_positive(part) for band in bands for part in (band.mean, band.low)])
    told = every[np.isfinite(every) & (every < 1e6)]
    low, high = (float(told.min()), float(told.max())) if told.size else (0.1, 1.0)
    bounds = [float(np.log10(low)) - 0.2, float(np.log10(high)) + 0.3]
    look = layout(
        xaxis=_value_axis(sweep, say),
        yaxis=axis(say("α × curvature of the support loss"), type="log", range=bounds),
        hovermode="closest",
        **_marked(sweep, say),
    )
    ends = [_last(_positive(band.mean)) for band in bands]
    name_ends(look, named, ends, bounds, log=True, dashes=dashes)
    i = place(sweep)
    sentence = say(
        "{where} the trace of αH, averaged over inner steps and tasks, is {trace} over {n} parameters; along the inner "
        "step itself α times the curvature is {along}, and from 2 on a step leads farther away."
    )
    alt = sentence.format(
        where=where(sweep, say),
        trace=number(float(sweep.trace.mean[i])),
        n=f"{sweep.n_parameters:,}",
        along=number(float(sweep.curvature.mean[i])),
    )
    figure = {"data": data, "layout": look}
    key = (("line", say("mean over {n} tasks, in its 95% band").format(n=sweep.n_tasks)),)
    question = say("Where does the difference come from?")
    return Picture("order_curvature", question, alt, figure, (sweep.over, "value"), key)


def _statistic(sweep: Sweep, say: Say) -> tuple[tuple[str, str], ...]:
    return (("line", say("median over {n} tasks, in its 95% band").format(n=sweep.n_tasks)),)


def where(sweep: Sweep, say: Say) -> str:
    """What is looked at, e.g. "At α = 0.01 and K = 5"."""
    return say("At α = {alpha} and K = {steps}").format(alpha=number(sweep.inner_lr), steps=sweep.inner_steps)


def _against(
    sweep: Sweep, drawn: Mapping[str, Band], title: str, bounds: list[float], say: Say, *, percent: bool = False
) -> dict[str, Any]:
    named, data = lines(say), []
    form = ".0%" if percent else ".3f"
    for name, band in drawn.items():
        data += _banded(sweep.values, band, named[name], say, form)
    look = layout(
        xaxis=_value_axis(sweep, say),
        yaxis=axis(title, range=bounds, tickformat=".0%" if percent else ""),
        hovermode="closest",
        **_marked(sweep, say),
    )
    if len(drawn) > 1:
        name_ends(look, [named[name] for name in drawn], [_last(band.mean) for band in drawn.values()], bounds)
    return {"data": data, "layout": look}


def _value_axis(sweep: Sweep, say: Say) -> dict[str, Any]:
    if sweep.over == "inner_lr":
        ends = np.log10(sweep.values[[0, -1]])
        more = {"type": "log", "range": [float(ends[0]) - 0.05, float(ends[1]) + 0.05], "dtick": 1}
        return axis(say("inner learning rate α"), **more)
    return axis(say("inner steps K"), range=[0.7, float(sweep.values[-1]) + 0.3], tickvals=sweep.values.tolist())


def _marked(sweep: Sweep, say: Say) -> dict[str, Any]:
    """A line where the chosen value is, named above the plot, where no curve runs."""
    log = sweep.over == "inner_lr"
    value = sweep.inner_lr if log else sweep.inner_steps
    shape = {
        "type": "line",
        "x0": value,
        "x1": value,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": line(SOFT, 1.5, "dot"),
    }
    words = {
        "text": f"α = {number(value)}" if log else f"K = {value}",
        "x": float(np.log10(value)) if log else value,
        "y": 1.0,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": FONT_SMALL, "color": SOFT},
    }
    return {"shapes": [shape], "annotations": [words], "margin": {"l": 62, "r": 14, "t": 30, "b": 50}}


def _at(sweep: Sweep, drawn: Mapping[str, Band], what: str, say: Say) -> str:
    """One sentence: each band where the page looks."""
    i, named = place(sweep), lines(say)
    parts = [
        say("{value} for {name} (95% {low} to {high})").format(
            value=_signed(band.mean[i]), name=named[name].label, **_ends(band, i)
        )
        for name, band in drawn.items()
    ]
    return say("{where} {what} {parts}: medians over {n} tasks.").format(
        where=where(sweep, say), what=what, parts=", ".join(parts), n=sweep.n_tasks
    )


def _ends(band: Band, i: int, percent: bool = False) -> dict[str, str]:
    form = _percent if percent else _signed
    return {"low": form(band.low[i]), "high": form(band.high[i])}


def _signed(value: float) -> str:
    return number(float(value))


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%" if np.isfinite(value) else "∞"


def _finite(series: Sequence[NDArray]) -> NDArray:
    every = np.concatenate([np.ravel(part) for part in series])
    return every[np.isfinite(every)]


def _least(series: Sequence[NDArray], otherwise: float) -> float:
    return float(_finite(series).min(initial=otherwise))


def _most(series: Sequence[NDArray], otherwise: float) -> float:
    return float(_finite(series).max(initial=otherwise))


def _positive(values: NDArray) -> NDArray:
    """Values as a logarithmic axis can show them: what is not above zero is a gap."""
    with np.errstate(invalid="ignore"):
        return np.where(values > 0, values, np.nan)


def _last(values: NDArray) -> float:
    kept = values[np.isfinite(values)]
    return float(kept[-1]) if kept.size else 0.0


# --- the cost


def seconds(cost: Cost, say: Say) -> Picture:
    """Time of one outer step's meta-gradient against the number of inner steps."""
    found = {name: 1e3 * values for name, values in cost.seconds.items()}
    bands = {name: Band(values[:, 1], values[:, 0], values[:, 2]) for name, values in found.items()}
    title = say("milliseconds for {n} tasks").format(n=cost.n_tasks)
    figure = _cost(cost, bands, title, say)
    return Picture(
        "order_seconds",
        say("How long does each take here?"),
        _cost_in_words(cost, {name: values[:, 1] for name, values in found.items()}, say("milliseconds"), say)
        + " "
        + _read(cost, say),
        figure,
        columns=("inner_steps", "milliseconds"),
        key=(("line", say("median")), ("band", say("middle half of the measurements"))),
    )


def memory(cost: Cost, say: Say) -> Picture:
    """What autograd keeps at most, against the number of inner steps."""
    found = {name: values / 1e6 for name, values in cost.kept_bytes.items()}
    figure = _cost(cost, {name: Band(values, values, values) for name, values in found.items()}, say("megabytes"), say)
    return Picture(
        "order_memory",
        say("How much does each remember?"),
        _cost_in_words(cost, found, say("megabytes kept for differentiation"), say) + " " + _read(cost, say),
        figure,
        columns=("inner_steps", "megabytes"),
    )


def _cost(cost: Cost, bands: Mapping[str, Band], title: str, say: Say) -> dict[str, Any]:
    named, data = lines(say), []
    for name, band in bands.items():
        one = named[name]
        for trace in _banded(cost.steps, band, one, say):
            if "customdata" in trace:
                trace |= {"hovertemplate": "<b>%{y:.3g}</b> %{fullData.name}<extra></extra>"}
                data.append(trace)
            elif trace.get("fill") and band.low is not band.high:
                data.append(trace)
    bounds = [0.0, _most([band.high for band in bands.values()], 1e-9) * 1.06]
    ticks = {"range": [float(cost.steps[0]) - 0.3, float(cost.steps[-1]) + 0.3], "tickvals": cost.steps.tolist()}
    look = layout(xaxis=axis(say("inner steps K"), **ticks), yaxis=axis(title, range=bounds), hovermode="closest")
    name_ends(look, [named[name] for name in bands], [float(band.mean[-1]) for band in bands.values()], bounds)
    return {"data": data, "layout": look}


def _read(cost: Cost, say: Say) -> str:
    """Why the times are not of the same work."""
    return say(
        "Reptile's inner loop descends on support and query together, {all} examples of a task; the other two on the "
        "{support} of the support set, and they read the query set once, at its end."
    ).format(all=cost.n_examples, support=cost.n_support)


def _cost_in_words(cost: Cost, found: Mapping[str, NDArray], unit: str, say: Say) -> str:
    named = lines(say)
    parts = [
        say("{name} from {first} to {last}").format(
            name=named[name].label, first=number(float(values[0])), last=number(float(values[-1]))
        )
        for name, values in found.items()
    ]
    return say("From {first} to {last} inner steps on {n} tasks, in {unit}: {parts}.").format(
        first=cost.steps[0], last=cost.steps[-1], n=cost.n_tasks, unit=unit, parts="; ".join(parts)
    )


# --- as the run trains


def alignment(found: Alignment, label: str, colour_key: Key, say: Say, *, product: bool = False) -> Picture:
    """Cosine or inner product of support and query gradients, of the same task and of two, as the run trains."""
    bands = found.product if product else found.cosine
    names = {"same": say("same task"), "other": say("different tasks")}
    named = {name: Line(names[name], colour_key if name == "same" else ("scratch", 2, 0)) for name in bands}
    data: list[dict[str, Any]] = []
    for name, band in bands.items():
        data += _banded(found.outer_steps, band, named[name], say)
    every = _finite([part for band in bands.values() for part in (band.low, band.high)])
    low, high = min(0.0, float(every.min(initial=0))), max(0.05, float(every.max(initial=0)))
    bounds = [low - 0.05 * (high - low), high + 0.05 * (high - low)]
    title = say("inner product of two gradients") if product else say("cosine of two gradients")
    look = layout(xaxis=axis(say("outer step"), tickformat=",d"), yaxis=axis(title, range=bounds), hovermode="closest")
    name_ends(look, list(named.values()), [float(band.mean[-1]) for band in bands.values()], bounds)
    first, last = found.outer_steps[[0, -1]]
    told = say(
        "{run}, from outer step {first} to {last}: support and query gradient of the same task go from {own_first} to "
        "{own_last}, those of different tasks from {other_first} to {other_last}, over {n} tasks."
    )
    ends = {
        f"{part}_{end}": _signed(bands[name].mean[i])
        for part, name in (("own", "same"), ("other", "other"))
        for end, i in (("first", 0), ("last", -1))
    }
    return Picture(
        "order_alignment",
        say("Do the gradients of a task agree more and more?"),
        told.format(run=plain(label), first=f"{first:,}", last=f"{last:,}", n=found.n_tasks, **ends),
        {"data": data, "layout": look},
        columns=("outer_step", "inner_product" if product else "cosine"),
        key=(("line", say("mean over {n} tasks, in its 95% band").format(n=found.n_tasks)),),
    )
