"""Nearest neighbour on pre-trained features: what transfer gives before anything is fitted.

The features come from joint training (`joint.py`); a query has the class of the support example next to it. Koch,
Zemel, Salakhutdinov: Siamese Neural Networks for One-shot Image Recognition. ICML deep learning workshop 2015, has
it as a baseline; with one shot it is a prototypical network whose features were never trained for it.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from metalab.algorithms.base import Card, Learner
from metalab.algorithms.joint import Joint, without_joint
from metalab.algorithms.shot_based import READ, ShotBased, as_numbers
from metalab.params import CONTEXT, Params, expand
from metalab.tasks.base import Examples, TaskFamily

FEATURES = f"{CONTEXT}features"
CLASSES = f"{CONTEXT}classes"


class NearestNeighbour(Joint, ShotBased):
    """theta as in joint training; a query's class is that of argmin_j ||f(x) - f(x_j)||."""

    title: ClassVar[str] = "Nearest neighbour"
    summary: ClassVar[str] = "Learns all training classes as one, then copies the label of the nearest example."
    card: ClassVar[Card] = Card(
        kind="transfer",
        learned="One network for all training classes together.",
        adapts="Nothing: the support set's features are kept beside it.",
        gradient_order="1",
        memory="Constant: there are no inner steps.",
        paper="A baseline of Koch, Zemel, Salakhutdinov: Siamese Neural Networks for One-shot Image Recognition. 2015",
        url="https://www.cs.cmu.edu/~rsalakhu/papers/oneshot1.pdf",
        rule=r"\begin{aligned}"
        r"\theta &\leftarrow \theta - \beta \, \nabla_{\theta} \tfrac{1}{T} \textstyle\sum_i \mathcal{L}_i(\theta) \\"
        r"\hat{y}(x) &= y_{j^*}, \quad j^* = \arg\min_j \, \| f_{\theta}(x) - f_{\theta}(x_j) \|"
        r"\end{aligned}",
    )

    name: Literal["nearest_neighbour"] = "nearest_neighbour"

    def misfit_with_family(self, family: TaskFamily) -> str | None:
        if family.kind != "classification":
            return (
                f"nearest_neighbour copies class labels, but {family.name} has no classes: choose a "
                "classification family"
            )
        return super().misfit_with_family(family)

    def read(self, learner: Learner, theta: Params, support: Examples) -> Params:
        body = expand(without_joint(theta), support.x.shape[0])
        features = learner.model.features(body, support.x)
        return body | {FEATURES: features, CLASSES: as_numbers(learner.family, support.y, features)}

    def answer(self, learner: Learner, phi: Params, x: Tensor, collect: Params | None = None) -> Tensor:
        """A class scores minus the squared distance to the nearest of its examples: the best one has the nearest."""
        features = learner.model.features(phi, x, support=phi[READ], collect=collect)
        distance = torch.cdist(features, phi[FEATURES], compute_mode="donot_use_mm_for_euclid_dist").square()
        others = phi[CLASSES][:, None] == 0
        return -distance[..., None].masked_fill(others, torch.inf).amin(2)
