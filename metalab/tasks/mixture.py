"""Sine waves, straight lines and steps in one family: a distribution over tasks with several modes.

After the multimodal regression tasks of Vuorio, Sun, Hu, Lim: Multimodal Model-Agnostic Meta-Learning via
Task-Aware Modulation. NeurIPS 2019, arXiv:1910.13616; one theta has to serve them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from metalab.settings import setting
from metalab.tasks.base import Split, TaskBatch
from metalab.tasks.functions import FunctionFamily, X, between

MODES = ("sine", "line", "step")
AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, math.pi)
SLOPE = (-1.0, 1.0)
INTERCEPT = (-1.0, 1.0)
LEVEL = (-4.0, 4.0)
EDGE = (-4.0, 4.0)
PARAMETERS: Mapping[str, tuple[tuple[str, tuple[float, float]], ...]] = {
    "sine": (("amplitude", AMPLITUDE), ("phase", PHASE)),
    "line": (("slope", SLOPE), ("intercept", INTERCEPT)),
    "step": (("left", LEVEL), ("right", LEVEL), ("edge", EDGE)),
}
"""What is drawn of a task of each mode, and from which range, evenly."""
MOST = max(map(len, PARAMETERS.values()))


class Mixture(FunctionFamily):
    """Each task is a sine wave, a straight line or a step, with equal odds."""

    title: ClassVar[str] = "Waves, lines, steps"
    summary: ClassVar[str] = "Guess a function from a few points, without being told of which of three kinds it is."

    name: Literal["mixture"] = "mixture"
    sines: bool = setting(True, "Sine waves: amplitude 0.1 to 5, phase 0 to π, as in the family of sine waves.")
    lines: bool = setting(True, "Straight lines: slope and intercept from -1 to 1.")
    steps: bool = setting(True, "Steps: a level from -4 to 4 on each side of an edge between -4 and 4.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.modes:
            raise ValueError("sines, lines and steps are all off: switch on at least one kind of function")
        return self

    @property
    def modes(self) -> tuple[str, ...]:
        """The kinds of function that are switched on."""
        return tuple(mode for mode in MODES if getattr(self, f"{mode}s"))

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        """info: `mode` (T,), a place in MODES, and `parameters` (T, MOST), those of its mode as in PARAMETERS."""
        u = torch.rand(n_tasks, 1 + MOST + self.shots + self.queries, generator=rng)
        numbers = torch.tensor([MODES.index(mode) for mode in self.modes])
        mode = numbers[(u[:, 0] * len(numbers)).long()]
        low, high = _ends()[:, mode]
        info = {"mode": mode, "parameters": low + (high - low) * u[:, 1 : 1 + MOST]}
        return self._batch(between(X, u[:, 1 + MOST :, None]), info, rng, device)

    def values(self, info: Mapping[str, Any], x: Tensor) -> Tensor:
        first, second, third = info["parameters"].to(x)[..., None, None].unbind(1)
        each = (first * torch.sin(x - second), first * x + second, torch.where(x < third, first, second))
        mode = info["mode"].to(x.device)[:, None, None]
        found = each[0]
        for number in (1, 2):
            found = torch.where(mode == number, each[number], found)
        return found

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        mode = MODES[int(info["mode"][task])]
        said = zip(PARAMETERS[mode], info["parameters"][task].tolist(), strict=False)
        return ", ".join([mode, *(f"{name} {value:.2f}" for (name, _ends), value in said)])


def _ends() -> Tensor:
    """Both ends of each mode's parameters: (2, modes, MOST); what a mode has not is zero."""
    ends = torch.zeros(2, len(MODES), MOST)
    for i, mode in enumerate(MODES):
        for j, (_name, (low, high)) in enumerate(PARAMETERS[mode]):
            ends[0, i, j], ends[1, i, j] = low, high
    return ends
