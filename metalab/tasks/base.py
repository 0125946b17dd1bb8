"""What a task is, and what a family of tasks must offer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from metalab.settings import Settings

Split = Literal["train", "validation", "test"]
HIGHER_IS_BETTER = frozenset({"accuracy", "return"})
"""The metrics of which more is better; of all others less is."""


def moved(values: Tensor, device: torch.device | str) -> Tensor:
    """The values on `device`; to a GPU they go from pinned memory, so that nobody waits for the transfer."""
    if values.device.type == "cpu" and torch.device(device).type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


@functools.lru_cache(256)
def shuffled(n: int, number: int, device: torch.device) -> Tensor:
    """0 .. n - 1 in an order that depends on `number` alone: (n,). Kept, so that no GPU waits for it twice."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(number)).to(device)


class Examples(NamedTuple):
    """x (T, n, *input_shape) float, or int64 tokens (T, n, length); y (T, n) class ids, int64, or (T, n, d) targets,
    float, or the tokens that follow, int64 (T, n, length)."""

    x: Tensor
    y: Tensor

    def to(self, device: torch.device | str) -> Examples:
        return Examples(moved(self.x, device), moved(self.y, device))


@dataclass(frozen=True)
class TaskBatch:
    """One meta-batch: the leading axis T counts tasks.

    `info` holds, for figures and baselines, what is known of each task: tensors or lists with T leading
    entries (amplitude, phase, classes, ...).
    """

    support: Examples
    query: Examples
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_tasks(self) -> int:
        return self.support.x.shape[0]

    def tasks(self, first: int, last: int) -> TaskBatch:
        """Tasks first..last-1 as a batch of their own."""
        return TaskBatch(
            Examples(self.support.x[first:last], self.support.y[first:last]),
            Examples(self.query.x[first:last], self.query.y[first:last]),
            {name: value[first:last] for name, value in self.info.items()},
        )


class TaskFamily(Settings):
    """A distribution over tasks. A subclass declares `name`, its settings, and the methods below."""

    kind: ClassVar[Literal["regression", "classification", "generation", "reinforcement"]]
    tokens: ClassVar[bool] = False
    """Whether inputs are tokens, x (T, n, length) int64: they stand for one-hot rows, and `input_shape` is (length,
    different tokens)."""
    shuffles_labels: ClassVar[bool] = True
    """Whether each task numbers its classes anew, so that nothing can be known before adaptation."""
    name: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What the network reads of one example."""
        raise NotImplementedError

    @property
    def output_size(self) -> int:
        """Width of a prediction: ways, or the dimension of y."""
        raise NotImplementedError

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Names of the downloadable data sets that tasks are made of."""
        return ()

    @property
    def away(self) -> Split | None:
        """A split whose tasks are of another kind than those trained on: a run is tried there as well; else None."""
        return None

    def require(self) -> None:
        """Raise `DataMissing` where the family needs data that is not on this machine."""

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        """`n_tasks` tasks of `split`. `rng` is a CPU generator: the same state gives the same tasks."""
        raise NotImplementedError

    def n_classes(self, split: Split) -> int:
        """How many classes the split has altogether; classification families only."""
        raise NotImplementedError

    @property
    def probe_x(self) -> Tensor | None:
        """Inputs (m, *input_shape) at which a picture shows the whole function, or None."""
        return None

    def truth(self, info: Mapping[str, Any], x: Tensor) -> Tensor:
        """The noiseless function of each task of `info` at x (m, *input_shape): (T, m, d); regression only."""
        raise NotImplementedError

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        """A short label of one task in the field's terms, e.g. 'amplitude 2.1, phase 0.7'."""
        raise NotImplementedError

    def class_names(self, info: Mapping[str, Any], task: int) -> tuple[str, ...]:
        """What the classes of one task are called, where people know them by names; else empty."""
        return ()

    @property
    def metric(self) -> str:
        """The one of `metrics` that says best how well a task is solved."""
        return "accuracy" if self.kind == "classification" else "loss"

    @property
    def loss_name(self) -> str:
        """What `loss` is, with its unit where it has one: an axis' label."""
        names = {"regression": "mean squared error", "reinforcement": "minus the return"}
        return names.get(self.kind, "cross-entropy, nats")

    def attempt(self, predict: Callable[[Tensor], Tensor], examples: Examples) -> Tensor:
        """What `predict`, a network's function of inputs (T, m, *input_shape), makes of the examples.

        A prediction for each of them; a family whose examples are worlds to act in acts here.
        """
        return predict(examples.x)

    def fresh(self, support: Examples, k: int) -> Examples:
        """What inner step k learns from: the support set, or, where examples are chance, others at every step."""
        return support

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Loss of each task (T,): cross-entropy in nats, or mean squared error (1/n) sum ||f - y||^2.

        prediction (T, n, output_size); target (T, n) or (T, n, d).
        """
        if self.kind == "classification":
            return F.cross_entropy(prediction.transpose(1, 2), target, reduction="none").mean(1)
        found = F.mse_loss(prediction, target, reduction="none").mean((1, 2))
        return found if target.shape[2] == 1 else found * target.shape[2]

    def metrics(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Named figures of each task (T,): always `loss` and `metric`, here accuracy in [0, 1]."""
        found = {"loss": self.loss(prediction, target)}
        if self.kind == "classification":
            found["accuracy"] = (prediction.argmax(-1) == target).double().mean(1)
        return found


class DataMissing(RuntimeError):
    """A data set is not on this machine. The message says where to put it or how to get it.

    `in_short` is the same in one sentence, for who reads it beside a button that gets it.
    """

    def __init__(self, message: str, in_short: str = "") -> None:
        super().__init__(message)
        self.in_short = in_short or message
