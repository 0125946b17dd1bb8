"""How fast contenders adapt: their curves over many held-out tasks, and what reaching a level costs each of them.

    contenders + family -> measure(...) -> Speed        takes seconds, and reports how far it is
    Speed + level + cost -> compare(...) -> Comparison  at once

All contenders get the same tasks, so that differences are paired; intervals are bootstrapped over tasks.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.bootstrap import Band, Doubles, interval, resampled
from metalab.analysis.memory import Memory
from metalab.params import Params
from metalab.tasks.base import HIGHER_IS_BETTER, Examples, TaskBatch, TaskFamily
from metalab.training.evaluation import evaluate
from metalab.training.parallel import Workers
from metalab.training.start import stream

Axis = Literal["inner step", "shot"]
Cost = Literal["steps", "gradients", "seconds"]
COSTS: tuple[Cost, ...] = ("steps", "gradients", "seconds")
MOST_STEPS = 50
CLOCKED, CLOCKED_SECONDS = 5, 0.1
"""Tasks whose adaptation is timed, each alone; of few tasks a quarter. Where one is quick more are, for so long."""
USUAL = 0.9
"""The level that is asked about at first lies this share of the way from where one starts to the best there is."""
SLIGHT = 0.1
"""A difference that is surely below this share of the figure itself is as good as none."""


@dataclass(frozen=True, eq=False)
class Curve:
    """How one contender went on every task: K steps of `axis` lead from phi_0 to phi_K."""

    label: str
    colour_key: tuple[str, int, int]
    axis: Axis
    values: NDArray[np.float32]
    """(T, K + 1): the family's metric on each task's query set, at phi_0 .. phi_K."""
    draws: Doubles
    """(draws, K + 1): its mean over tasks in each resample, the same for every contender."""
    gradients: Doubles
    """(K + 1,): gradients of the support loss on the way to each phi; one on a minibatch is a part of one."""
    seconds: Doubles
    """(K + 1,): wall-clock on the way to each phi of one task alone, the quickest of those timed."""

    @property
    def band(self) -> Band:
        """The mean over tasks and its interval, (K + 1,) each."""
        with np.errstate(invalid="ignore", over="ignore"):
            return Band(self.values.mean(0, dtype=np.float64), *interval(self.draws))

    @property
    def finite(self) -> bool:
        """Whether no task left the range of numbers."""
        return bool(np.isfinite(self.values).all())


@dataclass(frozen=True, eq=False)
class Speed:
    """All curves, over the same tasks."""

    metric: str
    loss_name: str
    """What the loss is, with its unit."""
    n_tasks: int
    curves: tuple[Curve, ...]

    @property
    def higher(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric in HIGHER_IS_BETTER

    @property
    def axis(self) -> Axis:
        """What steps are: shots only where nobody takes inner steps."""
        return "shot" if all(curve.axis == "shot" for curve in self.curves) else "inner step"

    @property
    def steps(self) -> int:
        """The most steps of `axis` that a curve has."""
        return max(curve.values.shape[1] - 1 for curve in self.curves if curve.axis == self.axis)


@dataclass(frozen=True, eq=False)
class Path:
    """A curve against what it costs: n places, each later than the one before."""

    cost: Doubles
    """(n,)"""
    mean: Doubles
    """(n,)"""
    low: Doubles
    high: Doubles
    draws: Doubles
    """(draws, n)"""
    at_once: bool
    """Whether it is one place, of a contender that reads its shots at once among others that take inner steps."""
    start: Doubles
    """(3,): the mean before anything is read or adapted, and its interval."""


@dataclass(frozen=True)
class Standing:
    """A figure of one contender, and how far it lies behind the leader's, with 95% intervals.

    Less is ahead. Infinite for a level that is never reached.
    """

    label: str
    colour_key: tuple[str, int, int]
    value: float
    low: float
    high: float
    behind: float
    """0 for the leader."""
    behind_low: float
    behind_high: float

    @property
    def real(self) -> bool:
        """Whether the interval of the distance to the leader leaves zero out."""
        return self.behind_low > 0

    @property
    def alike(self) -> bool:
        """Whether the distance to the leader, either way, is surely slight. Without that it may be large or none."""
        return max(abs(self.behind_low), abs(self.behind_high)) <= SLIGHT * abs(self.value)


@dataclass(frozen=True)
class Comparison:
    """Who reaches the level at which cost, and whose curve is better on the whole; in the order of the curves."""

    level: float
    cost: Cost
    arrivals: tuple[Standing, ...]
    areas: tuple[Standing, ...]
    """The mean of the curve over steps 0 .. K (trapezoids), whoever reads its shots at once reading them in the first
    of the inner steps; with the sign that makes less better."""

    @property
    def leader(self) -> Standing | None:
        """Who reaches the level first; None where nobody does."""
        first = min(self.arrivals, key=lambda one: one.value)
        return first if np.isfinite(first.value) else None

    @property
    def runner_up(self) -> Standing | None:
        """Who comes next after the leader, perhaps never; None where there is no leader or nobody else."""
        leader = self.leader
        others = [one for one in self.arrivals if one is not leader]
        return min(others, key=lambda one: one.value) if leader and others else None


_tasks: Memory[TaskBatch] = Memory(8)
_curves: Memory[Curve] = Memory(96)


def held_out(family: TaskFamily, n_tasks: int, seed: int) -> TaskBatch:
    """Tasks of the meta-test split, the same for the same seed. Raises DataMissing."""
    family.require()
    key = (family.model_dump_json(), n_tasks, seed)
    return _tasks.get(key, lambda: family.sample(n_tasks, "test", stream(seed, "test")))


def at_once(family: TaskFamily) -> int:
    """Tasks that are adapted in one call: so few that it takes a fraction of a second."""
    return 100 if family.kind == "regression" else 8


def identity(contender: Contender) -> tuple[Hashable, ...]:
    """Equal only for contenders that adapt alike."""
    return contender.key, contender.algorithm.model_dump_json(), contender.model.model_dump_json()


def measure(
    contenders: Sequence[Contender],
    family: TaskFamily,
    *,
    n_tasks: int,
    steps: int,
    seed: int = 0,
    report: Report = quiet,
) -> Speed:
    """Let each contender adapt to `n_tasks` held-out tasks for `steps` inner steps, or to all their shots.

    Raises ValueError for no contenders or steps outside 1 .. 50, DataMissing, and what `report` raises.
    """
    if not contenders:
        raise ValueError("no contenders: expected one or more")
    if not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"steps = {steps!r}: expected a whole number from 1 to {MOST_STEPS}")
    report(0.0)
    batch = held_out(family, n_tasks, seed)
    found = []
    for i, contender in enumerate(contenders):

        def part(done: float, i: int = i) -> None:
            report((i + done) / len(contenders))

        def curve(contender: Contender = contender, part: Report = part) -> Curve:
            return _curve(contender, family, batch, steps, part)

        known = _curves.get((identity(contender), family.model_dump_json(), n_tasks, steps, seed), curve)
        found.append(replace(known, label=contender.label, colour_key=contender.colour_key))
    return Speed(family.metric, family.loss_name, n_tasks, tuple(found))


@dataclass(frozen=True)
class _Counting(Learner):
    """A learner that counts the examples whose loss it is asked for."""

    examples: list[int] = field(default_factory=list)

    def support_loss(self, phi: Params, support: Examples) -> Tensor:
        self.examples.append(support.x.shape[1])
        return super().support_loss(phi, support)


def _curve(contender: Contender, family: TaskFamily, batch: TaskBatch, steps: int, report: Report) -> Curve:
    algorithm, learner = contender.algorithm, Learner(contender.model, family)
    if algorithm.axis == "shot":
        steps = algorithm.evaluation_steps
    gradients, seconds = _clock(contender, learner, batch, steps)
    workers, size = Workers(contender.model, torch.device("cpu"), 1), at_once(family)
    parts = []
    for first in range(0, batch.n_tasks, size):
        report(first / batch.n_tasks)
        part = batch.tasks(first, min(first + size, batch.n_tasks))
        parts.append(evaluate(learner, algorithm, contender.theta, part, steps, workers)[family.metric])
    values = torch.cat(parts).float().numpy()
    return Curve(contender.label, contender.colour_key, algorithm.axis, values, resampled(values), gradients, seconds)


def _clock(contender: Contender, learner: Learner, batch: TaskBatch, steps: int) -> tuple[Doubles, Doubles]:
    """Gradients and seconds on the way to each phi of one task.

    Inner steps cost one like the other, so each takes its share of the whole; who reads shots reads them anew for
    each number of them. The quickest counts, since whatever else the machine does only adds to what a task takes.
    """
    taken = []
    counted = _Counting(learner.model, learner.family)
    support = batch.tasks(0, 1).support
    gradients = [0.0]
    for _inner in contender.algorithm.adapt(counted, contender.theta, support, steps):
        gradients.append(sum(counted.examples) / support.x.shape[1])  # with that of the step to come
    gradients.pop()
    began = time.perf_counter()
    for i in range(batch.n_tasks):
        if i >= min(CLOCKED, -(-batch.n_tasks // 4)) and time.perf_counter() - began > CLOCKED_SECONDS:
            break
        support = batch.tasks(i, i + 1).support
        marks = [time.perf_counter()]
        for _inner in contender.algorithm.adapt(learner, contender.theta, support, steps):
            marks.append(time.perf_counter())
        n = len(marks) - 1
        whole = marks[-1] - marks[0]
        taken.append(np.diff(marks) if contender.algorithm.axis == "shot" else whole * np.arange(n) / max(n - 1, 1))
    return np.array(gradients), np.min(taken, axis=0)


def path(speed: Speed, curve: Curve, cost: Cost) -> Path:
    """A curve against its cost in steps, gradients, or seconds."""
    single = curve.axis != speed.axis
    if cost == "seconds":
        spent = curve.seconds
    elif single or cost == "gradients":
        spent = curve.gradients
    else:
        spent = np.arange(curve.values.shape[1], dtype=np.float64)
    found, chosen = curve.band, slice(-1, None) if single else slice(None)
    start = np.array([found.mean[0], found.low[0], found.high[0]])
    spent, mean, low, high = (part[chosen] for part in (spent, found.mean, found.low, found.high))
    return Path(spent, mean, low, high, curve.draws[:, chosen], single, start)


def gains(speed: Speed, curve: Curve) -> Band:
    """How much better the metric is after each inner step than before it: (K,), more is better."""
    sign = 1.0 if speed.higher else -1.0
    with np.errstate(invalid="ignore", over="ignore"):
        mean = sign * np.diff(curve.values.mean(0, dtype=np.float64))
        return Band(mean, *interval(sign * np.diff(curve.draws, axis=1)))


def usual_level(speed: Speed) -> float:
    """A level worth asking about: most of the way from the worst start to the best mean of anybody."""
    sign = 1.0 if speed.higher else -1.0
    means = [sign * curve.band.mean for curve in speed.curves]
    starts = [mean[0] for mean in means if np.isfinite(mean[0])]
    best = [float(np.nanmax(np.where(np.isfinite(mean), mean, np.nan))) for mean in means if np.isfinite(mean).any()]
    if not best or not starts:
        return 0.0
    start = min(starts)
    return sign * (start + USUAL * (max(best) - start))


def level_range(speed: Speed) -> tuple[float, float]:
    """The levels between which somebody's mean lies; a loss that runs away counts up to twice the worst start."""
    means = np.concatenate([curve.band.mean for curve in speed.curves])
    kept = means[np.isfinite(means)]
    if not speed.higher and kept.size:
        kept = kept[kept <= max(2 * curve.band.mean[0] for curve in speed.curves)]
    return (float(kept.min()), float(kept.max())) if kept.size else (0.0, 1.0)


def compare(speed: Speed, level: float, cost: Cost) -> Comparison:
    """Who reaches the level first, and whose curve is better on the whole."""
    sign = 1.0 if speed.higher else -1.0
    paths = [path(speed, curve, cost) for curve in speed.curves]
    with np.errstate(invalid="ignore", over="ignore"):
        costs = [reached(sign * one.mean[None], one.cost, sign * level)[0] for one in paths]
        drawn = [reached(sign * one.draws, one.cost, sign * level) for one in paths]
        areas = [-sign * _area(_whole_way(speed, curve, curve.band.mean[None]))[0] for curve in speed.curves]
        drawn_areas = [-sign * _area(_whole_way(speed, curve, curve.draws)) for curve in speed.curves]
    return Comparison(level, cost, _standings(speed, costs, drawn), _standings(speed, areas, drawn_areas))


def reached(curves: Doubles, cost: Doubles, level: float) -> Doubles:
    """The cost at which curves (r, n), of which more is better, first come to `level`: (r,), infinite for never.

    Between two places a curve is taken for straight.
    """
    there = curves >= level
    first = there.argmax(1)
    rows = np.arange(len(curves))
    before = np.maximum(first - 1, 0)
    low, high = curves[rows, before], curves[rows, first]
    rise = np.where(high > low, high - low, 1.0)
    share = np.where(first > 0, (level - low) / rise, 0.0)
    between = cost[before] + share * (cost[first] - cost[before])
    return np.where(there.any(1), between, np.inf)


def _whole_way(speed: Speed, curve: Curve, means: Doubles) -> Doubles:
    """Means (r, n) of a curve over steps 0 .. K, from before any of the task was seen: (r, K + 1).

    Who reads the shots at once has read them after the first of the steps that others take, and stays as it is.
    """
    if curve.axis == speed.axis:
        return means
    return np.concatenate([means[:, :1], np.repeat(means[:, -1:], speed.steps, axis=1)], 1)


def _area(curves: Doubles) -> Doubles:
    """The mean of curves (r, n) by trapezoids, in the curve's own unit: (r,)."""
    return ((curves[:, 1:] + curves[:, :-1]) / 2).mean(1)


def _standings(speed: Speed, values: Sequence[float], drawn: Sequence[Doubles]) -> tuple[Standing, ...]:
    leader = int(np.argmin(np.nan_to_num(values, nan=np.inf)))
    found = []
    for i, curve in enumerate(speed.curves):
        low, high = interval(drawn[i])
        behind_low, behind_high = interval(_minus(drawn[i], drawn[leader]))
        behind = float(_minus(np.array(values[i]), np.array(values[leader])))
        ends = (float(low), float(high), behind, float(behind_low), float(behind_high))
        found.append(Standing(curve.label, curve.colour_key, float(values[i]), *ends))
    return tuple(found)


def _minus(one: Doubles, other: Doubles) -> Doubles:
    """The difference; between two that are never reached there is none."""
    both = np.isinf(one) & np.isinf(other)
    with np.errstate(invalid="ignore"):
        return np.where(both, 0.0, one - other)
