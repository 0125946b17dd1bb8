"""Oh, Yoo, Kim, Yun: BOIL: Towards Representation Change for Few-shot Learning. ICLR 2021, arXiv:2008.08882.

"Body only update in inner loop": the opposite of ANIL. The head is meta-learned but stays as it is within a task, so
that the features must change towards it. MAML with the head's inner learning rate at zero.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from metalab.algorithms.base import Card
from metalab.algorithms.gradient_based import GradientBased
from metalab.algorithms.inner_loop import Rates, constant
from metalab.algorithms.unrolled import Unrolled
from metalab.models.base import HEAD, Model
from metalab.params import Params
from metalab.tasks.base import TaskFamily


class BOIL(Unrolled, GradientBased):
    """MAML whose phi_k differs from theta in the body alone."""

    title: ClassVar[str] = "BOIL"
    summary: ClassVar[str] = "MAML that adapts all but the last layer: do the features change?"
    card: ClassVar[Card] = Card(
        kind="gradient-based",
        learned="The initial parameters θ of body and head.",
        adapts="The body alone; all tasks share the head.",
        gradient_order="2 (or 1)",
        memory="Grows with the inner steps; constant at order 1.",
        paper="Oh, Yoo, Kim, Yun: BOIL: Towards Representation Change for Few-shot Learning. ICLR 2021",
        url="https://arxiv.org/abs/2008.08882",
        rule=r"\begin{aligned}"
        r"\phi^{\mathrm{body}}_{k+1} &= \phi^{\mathrm{body}}_k"
        r" - \alpha \nabla_{\mathrm{body}} \mathcal{L}^{\mathrm{support}}_i(\phi_k),"
        r" \quad \phi^{\mathrm{head}}_k = \theta^{\mathrm{head}} \\"
        r"\theta &\leftarrow \theta - \beta \, \nabla_{\theta} \tfrac{1}{T} \textstyle\sum_i"
        r" \mathcal{L}^{\mathrm{query}}_i\big(\phi_K(\theta)\big)"
        r"\end{aligned}",
    )

    name: Literal["boil"] = "boil"

    def misfit_with_family(self, family: TaskFamily) -> str | None:
        if not math.prod(family.input_shape):
            return f"BOIL adapts layers below the last, but tasks of {family.name} have no inputs for them to read"
        return None

    def misfit_with_network(self, model: Model) -> str | None:
        if not model.has_body:
            return f"BOIL adapts what lies below the last layer, but this {model.name} has nothing there"
        return super().misfit_with_network(model)

    def rates(self, phi: Params) -> Rates:
        return constant(phi, self.inner_lr, lambda name: not name.startswith(HEAD))
