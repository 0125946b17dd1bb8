"""Sine waves unlike those of training, and support sets that leave a wave open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from metalab.algorithms.base import Learner
from metalab.analysis import bootstrap
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.bootstrap import Doubles, interval
from metalab.analysis.speed import at_once
from metalab.analysis.speed_shots import after
from metalab.tasks.base import Examples, TaskBatch
from metalab.tasks.functions import X
from metalab.tasks.sinusoid import Sinusoid
from metalab.training.start import stream

AMPLITUDES = np.linspace(0.5, 10.0, 20)
PHASES = np.linspace(0.0, 2 * math.pi, 25)
DRAWS = 9
"""Support and query sets that are drawn for each place of the map."""
RESAMPLES = 200
TAILS = (0.05, 0.95)
"""Between these quantiles lies the middle 90% of the functions."""
COMPARED = 25
"""Values of x, or a few more, at which an interval of widths is computed: so many tell their mean well enough."""
Where = Literal["anywhere", "left", "right"]
PLACES: tuple[Where, ...] = ("anywhere", "left", "right")


@dataclass(frozen=True, eq=False)
class Away:
    """The error after adaptation to waves of each amplitude and phase, inside the training box and outside."""

    label: str
    steps: int
    amplitudes: Doubles
    """(a,)"""
    phases: Doubles
    """(p,)"""
    errors: Doubles
    """(a, p): mean squared error as a share of the wave's own mean square, the median over DRAWS draws of points."""
    box: tuple[tuple[float, float], tuple[float, float]]
    """Ranges of amplitude and phase in training."""

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(a, p): whether a place lies in the box."""
        (low, high), (first, last) = self.box
        amplitude, phase = self.amplitudes[:, None], self.phases[None]
        return (amplitude >= low) & (amplitude <= high) & (phase >= first) & (phase <= last)

    def median(self, *, inside: bool) -> float:
        """The median error of the places inside the box, or outside; NaN where there is none."""
        chosen = self.errors[self.inside == inside]
        return float(np.median(chosen)) if chosen.size else float("nan")


def away(contender: Contender, family: Sinusoid, *, steps: int, seed: int = 0, report: Report = quiet) -> Away:
    """Adapt to waves all over the plane of amplitude and phase. Raises what `report` raises."""
    amplitude, phase = (part.ravel() for part in np.meshgrid(AMPLITUDES, PHASES, indexing="ij"))
    info = {
        "amplitude": torch.from_numpy(amplitude).float().repeat_interleave(DRAWS),
        "phase": torch.from_numpy(phase).float().repeat_interleave(DRAWS),
    }
    batch = waves(family, info, stream(seed, "test"), lambda _name, x: x)
    size, parts = at_once(family), []
    for first in range(0, batch.n_tasks, size):
        report(first / batch.n_tasks)
        parts.append(after(contender, family, batch.tasks(first, min(first + size, batch.n_tasks)), steps))
    square = batch.query.y.square().mean((1, 2)).numpy()
    each = np.nan_to_num(np.concatenate(parts) / square, nan=np.inf, posinf=np.inf)
    errors = np.median(each.reshape(len(AMPLITUDES), len(PHASES), DRAWS), 2)
    return Away(contender.label, steps, AMPLITUDES, PHASES, errors.astype(np.float64), (family.amplitude, family.phase))


def waves(
    family: Sinusoid,
    info: dict[str, torch.Tensor],
    rng: torch.Generator,
    place: Callable[[str, torch.Tensor], torch.Tensor],
) -> TaskBatch:
    """Tasks of the given amplitudes and phases (T,), of frequency 1 and without noise.

    `place` moves inputs that were drawn over the whole range, for "support" and "query".
    """
    n_tasks = len(info["amplitude"])
    info = info | {"frequency": torch.ones(n_tasks)}
    x = X[0] + (X[1] - X[0]) * torch.rand(n_tasks, family.shots + family.queries, 1, generator=rng)
    support, query = place("support", x[:, : family.shots]), place("query", x[:, family.shots :])
    return TaskBatch(Examples(support, family.values(info, support)), Examples(query, family.values(info, query)), info)


@dataclass(frozen=True, eq=False)
class Spread:
    """What becomes of one wave when its support points are drawn again and again."""

    label: str
    colour_key: tuple[str, int, int]
    steps: int
    shots: int
    where: Where
    x: Doubles
    """(m,)"""
    truth: Doubles
    mean: Doubles
    low: Doubles
    high: Doubles
    """(m,) each: mean and 5th and 95th percentile of f_phi over RESAMPLES support sets."""
    support: Doubles
    """(shots, 2): the points of the first of them."""
    seen: tuple[float, float]
    """Between which x the points lie."""
    times: tuple[float, float] = (math.nan, math.nan)
    """The 95% interval of how many times wider the functions lie apart where no point lies, by the bootstrap over
    the support sets; NaN where points lie anywhere."""

    def width(self, *, seen: bool) -> float:
        """The mean distance from the 5th to the 95th percentile where points may lie, or where none does."""
        inside = (self.x >= self.seen[0]) & (self.x <= self.seen[1])
        chosen = (self.high - self.low)[inside == seen]
        return float(chosen.mean()) if chosen.size else float("nan")

    def error(self, *, seen: bool) -> float:
        """The root mean square distance of the mean from the truth, where points may lie or where none does."""
        inside = (self.x >= self.seen[0]) & (self.x <= self.seen[1])
        off = (self.mean - self.truth)[inside == seen]
        return float(np.sqrt((off**2).mean())) if off.size else float("nan")


def spread(
    contender: Contender,
    family: Sinusoid,
    *,
    where: Where,
    shots: int,
    steps: int,
    seed: int = 0,
    report: Report = quiet,
) -> Spread:
    """Adapt to one wave from many support sets whose points lie anywhere, or all in one half of x.

    Raises what `report` raises.
    """
    report(0.0)
    chosen = family.model_copy(update={"shots": shots, "queries": 1})
    one = family.sample(1, "test", stream(seed, "test")).info
    info = {name: one[name].expand(RESAMPLES).clone() for name in ("amplitude", "phase")}
    middle = sum(X) / 2
    ends = {"anywhere": X, "left": (X[0], middle), "right": (middle, X[1])}[where]

    def place(name: str, x: torch.Tensor) -> torch.Tensor:
        return ends[0] + (x - X[0]) * (ends[1] - ends[0]) / (X[1] - X[0]) if name == "support" else x

    batch = waves(chosen, info, torch.Generator().manual_seed(seed + 1), place)
    x = chosen.probe_x
    assert x is not None
    drawn = _functions(contender, chosen, batch, x, steps)
    truth = chosen.truth({name: value[:1] for name, value in batch.info.items()}, x)[0, :, 0]
    low, high = np.quantile(drawn, TAILS, axis=0)
    places = x[:, 0].double().numpy()
    inside = (places >= ends[0]) & (places <= ends[1])
    points = torch.cat([batch.support.x[0], batch.support.y[0]], 1)
    return Spread(
        contender.label,
        contender.colour_key,
        steps,
        shots,
        where,
        places,
        truth.double().numpy(),
        drawn.mean(0),
        low,
        high,
        points.double().numpy(),
        ends,
        _times_wider(drawn, inside),
    )


def _times_wider(drawn: Doubles, inside: NDArray[np.bool_]) -> tuple[float, float]:
    """The interval of `Spread.times`, of functions (n, m) and where of m places points lie."""
    if inside.all():
        return math.nan, math.nan
    thin = max(1, drawn.shape[1] // COMPARED)
    drawn, inside = drawn[:, ::thin], inside[::thin]
    rng = np.random.default_rng(0)
    ratios = np.empty(bootstrap.DRAWS)
    for n in range(bootstrap.DRAWS):
        low, high = np.quantile(drawn[rng.integers(len(drawn), size=len(drawn))], TAILS, axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios[n] = (high - low)[~inside].mean() / (high - low)[inside].mean()
    low, high = interval(ratios)
    return float(low), float(high)


def _functions(contender: Contender, family: Sinusoid, batch: TaskBatch, x: torch.Tensor, steps: int) -> Doubles:
    """f_phi of every task at x (m, 1): (T, m)."""
    learner, algorithm = Learner(contender.model, family), contender.algorithm
    if algorithm.axis == "shot":
        steps = algorithm.evaluation_steps
    phi = contender.theta
    for inner in algorithm.adapt(learner, contender.theta, batch.support, steps):
        phi = inner.phi
    with torch.no_grad():
        points = x.expand(batch.n_tasks, *x.shape)
        return algorithm.predict(learner, phi, points, batch.support.x)[..., 0].double().numpy()
