"""What an outer step costs on this machine, by algorithm and number of inner steps: time, and what backward keeps."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.order import algorithms, start_of, training_tasks
from metalab.tasks.base import TaskFamily

Doubles = NDArray[np.float64]
ENOUGH_SECONDS = 0.3
"""The three are measured again and again until so much time is spent on them, and at least FEWEST times."""
FEWEST, MOST = 5, 40


@dataclass(frozen=True, eq=False)
class Cost:
    """Of one outer step's meta-gradient, for each number of inner steps in `steps` (V,)."""

    steps: NDArray[np.int64]
    n_tasks: int
    n_support: int
    """Examples of a task that the exact and the first-order inner loop descend on."""
    n_examples: int
    """Those that Reptile's does: support and query."""
    seconds: Mapping[str, Doubles]
    """Lower quartile, median and upper quartile of repeated measurements, by algorithm: (V, 3)."""
    kept_bytes: Mapping[str, Doubles]
    """The most that was kept at one time for differentiation, by algorithm: (V,)."""


class Kept:
    """Counts the memory of tensors that autograd keeps for backward, while it is entered.

    Each storage counts once, however often and in whatever views it is kept, and until the last of them goes.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._now = 0
        self._holders: Counter[int] = Counter()
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda held: held.tensor)

    def __enter__(self) -> Kept:
        self._hooks.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._hooks.__exit__(*problem)

    def _pack(self, tensor: Tensor) -> _Held:
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if not self._holders[place]:
            self._now += size
            self.peak = max(self.peak, self._now)
        self._holders[place] += 1
        # Detached, since a result that its own operation kept would never be let go.
        return _Held(tensor.detach(), lambda: self._drop(place, size))

    def _drop(self, place: int, size: int) -> None:
        self._holders[place] -= 1
        if not self._holders[place]:
            self._now -= size


class _Held:
    def __init__(self, tensor: Tensor, dropped: Callable[[], None]) -> None:
        self.tensor, self._dropped = tensor, dropped

    def __del__(self) -> None:
        self._dropped()


def cost(
    contender: Contender,
    family: TaskFamily,
    steps: Sequence[int],
    *,
    inner_lr: float,
    n_tasks: int,
    seed: int = 0,
    report: Report = quiet,
) -> Cost:
    """Measure the three meta-gradients of `order.algorithms`. Raises ValueError for a contender without inner loop."""
    learner, theta = start_of(contender, family)
    tasks = training_tasks(family, n_tasks, seed)
    names = list(algorithms(inner_lr, 1))
    seconds: dict[str, list[Doubles]] = {name: [] for name in names}
    kept: dict[str, list[float]] = {name: [] for name in names}
    done, total = 0.0, float(sum(steps))
    for k in steps:
        calls = {
            name: partial(algorithm.meta_gradient, learner, theta, tasks)
            for name, algorithm in algorithms(inner_lr, k).items()
        }
        for name, once in calls.items():
            report(done / total)
            with Kept() as memory:
                once()
            kept[name].append(float(memory.peak))
        for name, row in timed(calls, partial(report, done / total)).items():
            seconds[name].append(row)
        done += k
    return Cost(
        steps=np.asarray(steps),
        n_tasks=n_tasks,
        n_support=tasks.support.x.shape[1],
        n_examples=tasks.support.x.shape[1] + tasks.query.x.shape[1],
        seconds={name: np.stack(rows) for name, rows in seconds.items()},
        kept_bytes={name: np.array(rows) for name, rows in kept.items()},
    )


def timed(calls: Mapping[str, Callable[[], object]], between: Callable[[], None]) -> dict[str, Doubles]:
    """Quartiles of the seconds that each call takes: (3,).

    They take turns, so that whatever else the machine does at a time slows all of them.
    """
    spent: dict[str, list[float]] = {name: [] for name in calls}
    began = time.perf_counter()
    for turn in range(MOST):
        if turn >= FEWEST and time.perf_counter() - began > ENOUGH_SECONDS:
            break
        for name, once in calls.items():
            between()
            mark = time.perf_counter()
            once()
            spent[name].append(time.perf_counter() - mark)
    return {name: np.quantile(row, [0.25, 0.5, 0.75]) for name, row in spent.items()}
