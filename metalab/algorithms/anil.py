"""Raghu, Raghu, Bengio, Vinyals: Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of MAML.
ICLR 2020, arXiv:1909.09157.

ANIL, "almost no inner loop": the inner loop adapts the head alone, to features that all tasks share. MAML with the
body's inner learning rate at zero.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from metalab.algorithms.base import Card
from metalab.algorithms.gradient_based import GradientBased
from metalab.algorithms.inner_loop import Rates, constant
from metalab.algorithms.unrolled import Unrolled
from metalab.models.base import HEAD
from metalab.params import Params


class ANIL(Unrolled, GradientBased):
    """MAML whose phi_k differs from theta in the head alone."""

    title: ClassVar[str] = "ANIL"
    summary: ClassVar[str] = "MAML that adapts the last layer only: are the features reused?"
    card: ClassVar[Card] = Card(
        kind="gradient-based",
        learned="The initial parameters θ of body and head.",
        adapts="The head alone; all tasks share the body.",
        gradient_order="2 (or 1)",
        memory="Grows with the inner steps, less than MAML's; constant at order 1.",
        paper="Raghu, Raghu, Bengio, Vinyals: Rapid Learning or Feature Reuse? ICLR 2020",
        url="https://arxiv.org/abs/1909.09157",
        rule=r"\begin{aligned}"
        r"\phi^{\mathrm{head}}_{k+1} &= \phi^{\mathrm{head}}_k"
        r" - \alpha \nabla_{\mathrm{head}} \mathcal{L}^{\mathrm{support}}_i(\phi_k),"
        r" \quad \phi^{\mathrm{body}}_k = \theta^{\mathrm{body}} \\"
        r"\theta &\leftarrow \theta - \beta \, \nabla_{\theta} \tfrac{1}{T} \textstyle\sum_i"
        r" \mathcal{L}^{\mathrm{query}}_i\big(\phi_K(\theta)\big)"
        r"\end{aligned}",
    )

    name: Literal["anil"] = "anil"

    def rates(self, phi: Params) -> Rates:
        return head_alone(phi, self.inner_lr)


def head_alone(phi: Params, inner_lr: float) -> Rates:
    """The same rate for every entry of the head at every step; the body stays."""
    return constant(phi, inner_lr, lambda name: name.startswith(HEAD))
