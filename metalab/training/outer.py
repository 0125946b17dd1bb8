"""The outer loop's arithmetic: one meta-gradient over all parts of a meta-batch, and who steps along it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from metalab.algorithms.base import MetaGradient
from metalab.params import Params, norm, weights
from metalab.training.config import RunConfig

MOMENTUM = 0.1
"""Weight of a new meta-batch in the running statistics (as in torch's batch normalisation)."""


def mean(parts: Sequence[tuple[int, MetaGradient]]) -> MetaGradient:
    """The meta-gradient of the whole from (number of tasks, meta-gradient) of its parts."""
    if len(parts) == 1:
        return parts[0][1]
    total = sum(n for n, _ in parts)

    def weighted(entries: list[Params]) -> Params:
        out = {name: value * (parts[0][0] / total) for name, value in entries[0].items()}
        for (n, _), entry in zip(parts[1:], entries[1:], strict=True):
            for name, value in entry.items():
                out[name].add_(value, alpha=n / total)
        return out

    return MetaGradient(
        weighted([g.gradient for _, g in parts]),
        weighted([g.metrics for _, g in parts]),
        weighted([g.statistics for _, g in parts]),
    )


class Outer:
    """theta and its optimiser. `theta` holds leaf tensors that are updated in place."""

    def __init__(self, config: RunConfig, theta: Params) -> None:
        self.theta = theta
        self._learned = weights(theta)
        kind = torch.optim.Adam if config.outer_optimiser == "adam" else torch.optim.SGD
        self._optimiser = kind(list(self._learned.values()), lr=config.outer_lr)

    def step(self, meta: MetaGradient, config: RunConfig, done: int) -> Tensor:
        """Descend after `done` outer steps; returns the meta-gradient's norm (), before clipping."""
        length = norm(meta.gradient.values(), task_axis=False)
        shrink: Tensor | float = 1.0
        if config.clip_norm > 0:
            shrink = (config.clip_norm / (length + 1e-12)).clamp(max=1.0)
        for name, value in self._learned.items():
            value.grad = meta.gradient[name] if config.clip_norm == 0 else meta.gradient[name] * shrink
        self._optimiser.param_groups[0]["lr"] = config.outer_lr * decay(config, done)
        self._optimiser.step()
        for name, value in meta.statistics.items():
            self.theta[name].lerp_(value, MOMENTUM)
        return length

    def state(self) -> Params:
        """The optimiser's state, flat: 'slot/parameter' to a CPU copy."""
        flat = {}
        for name, value in self._learned.items():
            for slot, content in self._optimiser.state[value].items():
                if isinstance(content, Tensor):
                    flat[f"{slot}/{name}"] = content.detach().to("cpu", copy=True)
        return flat

    def load(self, flat: Params) -> None:
        """Take up a state that `state` gave."""
        for key, content in flat.items():
            slot, name = key.split("/", 1)
            value = self._learned[name]
            place = "cpu" if slot == "step" else value.device
            self._optimiser.state[value][slot] = content.to(place, copy=True)


def decay(config: RunConfig, done: int) -> float:
    """The schedule's factor of the outer learning rate after `done` outer steps."""
    progress = done / config.outer_steps
    if config.schedule == "linear":
        return 1 - progress
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0
