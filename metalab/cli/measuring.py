"""Adapting theta to many held-out tasks; a fair inner learning rate and a fair checkpoint for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metalab.cli.parsing import BadInput
from metalab.params import Params
from metalab.tasks.base import HIGHER_IS_BETTER, Split
from metalab.training.config import RunConfig
from metalab.training.evaluation import evaluate, summarise
from metalab.training.parallel import Workers
from metalab.training.start import place, stream

TASKS_AT_ONCE = 1_000
"""Tasks sampled at once: bounds the memory of an evaluation of many."""
TUNING_TASKS = 200
INNER_LRS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Measured:
    """A metric on the query sets after 0 .. K inner steps or shots: mean over tasks, half width of its 95% interval."""

    metric: str
    by_inner_step: list[float]
    ci95: list[float]
    tasks: int


@dataclass(frozen=True)
class Tuned:
    """Which inner learning rate did best after the last inner step, on tasks of the validation split."""

    inner_lr: float
    split: Split
    tasks: int
    grid: tuple[float, ...]
    scores: list[float]


@dataclass(frozen=True)
class Chosen:
    """Which checkpoint did best, averaged over the inner steps, on tasks of the validation split."""

    step: int
    split: Split
    tasks: int
    candidates: tuple[int, ...]
    scores: list[float]


def curves_of(
    config: RunConfig, theta: Params, split: Split, tasks: int, seed: int, threads: int | None = None
) -> dict[str, Tensor]:
    """Each metric after each of `config.algorithm.evaluation_steps` steps, for `tasks` tasks: (T, K + 1).

    The tasks are those of `stream(seed, split)`. Their parts share a pool of `threads`, each with one torch thread.
    """
    torch.set_num_threads(1)
    device = place(config)
    theta = {name: value.to(device) for name, value in theta.items()}
    rng, parts = stream(seed, split), []
    workers = Workers(config.model, device, threads)
    steps = config.algorithm.evaluation_steps
    try:
        for first in range(0, tasks, TASKS_AT_ONCE):
            batch = config.family.sample(min(TASKS_AT_ONCE, tasks - first), split, rng, device)
            parts.append(evaluate(config.learner, config.algorithm, theta, batch, steps, workers))
    finally:
        workers.close()
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def measured(curves: Mapping[str, Tensor], metric: str) -> Measured:
    """Mean and interval over the tasks of one metric of `curves`. Raises BadInput for an unknown one."""
    if metric not in curves:
        raise BadInput(f"--metric = {metric!r}: expected one of {', '.join(curves)}")
    summary = summarise(curves[metric])
    return Measured(metric, summary.mean.tolist(), summary.ci95.tolist(), curves[metric].shape[0])


def main_metric(config: RunConfig) -> str:
    """The metric that says best how well the family's tasks are solved."""
    return config.family.metric


def tune_inner_lr(
    config: RunConfig, theta: Params, metric: str, tasks: int, seed: int, threads: int | None = None
) -> Tuned:
    """Try every rate of `INNER_LRS` on the same validation tasks; what is not finite cannot win.

    Raises BadInput where no rate gives finite numbers.
    """
    scores = []
    for inner_lr in INNER_LRS:
        tried = config.changed({"algorithm.inner_lr": inner_lr})
        scores.append(measured(curves_of(tried, theta, "validation", tasks, seed, threads), metric).by_inner_step[-1])
    best = _best(scores, metric)
    if best is None:
        raise BadInput(f"--tune-inner-lr: none of {INNER_LRS} gives finite numbers; try fewer --inner-steps")
    return Tuned(INNER_LRS[best], "validation", tasks, INNER_LRS, scores)


def best_checkpoint(
    config: RunConfig,
    thetas: Iterable[tuple[int, Params]],
    metric: str,
    tasks: int,
    seed: int,
    threads: int | None = None,
) -> Chosen:
    """Try every checkpoint (step, theta) on the same validation tasks; what is not finite cannot win.

    A checkpoint's score is its mean over inner steps 1 .. K. Raises BadInput where none is finite.
    """
    candidates, scores = [], []
    for step, theta in thetas:
        curve = measured(curves_of(config, theta, "validation", tasks, seed, threads), metric).by_inner_step[1:]
        candidates.append(step)
        scores.append(math.fsum(curve) / len(curve) if all(map(math.isfinite, curve)) else math.inf)
    best = _best(scores, metric)
    if best is None:
        raise BadInput("--best-checkpoint: no checkpoint gives finite numbers; try fewer --inner-steps")
    return Chosen(candidates[best], "validation", tasks, tuple(candidates), scores)


def _best(scores: Sequence[float], metric: str) -> int | None:
    """Place of the best finite score, the first of equals; None where none is finite."""
    sign = -1 if metric in HIGHER_IS_BETTER else 1
    ranked = [(sign * score, place) for place, score in enumerate(scores) if math.isfinite(score)]
    return min(ranked)[1] if ranked else None
