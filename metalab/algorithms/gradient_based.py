"""What all algorithms that adapt by inner gradient steps share: their rate, their steps, their `adapt`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from torch import Tensor

from metalab.algorithms.base import Algorithm, InnerStep, Learner
from metalab.algorithms.inner_loop import Rates, inner_loop
from metalab.params import Params, expand
from metalab.settings import setting
from metalab.tasks.base import Examples


class InnerDescent(Algorithm):
    """Descends a task's support loss in an inner loop, while meta-training or at test."""

    inner_lr: float = setting(
        0.01,
        "Alpha: how far one inner step moves along the support set's gradient. Where the rates are learned, it is "
        "where they start.",
        label="Inner learning rate α",
        low=1e-4,
        high=2.0,
        scale="log",
    )

    def rates(self, phi: Params) -> float | Rates:
        """The inner learning rates of an inner loop that starts at phi (T, ...)."""
        return self.inner_lr

    def at_rates(self, alphas: Tensor) -> Self:
        """The same with an inner learning rate for each task, (T,), to `adapt` T tasks at once: no settings to keep."""
        return self.model_copy(update={"inner_lr": alphas})


class GradientBased(InnerDescent):
    """Adapts theta to a task by gradient descent on its support set."""

    inner_steps_eval: int = setting(
        10, "Inner steps on the held-out tasks.", label="Inner steps in evaluation", low=1, high=50
    )

    @property
    def evaluation_steps(self) -> int:
        return self.inner_steps_eval

    @property
    def alpha(self) -> float | None:
        return None if self.learns_rates else self.inner_lr

    def adapt(self, learner: Learner, theta: Params, support: Examples, steps: int) -> Iterator[InnerStep]:
        phi = expand(theta, support.x.shape[0])
        return inner_loop(learner, phi, support, steps, self.rates(phi))
