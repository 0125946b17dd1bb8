"""What all algorithms share that read a support set at once instead of descending its loss: `adapt` over shots.

phi_k has read the first k shots: k examples of every class, or the first k points of a function. phi_0 has read
nothing: it takes all classes for equally likely, even in a family whose labels stay, and of functions it says what they
are like in general.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from metalab.algorithms.base import Algorithm, InnerStep, Learner
from metalab.algorithms.inner_loop import occurrence
from metalab.params import CONTEXT, Params, detach, expand
from metalab.tasks.base import Examples, TaskFamily

READ = f"{CONTEXT}x"
"""The entry of phi with the inputs that were read: (T, n_k, *input_shape)."""
ALL = 1_000
"""More shots than a support set has."""


class ShotBased(Algorithm):
    """A subclass declares `read`."""

    axis: ClassVar[Literal["inner step", "shot"]] = "shot"

    @property
    def evaluation_steps(self) -> int:
        """All shots there are."""
        return ALL

    def read(self, learner: Learner, theta: Params, support: Examples) -> Params:
        """phi (T, ...) after these examples, for regression perhaps none; the graph reaches theta."""
        raise NotImplementedError

    def adapt(self, learner: Learner, theta: Params, support: Examples, steps: int) -> Iterator[InnerStep]:
        shots = shot_numbers(learner.family, support.y)
        for k in range(min(steps, int(shots.max()) + 1) + 1):
            seen = first_shots(support, shots, k)
            with torch.no_grad():
                undecided = k == 0 and learner.family.kind == "classification"
                phi = expand(theta, len(seen.x)) if undecided else self.read(learner, theta, seen)
            yield InnerStep(k, detach(phi) | {READ: seen.x}, None, None)

    def predict(
        self, learner: Learner, phi: Params, x: Tensor, support: Tensor, collect: Params | None = None
    ) -> Tensor:
        """As in `Algorithm`, but of the support set only what phi has read counts."""
        if learner.family.kind == "classification" and phi[READ].shape[1] == 0:
            return next(iter(phi.values())).new_zeros(*x.shape[:2], learner.family.output_size)
        return self.answer(learner, phi, x, collect)

    def answer(self, learner: Learner, phi: Params, x: Tensor, collect: Params | None = None) -> Tensor:
        """Predictions of what `read` gave."""
        return learner.predict(phi, x, phi[READ], collect)

    def support_loss(self, learner: Learner, phi: Params, support: Examples) -> Tensor:
        return learner.family.loss(self.attempt(learner, phi, support, support), support.y)


def shot_numbers(family: TaskFamily, y: Tensor) -> Tensor:
    """Which shot each example is, from 0: among those of its class, or of the task's; (T, n)."""
    if family.kind != "classification":
        return torch.arange(y.shape[1], device=y.device).expand(y.shape[:2])
    return occurrence(y)


def first_shots(support: Examples, shots: Tensor, k: int, many: int | None = None) -> Examples:
    """The examples with shot numbers (T, n) below k, in their order; as many in every task.

    `many`: how many they are, where that is known, so that no GPU has to be asked.
    """
    kept = shots < k
    n_tasks = shots.shape[0]
    if many is None:
        rows = kept.nonzero()[:, 1].view(n_tasks, -1)
    else:
        rows = (~kept).to(torch.int8).argsort(dim=1, stable=True)[:, :many]
    tasks = torch.arange(n_tasks, device=rows.device)[:, None]
    return Examples(support.x[tasks, rows], support.y[tasks, rows])


def as_numbers(family: TaskFamily, y: Tensor, like: Tensor) -> Tensor:
    """Targets as rows (T, n, output_size) in the type of `like`: class ids one-hot, values as they are."""
    if family.kind == "classification":
        y = F.one_hot(y, family.output_size)
    return y.to(like)
