"""What families of functions y = f(x) + noise share: how many points, how noisy, and how they are handed out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from metalab.settings import setting
from metalab.tasks.base import Examples, TaskBatch, TaskFamily

X = (-5.0, 5.0)
"""Where the points lie."""
PROBES = 101


def between(ends: tuple[float, float], share: Tensor) -> Tensor:
    """Shares in [0, 1) of the way from one end to the other."""
    return ends[0] + (ends[1] - ends[0]) * share


class FunctionFamily(TaskFamily):
    """Guess a function from some of its points."""

    kind: ClassVar[Literal["regression", "classification", "generation", "reinforcement"]] = "regression"

    shots: int = setting(10, "How many points of each function the model may learn from.", low=1, high=100)
    queries: int = setting(10, "How many other points of the function it is then tested on.", low=1, high=200)
    noise: float = setting(
        0.0,
        "Standard deviation of what is added to every y, of the points to learn from and of those to be tested on: "
        "no model can get below its square.",
        label="Noise σ",
        low=0.0,
        high=2.0,
        step=0.05,
    )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (1,)

    @property
    def output_size(self) -> int:
        return 1

    @property
    def probe_x(self) -> Tensor | None:
        return torch.linspace(*X, PROBES)[:, None]

    def _batch(
        self, x: Tensor, info: Mapping[str, Any], rng: torch.Generator, device: torch.device | str = "cpu"
    ) -> TaskBatch:
        """The tasks of `info` at x (T, shots + queries, d), support first; noise is drawn only where there is any."""
        y = self.values(info, x)
        if self.noise > 0:
            y = y + self.noise * torch.randn(y.shape, generator=rng)
        x, y = Examples(x, y).to(device)
        support = Examples(x[:, : self.shots], y[:, : self.shots])
        return TaskBatch(support, Examples(x[:, self.shots :], y[:, self.shots :]), info)

    def values(self, info: Mapping[str, Any], x: Tensor) -> Tensor:
        """The noiseless function of each task of `info` at inputs of its own x (T, n, d): (T, n, 1)."""
        raise NotImplementedError

    def truth(self, info: Mapping[str, Any], x: Tensor) -> Tensor:
        return self.values(info, x[None])
