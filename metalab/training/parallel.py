"""How the tasks of a meta-batch share the processor: the one place that decides.

Small networks run all tasks of a meta-batch in one batched call on one thread. conv4 on a CPU runs its tasks one by
one on a small pool of threads, each with one torch thread: measured on two cores, that is faster than batches of
tasks. Where few strided filters leave little to do in a call, a few tasks go together. How tasks are cut depends on
the network and the batch alone, never on the number of threads, so that results do not depend on it either.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from metalab.models import Conv4, Model
from metalab.tasks.base import TaskBatch

FEW_FILTERS = 16
"""Up to so many strided filters `TOGETHER` tasks go at once."""
TOGETHER = 4
R = TypeVar("R")


class Workers:
    """Runs a function over the parts of a task batch; results come back in order."""

    def __init__(self, model: Model, device: torch.device, threads: int | None = None) -> None:
        self.at_once = tasks_at_once(model) if device.type == "cpu" else None
        cores = (threads or os.cpu_count() or 1) if device.type == "cpu" else 1
        self.threads = cores if self.at_once else 1
        """How many parts of a meta-batch are computed at a time."""
        self._pool: ThreadPoolExecutor | None = None
        if cores > 1:
            # It starts a thread when there is something to do for it.
            self._pool = ThreadPoolExecutor(cores, "tasks", initializer=torch.set_num_threads, initargs=(1,))

    def map(self, function: Callable[[TaskBatch], R], batch: TaskBatch, most: int | None = None) -> list[tuple[int, R]]:
        """(number of tasks, function(part)) for each part of the batch, none of them larger than `most` tasks."""
        at_once = self.at_once or (most if most and batch.n_tasks > most else None)
        parts = split(batch, at_once)
        run = map if self._pool is None or len(parts) == 1 else self._pool.map
        return list(zip([part.n_tasks for part in parts], run(function, parts), strict=True))

    def sizes(self, n_tasks: int) -> Sequence[int]:
        """The numbers of tasks in the parts of a batch of `n_tasks`."""
        return [last - first for first, last in itertools.pairwise(cuts(n_tasks, self.at_once))]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def tasks_at_once(model: Model) -> int | None:
    """The most tasks that go together through the network on a CPU; None for all of them."""
    if not isinstance(model, Conv4):
        return None
    return TOGETHER if model.downsampling == "strided" and model.filters <= FEW_FILTERS else 1


def split(batch: TaskBatch, at_once: int | None) -> Sequence[TaskBatch]:
    """The batch in parts of nearly equal size, none larger than `at_once` tasks (None: whole)."""
    if at_once is None or batch.n_tasks <= 1:
        return [batch]
    return [batch.tasks(first, last) for first, last in itertools.pairwise(cuts(batch.n_tasks, at_once))]


def cuts(n: int, at_once: int | None) -> Sequence[int]:
    """Where `split` cuts a batch of n tasks, both ends included."""
    n_parts = 1 if at_once is None or n <= 1 else max(-(-n // at_once), min(n, 2))
    return [i * n // n_parts for i in range(n_parts + 1)]
