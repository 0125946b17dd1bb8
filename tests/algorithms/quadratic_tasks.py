"""Quadratic tasks, on which every algorithm has a closed form, run through the real family, network and inner loop.

L(theta) = 1/2 (theta - c)^T A (theta - c) + b^T theta; b is zero but for losses that are linear in theta.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metalab.algorithms.base import Learner
from metalab.models.point import Point
from metalab.params import Params
from metalab.tasks import quadratic
from metalab.tasks.base import Examples, TaskBatch

THETA = "head.bias"


class Tilted(quadratic.Quadratic):
    """The family's loss plus b^T theta, where a target carries a b behind what the family puts there."""

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        d = self.dimension
        bowl, linear = target.split([d * d + d, d], -1)
        return super().loss(prediction, bowl) + (linear * prediction).sum(-1).mean(1)


LEARNER = Learner(Point(), Tilted(dimension=3))


def examples(matrix: Tensor, centre: Tensor, linear: Tensor | None = None) -> Examples:
    """A set of one example for each task: A (T, d, d), c and b (T, d)."""
    bowl = quadratic.examples(matrix, centre[:, None])
    linear = torch.zeros_like(centre) if linear is None else linear
    return Examples(bowl.x, torch.cat([bowl.y, linear[:, None]], -1))


def batch(support: Examples, query: Examples | None = None) -> TaskBatch:
    """A meta-batch; without `query`, the query set is the support set."""
    return TaskBatch(support, support if query is None else query)


def theta_of(value: Tensor) -> Params:
    """The point's parameters at theta = value (d,)."""
    return {"head.weight": torch.zeros(0, len(value), dtype=value.dtype), THETA: value}


def draw(seed: int, n_tasks: int, low: float = 0.5, high: float = 3.0, d: int = 3) -> tuple[Tensor, Tensor]:
    """Random symmetric A (T, d, d) with eigenvalues evenly from `low` to `high`, random c (T, d)."""
    rng = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(n_tasks, d, d, generator=rng, dtype=torch.float64)).Q
    spectrum = torch.linspace(low, high, d, dtype=torch.float64)
    matrix = turn * spectrum @ turn.mT
    return (matrix + matrix.mT) / 2, torch.randn(n_tasks, d, generator=rng, dtype=torch.float64)


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrix times vector, task by task: (T, d, d), (T, d) or (d,) -> (T, d)."""
    return (matrix @ vector.expand(matrix.shape[0], -1)[..., None])[..., 0]


def shrinkage(matrix: Tensor, alpha: float, steps: int) -> Tensor:
    """(I - alpha A)^steps: what is left of theta - c after so many inner steps."""
    return torch.linalg.matrix_power(torch.eye(matrix.shape[-1], dtype=matrix.dtype) - alpha * matrix, steps)
