"""Meta-steps per second for named workloads, through the same code as every run.

Each workload is a callable that does one unit of work: an outer step of `train` (sampling the tasks, the meta-
gradient, the outer optimiser and the check for finite numbers), or an adaptation. Blocks of it are timed in turn with
the other workloads', so that a slow moment of the machine falls on all of them; the median block counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metalab.params import Params
from metalab.tasks.base import TaskBatch
from metalab.training.compiled import MetaStep
from metalab.training.config import RunConfig, parse_config
from metalab.training.evaluation import evaluate
from metalab.training.events import Noted, OuterStep
from metalab.training.parallel import Workers
from metalab.training.start import initialise, place, stream
from metalab.training.trainer import train

BLOCK_SECONDS = 0.5
"""A timed block holds as many units as fit here, at least one."""
WARM_UP_SECONDS = 0.5
GRID_POINTS = 200
EVALUATED = 1_000
META_STEPS = "meta-steps"

Unit = Callable[[], None]

SINE: Mapping[str, Any] = {
    "family": {"name": "sinusoid", "shots": 10, "queries": 10},
    "model": {"name": "mlp", "widths": [40, 40]},
    "algorithm": {"name": "maml", "order": 2, "inner_steps": 1, "inner_lr": 0.01},
    "meta_batch_size": 25,
}
CHARACTERS: Mapping[str, Any] = {
    "family": {"name": "glyphs", "ways": 5, "shots": 1, "queries": 15},
    "model": {"name": "conv4", "filters": 64, "downsampling": "strided"},
    "algorithm": {"name": "maml", "order": 2, "inner_steps": 5, "inner_lr": 0.1},
    "meta_batch_size": 4,
}
POOLED: Mapping[str, Any] = {**CHARACTERS, "model": {**CHARACTERS["model"], "downsampling": "max_pool"}}
REPTILE: Mapping[str, Any] = {
    # Reptile learns from support and query examples together: ten points.
    "family": {"name": "sinusoid", "shots": 5, "queries": 5},
    "model": {"name": "mlp", "widths": [40, 40]},
    "algorithm": {"name": "reptile", "inner_steps": 32, "inner_optimiser": "sgd", "inner_lr": 0.005},
    "outer_optimiser": "sgd",
    "outer_lr": 0.3,
    "meta_batch_size": 25,
}


@dataclass(frozen=True)
class Prepared:
    """A workload that is ready to be timed."""

    unit: Unit
    """Does one unit of work."""
    close: Callable[[], None] = lambda: None
    """To be called at the end."""
    note: str = ""
    """What the run told of its being compiled."""


@dataclass(frozen=True)
class Workload:
    """What is measured; `unit` names what one call of it does."""

    name: str
    what: str
    unit: str
    config: Mapping[str, Any]
    prepare: Callable[[RunConfig, int | None], Prepared]
    """(config, threads) -> what does it."""


@dataclass(frozen=True)
class Timing:
    """What was measured of one workload."""

    name: str
    what: str
    unit: str
    per_second: float
    """The median block's rate."""
    milliseconds: float
    """The same as time for one unit."""
    fastest: float
    slowest: float
    """Rates of the fastest and the slowest block, per second."""
    repeats: int
    units_per_repeat: int
    sampling_percent: float | None
    """Of a meta-step's time: how long drawing its tasks alone takes; None where no tasks are drawn."""
    warm_up_seconds: float
    """From nothing to the first timed block, preparation included."""
    note: str
    """Whether it is compiled, after how long, or why not; empty where that was not asked."""


def meta_steps(config: RunConfig, threads: int | None) -> Prepared:
    """One outer step of `train` for each call, compiled where the config asks for it and it can be."""
    longest = config.changed({"outer_steps": 1_000_000, "evaluate_every": 100_000, "evaluation_tasks": 2})
    events = train(longest, threads=threads)
    note = ""
    if config.compiled == "auto":
        note = next((event.text for event in events if isinstance(event, Noted)), "")
    steps = (event for event in events if isinstance(event, OuterStep))

    def unit() -> None:
        if next(steps, None) is None:
            raise RuntimeError("the run ended early: its numbers were not finite")

    return Prepared(unit, events.close, note)


def adapt_one(config: RunConfig, threads: int | None) -> Prepared:
    """Adapt theta to one task and predict its `points` after every inner step."""
    theta, batch = _theta(config), tasks(config, 1)
    x = points(batch)

    def unit() -> None:
        for inner in config.algorithm.adapt(config.learner, theta, batch.support, config.algorithm.evaluation_steps):
            with torch.no_grad():
                config.algorithm.predict(config.learner, inner.phi, x, batch.support.x).cpu()

    return Prepared(unit)


def evaluate_many(config: RunConfig, threads: int | None) -> Prepared:
    """Adapt theta to 1,000 tasks and measure it on their query sets after each of 0 .. 10 inner steps."""
    theta, batch = _theta(config), tasks(config, EVALUATED)
    workers, steps = Workers(config.model, place(config), threads), config.algorithm.evaluation_steps
    meta_step = MetaStep(config, place(config), workers.sizes(config.meta_batch_size), workers.threads)
    note = meta_step.wait(theta)
    compiled = meta_step.curves if meta_step.evaluates else None

    def unit() -> None:
        evaluate(config.learner, config.algorithm, theta, batch, steps, workers, compiled)

    return Prepared(unit, workers.close, note)


def _sampling(config: RunConfig) -> Unit:
    """Drawing the tasks of one meta-step, as a run does."""
    rng, device = stream(config.seed, "train"), place(config)

    def unit() -> None:
        config.family.sample(config.meta_batch_size, "train", rng, device)

    return unit


def _theta(config: RunConfig) -> Params:
    return {name: entry.to(place(config)) for name, entry in initialise(config).items()}


def tasks(config: RunConfig, n: int) -> TaskBatch:
    """The first `n` tasks of meta-test."""
    return config.family.sample(n, "test", stream(config.seed, "test"), place(config))


def points(batch: TaskBatch) -> Tensor:
    """What is predicted of the first task after every inner step: its query images, or a grid on the line."""
    x = batch.query.x[:1]
    return x if x.ndim > 3 else torch.linspace(-5, 5, GRID_POINTS, device=x.device)[None, :, None]


def _with(base: Mapping[str, Any], **algorithm: Any) -> dict[str, Any]:
    return {**base, "algorithm": {**base["algorithm"], **algorithm}}


_ALL = (
    Workload("W1", "sinusoid, MAML, MLP 40-40, 10+10 points, 25 tasks, 1 inner step", META_STEPS, SINE, meta_steps),
    Workload("W2", "the same with 5 inner steps", META_STEPS, _with(SINE, inner_steps=5), meta_steps),
    Workload(
        "W3a",
        "sinusoid, Reptile, 1 task, 32 inner SGD steps on 10 points",
        META_STEPS,
        {**REPTILE, "meta_batch_size": 1},
        meta_steps,
    ),
    Workload("W3b", "the same with 25 tasks", META_STEPS, REPTILE, meta_steps),
    Workload(
        "W4",
        "glyphs, MAML, conv4-64 (max-pool), 5-way 1-shot, 15 queries a class, 4 tasks, 5 inner steps",
        META_STEPS,
        POOLED,
        meta_steps,
    ),
    Workload("W4f", "the same, first order", META_STEPS, _with(POOLED, order=1), meta_steps),
    Workload("W4s", "as W4, but strided, our default", META_STEPS, CHARACTERS, meta_steps),
    Workload("W4sf", "the same, first order", META_STEPS, _with(CHARACTERS, order=1), meta_steps),
    Workload(
        "W5c",
        "adapt one conv4-64 (max-pool) by 5 steps, 75 images predicted after each",
        "adaptations",
        _with(POOLED, inner_steps_eval=5),
        adapt_one,
    ),
    Workload("W5", "adapt one sine wave by 10 steps, 200 points predicted after each", "adaptations", SINE, adapt_one),
    Workload("W6", "adapt 1,000 sine waves by 10 steps and measure each", "evaluations", SINE, evaluate_many),
)
WORKLOADS = {workload.name: workload for workload in _ALL}


def bench(
    names: Sequence[str], repeats: int, threads: int | None, device: str = "auto", *, compiled: bool = False
) -> Iterator[Timing]:
    """Measure the named workloads; timings come in the order of `names`, all after the last block.

    `compiled`: meta-steps and evaluations are timed once they are compiled, where they can be; adaptations never are.

    Sets this thread's number of torch threads to 1; conv4's tasks and W6 have a pool of `threads` (None: one for a
    core).
    """
    torch.set_num_threads(1)
    running = []
    try:
        for name in names:
            running.append(_Running(WORKLOADS[name], threads, device, compiled))
        for _ in range(repeats):
            for one in running:
                one.measure()
        yield from [one.timing() for one in running]
    finally:
        for one in running:
            one.close()


class _Running:
    """A workload that is warm, and the blocks timed so far."""

    def __init__(self, workload: Workload, threads: int | None, device: str, compiled: bool) -> None:
        started = time.perf_counter()
        self.workload = workload
        config = parse_config({**workload.config, "device": device, "compiled": "auto" if compiled else "off"})
        self.wait = torch.cuda.synchronize if place(config).type == "cuda" else lambda: None
        prepared = workload.prepare(config, threads)
        self.unit, self.close, self.note = prepared.unit, prepared.close, prepared.note
        self.unit()
        self.wait()
        ready, done = time.perf_counter(), 0
        while not done or time.perf_counter() - ready < WARM_UP_SECONDS:
            self.unit()
            self.wait()
            done += 1
        each = (time.perf_counter() - ready) / done
        self.units = max(1, round(BLOCK_SECONDS / each))
        self.seconds: list[float] = []
        self.sampling: list[float] = []
        self.sample = _sampling(config) if workload.unit == META_STEPS else None
        self.warm_up = time.perf_counter() - started

    def measure(self) -> None:
        start = time.perf_counter()
        for _ in range(self.units):
            self.unit()
        self.wait()
        self.seconds.append((time.perf_counter() - start) / self.units)
        if self.sample is not None:
            start = time.perf_counter()
            for _ in range(self.units):
                self.sample()
            self.wait()
            self.sampling.append((time.perf_counter() - start) / self.units)

    def timing(self) -> Timing:
        middle = statistics.median(self.seconds)
        return Timing(
            name=self.workload.name,
            what=self.workload.what,
            unit=self.workload.unit,
            per_second=1 / middle,
            milliseconds=1e3 * middle,
            fastest=1 / min(self.seconds),
            slowest=1 / max(self.seconds),
            repeats=len(self.seconds),
            units_per_repeat=self.units,
            sampling_percent=100 * statistics.median(self.sampling) / middle if self.sampling else None,
            warm_up_seconds=self.warm_up,
            note=self.note,
        )
