"""Snell, Swersky, Zemel: Prototypical Networks for Few-shot Learning. NeurIPS 2017, arXiv:1703.05175.

A class is the mean c of its support examples' features, its prototype, and a query belongs to the nearest one. The
squared distance -||f - c||^2 = 2 c.f - ||c||^2 - ||f||^2 is a linear head with weight 2 c and bias -||c||^2 up to a
term that all classes share: no step is taken, the head is written down. The features learn from the query loss.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from metalab.algorithms.base import Card, Learner, MetaGradient
from metalab.algorithms.shot_based import READ, ShotBased, as_numbers
from metalab.models.base import HEAD, Model, linear
from metalab.params import Params, expand, gradients, separate, statistics, weights
from metalab.settings import setting
from metalab.tasks.base import Examples, TaskBatch, TaskFamily

SHARPNESS = 10.0
"""What cosines, which lie within -1 and 1, are multiplied by before the softmax."""


class Prototypes(ShotBased):
    """theta <- theta - beta * grad_theta mean_i L_query_i(theta, prototypes_i(theta))."""

    title: ClassVar[str] = "Prototypical network"
    summary: ClassVar[str] = "A class is the mean of its examples' features; a query belongs to the nearest mean."
    card: ClassVar[Card] = Card(
        kind="metric-based",
        learned="The features: the body of the network.",
        adapts="The prototypes: each class's mean feature, which is a linear head.",
        gradient_order="1",
        memory="Constant: there are no inner steps.",
        paper="Snell, Swersky, Zemel: Prototypical Networks for Few-shot Learning. NeurIPS 2017",
        url="https://arxiv.org/abs/1703.05175",
        rule=r"\begin{aligned}"
        r"c_w &= \tfrac{1}{K} \textstyle\sum_{y_j = w} f_{\theta}(x_j), \quad"
        r" p(y = w \mid x) \propto \exp\big(-\| f_{\theta}(x) - c_w \|^2\big) \\"
        r"\theta &\leftarrow \theta - \beta \, \nabla_{\theta} \tfrac{1}{T} \textstyle\sum_i"
        r" -\log p\big(y^{\mathrm{query}}_i \mid x^{\mathrm{query}}_i\big)"
        r"\end{aligned}",
    )

    name: Literal["prototypes"] = "prototypes"
    metric: Literal["euclidean", "cosine"] = setting(
        "euclidean", "How near a query is to a prototype: squared Euclidean distance, or the cosine of the angle."
    )

    @property
    def label(self) -> str:
        return "Prototypes"

    def misfit_with_family(self, family: TaskFamily) -> str | None:
        if family.kind != "classification":
            return f"prototypes stand for classes, but {family.name} has none of them: choose one that does"
        return None

    def misfit_with_network(self, model: Model) -> str | None:
        if not model.has_body:
            return f"prototypes learn a body's features, but this {model.name} is nothing but a head"
        return super().misfit_with_network(model)

    def init(self, learner: Learner, rng: torch.Generator, dtype: torch.dtype = torch.float32) -> Params:
        """The body alone: each task brings its own head."""
        return {name: value for name, value in learner.init(rng, dtype).items() if not name.startswith(HEAD)}

    def read(self, learner: Learner, theta: Params, support: Examples) -> Params:
        """The body, and the head that the prototypes are."""
        return self._read(learner, expand(theta, support.x.shape[0]), support)

    def _read(self, learner: Learner, body: Params, support: Examples) -> Params:
        """`read` with a body (T, ...) for each task."""
        features = self._features(learner.model.features(body, support.x))
        member = as_numbers(learner.family, support.y, features)
        centre = torch.bmm(member.mT, features) / member.sum(1)[..., None]
        return body | self.head(centre)

    def head(self, centre: Tensor) -> Params:
        """The linear head that the prototypes (T, ways, width) are."""
        if self.metric == "cosine":
            weight, bias = SHARPNESS * F.normalize(centre, dim=-1), centre.new_zeros(centre.shape[:2])
        else:
            weight, bias = 2 * centre, -centre.square().sum(-1)
        return {f"{HEAD}weight": weight.mT, f"{HEAD}bias": bias}

    def answer(self, learner: Learner, phi: Params, x: Tensor, collect: Params | None = None) -> Tensor:
        features = learner.model.features(phi, x, support=phi[READ], collect=collect)
        return linear(phi, "head", self._features(features))

    def _features(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=-1) if self.metric == "cosine" else features

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        own = separate(theta, batch.n_tasks)
        phi = self._read(learner, own, batch.support) | {READ: batch.support.x}
        collected: Params = {}
        prediction = self.answer(learner, phi, batch.query.x, collected)
        losses = learner.family.loss(prediction, batch.query.y)
        figures = learner.family.metrics(prediction.detach(), batch.query.y)
        return MetaGradient.of_tasks(
            gradients(losses.sum(), weights(own)),
            {name: value.mean() for name, value in figures.items()},
            {name: collected[name] for name in statistics(theta)},
        )
