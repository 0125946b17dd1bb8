"""Sine waves: y = A sin(x - phase), a new amplitude and phase for each task.

Finn, Abbeel, Levine: Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks. ICML 2017,
arXiv:1703.03400, section 5.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from metalab.settings import setting
from metalab.tasks.base import Examples, Split, TaskBatch, TaskFamily

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, math.pi)
X = (-5.0, 5.0)


class Sinusoid(TaskFamily):
    """Amplitude U[0.1, 5], phase U[0, pi], x U[-5, 5]."""

    title: ClassVar[str] = "Sine waves"
    summary: ClassVar[str] = "Guess a whole sine wave from a few of its points."
    kind: ClassVar[Literal["regression", "classification"]] = "regression"
    input_shape: ClassVar[tuple[int, ...]] = (1,)

    name: Literal["sinusoid"] = "sinusoid"
    shots: int = setting(10, "How many points of each sine wave the model may learn from.", low=1, high=100)
    queries: int = setting(10, "How many other points of the wave it is then tested on.", low=1, high=200)

    @property
    def output_size(self) -> int:
        return 1

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        n = self.shots + self.queries
        # One draw for everything: three calls of the generator cost more than the numbers.
        u = torch.rand(n_tasks, n + 2, generator=rng)
        amplitude = AMPLITUDE[0] + (AMPLITUDE[1] - AMPLITUDE[0]) * u[:, 0]
        phase = PHASE[0] + (PHASE[1] - PHASE[0]) * u[:, 1]
        info = {"amplitude": amplitude, "phase": phase}
        x = (X[0] + (X[1] - X[0]) * u[:, 2:, None]).to(device)
        y = amplitude.to(device)[:, None, None] * torch.sin(x - phase.to(device)[:, None, None])
        support = Examples(x[:, : self.shots], y[:, : self.shots])
        query = Examples(x[:, self.shots :], y[:, self.shots :])
        return TaskBatch(support, query, info)

    @property
    def probe_x(self) -> Tensor:
        return torch.linspace(*X, 101)[:, None]

    def truth(self, info: Mapping[str, Any], x: Tensor) -> Tensor:
        amplitude, phase = info["amplitude"], info["phase"]
        return amplitude[:, None, None] * torch.sin(x[None] - phase[:, None, None])

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        return f"amplitude {float(info['amplitude'][task]):.2f}, phase {float(info['phase'][task]):.2f}"
