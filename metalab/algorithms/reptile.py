"""Nichol, Achiam, Schulman: On First-Order Meta-Learning Algorithms. 2018, arXiv:1803.02999.

Train on a task for a few steps, then move the initial parameters towards where that led. No query set is
needed, so Reptile trains on the support and query examples together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch

from metalab.algorithms.base import Card, InnerStep, Learner, MetaGradient
from metalab.algorithms.flow import TOWARDS_ADAPTED
from metalab.algorithms.gradient_based import GradientBased
from metalab.algorithms.inner_loop import inner_loop
from metalab.params import Params, expand, statistics, weights
from metalab.settings import setting
from metalab.tasks.base import Examples, TaskBatch


class Reptile(GradientBased):
    """theta <- theta - beta * mean_i (theta - phi_i,K)."""

    title: ClassVar[str] = "Reptile"
    summary: ClassVar[str] = "Moves the initial parameters towards each task's adapted ones."
    card: ClassVar[Card] = Card(
        kind="gradient-based",
        learned="The initial parameters θ.",
        adapts="All parameters, by inner gradient steps from θ.",
        gradient_order="1",
        memory="Constant.",
        paper="Nichol, Achiam, Schulman: On First-Order Meta-Learning Algorithms. 2018",
        url="https://arxiv.org/abs/1803.02999",
        rule=r"\begin{aligned}"
        r"\phi_{i,k+1} &= \phi_{i,k} - \alpha \nabla \mathcal{L}_i(\phi_{i,k}), \quad \phi_{i,0} = \theta \\"
        r"\theta &\leftarrow \theta - \beta \, \tfrac{1}{T} \textstyle\sum_i (\theta - \phi_{i,K})"
        r"\end{aligned}",
        flow=TOWARDS_ADAPTED,
    )

    name: Literal["reptile"] = "reptile"
    inner_steps: int = setting(8, "Inner steps on each task while meta-training.", low=1, high=64)
    inner_optimiser: Literal["sgd", "adam"] = setting(
        "sgd", "Who takes the inner steps: plain gradient descent, or Adam with beta1 = 0."
    )
    inner_batch: int = setting(
        0, "Examples in each inner step's minibatch; 0 takes all of the task's examples.", low=0, high=200
    )

    def adapt(self, learner: Learner, theta: Params, support: Examples, steps: int) -> Iterator[InnerStep]:
        return inner_loop(
            learner,
            expand(theta, support.x.shape[0]),
            support,
            steps,
            self.inner_lr,
            optimiser=self.inner_optimiser,
            batch_size=self.inner_batch,
        )

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        examples = Examples(
            torch.cat([batch.support.x, batch.query.x], 1), torch.cat([batch.support.y, batch.query.y], 1)
        )
        losses, phi = [], theta
        for inner in self.adapt(learner, theta, examples, self.inner_steps):
            phi = inner.phi
            if inner.support_loss is not None:
                losses.append(inner.support_loss)
        collected: Params = {}
        with torch.no_grad():
            if statistics(theta):
                learner.model.features(phi, examples.x, collect=collected)
            each = {name: value - phi[name] for name, value in weights(theta).items()}
        return MetaGradient.of_tasks(
            each,
            # The loss that Reptile descends, averaged over its inner steps: known without another pass.
            {"loss": torch.stack(losses).mean()},
            {name: collected[name] for name in statistics(theta)},
        )
