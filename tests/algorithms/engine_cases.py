"""Small learners with tasks and parameters in float64, for the tests that compare numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from plain_torch import PlainConv4, PlainMLP
from random_images import CLASSES, RandomImages

from metalab.algorithms.base import Algorithm, Learner
from metalab.models import MLP, Conv4
from metalab.params import Params
from metalab.tasks.base import Examples, TaskBatch
from metalab.tasks.sinusoid import Sinusoid

WIDTHS = (6, 5)
FILTERS = 4
MODES = ("transductive", "support_plus_one", "running")
DOWNSAMPLING = ("strided", "max_pool")


@dataclass(frozen=True)
class Case:
    learner: Learner
    plain: PlainMLP | PlainConv4
    batch: TaskBatch

    def theta(self, algorithm: Algorithm, seed: int = 0) -> Params:
        """Fresh float64 parameters; scales, shifts and running statistics are moved off their plain defaults."""
        rng = torch.Generator().manual_seed(seed)
        theta = algorithm.init(self.learner, rng, torch.float64)
        for name, value in theta.items():
            if name.startswith(("norm", "running.")):
                theta[name] = value + 0.2 * torch.rand(value.shape, generator=rng, dtype=value.dtype)
        return theta


def double(batch: TaskBatch) -> TaskBatch:
    """The same tasks with float64 numbers; class ids stay integers."""

    def convert(examples: Examples) -> Examples:
        y = examples.y.double() if examples.y.is_floating_point() else examples.y
        return Examples(examples.x.double(), y)

    return TaskBatch(convert(batch.support), convert(batch.query), batch.info)


def sine_case(activation: str = "relu", n_tasks: int = 3) -> Case:
    family = Sinusoid(shots=5, queries=5)
    batch = double(family.sample(n_tasks, "train", torch.Generator().manual_seed(1)))
    learner = Learner(MLP(widths=WIDTHS, activation=activation), family)
    return Case(learner, PlainMLP(1, WIDTHS, 1, activation).double(), batch)


def image_mlp_case(n_tasks: int = 3) -> Case:
    family = RandomImages()
    batch = family.sample(n_tasks, "train", torch.Generator().manual_seed(2))
    plain = PlainMLP(256, WIDTHS, family.ways, "relu", CLASSES).double()
    return Case(Learner(MLP(widths=WIDTHS), family), plain, batch)


def conv_case(downsampling: str = "strided", mode: str = "transductive", n_tasks: int = 2) -> Case:
    family = RandomImages()
    batch = family.sample(n_tasks, "train", torch.Generator().manual_seed(3))
    model = Conv4(filters=FILTERS, downsampling=downsampling, batch_norm=mode)
    plain = PlainConv4(FILTERS, family.ways, downsampling == "max_pool", mode, CLASSES).double()
    return Case(Learner(model, family), plain, batch)


CONVS = {f"{down}-{mode}": (down, mode) for down in DOWNSAMPLING for mode in MODES}
ALL = {
    "sine": sine_case,
    "image_mlp": image_mlp_case,
    **{name: (lambda down=down, mode=mode: conv_case(down, mode)) for name, (down, mode) in CONVS.items()},
}


def clones(params: Params) -> Params:
    return {name: value.clone() for name, value in params.items()}


def assert_same(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], tolerance: float) -> None:
    """The same names, and values equal to `tolerance` of the largest entry of each."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        close = tolerance * (1 + float(value.abs().max()))
        torch.testing.assert_close(found[name], value, rtol=0, atol=close, msg=lambda text, n=name: f"{n}: {text}")
