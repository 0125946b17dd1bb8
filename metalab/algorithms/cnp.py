"""Garnelo, Rosenbaum, Maddison, Ramalho, Saxton, Shanahan, Teh, Rezende, Eslami: Conditional Neural Processes. ICML
2018, arXiv:1807.01613.

The network (`models/cnp.py`) says for each query how likely every value is: theta descends minus the logarithm of
the likelihood of the query's y, so that it learns to say how sure it is. What the family's loss and metrics judge is
the mean of that distribution.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from torch import Tensor

from metalab.algorithms.base import Card, Learner
from metalab.algorithms.in_context import ModelBased
from metalab.models.base import SupportReader
from metalab.models.cnp import CNP
from metalab.params import Params
from metalab.tasks.base import Examples, TaskFamily


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
    descends: ClassVar[str] = "negative_log_likelihood"

    name: Literal["cnp"] = "cnp"

    @property
    def label(self) -> str:
        return "Neural process"

    def misfit_with_family(self, family: TaskFamily) -> str | None:
        if family.kind == "classification" and not family.tokens:
            return f"cnp predicts a mean and a spread, but {family.name} asks for classes: choose in_context"
        return super().misfit_with_family(family)

    def loss(self, learner: Learner, theta: Params, known: Params, query: Examples) -> tuple[Tensor, Tensor]:
        assert isinstance(learner.model, CNP)
        mean, spread = learner.model.distribution(theta, known, query.x)
        # -log N(y; mean, spread^2), summed over the entries of y, averaged over queries and tasks.
        surprise = 0.5 * ((query.y - mean) / spread).square() + spread.log() + 0.5 * math.log(2 * math.pi)
        return surprise.sum(-1).mean(), mean
