"""What all peers are given: the engine's workload, its tasks, and the same initial parameters in plain modules."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from metalab.algorithms import MAML, Reptile
from metalab.models import MLP, Conv4
from metalab.params import Params
from metalab.tasks.base import TaskBatch
from metalab.training.bench import EVALUATED, WORKLOADS, points, tasks
from metalab.training.config import RunConfig, parse_config
from metalab.training.start import initialise

Answer = Mapping[str, NDArray[np.float32]]
"""A meta-gradient by the names of the plain module's parameters, or predictions, or losses."""


class Job(NamedTuple):
    """One workload, ready to run."""

    unit: Callable[[], None]
    """One unit: the meta-gradient of the meta-batch and the outer step, or the adaptation."""
    answer: Callable[[], Answer]
    """What a unit computes at the initial parameters."""


class Peer(Protocol):
    def job(self, work: Work) -> Job | None:
        """The workload done by this peer; None where it has no means for it."""


Kind = Literal["maml", "reptile", "adaptation", "evaluation"]


@dataclass(frozen=True)
class Work:
    """A workload with its tasks."""

    name: str
    config: RunConfig
    theta: Params
    """The engine's initial parameters."""
    batch: TaskBatch

    @property
    def kind(self) -> Kind:
        unit = WORKLOADS[self.name].unit
        if unit == "adaptations":
            return "adaptation"
        if unit == "evaluations":
            return "evaluation"
        return "reptile" if self.config.algorithm.name == "reptile" else "maml"

    @property
    def steps(self) -> int:
        """Inner steps."""
        algorithm = self.config.algorithm
        if self.kind in ("adaptation", "evaluation"):
            return algorithm.evaluation_steps
        assert isinstance(algorithm, MAML | Reptile)
        return algorithm.inner_steps

    @property
    def alpha(self) -> float:
        alpha = self.config.algorithm.alpha
        assert alpha is not None
        return alpha

    @property
    def order(self) -> int:
        return getattr(self.config.algorithm, "order", 1)

    @property
    def pooled(self) -> bool:
        return getattr(self.config.model, "downsampling", "") == "max_pool"

    @property
    def points(self) -> Tensor:
        """Inputs (1, m, ...) that an adaptation predicts after every step."""
        return points(self.batch)

    def examples(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """(support x, support y, query x, query y) of each task."""
        return list(zip(*self.batch.support, *self.batch.query, strict=True))

    def joined(self) -> tuple[Tensor, Tensor]:
        """Each task's support and query examples together, (T, n, ...): what Reptile trains on."""
        (xs, ys), (xq, yq) = self.batch.support, self.batch.query
        return torch.cat([xs, xq], 1), torch.cat([ys, yq], 1)

    def module(self) -> nn.Module:
        """A plain module with the initial parameters."""
        model, family = self.config.model, self.config.family
        module: nn.Module
        if isinstance(model, MLP):
            module = Layers(family.input_shape[0], model.widths, family.output_size)
        else:
            assert isinstance(model, Conv4)
            module = Convolutions(model.filters, family.output_size, self.pooled)
        module.load_state_dict(plain(self.theta))
        return module.to(self.batch.support.x.device)

    def optimiser(self, module: nn.Module) -> torch.optim.Optimizer:
        """Who takes the outer steps."""
        kind = torch.optim.Adam if self.config.outer_optimiser == "adam" else torch.optim.SGD
        return kind(module.parameters(), lr=self.config.outer_lr)


def work_of(name: str, device: str = "cpu") -> Work:
    """The workload of this name: the same tasks and parameters in every process."""
    workload = WORKLOADS[name]
    config = parse_config({**workload.config, "device": device})
    n = {"evaluations": EVALUATED, "adaptations": 1}.get(workload.unit, config.meta_batch_size)
    theta = {entry: value.to(device) for entry, value in initialise(config).items()}
    return Work(name, config, theta, tasks(config, n))


def loss_of(prediction: Tensor, target: Tensor) -> Tensor:
    """The mean squared error, or the cross-entropy of class ids."""
    return F.mse_loss(prediction, target) if target.is_floating_point() else F.cross_entropy(prediction, target)


def meta_step(module: nn.Module, optimiser: torch.optim.Optimizer, write_gradient: Callable[[], None]) -> Job:
    """A job of torch: `write_gradient` leaves the meta-gradient in the module's parameters."""

    def unit() -> None:
        write_gradient()
        optimiser.step()

    def answer() -> Answer:
        write_gradient()
        return {
            name: value.grad.cpu().numpy().copy() for name, value in module.named_parameters() if value.grad is not None
        }

    return Job(unit, answer)


def computation(compute: Callable[[], Answer]) -> Job:
    """A job that is the same every time."""

    def unit() -> None:
        compute()

    return Job(unit, compute)


def plain(params: Params) -> Params:
    """The engine's entries under the plain modules' names and in torch's layout."""
    out = {}
    for name, value in params.items():
        layer, entry = name.split(".")
        if layer.startswith("conv"):
            filters = value.shape[-1]
            out[f"{layer}.weight"] = value.reshape(3, 3, -1, filters).permute(3, 2, 0, 1)
        elif layer.startswith("norm"):
            out[f"{layer}.{'weight' if entry == 'scale' else 'bias'}"] = value
        else:
            out[f"{layer}.{entry}"] = value.mT if entry == "weight" else value
    return {name: value.detach().contiguous() for name, value in out.items()}


class Layers(nn.Module):
    """Linear layers with ReLU between."""

    def __init__(self, n_inputs: int, widths: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.depth = len(widths)
        for i, (a, b) in enumerate(itertools.pairwise((n_inputs, *widths))):
            self.add_module(f"layer{i + 1}", nn.Linear(a, b))
        self.head = nn.Linear(widths[-1], n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(self.depth):
            x = F.relu(getattr(self, f"layer{i + 1}")(x))
        return self.head(x)


class Convolutions(nn.Module):
    """Four blocks: 3x3 convolution, batch normalisation by the batch's own statistics, ReLU, and max-pooling where
    the convolutions have no stride."""

    def __init__(self, filters: int, n_outputs: int, pooled: bool) -> None:
        super().__init__()
        self.pooled = pooled
        for i in range(1, 5):
            channels = 1 if i == 1 else filters
            self.add_module(f"conv{i}", nn.Conv2d(channels, filters, 3, 1 if pooled else 2, 1, bias=False))
            self.add_module(f"norm{i}", nn.BatchNorm2d(filters, track_running_stats=False))
        side = 1 if pooled else 2
        self.head = nn.Linear(filters * side * side, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, 5):
            x = F.relu(getattr(self, f"norm{i}")(getattr(self, f"conv{i}")(x)))
            if self.pooled:
                x = F.max_pool2d(x, 2)
        # The engine's heads read pixel after pixel, with the channels of each together.
        return self.head(x.permute(0, 2, 3, 1).flatten(1))
