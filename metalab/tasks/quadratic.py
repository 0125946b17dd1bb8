"""Quadratic losses, on which every algorithm has a closed form: L(theta) = 1/2 (theta - c)^T A (theta - c).

The family of the exact lab, e.g. Fallah, Mokhtari, Ozdaglar: On the Convergence Theory of Gradient-Based
Model-Agnostic Meta-Learning Algorithms. AISTATS 2020, arXiv:1908.10400. There is nothing to read: the network is
`point`, whose prediction is theta itself, and each example is a bowl of its own, with its curvature A and optimum c.
Tasks are drawn from ranges, or they are those of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from metalab.settings import setting
from metalab.tasks.base import Examples, Split, TaskBatch, TaskFamily
from metalab.tasks.functions import between

MOST = 16
"""Numbers in a list of tasks."""
DRAWN: Mapping[str, Any] = {"curvatures": ()}
"""What counts only where no tasks are given."""


class Quadratic(TaskFamily):
    """By default eigenvalues of A are U[0.5, 2], its axes turned at random, and c is U[-3, 3] along each axis."""

    title: ClassVar[str] = "Quadratic bowls"
    summary: ClassVar[str] = "Find the lowest point of a quadratic loss: theory, formula by formula."
    kind: ClassVar[Literal["regression", "classification", "generation", "reinforcement"]] = "regression"

    name: Literal["quadratic"] = "quadratic"
    dimension: int = setting(2, "Parameters of the loss.", low=1, high=10)
    curvatures: Annotated[tuple[Annotated[float, Field(gt=0, le=10)], ...], Field(max_length=MOST)] = setting(
        (),
        "A list of tasks in place of drawn ones: for each task its curvature along every parameter, e.g. 1, 2, 0.5, 2 "
        "for two tasks in two dimensions. Empty: tasks are drawn.",
    )
    optima: Annotated[tuple[Annotated[float, Field(ge=-10, le=10)], ...], Field(max_length=MOST)] = setting(
        (), "The listed tasks' lowest points: as many numbers as curvatures, in the same order."
    )
    curvature: tuple[float, float] = setting(
        (0.5, 2.0),
        "Lowest and highest curvature of a task: the eigenvalues of A. The inner loop converges where α is below "
        "2 / the highest.",
        low=0.0,
        high=10.0,
        step=0.1,
        only_if=DRAWN,
    )
    turned: bool = setting(
        True, "Turn each task's axes at random; else they are those of the parameters.", only_if=DRAWN
    )
    optimum: tuple[float, float] = setting(
        (-3.0, 3.0),
        "Where the lowest points of tasks lie, along each parameter.",
        low=-10.0,
        high=10.0,
        step=0.1,
        only_if=DRAWN,
    )
    query_curvature: Literal["same", "own"] = setting(
        "same",
        "Whether the query loss has the support loss's A or one of its own, drawn from the same range.",
        only_if=DRAWN,
    )
    query_shift: float = setting(
        0.0,
        "How far the query loss's lowest point lies from the support loss's: the standard deviation along each "
        "parameter.",
        low=0.0,
        high=3.0,
        step=0.1,
    )
    shots: int = setting(
        1, "Examples that the model may learn from; without noise they are all the same.", low=1, high=100
    )
    queries: int = setting(
        1, "Other examples that it is then tested on; without noise they are all the same.", low=1, high=200
    )
    noise: float = setting(
        0.0,
        "How far each example's lowest point lies from its task's: the standard deviation along each parameter.",
        label="Noise σ",
        low=0.0,
        high=3.0,
        step=0.1,
    )

    @model_validator(mode="after")
    def _whole_tasks(self) -> Self:
        curvatures, optima, d = len(self.curvatures), len(self.optima), self.dimension
        if curvatures != optima:
            raise ValueError(
                f"curvatures has {curvatures} numbers and optima has {optima}: expected as many, {d} for each task"
            )
        if curvatures % d:
            raise ValueError(f"curvatures has {curvatures} numbers, expected {d} for each task: dimension = {d}")
        if curvatures and self.query_curvature == "own":
            raise ValueError("query_curvature = 'own', expected 'same': the tasks of a list have the curvatures given")
        return self

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (0,)

    @property
    def loss_name(self) -> str:
        return "quadratic loss"

    @property
    def output_size(self) -> int:
        return self.dimension

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        """x (T, n, 0); y (T, n, d * d + d): A, row by row, and the example's c.

        info: `curvature` and `query_curvature` (T, d, d), `optimum` and `query_optimum` (T, d), without noise.
        """
        if self.curvatures:
            curvature, optimum = self._listed(n_tasks, rng)
        else:
            optimum = between(self.optimum, torch.rand(n_tasks, self.dimension, generator=rng))
            curvature = self._curvatures(n_tasks, rng)
        query_curvature = self._curvatures(n_tasks, rng) if self.query_curvature == "own" else curvature
        query_optimum = self._scattered(optimum[:, None], self.query_shift, 1, rng)[:, 0]
        info = {
            "curvature": curvature,
            "optimum": optimum,
            "query_curvature": query_curvature,
            "query_optimum": query_optimum,
        }
        support = examples(curvature, self._scattered(optimum[:, None], self.noise, self.shots, rng))
        query = examples(query_curvature, self._scattered(query_optimum[:, None], self.noise, self.queries, rng))
        return TaskBatch(support.to(device), query.to(device), info)

    def _listed(self, n_tasks: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Curvature (T, d, d) and optimum (T, d) of listed tasks, in random order, none twice more often than another.

        So a meta-batch of as many tasks as are listed, or a multiple, has the exact mean meta-gradient.
        """
        spectra, optima = (torch.tensor(given).view(-1, self.dimension) for given in (self.curvatures, self.optima))
        rounds = -(-n_tasks // len(spectra))
        chosen = torch.cat([torch.randperm(len(spectra), generator=rng) for _ in range(rounds)])[:n_tasks]
        return torch.diag_embed(spectra[chosen]), optima[chosen]

    def _curvatures(self, n_tasks: int, rng: torch.Generator) -> Tensor:
        """Symmetric matrices (T, d, d) with eigenvalues from `curvature`, their axes evenly over all directions."""
        d = self.dimension
        spectrum = between(self.curvature, torch.rand(n_tasks, d, generator=rng))
        if not self.turned:
            return torch.diag_embed(spectrum)
        q, r = torch.linalg.qr(torch.randn(n_tasks, d, d, generator=rng))
        # QR as it is computed prefers some directions; with a positive diagonal of R it does not (Mezzadri 2007).
        q = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]
        matrix = q * spectrum[:, None] @ q.mT
        return (matrix + matrix.mT) / 2

    def _scattered(self, centre: Tensor, deviation: float, n: int, rng: torch.Generator) -> Tensor:
        """`n` points about each centre (T, 1, d): (T, n, d); numbers are drawn only where they deviate."""
        around = centre.expand(-1, n, -1)
        return around + deviation * torch.randn(around.shape, generator=rng) if deviation > 0 else around

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over examples of 1/2 (prediction - c)^T A (prediction - c): (T,).

        prediction (T, n, d); target (T, n, d * d + d) as `sample` makes it.
        """
        d = self.dimension
        curvature, optimum = target.split([d * d, d], -1)
        offset = prediction - optimum
        bent = (curvature.unflatten(-1, (d, d)) @ offset[..., None])[..., 0]
        return 0.5 * (offset * bent).sum(-1).mean(1)

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        where = ", ".join(f"{float(c):.2f}" for c in info["optimum"][task])
        bends = ", ".join(f"{float(a):.2f}" for a in torch.linalg.eigvalsh(info["curvature"][task]))
        return f"lowest at ({where}), curvatures {bends}"


def examples(curvature: Tensor, optimum: Tensor) -> Examples:
    """Bowls of curvature (T, d, d) about each of optimum (T, n, d), as examples."""
    n_tasks, n, _d = optimum.shape
    y = torch.cat([curvature.flatten(1)[:, None].expand(-1, n, -1), optimum], -1)
    return Examples(y.new_zeros(n_tasks, n, 0), y)
