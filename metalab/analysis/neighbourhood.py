"""Do near tasks resemble each other? How well an embedding orders what is known of its tasks.

Each task's attribute is guessed from its nearest tasks, never from itself (leave one out), and the error is compared
with that of guessing from all other tasks:

    score = 1 - sum_i error_i(nearest) / sum_i error_i(all others)

1 is perfect, 0 as good as not looking at the embedding at all. For a number the guess is the neighbours' mean, and the
score their R^2; for an angle it is their mean direction, the error one minus the cosine of how far it is off; for a
label it is their most frequent one; where a task has several labels the error is the share of
them that a neighbour does not have, on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.embedding_tasks import Attribute

NEIGHBOURS = 5
RESAMPLES = 1_000
"""Of the tasks, for 95% intervals."""
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How well the neighbours know one attribute, at each stage of an embedding."""

    attribute: str
    stages: tuple[Interval | None, ...]
    """None where all tasks lie in one point, so that nobody is nearest."""
    raw: Interval | None
    """That of the raw inputs; None where there are none."""
    gain: Interval | None
    """What the embedding has over the raw inputs at the stage on which its axes were fitted, over the same tasks."""


def squared_distances(x: NDArray, y: NDArray | None = None) -> NDArray[np.float64]:
    """Between the rows of x (T, d) and of y (U, d), by default x itself: (T, U), never below zero."""
    x = x.astype(np.float64)
    other = x if y is None else y.astype(np.float64)
    found = np.square(x).sum(1)[:, None] + np.square(other).sum(1) - 2 * x @ other.T
    if y is None:
        np.fill_diagonal(found, 0.0)
    return found.clip(0.0)


def nearest(distances: NDArray, n: int = NEIGHBOURS) -> Places:
    """The n nearest tasks of each (T, n), the nearest first, itself left out; distances (T, T)."""
    apart = distances.copy()
    np.fill_diagonal(apart, np.inf)
    return apart.argsort(1, kind="stable")[:, : min(n, len(apart) - 1)]


def errors(attribute: Attribute, weights: NDArray) -> NDArray[np.float64]:
    """Each task's error (T,) where row i of `weights` (T, T) says how much each task counts in guessing task i."""
    values = attribute.values.astype(np.float64)
    if attribute.kind == "number":
        return np.square(values - weights @ values)
    if attribute.kind == "angle":
        turn = np.exp(1j * np.deg2rad(values))
        guess = np.exp(1j * np.angle(weights @ turn))
        return 1 - (turn * guess.conj()).real
    if attribute.kind == "class":
        return ((weights @ values).argmax(1) != attribute.main).astype(np.float64)
    shared = np.minimum(values[:, None], values[None]).sum(2)
    return 1 - (weights * shared).sum(1)


def mean_angle(degrees: NDArray) -> float:
    """The mean direction, from -180 to 180 degrees."""
    return float(np.rad2deg(np.angle(np.exp(1j * np.deg2rad(degrees.astype(np.float64))).mean())))


def agreement(
    attribute: Attribute, neighbours: list[Places | None], fitted: int, raw: Places | None, seed: int = 0
) -> Agreement:
    """The scores of an embedding's stages, each with its tasks' nearest (T, n), and of the raw inputs.

    Intervals are bootstrapped over tasks; the gain over the raw inputs is paired, over the same resamples.
    """
    n = len(attribute.values)
    base = errors(attribute, (np.ones((n, n)) - np.eye(n)) / (n - 1))
    chosen = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    found = [None if each is None else _scores(attribute, each, base, chosen) for each in neighbours]
    other = None if raw is None else _scores(attribute, raw, base, chosen)
    last = found[fitted]
    gain = None if last is None or other is None else _interval(last - other)
    return Agreement(
        attribute.name,
        tuple(None if each is None else _interval(each) for each in found),
        None if other is None else _interval(other),
        gain,
    )


def _scores(attribute: Attribute, neighbours: Places, base: NDArray, chosen: NDArray) -> NDArray[np.float64]:
    """The score over all tasks, and after it those over each resample."""
    weights = np.zeros((len(base), len(base)))
    np.put_along_axis(weights, neighbours, 1 / neighbours.shape[1], axis=1)
    found = errors(attribute, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = 1 - found.sum() / base.sum()
        parts = 1 - found[chosen].sum(1) / base[chosen].sum(1)
    return np.concatenate([[whole], parts])


def _interval(scores: NDArray) -> Interval:
    low, high = np.nanpercentile(scores[1:], [2.5, 97.5])
    return Interval(float(scores[0]), float(low), float(high))
