"""Sine waves: y = A sin(w x - phase) + noise, a new amplitude and phase for each task.

Finn, Abbeel, Levine: Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks. ICML 2017,
arXiv:1703.03400, section 5.1, whose frequency w is 1 and whose noise is 0: the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from metalab.settings import setting
from metalab.tasks.base import Split, TaskBatch
from metalab.tasks.functions import FunctionFamily, X, between


class Sinusoid(FunctionFamily):
    """By default amplitude U[0.1, 5], phase U[0, pi], x U[-5, 5]."""

    title: ClassVar[str] = "Sine waves"
    summary: ClassVar[str] = "Guess a whole sine wave from a few of its points."

    name: Literal["sinusoid"] = "sinusoid"
    amplitude: tuple[float, float] = setting(
        (0.1, 5.0), "Lowest and highest amplitude: how high a wave is.", low=0.0, high=10.0, step=0.1
    )
    phase: tuple[float, float] = setting(
        (0.0, math.pi),
        "Smallest and largest phase in radians: how far a wave is moved to the right. Over a full turn, 0 to 6.28, "
        "the best guess before adaptation is zero everywhere.",
        low=0.0,
        high=2 * math.pi,
        step=math.pi / 24,
    )
    frequency: tuple[float, float] = setting(
        (1.0, 1.0),
        "Lowest and highest frequency: how many waves fit. Both ends at 1 give every wave the paper's.",
        low=0.1,
        high=4.0,
        step=0.1,
    )

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        varied = self.frequency[0] < self.frequency[1]
        w = between(self.frequency, torch.rand(n_tasks, generator=rng)) if varied else _all(self.frequency[0], n_tasks)
        # One draw for everything else: three calls of the generator cost more than the numbers.
        u = torch.rand(n_tasks, self.shots + self.queries + 2, generator=rng)
        info = {"amplitude": between(self.amplitude, u[:, 0]), "phase": between(self.phase, u[:, 1]), "frequency": w}
        return self._batch(between(X, u[:, 2:, None]), info, rng, device)

    def values(self, info: Mapping[str, Any], x: Tensor) -> Tensor:
        a, phase, w = (info[name].to(x)[:, None, None] for name in ("amplitude", "phase", "frequency"))
        return a * torch.sin(w * x - phase)

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        said = f"amplitude {float(info['amplitude'][task]):.2f}, phase {float(info['phase'][task]):.2f}"
        if self.frequency == (1.0, 1.0):
            return said
        return f"{said}, frequency {float(info['frequency'][task]):.2f}"


def _all(value: float, n_tasks: int) -> Tensor:
    return torch.full((n_tasks,), value)
