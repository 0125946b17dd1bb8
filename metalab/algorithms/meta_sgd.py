"""Li, Zhou, Chen, Li: Meta-SGD: Learning to Learn Quickly for Few-Shot Learning. 2017, arXiv:1707.09835.

MAML that learns how far each parameter moves, too: alpha is a vector as long as theta, part of the meta-parameters.
It decides on the direction of the inner step as well as its length, and its entries may be negative. It is made for
the inner steps that it is trained with, one in the paper: with rates that were learned for one step, further ones may
lead away.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from metalab.algorithms.base import Card, Learner
from metalab.algorithms.gradient_based import GradientBased
from metalab.algorithms.inner_loop import Rates
from metalab.algorithms.unrolled import Unrolled
from metalab.params import RATES, Params, network
from metalab.settings import setting


class MetaSGD(Unrolled, GradientBased):
    """phi_{k+1} = phi_k - alpha * grad L_support(phi_k), entry by entry; theta and alpha are learned together."""

    title: ClassVar[str] = "Meta-SGD"
    summary: ClassVar[str] = "MAML that also learns an inner learning rate for every single parameter."
    card: ClassVar[Card] = Card(
        kind="gradient-based",
        learned="The initial parameters θ and an inner learning rate α for each of them.",
        adapts="All parameters, each at its own rate.",
        gradient_order="2 (or 1)",
        memory="Grows with the inner steps, at order 1 by a gradient each. Twice as many meta-parameters as MAML.",
        paper="Li, Zhou, Chen, Li: Meta-SGD: Learning to Learn Quickly for Few-Shot Learning. 2017",
        url="https://arxiv.org/abs/1707.09835",
        rule=r"\begin{aligned}"
        r"\phi_{k+1} &= \phi_k - \alpha \circ \nabla \mathcal{L}^{\mathrm{support}}_i(\phi_k), \quad \phi_0 = \theta \\"
        r"(\theta, \alpha) &\leftarrow (\theta, \alpha) - \beta \, \nabla_{(\theta, \alpha)}"
        r" \tfrac{1}{T} \textstyle\sum_i \mathcal{L}^{\mathrm{query}}_i\big(\phi_K(\theta, \alpha)\big)"
        r"\end{aligned}",
    )

    name: Literal["meta_sgd"] = "meta_sgd"
    learn_rates: bool = setting(
        True,
        "Learn an inner learning rate for every parameter, each starting at α. Off: α is the rate of all, as in MAML.",
        label="Learn the inner rates",
    )

    @property
    def learns_rates(self) -> bool:
        return self.learn_rates

    def init(self, learner: Learner, rng: torch.Generator, dtype: torch.dtype = torch.float32) -> Params:
        theta = super().init(learner, rng, dtype)
        if self.learn_rates:
            theta |= {f"{RATES}{name}": torch.full_like(value, self.inner_lr) for name, value in network(theta).items()}
        return theta

    def rates(self, phi: Params) -> float | Rates:
        if not self.learn_rates:
            return self.inner_lr
        learned = {name: phi[f"{RATES}{name}"] for name in network(phi)}
        return lambda k: learned
