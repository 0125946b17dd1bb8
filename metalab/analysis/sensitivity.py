"""How adaptation from ONE theta depends on what is chosen at test: the inner learning rate and steps, the shots, and
what query images are normalised with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from metalab.algorithms.base import Learner
from metalab.algorithms.shot_based import first_shots, shot_numbers
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.best_cell import Best, best_cell
from metalab.analysis.bootstrap import Band, Doubles, band
from metalab.analysis.challenge import changed
from metalab.analysis.curvature import steepest
from metalab.analysis.speed import at_once, held_out
from metalab.analysis.speed_shots import after, shot_counts
from metalab.models.conv4 import Conv4
from metalab.params import STATISTICS, Params
from metalab.settings import declarations
from metalab.tasks.base import HIGHER_IS_BETTER, TaskBatch, TaskFamily
from metalab.training.evaluation import evaluate
from metalab.training.parallel import Workers
from metalab.training.start import stream

HALF_OCTAVES = 10
"""Rates on either side of a run's own, each sqrt(2) times the one before."""
QUANTILES = (0.1, 0.5, 0.9)
CALIBRATION = 40
"""Meta-training tasks from which running averages are taken for a theta that has none."""
COARSE = 4
"""A first look takes every so many-th rate."""
MODES = ("transductive", "support_plus_one", "running")


@dataclass(frozen=True, eq=False)
class Grid:
    """The mean of the metric over held-out tasks against inner steps 0 .. K, for each of R rows of a choice."""

    label: str
    metric: str
    loss_name: str
    n_tasks: int
    rows: Doubles
    """(R,) the values of what is chosen: inner learning rates, shots."""
    values: Doubles
    """(R, K + 1); not finite where a task left the range of numbers."""
    trained: tuple[float, int | None]
    """What the run was trained with: its row's value, and its inner steps where it has such a setting."""
    best: Best | None = None
    """The best cell; None for a first look, whose tasks are too few to choose."""
    limits: Doubles | None = None
    """(3,) 2 / lambda_max of the tasks, its QUANTILES over them, ascending; None where it says nothing."""
    unsettled: tuple[int, int] = (0, 0)
    """For how many tasks lambda_max is only known to be at least what was taken, and of how many."""

    @property
    def higher(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric in HIGHER_IS_BETTER

    @property
    def own(self) -> tuple[int, int] | None:
        """Row and inner step of the run's own setting; None where the map has no such cell."""
        return own_cell(self.rows, self.trained, self.values.shape[1])


def own_cell(rows: Doubles, trained: tuple[float, int | None], columns: int) -> tuple[int, int] | None:
    """Row and column of what the run was trained with, where the map has it."""
    value, steps = trained
    near = np.flatnonzero(np.isclose(rows, value))
    return (int(near[0]), steps) if steps is not None and steps < columns and near.size else None


def rates_of(contender: Contender) -> Doubles:
    """Inner learning rates around the run's own, as far as its algorithm takes them. Raises ValueError for none."""
    own = contender.algorithm.alpha
    if own is None or contender.algorithm.axis == "shot":
        raise ValueError(f"{contender.label} has no inner learning rate to be turned: choose another run")
    declared = next(each for each in declarations(type(contender.algorithm)) if each.name == "inner_lr")
    rates = own * 2 ** (np.arange(-HALF_OCTAVES, HALF_OCTAVES + 1) / 2)
    low, high = declared.low or 0.0, declared.high or np.inf
    return rates[(rates >= low * (1 - 1e-9)) & (rates <= high * (1 + 1e-9))].clip(low, high)


def over_rates(
    contender: Contender,
    family: TaskFamily,
    *,
    n_tasks: int,
    steps: int,
    first: int | None = None,
    seed: int = 0,
    report: Report = quiet,
) -> Grid:
    """The metric for each inner learning rate and inner step, and where 2 / lambda_max lies.

    With `first` a first look: over so many of the tasks alone, at a few of the rates, without 2 / lambda_max. Raises
    ValueError for an algorithm without a rate and where all cells are lost, DataMissing, and what `report` raises.
    """
    report(0.0)
    rates, batch = rates_of(contender), held_out(family, n_tasks, seed)
    bends = bending(contender, family) and first is None
    if first is not None:
        own = int(np.abs(np.log(rates / (contender.algorithm.alpha or 1))).argmin())
        rates, batch = rates[own % COARSE :: COARSE], batch.tasks(0, first)
    whole = len(rates) + 4 * bends
    rows = []
    for i, rate in enumerate(rates):
        turned = replace(contender, algorithm=changed(contender.algorithm, inner_lr=float(rate)))

        def part(done: float, i: int = i) -> None:
            report((i + done) / whole)

        rows.append(curves(turned, family, batch, steps, part))
    limits, unsettled = None, (0, 0)
    if bends:
        few, at = min(n_tasks, 100 if family.kind == "regression" else 16), len(rates)
        found = steepest(contender, family, n_tasks=few, seed=seed, report=lambda done: report((at + 4 * done) / whole))
        sharp = found.steepest
        limits = np.quantile(2 / sharp[sharp > 0], QUANTILES) if (sharp > 0).any() else None
        unsettled = int((~found.settled).sum()), few
    trained = (float(contender.algorithm.alpha or 0), getattr(contender.algorithm, "inner_steps", None))
    return replace(_grid(contender, family, rates, np.stack(rows), trained), limits=limits, unsettled=unsettled)


def _grid(
    contender: Contender, family: TaskFamily, rows: Doubles, each: Doubles, trained: tuple[float, int | None]
) -> Grid:
    """The map of values `each` (R, K + 1, T). Raises ValueError where no cell is finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        values = each.mean(-1)
    if not np.isfinite(values).any():
        raise ValueError("no inner learning rate leaves every task within the range of numbers")
    own = own_cell(rows, trained, values.shape[1])
    best = best_cell(each, higher=family.metric in HIGHER_IS_BETTER, own=own)
    return Grid(contender.label, family.metric, family.loss_name, each.shape[-1], rows, values, trained, best)


def bending(contender: Contender, family: TaskFamily) -> bool:
    """Whether 2 / lambda_max says something: plain gradient descent on a loss that stays the same."""
    return family.kind != "reinforcement" and getattr(contender.algorithm, "inner_optimiser", "sgd") == "sgd"


def curves(contender: Contender, family: TaskFamily, batch: TaskBatch, steps: int, report: Report = quiet) -> Doubles:
    """The metric at phi_0 .. phi_steps of each task: (steps + 1, T)."""
    learner, workers = Learner(contender.model, family), Workers(contender.model, torch.device("cpu"), 1)
    parts, size = [], at_once(family)
    for first in range(0, batch.n_tasks, size):
        report(first / batch.n_tasks)
        part = batch.tasks(first, min(first + size, batch.n_tasks))
        found = evaluate(learner, contender.algorithm, contender.theta, part, steps, workers)
        parts.append(found[family.metric].double().numpy())
    return np.concatenate(parts).T


def over_shots_and_steps(
    contender: Contender,
    family: TaskFamily,
    *,
    n_tasks: int,
    steps: int,
    first: int | None = None,
    seed: int = 0,
    report: Report = quiet,
) -> Grid:
    """The metric for each number of shots and inner step; fewer shots are the first of more.

    With `first` a first look, over so many of the tasks alone. Raises ValueError for a contender without inner steps,
    DataMissing, and what `report` raises.
    """
    if contender.algorithm.axis == "shot":
        raise ValueError(f"{contender.label} reads its shots and takes no inner steps: choose another run")
    report(0.0)
    counts = shot_counts(family)
    batch = held_out(changed(family, shots=counts[-1]), n_tasks, seed)
    batch = batch if first is None else batch.tasks(0, first)
    numbers, rows = shot_numbers(family, batch.support.y), []
    for i, count in enumerate(counts):

        def part(done: float, i: int = i) -> None:
            report((i + done) / len(counts))

        fewer = replace(batch, support=first_shots(batch.support, numbers, count))
        rows.append(curves(contender, family, fewer, steps, part))
    trained = (float(getattr(family, "shots", 0)), getattr(contender.algorithm, "inner_steps", None))
    return _grid(contender, family, np.array(counts, np.float64), np.stack(rows), trained)


# --- batch normalisation


@dataclass(frozen=True, eq=False)
class Modes:
    """The same theta and tasks, with query images normalised in different ways."""

    label: str
    colour_key: tuple[str, int, int]
    n_tasks: int
    steps: int
    modes: tuple[str, ...]
    values: NDArray[np.float32]
    """(modes, T): accuracy on each task."""
    calibrated: bool
    """Whether the running averages were taken from meta-training tasks here, as theta has none."""

    def gap(self, mode: str) -> Band:
        """How much less accurate it is than transductively, on the same tasks: () each."""
        first = self.values[self.modes.index("transductive")].astype(np.float64)
        return band(first - self.values[self.modes.index(mode)])


def over_modes(
    contender: Contender,
    family: TaskFamily,
    *,
    n_tasks: int,
    steps: int,
    first: int | None = None,
    seed: int = 0,
    report: Report = quiet,
) -> Modes:
    """Accuracy at the end of adaptation with each way of normalising query images.

    With `first` a first look, over so many of the tasks alone. Raises ValueError for a network without batch
    normalisation, DataMissing, and what `report` raises.
    """
    if not isinstance(contender.model, Conv4):
        raise ValueError(f"the network of {contender.label} has no batch normalisation: choose a run with conv4")
    report(0.0)
    batch, size = held_out(family, n_tasks, seed), at_once(family)
    lacking = not any(name.startswith(STATISTICS) for name in contender.theta)
    averages = _averages(contender, family, steps) if lacking else {}
    found = []
    looked = n_tasks if first is None else min(first, n_tasks)
    for i, mode in enumerate(MODES):
        model = changed(contender.model, batch_norm=mode)
        theta = contender.theta | averages if mode == "running" else contender.theta
        turned, parts = replace(contender, model=model, theta=theta), []
        for begin in range(0, looked, size):
            report((i + begin / looked) / len(MODES))
            parts.append(after(turned, family, batch.tasks(begin, min(begin + size, looked)), steps))
        found.append(np.concatenate(parts))
    return Modes(contender.label, contender.colour_key, looked, steps, MODES, np.stack(found), lacking)


def _averages(contender: Contender, family: TaskFamily, steps: int) -> Params:
    """Statistics of query images after adaptation, averaged over meta-training tasks."""
    learner = Learner(changed(contender.model, batch_norm="transductive"), family)
    algorithm = contender.algorithm
    if algorithm.axis == "shot":
        steps = algorithm.evaluation_steps
    batch = family.sample(CALIBRATION, "train", stream(0, "train"))
    size, sums = at_once(family), Params()
    for first in range(0, CALIBRATION, size):
        part, phi = batch.tasks(first, min(first + size, CALIBRATION)), contender.theta
        for inner in algorithm.adapt(learner, contender.theta, part.support, steps):
            phi = inner.phi
        collected: Params = {}
        with torch.no_grad():
            algorithm.predict(learner, phi, part.query.x, part.support.x, collected)
        for name, value in collected.items():
            sums[name] = sums.get(name, 0) + value * part.n_tasks / CALIBRATION
    return sums
