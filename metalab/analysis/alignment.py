"""How task gradients lie to each other as a run trains: the term AvgGradInner of Nichol et al. 2018 made visible.

In expectation MAML, FOMAML and Reptile all descend AvgGrad - c alpha AvgGradInner (arXiv:1803.02999, section 5.1),
where AvgGradInner is the direction that raises the inner product of the gradients of two minibatches of one task:
a step that helps on one then helps on the other. Here the two minibatches are the support and the query set. How the
gradients of different tasks lie to each other is set beside it: that is what joint training is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metalab.algorithms import MAML
from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.bootstrap import Band, interval, weights
from metalab.analysis.order import flat, start_of, training_tasks
from metalab.params import Params
from metalab.tasks.base import Examples, TaskFamily

Doubles = NDArray[np.float64]
SHARES = ("same", "other")
"""Support and query gradient of the same task; of two different tasks."""
AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class Alignment:
    """At each of C checkpoints, of the support gradient of one task and the query gradient of the same or another."""

    outer_steps: NDArray[np.int64]
    """(C,)"""
    n_tasks: int
    cosine: Mapping[str, Band]
    """Mean over tasks or pairs of them, by SHARES: (C,), intervals over tasks."""
    product: Mapping[str, Band]
    """The inner product itself, in the same way."""


def alignment(
    checkpoints: Sequence[tuple[int, Callable[[], Contender]]],
    family: TaskFamily,
    *,
    n_tasks: int,
    seed: int = 0,
    report: Report = quiet,
) -> Alignment:
    """Gradients on the same tasks at each checkpoint: its outer step, and what loads it.

    Raises ValueError for no checkpoints, fewer than two tasks, or a contender without inner loop.
    """
    if not checkpoints:
        raise ValueError("no checkpoints: expected one or more")
    if n_tasks < 2:
        raise ValueError(f"n_tasks = {n_tasks}: expected 2 or more, to have two that differ")
    tasks = training_tasks(family, n_tasks, seed)
    cosines, products = [], []
    for i, (_step, load) in enumerate(checkpoints):

        def ask(i: int = i) -> None:
            report(i / len(checkpoints))

        ask()
        learner, theta = start_of(load(), family)
        support, query = (first_gradients(learner, theta, part, ask) for part in (tasks.support, tasks.query))
        product = support @ query.T
        products.append(product)
        lengths = np.linalg.norm(support, axis=1)[:, None] * np.linalg.norm(query, axis=1)
        cosines.append(product / np.maximum(lengths, 1e-300))
    return Alignment(
        outer_steps=np.array([step for step, _load in checkpoints]),
        n_tasks=n_tasks,
        cosine=shared(np.stack(cosines)),
        product=shared(np.stack(products)),
    )


def first_gradients(learner: Learner, theta: Params, examples: Examples, ask: Callable[[], None]) -> Doubles:
    """What the first inner step would follow on each task's examples: (T, P)."""
    rows = []
    for first in range(0, examples.x.shape[0], AT_ONCE):
        ask()
        some = Examples(examples.x[first : first + AT_ONCE], examples.y[first : first + AT_ONCE])
        gradient = next(iter(MAML().adapt(learner, theta, some, 1))).gradient
        assert gradient is not None
        rows.append(flat(gradient))
    return np.concatenate(rows)


def shared(pairs: Doubles) -> dict[str, Band]:
    """Means over the diagonal and over the rest of each matrix (C, T, T), with their intervals over tasks."""
    n_tasks = pairs.shape[-1]
    own = np.einsum("cii->ci", pairs)

    def means(draws: Doubles) -> dict[str, Doubles]:
        same = draws @ own.T
        every = np.einsum("bi,cij,bj->bc", draws, pairs, draws, optimize=True)
        # A resample may hold a task twice; that pair is no pair of different tasks.
        twice = draws**2
        return {"same": same, "other": (every - twice @ own.T) / (1 - twice.sum(1, keepdims=True))}

    found = means(np.full((1, n_tasks), 1 / n_tasks))
    drawn = means(_with_two_tasks(weights(n_tasks)))
    return {name: Band(found[name][0], *interval(drawn[name])) for name in SHARES}


def _with_two_tasks(draws: Doubles) -> Doubles:
    """The resamples that hold at least two tasks: of few tasks some hold one alone."""
    return draws[draws.max(1) < 1]
