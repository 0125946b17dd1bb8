"""What theta does before any adaptation: f_theta beside the best predictor that never adapts, and what adapting gains.

Without adaptation the mean squared error over tasks is least at f*(x) = E[y | x], the mean of all tasks' functions.
For sine waves y = A sin(w x - phase), with A, phase and w even over ranges that do not depend on each other,

    f*(x) = E[A] sinc(dphase / 2) sinc(x dw / 2) sin(E[w] x - E[phase]),   sinc(u) = sin(u) / u,

where d is the width of a range: -(5.1 / pi) cos x for the ranges of Finn et al. 2017 (arXiv:1703.03400, section 5.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.bootstrap import Band, band
from metalab.params import Params
from metalab.tasks import mixture
from metalab.tasks.base import Examples, TaskBatch, TaskFamily
from metalab.tasks.functions import X
from metalab.tasks.linear import Linear
from metalab.tasks.mixture import Mixture
from metalab.tasks.sinusoid import Sinusoid

Doubles = NDArray[np.float64]
Range = tuple[float, float]
AT_ONCE = 8
"""Tasks that are adapted to in one call, so that a computation can be stopped between two."""
FINE = 2001
"""Points of the integral over x."""


@dataclass(frozen=True, eq=False)
class Best:
    """The best predictor that never adapts, for functions of one variable."""

    x: Doubles
    """(m,)"""
    mean: Doubles
    """f*(x): (m,)."""
    loss: float
    """Its mean squared error over tasks and x, the noise of the targets included."""


@dataclass(frozen=True, eq=False)
class Start:
    """One contender before and after adaptation, over the same tasks as the others."""

    label: str
    colour_key: tuple[str, int, int]
    function: Doubles | None
    """f_theta at the probe inputs, (m,); for functions of one variable."""
    distance: float | None
    """Root mean square distance of f_theta from the best predictor that never adapts, where that is known."""
    before: Band
    """The family's metric on the query sets with phi_0 = theta: ()."""
    after: Band
    """With phi_K: ()."""


@dataclass(frozen=True, eq=False)
class Starts:
    """All contenders, and what they are held against."""

    starts: tuple[Start, ...]
    best: Best | None
    """For functions of one variable whose distribution has a closed form."""
    metric: str
    loss_name: str
    chance: float | None
    """Accuracy of guessing, 1/N, for classes that are numbered anew in each task."""
    steps: int
    n_tasks: int


# --- the best predictor that never adapts


def best_unadapted(family: TaskFamily) -> Best | None:
    """In closed form; None for a family whose tasks are no functions of one variable of which it is known."""
    probe = family.probe_x
    if not isinstance(family, Sinusoid | Linear | Mixture) or probe is None:
        return None
    x, fine = probe[:, 0].double().numpy(), np.linspace(*X, FINE)
    mean, square = moments(family, fine)
    return Best(x, moments(family, x)[0], float(np.trapezoid(square - mean**2, fine) / (X[1] - X[0])) + family.noise**2)


def moments(family: Sinusoid | Linear | Mixture, x: Doubles) -> tuple[Doubles, Doubles]:
    """E[y | x] and E[y^2 | x] of the noiseless functions, for x (m,): (m,) each."""
    if isinstance(family, Sinusoid):
        return _waves(x, family.amplitude, family.phase, family.frequency)
    if isinstance(family, Linear):
        return _lines(x, family.slope, family.intercept)
    kinds = {
        "sine": lambda: _waves(x, mixture.AMPLITUDE, mixture.PHASE, (1.0, 1.0)),
        "line": lambda: _lines(x, mixture.SLOPE, mixture.INTERCEPT),
        "step": lambda: (np.full_like(x, _mean(mixture.LEVEL)), np.full_like(x, _square(mixture.LEVEL))),
    }
    found = [kinds[mode]() for mode in family.modes]
    return np.mean([mean for mean, _ in found], axis=0), np.mean([square for _, square in found], axis=0)


def _waves(x: Doubles, amplitude: Range, phase: Range, frequency: Range) -> tuple[Doubles, Doubles]:
    turns, angle = phase[1] - phase[0], _mean(frequency) * x - _mean(phase)
    widths = x * (frequency[1] - frequency[0])
    mean = _mean(amplitude) * _sinc(turns / 2) * _sinc(widths / 2) * np.sin(angle)
    # sin^2 = (1 - cos 2u) / 2, averaged in the same way.
    square = _square(amplitude) * (1 - _sinc(turns) * _sinc(widths) * np.cos(2 * angle)) / 2
    return mean, square


def _lines(x: Doubles, slope: Range, intercept: Range) -> tuple[Doubles, Doubles]:
    mean = _mean(slope) * x + _mean(intercept)
    return mean, _square(slope) * x**2 + 2 * _mean(slope) * _mean(intercept) * x + _square(intercept)


def _sinc(u: float | Doubles) -> Doubles:
    return np.sinc(np.asarray(u) / np.pi)


def _mean(ends: Range) -> float:
    return (ends[0] + ends[1]) / 2


def _square(ends: Range) -> float:
    """E[v^2] of v even between the ends."""
    return (ends[0] ** 2 + ends[0] * ends[1] + ends[1] ** 2) / 3


# --- before and after


def held_out_tasks(family: TaskFamily, n_tasks: int, seed: int) -> TaskBatch:
    """Tasks of the meta-test split."""
    return family.sample(n_tasks, "test", torch.Generator().manual_seed(seed))


def starts(
    contenders: Sequence[Contender],
    family: TaskFamily,
    *,
    steps: int,
    n_tasks: int,
    seed: int = 0,
    report: Report = quiet,
) -> Starts:
    """f_theta, and the metric before and after `steps` inner steps on held-out tasks. Raises ValueError."""
    if not contenders:
        raise ValueError("no contenders: expected one or more")
    best, tasks = best_unadapted(family), held_out_tasks(family, n_tasks, seed)
    found = []
    for i, contender in enumerate(contenders):

        def part(fraction: float, i: int = i) -> None:
            report((i + fraction) / len(contenders))

        found.append(_start(contender, family, tasks, best, steps, part))
    shuffled = family.kind == "classification" and family.shuffles_labels
    return Starts(
        starts=tuple(found),
        best=best,
        metric=family.metric,
        loss_name=family.loss_name,
        chance=1 / family.output_size if shuffled else None,
        steps=steps,
        n_tasks=n_tasks,
    )


def _start(
    contender: Contender, family: TaskFamily, tasks: TaskBatch, best: Best | None, steps: int, report: Report
) -> Start:
    learner, algorithm = Learner(contender.model, family), contender.algorithm
    if algorithm.axis == "shot":
        raise ValueError(f"{contender.label} reads its shots and takes no inner steps: choose another run")
    before: list[Doubles] = []
    after: list[Doubles] = []
    function = None
    for first in range(0, tasks.n_tasks, AT_ONCE):
        report(first / tasks.n_tasks)
        some = tasks.tasks(first, first + AT_ONCE)
        phis = {inner.k: inner.phi for inner in algorithm.adapt(learner, contender.theta, some.support, steps)}
        if function is None:
            function = function_of(contender, learner, phis[0], some.support)
        for found, k in ((before, 0), (after, steps)):
            found.append(metric_of(contender, learner, phis[k], some))
    distance = None
    if best is not None and function is not None:
        distance = float(np.sqrt(np.mean((function - best.mean) ** 2)))
    return Start(
        contender.label,
        contender.colour_key,
        function,
        distance,
        band(np.concatenate(before)),
        band(np.concatenate(after)),
    )


def function_of(contender: Contender, learner: Learner, phi: Params, support: Examples) -> Doubles | None:
    """What phi's first task predicts at the probe inputs (m,), for functions of one variable."""
    probe = learner.family.probe_x
    if probe is None or learner.family.output_size != 1:
        return None
    one = {name: value[:1] for name, value in phi.items()}
    with torch.no_grad():
        found = contender.algorithm.predict(learner, one, probe[None].to(support.x), support.x[:1])
    return found[0, :, 0].double().numpy()


def metric_of(contender: Contender, learner: Learner, phi: Params, tasks: TaskBatch) -> Doubles:
    """The family's metric of each task's query set (T,)."""
    with torch.no_grad():
        prediction: Tensor = contender.algorithm.attempt(learner, phi, tasks.support, tasks.query)
        return learner.family.metrics(prediction, tasks.query.y)[learner.family.metric].double().numpy()
