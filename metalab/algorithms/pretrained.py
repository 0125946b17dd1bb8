"""Pre-training and fine-tuning: the baseline that every figure compares with (Finn et al. 2017, section 5).

One network is trained on all tasks' examples together, as if they were one task. For classification it
tells all meta-training classes apart with one wide joint head, and a new task starts from its body and a
fresh head. A new task is then learned by plain gradient descent from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from metalab.algorithms.base import Card, InnerStep, Learner
from metalab.algorithms.gradient_based import GradientBased
from metalab.algorithms.joint import Joint, new_task
from metalab.params import Params
from metalab.tasks.base import Examples


class Pretrained(Joint, GradientBased):
    """theta <- theta - beta * grad_theta L(all examples of all tasks; theta)."""

    title: ClassVar[str] = "Pre-trained"
    summary: ClassVar[str] = "Learns all training tasks as one, then fine-tunes: transfer without meta-learning."
    card: ClassVar[Card] = Card(
        kind="transfer",
        learned="One network for all tasks' examples together.",
        adapts="All parameters, by gradient steps; new classes start from a fresh head.",
        gradient_order="1",
        memory="Constant: there is no inner loop in meta-training.",
        paper="The baseline of Finn, Abbeel, Levine: Model-Agnostic Meta-Learning. ICML 2017, section 5",
        url="https://arxiv.org/abs/1703.03400",
        rule=r"\begin{aligned}"
        r"\theta &\leftarrow \theta - \beta \, \nabla_{\theta} \tfrac{1}{T} \textstyle\sum_i \mathcal{L}_i(\theta) \\"
        r"\phi_{k+1} &= \phi_k - \alpha \nabla \mathcal{L}^{\mathrm{support}}(\phi_k), \quad \phi_0 = \theta"
        r"\end{aligned}",
    )

    name: Literal["pretrained"] = "pretrained"

    def adapt(self, learner: Learner, theta: Params, support: Examples, steps: int) -> Iterator[InnerStep]:
        return super().adapt(learner, new_task(learner.family, theta), support, steps)
