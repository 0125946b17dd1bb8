"""Adaptation speed against two more things: how many shots there are, and how long a run has trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from metalab.algorithms.base import Learner
from metalab.algorithms.shot_based import first_shots, shot_numbers
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.bootstrap import Band, Doubles, band, interval, resampled
from metalab.analysis.challenge import changed
from metalab.analysis.memory import Memory
from metalab.analysis.speed import at_once, held_out, identity
from metalab.settings import declarations
from metalab.tasks.base import HIGHER_IS_BETTER, TaskBatch, TaskFamily

COUNTS = (1, 2, 3, 5, 10, 20)
"""Numbers of shots that are tried, as far as the family has so many."""
MOST_LOOKS = 60
"""Outer steps that a picture of a run shows, at most."""


@dataclass(frozen=True, eq=False)
class ShotCurve:
    """How one contender does after adaptation to each number of shots."""

    label: str
    colour_key: tuple[str, int, int]
    values: NDArray[np.float32]
    """(T, n): the metric on each task's query set, for each of the n numbers of shots."""

    @property
    def band(self) -> Band:
        """The mean over tasks and its interval, (n,) each."""
        return band(self.values)

    @property
    def finite(self) -> NDArray[np.bool_]:
        """(n,): whether no task left the range of numbers."""
        return np.asarray(np.isfinite(self.values).all(0))


@dataclass(frozen=True, eq=False)
class Shots:
    """All contenders over the same tasks: fewer shots are the first of more, and the query sets are the same."""

    metric: str
    loss_name: str
    n_tasks: int
    steps: int
    """Inner steps that were taken, by those who take any."""
    counts: tuple[int, ...]
    trained: int
    """Shots that the family's tasks have."""
    curves: tuple[ShotCurve, ...]

    def lead(self, count: int) -> tuple[int, float, float, float] | None:
        """With so many shots: which curve is best, and by how much (with its paired interval) the next one is worse.

        None where fewer than two have a number on every task.
        """
        at = self.counts.index(count)
        sign = 1.0 if self.metric in HIGHER_IS_BETTER else -1.0
        values = np.stack([sign * curve.values[:, at].astype(np.float64) for curve in self.curves])
        sound = np.flatnonzero(np.isfinite(values).all(1))
        if len(sound) < 2:
            return None
        second, first = sound[values[sound].mean(1).argsort()[-2:]]
        gap = values[first] - values[second]
        low, high = interval(resampled(gap))
        return int(first), float(gap.mean()), float(low), float(high)


_known: Memory[NDArray[np.float32]] = Memory(96)


def shot_counts(family: TaskFamily) -> tuple[int, ...]:
    """The numbers of shots that the family's tasks can have beside their query sets."""
    most = int(next(each.high for each in declarations(type(family)) if each.name == "shots") or 1)
    each = getattr(family, "each", None)
    if family.kind == "classification" and each is not None:
        most = min(most, each - getattr(family, "queries", 0))
    return tuple(count for count in COUNTS if count <= most)


def over_shots(
    contenders: Sequence[Contender],
    family: TaskFamily,
    *,
    n_tasks: int,
    steps: int,
    seed: int = 0,
    report: Report = quiet,
) -> Shots:
    """The metric after `steps` inner steps, or after reading, on tasks with more and more shots.

    Raises DataMissing, and what `report` raises.
    """
    report(0.0)
    counts = shot_counts(family)
    batch = held_out(changed(family, shots=counts[-1]), n_tasks, seed)
    found = []
    for i, contender in enumerate(contenders):

        def part(done: float, i: int = i) -> None:
            report((i + done) / len(contenders))

        def values(contender: Contender = contender, part: Report = part) -> NDArray[np.float32]:
            return _values(contender, family, batch, counts, steps, part)

        known = _known.get((identity(contender), family.model_dump_json(), n_tasks, steps, seed), values)
        found.append(ShotCurve(contender.label, contender.colour_key, known))
    return Shots(
        family.metric, family.loss_name, n_tasks, steps, counts, int(getattr(family, "shots", counts[0])), tuple(found)
    )


def _values(
    contender: Contender, family: TaskFamily, batch: TaskBatch, counts: Sequence[int], steps: int, report: Report
) -> NDArray[np.float32]:
    size, columns = at_once(family), []
    numbers = shot_numbers(family, batch.support.y)
    for i, count in enumerate(counts):
        support = first_shots(batch.support, numbers, count)
        fewer, parts = replace(batch, support=support), []
        for first in range(0, batch.n_tasks, size):
            report((i + first / batch.n_tasks) / len(counts))
            parts.append(after(contender, family, fewer.tasks(first, min(first + size, batch.n_tasks)), steps))
        columns.append(np.concatenate(parts))
    return np.stack(columns, 1)


def after(contender: Contender, family: TaskFamily, batch: TaskBatch, steps: int) -> NDArray[np.float32]:
    """The metric (T,) on the query sets at the end of adaptation alone."""
    algorithm, learner = contender.algorithm, Learner(contender.model, family)
    if algorithm.axis == "shot":
        steps = algorithm.evaluation_steps
    phi = contender.theta
    for inner in algorithm.adapt(learner, contender.theta, batch.support, steps):
        phi = inner.phi
    with torch.no_grad():
        prediction = algorithm.attempt(learner, phi, batch.support, batch.query)
        return family.metrics(prediction, batch.query.y)[family.metric].float().numpy()


@dataclass(frozen=True, eq=False)
class Practice:
    """The adaptation curve as a run trained, from the evaluations that it stored."""

    metric: str
    loss_name: str
    n_tasks: int
    outer_steps: NDArray[np.int64]
    """(m,) ascending."""
    values: Doubles
    """(m, K + 1): the mean over the run's held-out tasks, after each outer step and inner step."""


def practice(
    metric: str, loss_name: str, looks: Sequence[tuple[int, ArrayLike]], most: int = MOST_LOOKS
) -> Practice | None:
    """What a run stored, as (outer step, values (T, K + 1)), thinned to `most` looks; None for nothing.

    Looks of another number of inner steps than the last one's, from before a change, are left out.
    """
    tables = [(step, np.asarray(values, np.float64)) for step, values in looks]
    if not tables:
        return None
    width = tables[-1][1].shape[1]
    tables = [(step, table) for step, table in tables if table.shape[1] == width]
    chosen = np.unique(np.linspace(0, len(tables) - 1, min(most, len(tables))).round().astype(int))
    return Practice(
        metric,
        loss_name,
        len(tables[-1][1]),
        np.array([tables[i][0] for i in chosen]),
        np.stack([tables[i][1].mean(0) for i in chosen]),
    )
