"""What a run needs of the machine's memory: told before it starts, and when it did not suffice after all.

The need is counted without computing anything. An outer step and an evaluation run on tensors that have shapes and no
numbers (torch's meta device), while the bytes that live at one time are counted. Both grow in proportion to the inner
steps, so that two short inner loops tell the length of a long one. Against what programs really took this is measured
by `benchmarks/memory.py`.
"""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from metalab.algorithms.shot_based import READ, ShotBased
from metalab.algorithms.unrolled import Unrolled
from metalab.models import Conv4
from metalab.params import Params, separate
from metalab.tasks.base import Examples, TaskBatch
from metalab.training.config import RunConfig, parse_config
from metalab.training.evaluation import tasks_per_call
from metalab.training.machine import free
from metalab.training.outer import differentiated
from metalab.training.parallel import Workers
from metalab.training.quotas import GIGABYTE
from metalab.training.start import initialise, place, stream

SHARE = 0.8
"""Of the memory that is free, what one run may need: others want some, too, and the count is not exact."""
RESIDENT = 1.25
"""Bytes that a process grows by for each that is counted: what is freed is not all used again, and kernels have
buffers of their own."""
BESIDES = 50e6
"""Bytes that a process takes for a run besides, whatever its size: kernels and data that it loads."""
COPIES = 6
"""Of theta: itself, Adam's two moments, the mean gradient and its clipped self, a checkpoint."""
PASSES, PASSES_A_STEP = 6, 5
"""What a pass through the network makes and theta, for each task: no algorithm was seen to hold more at one time than
so many of them, and so many more for each inner step."""
FULL = ("can't allocate memory", "CUDA error: out of memory", "ALLOC_FAILED")
"""How torch says in other errors than its own for it that there is no memory left: of a computer, of a GPU."""
IDLE = {"outer_lr", "schedule", "clip_norm", "outer_steps", "evaluate_every", "seed", "fisher_damping", "fisher_decay"}
"""Settings that change nothing here."""


class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that are made while it is entered and live still, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._storages: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for value in made if isinstance(made, tuple | list) else (made,):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages:
            return
        self._storages.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.now -= size


def too_much(config: RunConfig, threads: int, allowed: float | None = None) -> str:
    """One sentence where the run needs more than is free here, or than `allowed` bytes; else "".

    `threads`: on how many it may train. What is free is not known on every system: then only `allowed` counts.
    Raises DataMissing.
    """
    here = free(place(config))
    limit = min(SHARE * here if here is not None else math.inf, allowed if allowed is not None else math.inf)
    if _at_most(config, threads) <= limit or (need := needed(config, threads)) <= limit:
        return ""
    if limit == allowed:
        offered = f"at most {_gigabytes(limit)} are allowed here"
    else:
        offered = f"{_gigabytes(here or 0)} are free here"
    return (
        f"The run would need about {_gigabytes(need)} of memory, and {offered}: try {advice(config, threads, limit)}."
    )


def is_full(problem: BaseException) -> bool:
    """Whether that is how torch or Python says that no memory is left."""
    if isinstance(problem, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(problem, RuntimeError) and any(text in str(problem) for text in FULL)


def when_full(config: RunConfig, threads: int) -> str:
    """What to say of a run that found no memory left."""
    owner = "GPU" if place(config).type == "cuda" else "computer"
    less = advice(config, threads, 0.8 * needed(config, threads))
    return f"The {owner}'s memory is full: try {less}. Once there is room, resume goes on from the last checkpoint."


def advice(config: RunConfig, threads: int, enough: float) -> str:
    """What makes the run need no more than `enough` bytes, by the names of its settings; everything where nothing
    does by itself: "first order (algorithm.order = 1), or .."."""
    ways = _smaller(config)
    found = [text for text, smaller in ways if needed(smaller, threads) <= enough] or [text for text, _ in ways]
    return ", ".join(found[:-1]) + (", or " if len(found) > 1 else "") + found[-1]


def _smaller(config: RunConfig) -> list[tuple[str, RunConfig]]:
    """What can be made smaller, in words, and how much smaller at the least that should be tried."""
    algorithm, found = config.algorithm, list[tuple[str, dict[str, Any]]]()
    if config.meta_batch_size > 1:
        text = f"a smaller meta-batch (meta_batch_size = {config.meta_batch_size}; accumulate averages several)"
        found.append((text, {"meta_batch_size": max(1, config.meta_batch_size // 4)}))
    if isinstance(algorithm, Unrolled) and algorithm.order == 2 and algorithm.inner_steps > 0:
        found.append(("first order (algorithm.order = 1)", {"algorithm.order": 1}))
        kept = round(math.sqrt(algorithm.inner_steps))
        if kept < (algorithm.steps_kept or algorithm.inner_steps):
            text = f"to compute inner steps again instead of keeping them (algorithm.steps_kept = {kept})"
            found.append((text, {"algorithm.steps_kept": kept}))
        if algorithm.inner_steps > 1:
            text = f"fewer inner steps (algorithm.inner_steps = {algorithm.inner_steps})"
            found.append((text, {"algorithm.inner_steps": max(1, algorithm.inner_steps // 4)}))
    if config.evaluation_tasks > 2:
        text = f"fewer held-out tasks (evaluation_tasks = {config.evaluation_tasks})"
        found.append((text, {"evaluation_tasks": max(2, config.evaluation_tasks // 10)}))
    if isinstance(config.model, Conv4):
        text = f"fewer filters (model.filters = {config.model.filters})"
        found.append((text, {"model.filters": max(4, config.model.filters // 4)}))
    else:
        found.append(("a smaller network", {}))
    return [(text, config.changed(changes)) for text, changes in found]


def needed(config: RunConfig, threads: int) -> float:
    """Bytes by which a process grows that trains the run on so many threads. Raises DataMissing."""
    return _needed(config.model_dump_json(exclude=IDLE), threads)


def _at_most(config: RunConfig, threads: int) -> float:
    """At least `needed`, from one pass through the network: enough for most runs, and known at once."""
    return _at_most_of(config.model_dump_json(exclude=IDLE), threads)


@lru_cache(maxsize=512)
def _at_most_of(settings: str, threads: int) -> float:
    run = _Run(settings)
    algorithm, learner, tasks = run.config.algorithm, run.config.learner, max(run.evaluated, run.config.meta_batch_size)
    sizes = run.workers.sizes(tasks)
    batch, own = _without_numbers(run.sample, max(sizes)), separate(_on_meta(run.theta), max(sizes))
    with Alive() as alive:
        if isinstance(algorithm, ShotBased) and not isinstance(algorithm, Unrolled):
            phi = algorithm.read(learner, _on_meta(run.theta), batch.support) | {READ: batch.support.x}
            algorithm.judged(learner, phi, batch.support, batch.query)
        else:
            learner.support_loss(own, batch.support)
            learner.query_loss(own, batch)
    passes = PASSES + PASSES_A_STEP * getattr(algorithm, "inner_steps", 0)
    network = alive.peak + max(sizes) * run.own
    return BESIDES + RESIDENT * (run.rest + min(len(sizes), threads) * passes * network)


class _Run:
    """What both counts begin with."""

    def __init__(self, settings: str) -> None:
        self.config = parse_config(json.loads(settings))
        family = self.config.family
        self.workers = Workers(self.config.model, place(self.config), 1)
        self.theta = initialise(self.config)
        self.own = nbytes(self.theta)
        self.sample = family.sample(1, "train", stream(0, "train"))
        one_task = sum(value.nbytes for part in (self.sample.support, self.sample.query) for value in part)
        tasks = self.config.evaluation_tasks * (2 if family.away else 1) + self.config.meta_batch_size
        parts = len(self.workers.sizes(self.config.meta_batch_size))
        self.evaluated = min(self.config.evaluation_tasks, tasks_per_call(self.theta, self.sample))
        self.rest = (COPIES + 2 * parts) * self.own + tasks * one_task
        """Bytes beside those of the computation: theta, the optimiser's state, what the parts give, and tasks."""


@lru_cache(maxsize=512)
def _needed(settings: str, threads: int) -> float:
    run = _Run(settings)

    def most(count: Callable[[RunConfig, TaskBatch], float], n_tasks: int) -> float:
        sizes = run.workers.sizes(n_tasks)
        return min(len(sizes), threads) * count(run.config, _without_numbers(run.sample, max(sizes)))

    peak = most(_evaluation, run.evaluated)
    if run.config.algorithm.trains:
        peak = max(peak, most(_step, run.config.meta_batch_size))
    return BESIDES + RESIDENT * (run.rest + peak)


def _step(config: RunConfig, batch: TaskBatch) -> float:
    """The most bytes that live while a part of a meta-batch is differentiated."""
    algorithm = config.algorithm
    steps = getattr(algorithm, "inner_steps", 0)
    second = isinstance(algorithm, Unrolled) and algorithm.order == 2
    kept = algorithm.steps_kept if isinstance(algorithm, Unrolled) and second else 0
    at_a_time = kept if 0 < kept < steps else steps
    few = 1 if second else 3  # first order has all that it keeps at one time after three
    found = [_differentiated(config, batch, k) for k in range(few, min(few + 2, at_a_time + 1))]
    if not found:
        found = [_differentiated(config, batch, at_a_time)]
    peak = found[-1] + (at_a_time - few - 1) * (found[-1] - found[0]) if len(found) > 1 else found[0]
    if at_a_time < steps:
        starts = -(-steps // at_a_time) + 1
        peak += starts * batch.n_tasks * nbytes(initialise(config))
    return peak


def _differentiated(config: RunConfig, batch: TaskBatch, steps: int) -> float:
    """As `_step`, with so many inner steps of which all are kept."""
    fields = type(config.algorithm).model_fields
    short: dict[str, Any] = {}
    if "inner_steps" in fields:
        short["algorithm.inner_steps"] = steps
    if "steps_kept" in fields:
        short["algorithm.steps_kept"] = 0
    if "cg_steps" in fields:
        short["algorithm.cg_steps"] = min(2, getattr(config.algorithm, "cg_steps", 2))
    shorter = config.changed(short) if short else config
    theta = _on_meta(initialise(shorter))
    peaks = []
    # At first an algorithm may do otherwise than later on.
    for done in {0, shorter.algorithm.steady_from or 0}:
        with Alive() as alive:
            differentiated(shorter, theta, batch, done)
        peaks.append(alive.peak)
    return float(max(peaks))


def _evaluation(config: RunConfig, batch: TaskBatch) -> float:
    """The most bytes that live while theta is tried on so many tasks at once."""
    algorithm, learner, theta = config.algorithm, config.learner, _on_meta(initialise(config))
    with Alive() as alive, torch.no_grad():
        if isinstance(algorithm, ShotBased):
            phi = algorithm.read(learner, theta, batch.support) | {READ: batch.support.x}
            algorithm.judged(learner, phi, batch.support, batch.query)
        else:
            for inner in algorithm.adapt(learner, theta, batch.support, min(2, algorithm.evaluation_steps)):
                algorithm.judged(learner, inner.phi, batch.support, batch.query)
    return float(alive.peak)


def nbytes(theta: Params) -> int:
    """The bytes of all entries."""
    return sum(value.nbytes for value in theta.values())


def _on_meta(theta: Params) -> Params:
    return {name: value.to("meta") for name, value in theta.items()}


def _without_numbers(sample: TaskBatch, n_tasks: int) -> TaskBatch:
    """So many tasks of the sample's shapes."""

    def wide(part: Examples) -> Examples:
        return Examples(*(torch.empty(n_tasks, *v.shape[1:], dtype=v.dtype, device="meta") for v in part))

    info = {
        name: value.expand(n_tasks, *value.shape[1:]) if isinstance(value, Tensor) else list(value) * n_tasks
        for name, value in sample.info.items()
    }
    return TaskBatch(wide(sample.support), wide(sample.query), info)


def _gigabytes(count: float) -> str:
    value = count / GIGABYTE
    return f"{value:.1f} GB" if value < 10 else f"{value:,.0f} GB"
