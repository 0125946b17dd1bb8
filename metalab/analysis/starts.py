"""Which stored start suits a task best: every checkpoint adapts to it, and they are ranked by what they reach.

A sampled task has a query set to be judged on, and so has a goal. Of a person's points and drawings none is known
beyond the support set; there each point, or drawing of every class, in turn is left out and asked of the others
(leave-one-out cross-validation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.challenge import changed, drawings_challenge, goal_challenge, points_challenge
from metalab.tasks.base import HIGHER_IS_BETTER, Examples, TaskBatch, TaskFamily
from metalab.training.evaluation import evaluate
from metalab.training.parallel import Workers
from metalab.training.start import stream

FEWEST_POINTS = 2
DRAWN = 2
"""Examples of each class that a person draws: one to learn from and one to be asked, in turn."""


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that may be the start; its theta is read when its turn comes."""

    run: str
    label: str
    step: int
    load: Callable[[], Contender]


@dataclass(frozen=True, eq=False)
class Start:
    """How one checkpoint went."""

    run: str
    label: str
    step: int
    colour_key: tuple[str, int, int]
    curve: NDArray[np.float64]
    """(K + 1,) the metric on what was asked, after 0 .. K inner steps, or shots."""

    @property
    def before(self) -> float:
        return float(self.curve[0])

    @property
    def after(self) -> float:
        return float(self.curve[-1])


@dataclass(frozen=True, eq=False)
class Ranking:
    """The starts, the best first; those that left the range of numbers come last."""

    metric: str
    loss_name: str
    title: str
    """The task in the field's terms; empty for a person's own."""
    steps: int
    starts: tuple[Start, ...]
    unfit: int
    """Checkpoints whose network cannot learn this task."""

    @property
    def higher(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric in HIGHER_IS_BETTER


def sampled(family: TaskFamily, number: int) -> TaskBatch:
    """Task `number` of the meta-test split: the same as on every page. Raises DataMissing."""
    family.require()
    return family.sample(1, "test", stream(number, "test"))


def left_out(family: TaskFamily, points: Sequence[tuple[float, float]]) -> TaskBatch:
    """A person's n points as n tasks, each with one point asked and the others given. Raises ValueError."""
    if len(points) < FEWEST_POINTS:
        raise ValueError(f"{len(points)} points: expected {FEWEST_POINTS} or more, since each in turn is left out")
    x, y = points_challenge(family, points).support
    n = x.shape[1]
    others = torch.stack([torch.cat([torch.arange(i), torch.arange(i + 1, n)]) for i in range(n)])
    return TaskBatch(Examples(x[0][others], y[0][others]), Examples(x[0][:, None], y[0][:, None]))


def left_out_drawings(family: TaskFamily, drawings: Sequence[Sequence[ArrayLike]]) -> TaskBatch:
    """A person's drawings, DRAWN of each class, as so many tasks: in each one of every class is asked and the others
    are given. drawings[class][example] is (height, width) in [0, 1], 1 ink. Raises ValueError."""
    if any(len(row) != DRAWN for row in drawings):
        raise ValueError(f"{[len(row) for row in drawings]} drawings: expected {DRAWN} of each class, one to be asked")
    x, y = drawings_challenge(family, drawings).support
    x, y = (part[0].unflatten(0, (len(drawings), DRAWN)) for part in (x, y))
    given = [[j for j in range(DRAWN) if j != i] for i in range(DRAWN)]
    return TaskBatch(
        Examples(*(torch.stack([part[:, others].flatten(0, 1) for others in given]) for part in (x, y))),
        Examples(*(torch.stack([part[:, i] for i in range(DRAWN)]) for part in (x, y))),
    )


def of_goal(family: TaskFamily, goal: tuple[float, float]) -> TaskBatch:
    """A person's goal as one task. Raises ValueError."""
    challenge = goal_challenge(family, goal)
    assert challenge.query_x is not None
    assert challenge.query_y is not None
    return TaskBatch(challenge.support, Examples(challenge.query_x, challenge.query_y))


def rank(
    candidates: Sequence[Candidate],
    family: TaskFamily,
    batch: TaskBatch,
    *,
    steps: int,
    title: str = "",
    report: Report = quiet,
) -> Ranking:
    """Let every candidate adapt to the tasks of `batch`, of `family`, for `steps` inner steps, or to all its shots."""
    found, unfit = [], 0
    for done, candidate in enumerate(candidates):
        report(done / len(candidates))
        contender = candidate.load()
        outputs = contender.model.outputs(contender.theta)
        if (outputs is not None and outputs != family.output_size) or contender.algorithm.misfit(
            Learner(contender.model, family)
        ):
            unfit += 1
            continue
        curve = _curve(contender, family, batch, steps)
        found.append(Start(candidate.run, candidate.label, candidate.step, contender.colour_key, curve))
    sign = -1 if family.metric in HIGHER_IS_BETTER else 1
    ordered = sorted(found, key=lambda start: sign * start.after if np.isfinite(start.after) else np.inf)
    return Ranking(family.metric, family.loss_name, title, steps, tuple(ordered), unfit)


def _curve(contender: Contender, family: TaskFamily, batch: TaskBatch, steps: int) -> NDArray[np.float64]:
    algorithm = contender.algorithm
    k = steps if algorithm.axis == "inner step" else algorithm.evaluation_steps
    learner = Learner(contender.model, changed(family, shots=_shots(family, batch)))
    workers = Workers(contender.model, torch.device("cpu"), 1)
    try:
        found = evaluate(learner, algorithm, contender.theta, batch, k, workers)[family.metric]
    finally:
        workers.close()
    return found.double().mean(0).numpy()


def _shots(family: TaskFamily, batch: TaskBatch) -> int | None:
    """How many examples a regression task of the batch gives; a family of another kind keeps its own."""
    return batch.support.x.shape[1] if family.kind == "regression" else None
