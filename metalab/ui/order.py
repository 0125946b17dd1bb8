"""What the page on second order remembers, computes in the background, and says in words."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from metalab.analysis.adaptation import Contender
from metalab.analysis.alignment import Alignment, alignment
from metalab.analysis.background import Report
from metalab.analysis.bootstrap import FEWEST, Band
from metalab.analysis.order import ALPHAS, MOST_STEPS, Sweep, alphas_around, steps_up_to, sweep
from metalab.analysis.order_cost import Cost, cost
from metalab.figures import order as pictures
from metalab.figures.style import Picture, fixed, number
from metalab.store import Run
from metalab.tasks import FAMILIES
from metalab.training.service import service
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.background import computed
from metalab.ui.gallery import Placed
from metalab.ui.i18n import _
from metalab.ui.links import Parameter
from metalab.ui.study import Study

TASKS = (16, 32, 64, 128)
BEGIN_TASKS = 32
FIRST_LOOK = FEWEST
"""So many tasks, at FIRST_PLACES settings, are compared first, so that something is seen soon."""
FIRST_PLACES = 2
PRICED_TASKS = 8
"""Time and memory are measured on so many tasks: what they are for more follows."""
MOST_CHECKPOINTS = 13
NO_INNER_GRADIENT = frozenset({"prototypes", "cnp", "in_context", "prompting", "nearest_neighbour", "nil"})
"""Algorithms that read their shots and take no inner steps."""
STUDY = Study(
    "order",
    [
        Parameter("over", "inner_lr", choices=("inner_lr", "inner_steps")),
        Parameter("inner_lr", 0.0, float, low=0.0, high=ALPHAS[1], automatic=True),
        Parameter("inner_steps", 0, int, low=0, high=MOST_STEPS, automatic=True),
        Parameter("tasks", BEGIN_TASKS, int, choices=TASKS),
        Parameter("product", False, bool),
        Parameter("seed", 0, int, low=0, high=9999),
    ],
    families=[name for name, family in FAMILIES.items() if family.kind in ("regression", "classification")],
    most=1,
    without="Navigation's gradients depend on chance, and a network that writes names is slow to differentiate twice.",
)


def suits(run: Run) -> bool:
    """Whether gradient descent from its theta means anything."""
    return run.algorithm not in NO_INNER_GRADIENT


def own_alpha(entrant: Entrant) -> float:
    """The run's inner learning rate; where it has none, or learns many, the paper's."""
    algorithm = entrant.contender.algorithm
    alpha = float(getattr(algorithm, "inner_lr", 0.01) if algorithm.alpha is None else algorithm.alpha)
    return min(max(alpha, ALPHAS[0]), ALPHAS[1])


def own_steps(entrant: Entrant) -> int:
    """Inner steps on each task in meta-training."""
    return max(1, min(int(getattr(entrant.contender.algorithm, "inner_steps", 5)), MOST_STEPS))


def alphas(entrant: Entrant, chosen: float) -> list[float]:
    """What the slider of alpha offers."""
    ends = np.geomspace(1e-3, 1.0, 25)
    rounded = {float(f"{value:.2g}") for value in ends}
    return sorted(rounded | {own_alpha(entrant), chosen or own_alpha(entrant)})


def settings(state: Mapping[str, Any], entrant: Entrant) -> tuple[float, int]:
    """Alpha and K: what was chosen, or the run's own."""
    return state["inner_lr"] or own_alpha(entrant), state["inner_steps"] or own_steps(entrant)


def _large(entrant: Entrant) -> bool:
    """Whether a meta-gradient takes so long that fewer settings are compared: where networks read images or text."""
    return entrant.config.family.kind == "classification"


def _key(state: Mapping[str, Any], entrant: Entrant) -> tuple[Hashable, ...]:
    return entrant.contender.key, entrant.config.family.model_dump_json(), state["tasks"], state["seed"]


def compared(state: Mapping[str, Any], entrant: Entrant) -> Sweep | None:
    """The directions at each alpha or number of inner steps, of a few tasks first; None while they are computed."""
    first = _compared(state, entrant, "order.first", FIRST_LOOK, FIRST_PLACES)
    points = 6 if _large(entrant) else 10
    if first is None:
        return None
    return _compared(state, entrant, "order.sweep", state["tasks"], points, later=True) or first


def _compared(
    state: Mapping[str, Any], entrant: Entrant, slot: str, tasks: int, points: int, later: bool = False
) -> Sweep | None:
    alpha, steps = settings(state, entrant)
    values: Sequence[float] = (
        alphas_around(alpha, points) if state["over"] == "inner_lr" else steps_up_to(steps, min(points, 8))
    )
    asked: dict[str, Any] = {"over": state["over"], "inner_lr": alpha, "inner_steps": steps}

    def make(report: Report) -> Sweep:
        more = {"n_tasks": tasks, "seed": state["seed"]}
        return sweep(entrant.contender, entrant.config.family, values, **asked, **more, report=report)

    told = _("Three meta-gradients of {tasks} tasks at {n} settings").format(tasks=tasks, n=len(values))
    return computed(slot, (*_key(state, entrant), tuple(asked.values()), tasks, *values), make, told=told, later=later)


def priced(state: Mapping[str, Any], entrant: Entrant) -> Cost | None:
    """Time and memory; None while they are measured."""
    alpha, steps = settings(state, entrant)
    counts = steps_up_to(steps, 5 if _large(entrant) else 8)

    def make(report: Report) -> Cost:
        more = {"n_tasks": PRICED_TASKS, "seed": state["seed"]}
        return cost(entrant.contender, entrant.config.family, counts, inner_lr=alpha, **more, report=report)

    told = _("Measuring time and memory")
    return computed("order.cost", (*_key(state, entrant), alpha, counts), make, told=told, later=True)


def trained(state: Mapping[str, Any], entrant: Entrant) -> Alignment | None:
    """How gradients agree at the run's checkpoints; None while they are computed."""
    kept = thinned(entrant.checkpoints, MOST_CHECKPOINTS)
    store = service().store

    def at(step: int) -> Callable[[], Contender]:
        return lambda: replace(entrant.contender, theta=store.load_theta(entrant.id, step), key=(entrant.id, step))

    def make(report: Report) -> Alignment:
        more = {"n_tasks": state["tasks"], "seed": state["seed"]}
        return alignment([(step, at(step)) for step in kept], entrant.config.family, **more, report=report)

    told = _("Gradients at {n} checkpoints").format(n=len(kept))
    return computed("order.alignment", (*_key(state, entrant), kept), make, told=told, later=True)


def thinned(steps: Sequence[int], most: int) -> tuple[int, ...]:
    """At most so many of the steps, evenly, the first and the last among them."""
    places = np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int))
    return tuple(steps[i] for i in places)


def shown(
    state: Mapping[str, Any], entrant: Entrant, found: Sweep | None, price: Cost | None, practice: Alignment | None
) -> list[Placed]:
    """The pictures of what has been computed so far."""
    drawn: list[Picture] = []
    if found is not None:
        drawn += [figure(found, _) for figure in (pictures.cosine, pictures.ratio, pictures.neglected)]
        drawn.append(pictures.curvature(found, _))
    if price is not None:
        drawn += [pictures.seconds(price, _), pictures.memory(price, _)]
    placed = [Placed(picture, 300) for picture in drawn]
    if practice is not None:
        who = entrant.contender
        picture = pictures.alignment(practice, who.label, who.colour_key, _, product=state["product"])
        placed.append(Placed(picture, 320, "whole"))
    return placed


# --- words


def verdict(found: Sweep, price: Cost | None) -> str:
    """The page's answer, in Markdown."""
    i = pictures.place(found)
    said = pictures.where(found, _) + " "
    first = found.cosine["fomaml"]
    if not np.isfinite(first.mean[i]):
        return said + _("the inner loop **diverges**: there is no meta-gradient to compare.")
    told = _(
        "the first-order direction of a task has cosine **{cosine}** with its exact meta-gradient and {ratio} times "
        "its length: {judged}. Reptile's has cosine {reptile}. (Medians over {n} tasks, with their 95% intervals.)"
    )
    said += told.format(
        cosine=_interval(first, i),
        ratio=number(float(found.ratio["fomaml"].mean[i])),
        judged=_judged(first, i),
        reptile=_interval(found.cosine["reptile"], i),
        n=found.n_tasks,
    )
    if price is not None and found.inner_steps in price.steps:
        said += " " + _price(price, found.inner_steps)
    return said


def _judged(first: Band, i: int) -> str:
    if first.low[i] >= 0.95:
        return _("here second order **hardly changes the direction**")
    if first.high[i] < 0.95:
        return _("here second order **changes the direction**")
    return _("these tasks leave open whether second order matters here")


def _price(price: Cost, steps: int) -> str:
    at = int(np.flatnonzero(price.steps == steps)[0])
    time = {name: values[at, 1] for name, values in price.seconds.items()}
    kept = {name: values[at] for name, values in price.kept_bytes.items()}
    told = _(
        "The exact one takes **{time} times** as long as first order and keeps **{memory} times** as much in memory, "
        "measured on this server."
    )
    return told.format(
        time=number(float(time["exact"] / time["fomaml"])), memory=number(float(kept["exact"] / kept["fomaml"]))
    )


def _interval(band: Band, i: int) -> str:
    told = _("{value} ({low} to {high})")
    ends = {"value": band.mean[i], "low": band.low[i], "high": band.high[i]}
    return told.format(**{name: fixed(value, 3) for name, value in ends.items()})


def agreement(found: Alignment) -> str:
    """Whether training made the gradients of one task agree, in one sentence."""
    same, other = found.cosine["same"], found.cosine["other"]
    if len(found.outer_steps) > 1 and same.low[-1] > same.high[0]:
        said = _("Training has made the support and the query gradient of a task agree more")
    elif len(found.outer_steps) > 1 and same.high[-1] < same.low[0]:
        said = _("The support and the query gradient of a task agree less after training than before")
    else:
        said = _("How much the support and the query gradient of a task agree has not changed beyond chance")
    told = _(
        "{said}: cosine {first} at the first checkpoint, {last} at the last; between different tasks it is {other}."
    )
    return told.format(
        said=said,
        first=_interval(same, 0),
        last=_interval(same, -1),
        other=_interval(other, -1),
    )
