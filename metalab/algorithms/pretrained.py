"""Pre-training and fine-tuning: the baseline that every figure compares with (Finn et al. 2017, section 5).

One network is trained on all tasks' examples together, as if they were one task. For classification it
tells all meta-training classes apart with one wide joint head, and a new task starts from its body and a
fresh head. A new task is then learned by plain gradient descent from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from metalab.algorithms.base import Card, InnerStep, Learner, MetaGradient
from metalab.algorithms.gradient_based import GradientBased
from metalab.models.base import init_linear, linear
from metalab.params import Params, detach, expand, gradients, statistics, weights
from metalab.tasks.base import Examples, TaskBatch

JOINT = "joint"
"""Prefix of the wide head's entries; they are left behind when a new task is learned."""


class Pretrained(GradientBased):
    """theta <- theta - beta * grad_theta L(all examples of all tasks; theta)."""

    title: ClassVar[str] = "Pre-trained"
    summary: ClassVar[str] = "Learns all training tasks as one, then fine-tunes: transfer without meta-learning."
    card: ClassVar[Card] = Card(
        kind="transfer",
        learned="One network for all tasks' examples together.",
        adapts="All parameters, by gradient steps; classification starts from a fresh head.",
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

    def init(self, learner: Learner, rng: torch.Generator, dtype: torch.dtype = torch.float32) -> Params:
        theta = learner.init(rng, dtype)
        if learner.family.kind == "classification":
            width = theta["head.weight"].shape[0]
            theta |= init_linear(JOINT, width, learner.family.n_classes("train"), rng, dtype)
        return theta

    def adapt(self, learner: Learner, theta: Params, support: Examples, steps: int) -> Iterator[InnerStep]:
        own = {name: value for name, value in theta.items() if not name.startswith(JOINT)}
        return super().adapt(learner, own, support, steps)

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        x = torch.cat([batch.support.x, batch.query.x], 1).flatten(0, 1)[None]
        theta = detach(weights(theta), requires_grad=True) | statistics(theta)
        shared = expand(theta, 1)
        collected: Params = {}
        # All examples are one support set: with `support` given, support-plus-one would take each image by itself.
        features = learner.model.features(shared, x, collect=collected)
        if learner.family.kind == "classification":
            prediction, target = linear(shared, JOINT, features), _class_ids(batch).to(x.device)[None]
            loss = F.cross_entropy(prediction[0], target[0])
            figures = {"loss": loss, "accuracy": (prediction.argmax(-1) == target).double().mean()}
        else:
            y = torch.cat([batch.support.y, batch.query.y], 1).flatten(0, 1)[None]
            loss = learner.family.loss(linear(shared, "head", features), y).mean()
            figures = {"loss": loss}
        return MetaGradient(
            gradients(loss, weights(theta)),
            {name: value.detach() for name, value in figures.items()},
            {name: collected[name] for name in statistics(theta)},
        )


def _class_ids(batch: TaskBatch) -> Tensor:
    """The global class of every example, support before query in each task: (T * n,)."""
    labels = torch.cat([batch.support.y, batch.query.y], 1).cpu()
    return batch.info["classes"].gather(1, labels).flatten()
