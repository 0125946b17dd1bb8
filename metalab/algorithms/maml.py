"""Finn, Abbeel, Levine: Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks. ICML 2017,
arXiv:1703.03400.

Find initial parameters from which a few gradient steps on a support set do well on the query set. The
outer loop descends the query loss after adaptation, through the inner steps (second order) or with the
inner gradients taken as constants (first order: FOMAML).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from metalab.algorithms.base import Card
from metalab.algorithms.gradient_based import GradientBased
from metalab.algorithms.unrolled import Unrolled


class MAML(Unrolled, GradientBased):
    """theta <- theta - beta * grad_theta mean_i L_query_i(phi_i,K(theta))."""

    title: ClassVar[str] = "MAML"
    summary: ClassVar[str] = "Descends the query loss after adaptation, through the inner loop."
    card: ClassVar[Card] = Card(
        kind="gradient-based",
        learned="The initial parameters θ.",
        adapts="All parameters, by inner gradient steps from θ.",
        gradient_order="2 (1 as FOMAML)",
        memory="Grows with the inner steps; constant as FOMAML.",
        paper="Finn, Abbeel, Levine: Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks. ICML 2017",
        url="https://arxiv.org/abs/1703.03400",
        rule=r"\begin{aligned}"
        r"\phi_{k+1} &= \phi_k - \alpha \nabla \mathcal{L}^{\mathrm{support}}_i(\phi_k), \quad \phi_0 = \theta \\"
        r"\theta &\leftarrow \theta - \beta \, \nabla_{\theta} \tfrac{1}{T} \textstyle\sum_i"
        r" \mathcal{L}^{\mathrm{query}}_i\big(\phi_K(\theta)\big)"
        r"\end{aligned}",
    )

    name: Literal["maml"] = "maml"

    @property
    def label(self) -> str:
        return "MAML" if self.order == 2 else "FOMAML"
