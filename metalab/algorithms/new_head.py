"""A new head for a new task on features that were learned jointly: what `linear_probe` and `multi_task` share.

By gradient steps of THE inner loop, or at once in closed form, by ridge regression as in Bertinetto, Henriques, Torr,
Vedaldi: Meta-learning with differentiable closed-form solvers. ICLR 2019, arXiv:1805.08136, there of R2-D2; here the
features come from joint training, so that nothing is differentiated through the solver.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from metalab.algorithms.base import InnerStep, Learner
from metalab.algorithms.gradient_based import GradientBased
from metalab.algorithms.inner_loop import inner_loop
from metalab.algorithms.joint import Joint
from metalab.algorithms.shot_based import as_numbers
from metalab.models.base import HEAD
from metalab.params import Params, detach, network
from metalab.settings import setting
from metalab.tasks.base import Examples, TaskFamily


class NewHead(Joint, GradientBased):
    """A subclass declares `adapt`, by `fitted`."""

    head: Literal["gradient", "ridge"] = setting(
        "gradient",
        "How a held-out task's new last layer is fitted: by inner steps, or in closed form by ridge regression, of "
        "classes on one-hot labels. That takes no steps: the curve is level from the first one on.",
    )
    ridge: float = setting(
        0.1,
        "λ: what the closed form adds to each mean square of the features; the larger, the smaller the weights.",
        label="Ridge λ",
        low=1e-6,
        high=100.0,
        scale="log",
        only_if={"head": "ridge"},
    )

    @property
    def alpha(self) -> float | None:
        return super().alpha if self.head == "gradient" else None

    def misfit_with_family(self, family: TaskFamily) -> str | None:
        reason = super().misfit_with_family(family)
        if reason or self.head == "gradient":
            return reason
        if family.kind not in ("regression", "classification"):
            return (
                f"{self.name} with head = 'ridge' fits values or classes by least squares, but {family.name} is about "
                f"{family.kind}: choose head = 'gradient'"
            )
        if not math.prod(family.input_shape):
            return f"{self.name} with head = 'ridge' fits a head on inputs, but tasks of {family.name} have none"
        return None

    def fitted(
        self, learner: Learner, phi: Params, support: Examples, steps: int, *, body: bool = False
    ) -> Iterator[InnerStep]:
        """phi_0 .. phi_steps from phi (T, ...), whose body moves too where it may, by gradient steps alone."""
        if self.head == "ridge":
            return self._at_once(learner, detach(phi), support, steps)
        rates = {name: self.inner_lr for name in network(phi) if body or name.startswith(HEAD)}
        return inner_loop(learner, phi, support, steps, lambda k: rates)

    @torch.no_grad()
    def _closed_form(self, learner: Learner, phi: Params, support: Examples) -> Params:
        features = learner.model.features(phi, support.x)
        weight, bias = ridge_regression(features, as_numbers(learner.family, support.y, features), self.ridge)
        return phi | {f"{HEAD}weight": weight, f"{HEAD}bias": bias}

    def _at_once(self, learner: Learner, phi: Params, support: Examples, steps: int) -> Iterator[InnerStep]:
        """The fitted head from the first step on: no step descends anything."""
        for k in range(steps + 1):
            if k == 1:
                phi = self._closed_form(learner, phi, support)
            yield InnerStep(k, phi, None, None)


def ridge_regression(features: Tensor, targets: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Weight (T, width, d) and bias (T, d) of least (1/n) sum ||w f_j + b - y_j||^2 + strength ||w||^2, by task.

    features (T, n, width), targets (T, n, d). The bias is free: it is what centring takes away. Solved in float64 by
    the n equations of the examples, of which there are few, instead of the width's.
    """
    f, y = features.double(), targets.double()
    mean_f, mean_y = f.mean(1, keepdim=True), y.mean(1, keepdim=True)
    f, y = f - mean_f, y - mean_y
    n = f.shape[1]
    eye = torch.eye(n, dtype=f.dtype, device=f.device)
    weight = f.mT @ torch.linalg.solve(f @ f.mT + n * strength * eye, y)
    bias = (mean_y - mean_f @ weight)[:, 0]
    return weight.to(features), bias.to(features)
