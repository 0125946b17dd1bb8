"""Linear regression: y = w . x + b + noise, a new slope w and intercept b for each task.

The family on which the field's theory is made, e.g. Denevi, Ciliberto, Stamos, Pontil: Learning To Learn Around A
Common Mean. NeurIPS 2018. Without noise, `dimension` + 1 points settle a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from metalab.settings import setting
from metalab.tasks.base import Split, TaskBatch
from metalab.tasks.functions import FunctionFamily, X, between


class Linear(FunctionFamily):
    """By default slope and intercept U[-1, 1], x U[-5, 5], one input."""

    title: ClassVar[str] = "Straight lines"
    summary: ClassVar[str] = "Linear regression: guess a slope and an intercept from a few points."

    name: Literal["linear"] = "linear"
    dimension: int = setting(
        1, "Inputs of each function. With more than one there is no curve to draw, only losses.", low=1, high=16
    )
    slope: tuple[float, float] = setting(
        (-1.0, 1.0), "Lowest and highest slope, along each input.", low=-3.0, high=3.0, step=0.1
    )
    intercept: tuple[float, float] = setting(
        (-1.0, 1.0), "Lowest and highest intercept: the value at zero.", low=-5.0, high=5.0, step=0.1
    )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.dimension,)

    @property
    def probe_x(self) -> Tensor | None:
        return super().probe_x if self.dimension == 1 else None

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        d, n = self.dimension, self.shots + self.queries
        u = torch.rand(n_tasks, d + 1 + n * d, generator=rng)
        info = {"slope": between(self.slope, u[:, :d]), "intercept": between(self.intercept, u[:, d])}
        return self._batch(between(X, u[:, d + 1 :].unflatten(1, (n, d))), info, rng, device)

    def values(self, info: Mapping[str, Any], x: Tensor) -> Tensor:
        slope, intercept = info["slope"].to(x), info["intercept"].to(x)
        return x @ slope[..., None] + intercept[:, None, None]

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        slopes = ", ".join(f"{float(s):.2f}" for s in info["slope"][task])
        word = "slope" if self.dimension == 1 else "slopes"
        return f"{word} {slopes}, intercept {float(info['intercept'][task]):.2f}"
