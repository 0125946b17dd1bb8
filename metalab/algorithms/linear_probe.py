"""A linear probe: a new head on frozen pre-trained features (Alain, Bengio: Understanding intermediate layers using
linear classifier probes. ICLR workshop 2017, arXiv:1610.01644). Tian et al. 2020 (arXiv:2003.11539) found it hard to
beat for few-shot images.

The features come from joint training (`joint.py`). The head is fitted by gradient steps of THE inner loop, so that its
curve runs over the same inner steps as everybody's, or by the closed form of ridge regression (`new_head.py`). It
starts from the joint network's head for regression, from a random one for classification.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from metalab.algorithms.base import Card, InnerStep, Learner
from metalab.algorithms.joint import new_task
from metalab.algorithms.new_head import NewHead
from metalab.params import Params, expand
from metalab.tasks.base import Examples


class LinearProbe(NewHead):
    """theta as in joint training; head <- head - alpha * grad_head L_support, or ridge regression; the body stays."""

    title: ClassVar[str] = "Linear probe"
    summary: ClassVar[str] = "Learns all training tasks as one, then fits a new last layer on the frozen features."
    card: ClassVar[Card] = Card(
        kind="transfer",
        learned="One network for all tasks' examples together.",
        adapts="The last layer alone, by gradient steps or in closed form.",
        gradient_order="1",
        memory="Constant: there is no inner loop in meta-training.",
        paper="Alain, Bengio: Understanding intermediate layers using linear classifier probes. ICLR workshop 2017",
        url="https://arxiv.org/abs/1610.01644",
        rule=r"\begin{aligned}"
        r"\theta &\leftarrow \theta - \beta \, \nabla_{\theta} \tfrac{1}{T} \textstyle\sum_i \mathcal{L}_i(\theta) \\"
        r"h_{k+1} &= h_k - \alpha \nabla_h \mathcal{L}^{\mathrm{support}}(\theta_{\mathrm{body}}, h_k) \\"
        r"\text{or } h &= \arg\min_{w, b} \tfrac{1}{n} \textstyle\sum_j \| w f_{\theta}(x_j) + b - y_j \|^2"
        r" + \lambda \| w \|^2"
        r"\end{aligned}",
    )

    name: Literal["linear_probe"] = "linear_probe"

    def adapt(self, learner: Learner, theta: Params, support: Examples, steps: int) -> Iterator[InnerStep]:
        phi = expand(new_task(learner.family, theta), support.x.shape[0])
        return self.fitted(learner, phi, support, steps)
