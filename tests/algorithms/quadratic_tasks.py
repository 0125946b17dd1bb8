"""Quadratic tasks, on which every algorithm has a closed form, run through the real network code and inner loop.

L(theta) = 1/2 (theta - c)^T A (theta - c) + b^T theta. The network is a linear layer that reads zeros, so that its
bias is its prediction, and the bias is theta; A, c and b travel in the targets, one of each for every example.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from metalab.algorithms.base import Learner
from metalab.models import MLP
from metalab.params import Params
from metalab.tasks.base import Examples, TaskBatch, TaskFamily

THETA = "head.bias"


class Quadratic(TaskFamily):
    """L(theta) averaged over the examples of a set; theta has `dimension` entries."""

    kind: ClassVar[Literal["regression", "classification"]] = "regression"
    input_shape: ClassVar[tuple[int, ...]] = (1,)
    name: Literal["quadratic"] = "quadratic"
    dimension: int = 3

    @property
    def output_size(self) -> int:
        return self.dimension

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        d = self.dimension
        matrix, centre, linear = target.split([d * d, d, d], -1)
        offset = prediction - centre
        bent = (matrix.unflatten(-1, (d, d)) @ offset[..., None])[..., 0]
        return (0.5 * (offset * bent).sum(-1) + (linear * prediction).sum(-1)).mean(1)


LEARNER = Learner(MLP(widths=()), Quadratic())


def examples(matrix: Tensor, centre: Tensor, linear: Tensor | None = None) -> Examples:
    """A set of one example for each task: A (T, d, d), c and b (T, d)."""
    linear = torch.zeros_like(centre) if linear is None else linear
    y = torch.cat([matrix.flatten(1), centre, linear], 1)[:, None]
    return Examples(torch.zeros(len(y), 1, 1, dtype=y.dtype), y)


def batch(support: Examples, query: Examples | None = None) -> TaskBatch:
    """A meta-batch; without `query`, the query set is the support set."""
    return TaskBatch(support, support if query is None else query)


def theta_of(value: Tensor) -> Params:
    """The network's parameters at theta = value (d,)."""
    return {"head.weight": torch.zeros(1, len(value), dtype=value.dtype), THETA: value}


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
