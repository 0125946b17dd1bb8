"""The exact lab: where five algorithms come to rest on a few quadratic tasks, by formula and by the engine.

L_i(theta) = 1/2 (theta - c_i)^T A_i (theta - c_i), the same for support and query, in two parameters. The mean
meta-gradient of each algorithm is then affine, G (theta - theta*), and theta* a weighted mean of the optima:

    theta* = (sum_i W_i)^-1 sum_i W_i c_i,   M_i = (I - alpha A_i)^k
    W_i = A_i (joint), A_i M_i^2 (MAML), A_i M_i (FOMAML), I - M_i (Reptile), A_i (I + A_i/lambda)^-2 (iMAML)

after Finn et al. 2017 (arXiv:1703.03400, eq. 1), Nichol et al. 2018 (arXiv:1803.02999, section 5) and Rajeswaran et
al. 2019 (arXiv:1909.04630, eq. 6). The engine knows none of this: three of its meta-gradients tell G and theta*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from metalab.algorithms import IMAML, MAML, Pretrained, Reptile
from metalab.algorithms.base import Algorithm, Learner
from metalab.models.base import HEAD
from metalab.models.point import Point
from metalab.params import Params
from metalab.tasks.base import TaskBatch
from metalab.tasks.quadratic import Quadratic, examples

Floats = NDArray[np.float64]

BENDS = (0.2, 4.0)
"""Lowest and highest curvature. Together with PROXIMALS it keeps iMAML's inner loop exact to 1e-8 in its 64 steps."""
PROXIMALS = (0.5, 100.0)
ARRIVED = 1e-10
"""What iMAML's inner loop may leave of the distance, where its 64 steps suffice for that."""
OUTER_STEPS = 400
AWAY = 1e3
"""A path that is so far from zero has left for good."""
TOLD_TO = 1e-7
"""A fixed point counts as determined where rounding moves it by less than this."""
THETA = f"{HEAD}bias"
LEARNER = Learner(Point(), Quadratic(dimension=2))


@dataclass(frozen=True)
class Bowl:
    """One task: where its loss is least, and how it bends along two axes at right angles."""

    x: float
    y: float
    first: float
    """Curvature along the first axis."""
    second: float
    """Curvature along the second."""
    turn: float
    """Angle of the first axis, in degrees."""

    @property
    def optimum(self) -> Floats:
        """c: (2,)."""
        return np.array([self.x, self.y])

    @property
    def axes(self) -> Floats:
        """The two axes as columns: (2, 2)."""
        angle = math.radians(self.turn)
        return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])

    @property
    def curvature(self) -> Floats:
        """A: (2, 2), symmetric."""
        turned = self.axes * [self.first, self.second] @ self.axes.T
        return (turned + turned.T) / 2

    @property
    def steepest(self) -> float:
        """lambda_max, the largest eigenvalue of A."""
        return max(self.first, self.second)


@dataclass(frozen=True)
class Setup:
    """The tasks, and the settings that decide what is optimised."""

    bowls: tuple[Bowl, ...]
    inner_lr: float
    inner_steps: int
    proximal: float

    @property
    def limit(self) -> float:
        """2 / lambda_max over all tasks: the inner loop converges on each of them where alpha is below."""
        return 2 / max(bowl.steepest for bowl in self.bowls)

    @property
    def diverging(self) -> tuple[int, ...]:
        """The tasks on which the inner loop does not converge."""
        return tuple(i for i, bowl in enumerate(self.bowls) if self.inner_lr * bowl.steepest >= 2)


@dataclass(frozen=True, eq=False)
class Rule:
    """One algorithm on the tasks: its mean meta-gradient, slope theta + offset."""

    name: str
    label: str
    formula: Floats
    """The fixed point of the formula, (2,); NaN where rounding leaves none."""
    engine: Floats
    """Where the engine's meta-gradient vanishes, (2,); NaN where rounding leaves no such place."""
    slope: Floats
    """G (2, 2), of the engine."""
    offset: Floats
    """The engine's meta-gradient at zero, (2,)."""

    @property
    def determined(self) -> bool:
        """Whether there is one fixed point that 64-bit numbers can tell."""
        return bool(np.isfinite(self.formula).all() and np.isfinite(self.engine).all())

    @property
    def difference(self) -> float:
        """The largest difference between formula and engine along a parameter; NaN without a fixed point."""
        return float(np.abs(self.formula - self.engine).max())

    def arrives(self, outer_lr: float) -> bool:
        """Whether gradient descent with this outer learning rate ends in the fixed point, from anywhere."""
        if not self.determined:
            return False
        slopes = np.linalg.eigvalsh((self.slope + self.slope.T) / 2)
        return bool(slopes.min() > 0 and outer_lr * slopes.max() < 2)

    def gradient(self, theta: Floats) -> Floats:
        """The meta-gradient at each theta (..., 2): (..., 2)."""
        return theta @ self.slope.T + self.offset

    def path(self, start: Floats, outer_lr: float, steps: int = OUTER_STEPS) -> Floats:
        """theta before and after each outer step of plain gradient descent, (n + 1, 2); it ends once AWAY is left."""
        # Plain numbers: for two of them an array takes ten times as long, and a map is drawn anew as it is dragged.
        (a, b), (c, d) = (np.eye(2) - outer_lr * self.slope).tolist()
        p, q = (outer_lr * self.offset).tolist()
        x, y = start.tolist()
        places = [(x, y)]
        for _ in range(steps):
            x, y = a * x + b * y - p, c * x + d * y - q
            places.append((x, y))
            if not max(abs(x), abs(y)) < AWAY:
                break
        return np.array(places)


@dataclass(frozen=True, eq=False)
class Lab:
    """What the five algorithms make of the tasks."""

    setup: Setup
    rules: Mapping[str, Rule]

    def inner_paths(self, start: Floats) -> Floats:
        """phi_0 .. phi_k of every task from theta = start, by the engine's inner loop: (T, k + 1, 2)."""
        algorithm = MAML(inner_lr=self.setup.inner_lr, inner_steps=self.setup.inner_steps)
        support = batch_of(self.setup.bowls).support
        steps = algorithm.adapt(LEARNER, theta_of(start), support, self.setup.inner_steps)
        return np.stack([inner.phi[THETA].numpy() for inner in steps], 1)


LABELS = {"joint": "Joint training", "maml": "MAML", "fomaml": "FOMAML", "reptile": "Reptile", "imaml": "iMAML"}
"""The lab's algorithms, in the order in which they are told."""


def lab(setup: Setup) -> Lab:
    """All five algorithms on the tasks. Raises ValueError for settings outside an algorithm's range."""
    return Lab(setup, {name: _rule(name, setup) for name in LABELS})


def algorithms(setup: Setup) -> dict[str, Algorithm]:
    """The engine's algorithms under their names in the lab."""
    inner = {"inner_lr": setup.inner_lr, "inner_steps": setup.inner_steps}
    bends = [bend for bowl in setup.bowls for bend in (bowl.first, bowl.second)]
    # The rate that brings the slowest direction nearest to where iMAML's inner loop ends, and the steps it needs then.
    best = 2 / (min(bends) + max(bends) + 2 * setup.proximal)
    kept = (max(bends) - min(bends)) / (min(bends) + max(bends) + 2 * setup.proximal)
    needed = math.ceil(math.log(ARRIVED) / math.log(kept)) if kept > ARRIVED else 1
    return {
        "joint": Pretrained(),
        "maml": MAML(**inner, order=2),
        "fomaml": MAML(**inner, order=1),
        "reptile": Reptile(**inner),
        "imaml": IMAML(inner_lr=best, inner_steps=min(needed, 64), proximal=setup.proximal, cg_steps=4),
    }


def _rule(name: str, setup: Setup) -> Rule:
    algorithm = algorithms(setup)[name]
    slope, offset = engine_field(algorithm, setup.bowls)
    weights, noise = WEIGHTS[name](setup)
    formula = engine = np.full(2, np.nan)
    # Both are solved with the same matrix: what rounding leaves of it bounds how far they can be told.
    least = float(np.linalg.svd(weights.mean(0), compute_uv=False).min())
    if noise * np.finfo(np.float64).eps < TOLD_TO * least:
        formula, engine = fixed_point(weights, setup.bowls), np.linalg.solve(slope, -offset)
    return Rule(name, LABELS[name], formula, engine, slope, offset)


def fixed_point(weights: Floats, bowls: tuple[Bowl, ...]) -> Floats:
    """(sum_i W_i)^-1 sum_i W_i c_i for weights (T, 2, 2)."""
    optima = np.stack([bowl.optimum for bowl in bowls])
    return np.linalg.solve(weights.sum(0), np.einsum("tij,tj->i", weights, optima))


# --- the formulas: weights (T, 2, 2), and how rounding grows on the engine's way to the same slope

Weigh = Callable[[Setup], tuple[Floats, float]]


def _curvatures(setup: Setup) -> Floats:
    return np.stack([bowl.curvature for bowl in setup.bowls])


def _left(setup: Setup) -> Floats:
    """M_i = (I - alpha A_i)^k: what the inner loop leaves of theta - c_i, (T, 2, 2)."""
    return np.linalg.matrix_power(np.eye(2) - setup.inner_lr * _curvatures(setup), setup.inner_steps)


def _largest(matrices: Floats) -> float:
    return float(np.abs(matrices).max())


def _joint(setup: Setup) -> tuple[Floats, float]:
    a = _curvatures(setup)
    return a, 10 * _largest(a)


def _maml(setup: Setup) -> tuple[Floats, float]:
    a, m = _curvatures(setup), _left(setup)
    return a @ m @ m, 20 * setup.inner_steps * _largest(a @ m) * max(1.0, _largest(m))


def _fomaml(setup: Setup) -> tuple[Floats, float]:
    a, m = _curvatures(setup), _left(setup)
    return a @ m, 20 * setup.inner_steps * _largest(a) * max(1.0, _largest(m))


def _reptile(setup: Setup) -> tuple[Floats, float]:
    m = _left(setup)
    return np.eye(2) - m, 20 * setup.inner_steps * max(1.0, _largest(m))


def _imaml(setup: Setup) -> tuple[Floats, float]:
    a = _curvatures(setup)
    held = np.linalg.inv(np.eye(2) + a / setup.proximal)
    return held @ a @ held, 100 * _largest(a)


WEIGHTS: Mapping[str, Weigh] = {
    "joint": _joint,
    "maml": _maml,
    "fomaml": _fomaml,
    "reptile": _reptile,
    "imaml": _imaml,
}

# --- the engine


@lru_cache(maxsize=256)
def engine_field(algorithm: Algorithm, bowls: tuple[Bowl, ...]) -> tuple[Floats, Floats]:
    """Slope (2, 2) and offset (2,) of the mean meta-gradient, which is affine in theta: three evaluations tell it."""
    places = np.concatenate([np.zeros((1, 2)), np.eye(2)])
    # A bowl about c is, seen from theta, one about c - theta: so all three places are asked about in one meta-batch.
    seen = batch_of(tuple(replace(bowl, x=bowl.x - x, y=bowl.y - y) for x, y in places for bowl in bowls))
    zero = theta_of(np.zeros(2))
    each = algorithm.meta_gradient(LEARNER, zero, seen).each
    if each:
        found = each[THETA].unflatten(0, (len(places), len(bowls))).mean(1).numpy()
    else:
        parts = [seen.tasks(n * len(bowls), (n + 1) * len(bowls)) for n in range(len(places))]
        found = np.stack([algorithm.meta_gradient(LEARNER, zero, part).gradient[THETA].numpy() for part in parts])
    offset, slope = found[0].copy(), (found[1:] - found[0]).T.copy()
    for kept in (slope, offset):
        kept.flags.writeable = False
    return slope, offset


def batch_of(bowls: tuple[Bowl, ...]) -> TaskBatch:
    """The tasks as a meta-batch of the quadratic family in 64 bits; the query set is the support set."""
    curvature = torch.from_numpy(np.stack([bowl.curvature for bowl in bowls]))
    optimum = torch.from_numpy(np.stack([bowl.optimum for bowl in bowls]))
    support = examples(curvature, optimum[:, None])
    return TaskBatch(support, support)


def theta_of(value: Floats) -> Params:
    """The point's parameters at theta = value (2,)."""
    return {f"{HEAD}weight": torch.zeros(0, 2, dtype=torch.float64), THETA: torch.from_numpy(value.copy())}
