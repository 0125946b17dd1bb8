"""The outer loop's arithmetic: one meta-gradient over all parts of a meta-batch, and who steps along it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metalab.algorithms.base import MetaGradient
from metalab.params import Params, norm, weights
from metalab.tasks.base import TaskBatch
from metalab.training.config import RunConfig
from metalab.training.natural import NaturalGradient

MOMENTUM = 0.1
"""Weight of a new meta-batch in the running statistics (as in torch's batch normalisation)."""
ENTRIES = ("gradient", "metrics", "statistics", "direction", "squares")
"""The fields of an `Aggregate` that hold tensors."""


@dataclass(frozen=True)
class Aggregate:
    """What some tasks of a meta-batch come to: means over these tasks, without a task axis."""

    tasks: int
    gradient: Params
    metrics: Params
    statistics: Params
    direction: Params
    """Each task's meta-gradient at unit length, as one long entry or entry by entry; empty where tasks are not told
    apart."""
    squares: Params
    """Each task's squared meta-gradient: the diagonal of the empirical Fisher matrix; empty unless asked for."""

    @property
    def agreement(self) -> Tensor | None:
        """Mean cosine () between two tasks' meta-gradients; None where tasks are not told apart, or there is one.

        1: the tasks pull the same way and the mean loses nothing; 0: they are unrelated; below: they disagree.
        """
        if not self.direction or self.tasks < 2:
            return None
        # |sum of T unit vectors|^2 = T + the cosines of all ordered pairs.
        square = norm(self.direction.values(), task_axis=False).square()
        return (self.tasks * square - 1) / (self.tasks - 1)


def aggregate(meta: MetaGradient, n_tasks: int, *, squared: bool, in_rows: bool = True) -> Aggregate:
    """The means over `n_tasks` tasks, with `squared` those of the squares too, for which `meta.each` is needed.

    `in_rows`: whether the tasks' directions are taken in one long row each, at less than half the time of going
    through the entries; compiled, going through the entries takes half the time of the rows.
    """
    direction: Params = {}
    squares: Params = {}
    if meta.each:
        entries = {name: value.flatten(1) for name, value in meta.each.items()}
        if in_rows:
            entries = {"unit": torch.cat(list(entries.values()), 1)}
            lengths = torch.linalg.vector_norm(entries["unit"], dim=1)
        else:
            lengths = norm(entries.values(), task_axis=True)
        shares = 1 / (n_tasks * lengths.clamp(min=torch.finfo(lengths.dtype).tiny))
        if in_rows:
            direction = {name: shares @ value for name, value in entries.items()}
        else:
            direction = {name: (shares[:, None] * value).sum(0) for name, value in entries.items()}
    if squared:
        squares = {name: meta.each[name].square().mean(0) for name in meta.gradient}
    return Aggregate(n_tasks, meta.gradient, meta.metrics, meta.statistics, direction, squares)


def differentiated(config: RunConfig, theta: Params, batch: TaskBatch, done: int, *, in_rows: bool = True) -> Aggregate:
    """What the tasks of one part of a meta-batch come to, after `done` outer steps; `in_rows` as in `aggregate`."""
    algorithm, learner, natural = config.algorithm, config.learner, config.outer_optimiser == "natural"
    meta = algorithm.meta_gradient(learner, theta, batch, done=done)
    if natural and not meta.each:
        # The step still goes along the meta-batch's own gradient: these are for the squares (and the agreement).
        meta = replace(meta, each=algorithm.task_gradients(learner, theta, batch, done=done))
    return aggregate(meta, batch.n_tasks, squared=natural, in_rows=in_rows)


def mean(parts: Sequence[Aggregate]) -> Aggregate:
    """The whole from its parts, each counted as often as it has tasks."""
    if len(parts) == 1:
        return parts[0]
    total = sum(part.tasks for part in parts)

    def weighted(entries: list[Params]) -> Params:
        out = {name: value * (parts[0].tasks / total) for name, value in entries[0].items()}
        for part, entry in zip(parts[1:], entries[1:], strict=True):
            for name, value in entry.items():
                out[name].add_(value, alpha=part.tasks / total)
        return out

    return Aggregate(
        total,
        weighted([part.gradient for part in parts]),
        weighted([part.metrics for part in parts]),
        weighted([part.statistics for part in parts]),
        weighted([part.direction for part in parts]),
        weighted([part.squares for part in parts]),
    )


class Outer:
    """theta and its optimiser. `theta` holds leaf tensors that are updated in place."""

    def __init__(self, config: RunConfig, theta: Params) -> None:
        self.theta = theta
        self._learned = weights(theta)
        self._optimiser = optimiser_of(config, list(self._learned.values()))

    def step(self, meta: Aggregate, config: RunConfig, done: int) -> Tensor:
        """Descend after `done` outer steps; returns the meta-gradient's norm (), before clipping."""
        length = norm(meta.gradient.values(), task_axis=False)
        shrink: Tensor | float = 1.0
        if config.clip_norm > 0:
            shrink = (config.clip_norm / (length + 1e-12)).clamp(max=1.0)
        for name, value in self._learned.items():
            value.grad = meta.gradient[name] if config.clip_norm == 0 else meta.gradient[name] * shrink
        self._optimiser.param_groups[0]["lr"] = config.outer_lr * decay(config, done)
        if isinstance(self._optimiser, NaturalGradient):
            self._optimiser.observe([meta.squares[name] for name in self._learned])
        self._optimiser.step()
        for name, value in meta.statistics.items():
            self.theta[name].lerp_(value, MOMENTUM)
        return length

    def state(self) -> Params:
        """The optimiser's state, flat: 'slot/parameter' to a CPU copy."""
        flat = {}
        for name, value in self._learned.items():
            for slot, content in self._optimiser.state[value].items():
                if isinstance(content, Tensor):
                    flat[f"{slot}/{name}"] = content.detach().to("cpu", copy=True)
        return flat

    def load(self, flat: Params) -> None:
        """Take up a state that `state` gave."""
        for key, content in flat.items():
            slot, name = key.split("/", 1)
            value = self._learned[name]
            # What counts outer steps is where its optimiser reads it: natural's in Python.
            counts = slot == "step" and isinstance(self._optimiser, NaturalGradient)
            place = "cpu" if counts else value.device
            self._optimiser.state[value][slot] = content.to(place, copy=True)


def optimiser_of(config: RunConfig, learned: list[Tensor]) -> torch.optim.Optimizer:
    """Who takes the outer steps of these parameters."""
    if config.outer_optimiser == "natural":
        return NaturalGradient(learned, config.outer_lr, config.fisher_damping, config.fisher_decay)
    kind = torch.optim.Adam if config.outer_optimiser == "adam" else torch.optim.SGD
    # One call for all entries.
    fused = all(value.device.type in ("cpu", "cuda") for value in learned)
    return kind(learned, lr=config.outer_lr, fused=fused or None)


def decay(config: RunConfig, done: int) -> float:
    """The schedule's factor of the outer learning rate after `done` outer steps."""
    progress = done / config.outer_steps
    if config.schedule == "linear":
        return 1 - progress
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0
