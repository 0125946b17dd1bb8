"""Raghu, Raghu, Bengio, Vinyals: Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of MAML.
ICLR 2020, arXiv:1909.09157, section 5.

NIL, "no inner loop": trained as ANIL or MAML, but at test the head is thrown away and no step is taken. A query gets
the labels of the support examples, weighted by the softmax of its cosine similarities to them in the space of features
(Vinyals et al. 2016, arXiv:1606.04080). With one shot that is the class of the nearest example. As nothing descends
at test, the adaptation curve counts shots: how many examples of each class the votes come from.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional as F

from metalab.algorithms.anil import head_alone
from metalab.algorithms.base import Card, Learner
from metalab.algorithms.inner_loop import Rates
from metalab.algorithms.shot_based import READ, ShotBased, as_numbers
from metalab.algorithms.unrolled import Unrolled
from metalab.models.base import Model
from metalab.params import CONTEXT, Params, expand
from metalab.settings import setting
from metalab.tasks.base import Examples, TaskFamily

FEATURES = f"{CONTEXT}features"
"""The entry of phi with the support set's features at unit length: (T, n_k, width)."""
VOTES = f"{CONTEXT}votes"
"""The entry of phi with the support set's labels, one-hot: (T, n_k, ways)."""
NO_VOTE = 1e-12
"""What is added to a class's votes, so that a class without an example has a logarithm."""


class NIL(ShotBased, Unrolled):
    """At test: p(class | x) = sum over the class's support examples of softmax_j cos(f(x), f(x_j))."""

    title: ClassVar[str] = "NIL"
    summary: ClassVar[str] = "Trained like MAML, tested with no inner loop at all: the nearest example's class."
    card: ClassVar[Card] = Card(
        kind="gradient-based",
        learned="The initial parameters θ of body and head.",
        adapts="In training as ANIL or MAML; at test nothing, the support set votes.",
        gradient_order="2 (or 1)",
        memory="In training as ANIL or MAML; at test constant.",
        paper="Raghu, Raghu, Bengio, Vinyals: Rapid Learning or Feature Reuse? ICLR 2020, section 5",
        url="https://arxiv.org/abs/1909.09157",
        rule=r"\begin{aligned}"
        r"\theta &\leftarrow \theta - \beta \, \nabla_{\theta} \tfrac{1}{T} \textstyle\sum_i"
        r" \mathcal{L}^{\mathrm{query}}_i\big(\phi_K(\theta)\big) \\"
        r"p(c \mid x) &= \textstyle\sum_{j \,:\, y_j = c}"
        r" \operatorname{softmax}_j \cos\big(f_{\theta}(x), f_{\theta}(x_j)\big)"
        r"\end{aligned}",
    )

    name: Literal["nil"] = "nil"
    trained_as: Literal["anil", "maml"] = setting(
        "anil", "What the inner loop adapts while meta-training: the head alone (ANIL), or everything (MAML)."
    )

    def misfit_with_family(self, family: TaskFamily) -> str | None:
        if family.kind != "classification":
            return f"NIL lets labelled examples vote for a class, but {family.name} has no classes"
        return None

    def misfit_with_network(self, model: Model) -> str | None:
        if not model.has_body:
            return f"NIL compares a body's features, but this {model.name} has nothing below the last layer"
        return super().misfit_with_network(model)

    def rates(self, phi: Params) -> float | Rates:
        return head_alone(phi, self.inner_lr) if self.trained_as == "anil" else self.inner_lr

    def read(self, learner: Learner, theta: Params, support: Examples) -> Params:
        """theta, the support set's features, and its labels."""
        phi = expand(theta, support.x.shape[0])
        features = F.normalize(learner.model.features(phi, support.x), dim=-1)
        return phi | {FEATURES: features, VOTES: as_numbers(learner.family, support.y, features)}

    def answer(self, learner: Learner, phi: Params, x: Tensor, collect: Params | None = None) -> Tensor:
        """Log-probabilities (T, m, ways), up to a term that all classes share."""
        features = learner.model.features(phi, x, support=phi[READ], collect=collect)
        cosine = F.normalize(features, dim=-1) @ phi[FEATURES].mT
        return (cosine.exp() @ phi[VOTES] + NO_VOTE).log()
