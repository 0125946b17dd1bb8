"""Rotated and permuted MNIST: the same digits told apart in another guise, the classical sequence of related tasks.

Permuted: Goodfellow, Mirza, Xiao, Courville, Bengio: An Empirical Investigation of Catastrophic Forgetting. 2013,
arXiv:1312.6211. Rotated: Lopez-Paz, Ranzato: Gradient Episodic Memory for Continual Learning. NeurIPS 2017,
arXiv:1706.08840. A task is an angle, or an order of the pixels. Labels are NOT shuffled: digit k has label k in every
task, so that a model can know much before it adapts. Pictures of one split are in no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from metalab.settings import setting
from metalab.tasks import mnist
from metalab.tasks.base import Examples, Split, TaskBatch, TaskFamily, moved
from metalab.tasks.characters import SIDE

PIXELS = SIDE * SIDE
PICTURES: dict[Split, tuple[int, int]] = {"train": (0, 592), "validation": (592, 692), "test": (692, mnist.PICTURES)}
"""The first picture of each digit that a split has, and the first that it has not."""
SECTORS: dict[Split, tuple[int, ...]] = {"train": (0, 1), "validation": (2,), "test": (3,)}
"""Of each four neighbouring sectors, which are a split's."""
ALL_SECTORS = 24
PERMUTATIONS: dict[Split, tuple[int, int]] = {"train": (0, 1_000), "validation": (1_000, 1_100), "test": (1_100, 2_000)}
"""The first permutation of a split, and the first that is another's."""
PERMUTATION_SEED = 784_000_000


class DigitTasks(TaskFamily):
    """Tell the digits 0, 1, .. apart, in a guise that is new in each task."""

    kind: ClassVar[Literal["regression", "classification", "generation", "reinforcement"]] = "classification"
    input_shape: ClassVar[tuple[int, ...]] = (1, SIDE, SIDE)
    shuffles_labels: ClassVar[bool] = False

    ways: int = setting(10, "How many digits, from 0 on: a digit's label is the digit, in every task.", low=2, high=10)
    shots: int = setting(1, "How many pictures of each digit the model may learn from.", low=1, high=10)
    queries: int = setting(5, "How many other pictures of each digit it is then tested on.", low=1, high=15)

    @property
    def output_size(self) -> int:
        return self.ways

    @property
    def data_sets(self) -> tuple[str, ...]:
        return ("mnist",)

    def require(self) -> None:
        """Raise DataMissing where MNIST's files are not on this machine."""
        if not mnist.ALL_DIGITS.loaded:
            mnist.require()

    def n_classes(self, split: Split) -> int:
        return self.ways

    def _digits(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str) -> Tensor:
        """Pictures of the split, each digit's in a row: (T, ways, shots + queries, SIDE, SIDE) in [0, 1], ink 1."""
        first, last = PICTURES[split]
        images = mnist.ALL_DIGITS.images("test", device)
        n = self.shots + self.queries
        # The places of the highest of independent numbers are a random choice in random order.
        chosen = first + torch.rand(n_tasks, self.ways, last - first, generator=rng).topk(n).indices
        rows = torch.arange(self.ways)[:, None] * images.shape[1] + chosen
        found = images.view(-1, PIXELS).index_select(0, moved(rows.reshape(-1), images.device))
        return found.to(torch.float32).div_(255).view(n_tasks, self.ways, n, SIDE, SIDE)

    def _batch(self, x: Tensor, info: Mapping[str, Any]) -> TaskBatch:
        """Pictures (T, ways, shots + queries, SIDE, SIDE) as a meta-batch; `classes` (T, ways) are the digits."""
        return TaskBatch(
            self._examples(x[:, :, : self.shots]),
            self._examples(x[:, :, self.shots :]),
            {**info, "classes": torch.arange(self.ways).repeat(len(x), 1)},
        )

    def _examples(self, x: Tensor) -> Examples:
        n_tasks, ways, each = x.shape[:3]
        y = torch.arange(ways, device=x.device).repeat_interleave(each).repeat(n_tasks, 1)
        return Examples(x.reshape(n_tasks, ways * each, *self.input_shape), y)


class RotatedMnist(DigitTasks):
    """A task is an angle. Of each four neighbouring sectors of angles two are for training, one each held out."""

    title: ClassVar[str] = "Rotated MNIST"
    summary: ClassVar[str] = (
        "Tell digits apart that are all turned by one angle, each task by its own: of MNIST the test set's 10,000 "
        "pictures."
    )

    name: Literal["rotated_mnist"] = "rotated_mnist"
    turn: float = setting(
        180.0,
        "Angles go from 0 to this, in degrees, anticlockwise. Of each four neighbouring 24ths two are for training, "
        "one is for validation, one for test. Beyond 180, 6 and 9 look alike.",
        label="Largest angle",
        low=30.0,
        high=360.0,
        step=30.0,
    )

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        """info: `angle` (T,) in degrees. Raises DataMissing."""
        share = torch.rand(n_tasks, generator=rng)
        mine = torch.tensor([s for s in range(ALL_SECTORS) if s % 4 in SECTORS[split]])
        place = share * len(mine)
        angle = (mine[place.long()] + place % 1) * (self.turn / ALL_SECTORS)
        x = self._digits(n_tasks, split, rng, device)
        return self._batch(rotated(x.flatten(1, 2), moved(angle, x.device)).view_as(x), {"angle": angle})

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        return f"turned by {float(info['angle'][task]):.0f}°"


class PermutedMnist(DigitTasks):
    """A task is an order of the pixels: 1,000 of them for training, 100 for validation, 900 for test."""

    title: ClassVar[str] = "Permuted MNIST"
    summary: ClassVar[str] = (
        "Tell digits apart whose pixels are all shuffled in one way, each task's own: of MNIST the test set's 10,000 "
        "pictures."
    )

    name: Literal["permuted_mnist"] = "permuted_mnist"

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        """info: `permutation` (T,), its number. Raises DataMissing."""
        first, last = PERMUTATIONS[split]
        number = torch.randint(first, last, (n_tasks,), generator=rng)
        x = self._digits(n_tasks, split, rng, device)
        order = torch.stack([permutation(k) for k in number.tolist()])
        pixels = x.view(n_tasks, -1, PIXELS)
        return self._batch(
            pixels.gather(2, moved(order, x.device)[:, None].expand_as(pixels)).view_as(x), {"permutation": number}
        )

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        return f"permutation {int(info['permutation'][task])}"


def rotated(images: Tensor, angle: Tensor) -> Tensor:
    """Images (T, n, side, side) turned anticlockwise about their centre by their task's angle (T,) in degrees.

    Bilinear between pixels; what comes in from outside is 0.
    """
    radians = angle * (math.pi / 180)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # Where each pixel comes from; y points down.
    back = torch.stack([torch.stack([cos, -sin, zero], -1), torch.stack([sin, cos, zero], -1)], -2)
    grid = F.affine_grid(back, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


@lru_cache(maxsize=2_000)
def permutation(number: int) -> Tensor:
    """Which pixel stands where (PIXELS,): always the same for the same number. Not to be written to."""
    return torch.randperm(PIXELS, generator=torch.Generator().manual_seed(PERMUTATION_SEED + number))
