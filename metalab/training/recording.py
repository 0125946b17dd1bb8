"""A run's meta-gradient and its evaluations as CUDA graphs: launched by one call instead of hundreds.

A small network leaves a GPU waiting for the next launch. What the eager code launches is recorded once, for tasks of
one shape, and played back from then on: the same kernels with the same numbers. No compiler is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metalab.params import Params
from metalab.tasks.base import Examples, Split, TaskBatch
from metalab.training.compiled import Library, NotCompiled, described, evaluates, in_short, inputs, regrouped
from metalab.training.config import RunConfig
from metalab.training.evaluation import FEWEST, curves
from metalab.training.outer import ENTRIES, differentiated
from metalab.training.start import stream
from metalab.training.translating import agree, compare

WARM_UPS = 2
"""Calls before the recording: libraries choose their kernels and take their memory at the first."""


Curves = tuple[list[str], list[list[Any]], Library]
"""A recorded `evaluation.curves`: the metrics' names, and what `Recorded` has."""


class Recorded(NamedTuple):
    """What is recorded of a run. It reads theta where it is: what happens to its entries later counts."""

    library: Library
    """`outer.differentiated` of whole meta-batches."""
    given: list[list[Any]]
    """What that takes for granted of its inputs, as `compiled.described`."""
    names: dict[str, list[str]]
    """What the entries of its list are called, for each part of an `Aggregate`."""
    curves: Curves | None
    """Where evaluations are recorded, too."""
    news: str
    """A sentence for the person whose run it is."""


def record(config: RunConfig, theta: Params, device: torch.device, done: int) -> Recorded:
    """The meta-gradient of outer steps from `done` on, and evaluations. Raises NotCompiled, RuntimeError."""
    library, given, names = _step(config, theta, device, done)
    news, found = "compiled as a CUDA graph" + (f", for outer steps from {done + 1} on" if done else ""), None
    if evaluates(config):
        try:
            found = _evaluation(config, theta, device)
        except Exception as problem:  # how far they go may be in the numbers: then the GPU is asked for it
            news += f"; evaluations are not: {in_short(problem)}"
    return Recorded(library, given, names, found, news)


def _step(
    config: RunConfig, theta: Params, device: torch.device, done: int
) -> tuple[Library, list[list[Any]], dict[str, list[str]]]:
    found = dict[str, list[str]]()

    def flat(tasks: TaskBatch) -> list[Tensor]:
        whole = differentiated(config, theta, tasks, done)
        entries = {part: getattr(whole, part) for part in ENTRIES}
        found.update({part: list(values) for part, values in entries.items()})
        return [value for values in entries.values() for value in values.values()]

    n_tasks = config.meta_batch_size
    batch, other = tasks_of(config, "train", n_tasks, device), tasks_of(config, "validation", n_tasks, device)
    library = recorded(flat, theta, batch)
    ours = regrouped(library(inputs(theta, other)), found, other.n_tasks)
    compare(ours, differentiated(config, theta, other, done))
    return library, described(inputs(theta, batch)), found


def _evaluation(config: RunConfig, theta: Params, device: torch.device) -> Curves:
    names = list[str]()

    def flat(tasks: TaskBatch) -> list[Tensor]:
        measured = curves(config.learner, config.algorithm, theta, tasks, config.algorithm.evaluation_steps)
        names[:] = measured
        return list(measured.values())

    batch, other = tasks_of(config, "train", FEWEST, device), tasks_of(config, "validation", FEWEST, device)
    library = recorded(flat, theta, batch)
    expected = curves(config.learner, config.algorithm, theta, other, config.algorithm.evaluation_steps)
    for name, curve in zip(names, library(inputs(theta, other)), strict=True):
        agree({name: curve}, {name: expected[name]}, f"evaluation, {name}")
    return names, described(inputs(theta, batch)), library


def recorded(function: Callable[[TaskBatch], list[Tensor]], theta: Params, batch: TaskBatch) -> Library:
    """The function of tasks like those of `batch`, recorded; it takes `inputs` of theta and such tasks."""
    x, y, query_x, query_y = held = [value.clone() for value in (*batch.support, *batch.query)]
    tasks = TaskBatch(Examples(x, y), Examples(query_x, query_y))
    here = torch.cuda.current_stream(x.device)
    beside = here if here != torch.cuda.default_stream(x.device) else _beside(x.device)
    beside.wait_stream(here)
    with torch.cuda.stream(beside), Reads() as reads:
        try:
            for _ in range(WARM_UPS):
                function(tasks)
        except KeyError as missing:
            raise NotCompiled(f"it depends on more of its tasks than their examples ({missing})") from missing
    here.wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    # Other threads go on using the GPU meanwhile.
    with torch.cuda.graph(graph, stream=beside, capture_error_mode="thread_local"):
        made = function(tasks)

    return functools.partial(_play, graph, held, made, reads.found)


def _play(
    graph: torch.cuda.CUDAGraph, held: list[Tensor], made: list[Tensor], read: list[Tensor], given: Sequence[Tensor]
) -> list[Tensor]:
    """Compute `made` from the tasks among `given`, which `held` takes; what else is `read` is only to be kept."""
    for place, value in zip(held, given[-4:], strict=True):
        place.copy_(value)
    graph.replay()
    return [value.clone() for value in made]  # the next call writes over them


class Reads(TorchDispatchMode):
    """Holds on to what is read while it is entered and was not made there: a graph knows its place in memory alone."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []
        self._made, self._read = set[int](), set[int]()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor) and (key := _storage(value)) not in self._made | self._read:
                self._read.add(key)
                self.found.append(value)
        made = function(*args, **(kwargs or {}))
        self._made |= {_storage(value) for value in tree_leaves(made) if isinstance(value, Tensor)} - self._read
        return made


def _storage(value: Tensor) -> int:
    return value.untyped_storage()._cdata


@functools.cache
def _beside(device: torch.device) -> torch.cuda.Stream:
    """Where a thread records that computes on the default stream, which cannot be recorded."""
    return torch.cuda.Stream(device)


def tasks_of(config: RunConfig, split: Split, n_tasks: int, device: torch.device) -> TaskBatch:
    """Some tasks, without what is known of them besides: a recording would hold on to that."""
    batch = config.family.sample(n_tasks, split, stream(config.seed, split), device)
    return TaskBatch(batch.support, batch.query)
