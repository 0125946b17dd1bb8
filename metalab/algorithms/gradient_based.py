"""What all algorithms that adapt by inner gradient steps share: their rate, their steps, their `adapt`."""

from __future__ import annotations

from collections.abc import Iterator

from metalab.algorithms.base import Algorithm, InnerStep, Learner
from metalab.algorithms.inner_loop import inner_loop
from metalab.params import Params, expand
from metalab.settings import setting
from metalab.tasks.base import Examples


class GradientBased(Algorithm):
    """Adapts theta to a task by gradient descent on its support set."""

    inner_lr: float = setting(
        0.01,
        "Alpha: how far one inner step moves along the support set's gradient.",
        label="Inner learning rate α",
        low=1e-4,
        high=2.0,
        scale="log",
    )
    inner_steps_eval: int = setting(
        10, "Inner steps on the held-out tasks.", label="Inner steps in evaluation", low=1, high=50
    )

    @property
    def evaluation_steps(self) -> int:
        return self.inner_steps_eval

    def adapt(self, learner: Learner, theta: Params, support: Examples, steps: int) -> Iterator[InnerStep]:
        return inner_loop(learner, expand(theta, support.x.shape[0]), support, steps, self.inner_lr)
