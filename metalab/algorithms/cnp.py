"""Garnelo, Rosenbaum, Maddison, Ramalho, Saxton, Shanahan, Teh, Rezende, Eslami: Conditional Neural Processes. ICML
2018, arXiv:1807.01613.

The network (`models/cnp.py`) says for each query how likely every value is: theta descends minus the logarithm of
the likelihood of the query's y, so that it learns to say how sure it is. What the family's loss and metrics judge is
the mean of that distribution; beside them stands that surprise itself.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from torch import Tensor

from metalab.algorithms.base import Card, Learner
from metalab.algorithms.in_context import ModelBased
from metalab.models.base import SupportReader, parted
from metalab.models.cnp import CNP
from metalab.params import Params
from metalab.tasks.base import Examples, TaskFamily

SURPRISE = "negative_log_likelihood"


class ConditionalNeuralProcess(ModelBased):
    """theta <- theta - beta * grad_theta mean_i -log p(y_query_i | x_query_i, support_i; theta)."""

    title: ClassVar[str] = "Conditional neural process"
    summary: ClassVar[str] = "Reads the support set into one vector and says what a query's value is, and how surely."
    card: ClassVar[Card] = Card(
        kind="model-based",
        learned="The weights θ of an encoder and a decoder.",
        adapts="No weights: the support set is read into one vector, the mean r of its examples' encodings.",
        gradient_order="1",
        memory="Constant: there are no inner steps.",
        paper="Garnelo et al.: Conditional Neural Processes. ICML 2018",
        url="https://arxiv.org/abs/1807.01613",
        rule=r"\begin{aligned}"
        r"r_i &= \tfrac{1}{K} \textstyle\sum_j e_{\theta}(x_{ij}, y_{ij}) \\"
        r"\theta &\leftarrow \theta - \beta \, \nabla_{\theta} \tfrac{1}{T} \textstyle\sum_i -\log"
        r" \mathcal{N}\big(y^{\mathrm{query}}_i; \mu_{\theta}(x, r_i), \sigma_{\theta}^2(x, r_i)\big)"
        r"\end{aligned}",
    )
    network: ClassVar[type[SupportReader]] = CNP
    descends: ClassVar[str] = SURPRISE

    name: Literal["cnp"] = "cnp"

    @property
    def label(self) -> str:
        return "Neural process"

    def misfit_with_family(self, family: TaskFamily) -> str | None:
        if family.kind == "classification" and not family.tokens:
            return f"cnp predicts a mean and a spread, but {family.name} asks for classes: choose in_context"
        return super().misfit_with_family(family)

    def loss(self, learner: Learner, theta: Params, known: Params, query: Examples) -> tuple[Tensor, Tensor]:
        mean, spread = _network(learner).distribution(theta, known, query.x)
        return surprise(mean, spread, query.y).mean(), mean

    def judged(
        self, learner: Learner, phi: Params, support: Examples, examples: Examples
    ) -> tuple[Tensor, dict[str, Tensor]]:
        mean, spread = _network(learner).distribution(*parted(phi), examples.x)
        figures = learner.family.metrics(mean, examples.y)
        return mean, figures | {SURPRISE: surprise(mean, spread, examples.y)}

    def spread(self, learner: Learner, phi: Params, x: Tensor) -> Tensor:
        return _network(learner).distribution(*parted(phi), x)[1]


def surprise(mean: Tensor, spread: Tensor, y: Tensor) -> Tensor:
    """-log N(y; mean, spread^2) of values (T, m, d), summed over d, averaged over the m queries: (T,), in nats."""
    each = 0.5 * ((y - mean) / spread).square() + spread.log() + 0.5 * math.log(2 * math.pi)
    return each.sum(-1).mean(-1)


def _network(learner: Learner) -> CNP:
    assert isinstance(learner.model, CNP)
    return learner.model
