"""Adapting theta to held-out tasks and measuring it on their query sets after every inner step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from metalab.algorithms.base import Algorithm, Learner
from metalab.params import Params
from metalab.tasks.base import TaskBatch
from metalab.training.parallel import Workers

PROBED_TASKS = 3
AWAY = "_away"
"""End of the names of curves of the family's `away` tasks."""
FEWEST, MOST = 100, 500
"""Held-out tasks adapted at once are between these: of a large network few, which bounds the memory of an evaluation of
many; of a small one many, whose time goes into calls and not into arithmetic."""
PARAMETERS = 1_000_000
"""Between them, so many tasks that they have this many parameters altogether, and no more numbers to read than that."""


@dataclass(frozen=True)
class Summary:
    """Mean over tasks and half the width of its 95% interval, for each inner step: (K + 1,)."""

    mean: Tensor
    ci95: Tensor


Measure = Callable[[Params, TaskBatch], Params]
"""`curves` of theta and some tasks, by other means."""


def evaluate(
    learner: Learner,
    algorithm: Algorithm,
    theta: Params,
    batch: TaskBatch,
    steps: int,
    workers: Workers,
    compiled: Measure | None = None,
) -> Params:
    """Each metric of the family and of the algorithm on the query set after 0 .. steps inner steps: (T, steps + 1).

    `compiled`: what measures `FEWEST` tasks at a time, where there is such a thing.
    """
    most = tasks_per_call(theta, batch)
    if compiled is not None and batch.n_tasks % FEWEST == 0:
        measure, most = compiled, FEWEST
    else:
        measure = functools.partial(curves, learner, algorithm, steps=steps)
    results = workers.map(lambda part: measure(theta, part), batch, most)
    return {name: torch.cat([r[name] for _, r in results]).cpu() for name in results[0][1]}


def curves(learner: Learner, algorithm: Algorithm, theta: Params, part: TaskBatch, steps: int) -> Params:
    """As `evaluate`, of tasks that go together through the network."""
    figures = []
    for inner in algorithm.adapt(learner, theta, part.support, steps):
        with torch.no_grad():
            figures.append(algorithm.judged(learner, inner.phi, part.support, part.query)[1])
    return {name: torch.stack([f[name] for f in figures], 1) for name in figures[0]}


def tasks_per_call(theta: Params, batch: TaskBatch) -> int:
    """The most held-out tasks like those of the batch that are adapted at once."""
    parameters = sum(value.numel() for value in theta.values())
    read = (batch.support.x.numel() + batch.query.x.numel()) // batch.n_tasks
    return min(MOST, max(FEWEST, PARAMETERS // max(1, parameters, read)))


def probe(learner: Learner, algorithm: Algorithm, theta: Params, batch: TaskBatch, steps: int) -> Tensor | None:
    """The functions f_phi_0 .. f_phi_steps of the first tasks at the family's probe inputs: (few, steps + 1, m).

    None for a family without probe inputs.
    """
    x = learner.family.probe_x
    if x is None:
        return None
    few = batch.tasks(0, PROBED_TASKS)
    x = x.to(few.support.x).expand(few.n_tasks, *x.shape)
    found = []
    for inner in algorithm.adapt(learner, theta, few.support, steps):
        with torch.no_grad():
            found.append(algorithm.predict(learner, inner.phi, x, few.support.x)[..., 0])
    return torch.stack(found, 1).float().cpu()


def summarise(values: Tensor) -> Summary:
    """values (T, K + 1) -> mean and 1.96 standard errors; the interval of a single task is infinite."""
    n = values.shape[0]
    spread = values.double().std(0) if n > 1 else torch.full(values.shape[1:], torch.inf)
    return Summary(values.double().mean(0), 1.96 * spread / n**0.5)
