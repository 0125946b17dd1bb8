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
from metalab.training.trainer import stream

HALF_OCTAVES = 10
"""Rates on either side of a run's own, each sqrt(2) times the one before."""
QUANTILES = (0.1, 0.5, 0.9)
CALIBRATION = 40
"""Meta-training tasks from which running averages are taken for a theta that has none."""
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
    limits: Doubles | None = None
    """(3,) 2 / lambda_max of the tasks, its QUANTILES over them, ascending; None where it says nothing."""

    @property
    def higher(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric in HIGHER_IS_BETTER

    @property
    def best(self) -> tuple[int, int]:
        """Row and inner step of the best cell. Raises ValueError where no cell is finite."""
        if not np.isfinite(self.values).any():
            raise ValueError("no inner learning rate leaves every task within the range of numbers")
        signed = np.where(np.isfinite(self.values), self.values if self.higher else -self.values, -np.inf)
        row, column = np.unravel_index(signed.argmax(), signed.shape)
        return int(row), int(column)


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
    contender: Contender, family: TaskFamily, *, n_tasks: int, steps: int, seed: int = 0, report: Report = quiet
) -> Grid:
    """The metric for each inner learning rate and inner step, and where 2 / lambda_max lies.

    Raises ValueError for an algorithm without a rate, DataMissing, and what `report` raises.
    """
    report(0.0)
    rates, batch = rates_of(contender), held_out(family, n_tasks, seed)
    bends = bending(contender, family)
    whole = len(rates) + 4 * bends
    rows = []
    for i, rate in enumerate(rates):
        turned = replace(contender, algorithm=changed(contender.algorithm, inner_lr=float(rate)))

        def part(done: float, i: int = i) -> None:
            report((i + done) / whole)

        rows.append(mean_curve(turned, family, batch, steps, part))
    limits = None
    if bends:
        few = min(n_tasks, 100 if family.kind == "regression" else 16)
        at = len(rates)
        sharp = steepest(contender, family, n_tasks=few, seed=seed, report=lambda done: report((at + 4 * done) / whole))
        limits = np.quantile(2 / sharp[sharp > 0], QUANTILES) if (sharp > 0).any() else None
    trained = (float(contender.algorithm.alpha or 0), getattr(contender.algorithm, "inner_steps", None))
    return Grid(contender.label, family.metric, family.loss_name, n_tasks, rates, np.stack(rows), trained, limits)


def bending(contender: Contender, family: TaskFamily) -> bool:
    """Whether 2 / lambda_max says something: plain gradient descent on a loss that stays the same."""
    return family.kind != "reinforcement" and getattr(contender.algorithm, "inner_optimiser", "sgd") == "sgd"


def mean_curve(
    contender: Contender, family: TaskFamily, batch: TaskBatch, steps: int, report: Report = quiet
) -> Doubles:
    """The mean over tasks of the metric at phi_0 .. phi_steps: (steps + 1,)."""
    learner, workers = Learner(contender.model, family), Workers(contender.model, torch.device("cpu"), 1)
    parts, size = [], at_once(family)
    for first in range(0, batch.n_tasks, size):
        report(first / batch.n_tasks)
        part = batch.tasks(first, min(first + size, batch.n_tasks))
        found = evaluate(learner, contender.algorithm, contender.theta, part, steps, workers)
        parts.append(found[family.metric].double().numpy())
    with np.errstate(invalid="ignore", over="ignore"):
        return np.concatenate(parts).mean(0)


def over_shots_and_steps(
    contender: Contender, family: TaskFamily, *, n_tasks: int, steps: int, seed: int = 0, report: Report = quiet
) -> Grid:
    """The metric for each number of shots and inner step; fewer shots are the first of more.

    Raises ValueError for a contender without inner steps, DataMissing, and what `report` raises.
    """
    if contender.algorithm.axis == "shot":
        raise ValueError(f"{contender.label} reads its shots and takes no inner steps: choose another run")
    report(0.0)
    counts = shot_counts(family)
    batch = held_out(changed(family, shots=counts[-1]), n_tasks, seed)
    numbers, rows = shot_numbers(family, batch.support.y), []
    for i, count in enumerate(counts):

        def part(done: float, i: int = i) -> None:
            report((i + done) / len(counts))

        fewer = replace(batch, support=first_shots(batch.support, numbers, count))
        rows.append(mean_curve(contender, family, fewer, steps, part))
    trained = (float(getattr(family, "shots", 0)), getattr(contender.algorithm, "inner_steps", None))
    rows_of = np.array(counts, np.float64)
    return Grid(contender.label, family.metric, family.loss_name, n_tasks, rows_of, np.stack(rows), trained)


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
    contender: Contender, family: TaskFamily, *, n_tasks: int, steps: int, seed: int = 0, report: Report = quiet
) -> Modes:
    """Accuracy at the end of adaptation with each way of normalising query images.

    Raises ValueError for a network without batch normalisation, DataMissing, and what `report` raises.
    """
    if not isinstance(contender.model, Conv4):
        raise ValueError(f"the network of {contender.label} has no batch normalisation: choose a run with conv4")
    report(0.0)
    batch, size = held_out(family, n_tasks, seed), at_once(family)
    lacking = not any(name.startswith(STATISTICS) for name in contender.theta)
    averages = _averages(contender, family, steps) if lacking else {}
    found = []
    for i, mode in enumerate(MODES):
        model = changed(contender.model, batch_norm=mode)
        theta = contender.theta | averages if mode == "running" else contender.theta
        turned, parts = replace(contender, model=model, theta=theta), []
        for first in range(0, n_tasks, size):
            report((i + first / n_tasks) / len(MODES))
            parts.append(after(turned, family, batch.tasks(first, min(first + size, n_tasks)), steps))
        found.append(np.concatenate(parts))
    return Modes(contender.label, contender.colour_key, n_tasks, steps, MODES, np.stack(found), lacking)


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
