"""From scratch: plain gradient descent on the support set from random parameters. Nothing is meta-learned;
it shows what the network and the support set give by themselves.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from metalab.algorithms.base import Card, Learner, MetaGradient
from metalab.algorithms.gradient_based import GradientBased
from metalab.models.base import Model
from metalab.params import Params, expand, statistics, weights
from metalab.tasks.base import TaskBatch


class Scratch(GradientBased):
    """theta stays as it was drawn."""

    title: ClassVar[str] = "From scratch"
    summary: ClassVar[str] = "No meta-training: every task starts from the same random parameters."
    card: ClassVar[Card] = Card(
        kind="baseline",
        learned="Nothing: θ stays as it was drawn.",
        adapts="All parameters, by gradient steps from random ones.",
        gradient_order="0: there is no outer step",
        memory="Constant: there is no meta-training.",
        paper="The random initialisation of Finn, Abbeel, Levine: Model-Agnostic Meta-Learning. ICML 2017, section 5.3",
        url="https://arxiv.org/abs/1703.03400",
        rule=r"\phi_{k+1} = \phi_k - \alpha \nabla \mathcal{L}^{\mathrm{support}}(\phi_k),"
        r" \quad \phi_0 = \theta \text{ as drawn}",
    )
    trains: ClassVar[bool] = False

    name: Literal["scratch"] = "scratch"

    def misfit_with_network(self, model: Model) -> str | None:
        if model.keeps_averages:
            return (
                "scratch has no meta-training from which batch_norm = 'running' could take its averages: choose "
                "transductive or support_plus_one"
            )
        return super().misfit_with_network(model)

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        """Zero, and the statistics as they are: there is nothing to learn from a meta-batch."""
        zero = {name: torch.zeros_like(value) for name, value in weights(theta).items()}
        loss = learner.query_loss(expand(theta, batch.n_tasks), batch).detach().mean()
        return MetaGradient(zero, {"loss": loss}, statistics(theta))
