"""From scratch: plain gradient descent on the support set from random parameters. Nothing is meta-learned;
it shows what the network and the support set give by themselves.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from metalab.algorithms.base import Learner, MetaGradient
from metalab.algorithms.gradient_based import GradientBased
from metalab.params import Params, expand, statistics, weights
from metalab.tasks.base import TaskBatch


class Scratch(GradientBased):
    """theta stays as it was drawn."""

    title: ClassVar[str] = "From scratch"
    summary: ClassVar[str] = "No meta-training: every task starts from the same random parameters."
    trains: ClassVar[bool] = False

    name: Literal["scratch"] = "scratch"

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        """Zero, and the statistics as they are: there is nothing to learn from a meta-batch."""
        zero = {name: torch.zeros_like(value) for name, value in weights(theta).items()}
        loss = learner.query_loss(expand(theta, batch.n_tasks), batch).detach().mean()
        return MetaGradient(zero, {"loss": loss}, statistics(theta))
