"""A small image family for tests: each class is one random picture, seen under noise; 16x16, 1 channel, float64."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from metalab.tasks.base import Examples, Split, TaskBatch, TaskFamily

CLASSES = 6
SIDE = 16


class RandomImages(TaskFamily):
    """N-way classification; labels are shuffled per task unless `shuffled` is off (then class c has label c % ways)."""

    kind: ClassVar[Literal["regression", "classification"]] = "classification"
    input_shape: ClassVar[tuple[int, ...]] = (1, SIDE, SIDE)
    name: Literal["random_images"] = "random_images"
    ways: int = 3
    shots: int = 2
    queries: int = 2
    noise: float = 0.3
    shuffled: bool = True

    @property
    def output_size(self) -> int:
        return self.ways

    def n_classes(self, split: Split) -> int:
        return CLASSES

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        pictures = torch.randn(CLASSES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        if self.shuffled:
            classes = torch.stack([torch.randperm(CLASSES, generator=rng)[: self.ways] for _ in range(n_tasks)])
        else:
            group = torch.randint(CLASSES // self.ways, (n_tasks, self.ways), generator=rng)
            classes = torch.arange(self.ways) + self.ways * group
        n = self.shots + self.queries
        x = pictures[classes].repeat_interleave(n, 1)
        x = x + self.noise * torch.randn(x.shape, generator=rng, dtype=x.dtype)
        x = x.unflatten(1, (self.ways, n))
        y = torch.arange(self.ways)[:, None].expand(n_tasks, self.ways, n)
        support = Examples(x[:, :, : self.shots].flatten(1, 2), y[:, :, : self.shots].flatten(1))
        query = Examples(x[:, :, self.shots :].flatten(1, 2), y[:, :, self.shots :].flatten(1))
        return TaskBatch(support, query, {"classes": classes})
