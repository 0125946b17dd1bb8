"""Intervals over tasks: the bootstrap (Efron, Annals of Statistics 7, 1979), paired where tasks are the same.

Every resample draws T of the T tasks with replacement. Whoever is compared is resampled with the same draws, so that
a task that is hard for all of them moves none against another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 1_000
"""Resamples: the ends of an interval are then known to about a fortieth of its width."""
TAILS = (2.5, 97.5)
"""Percentiles at which a 95% interval ends."""
FEWEST = 6
"""Of fewer values not even the whole range holds the median in 95% of samples."""
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Band:
    """A figure, mostly a mean, and its 95% interval: arrays of one shape."""

    mean: Doubles
    low: Doubles
    high: Doubles


@lru_cache(maxsize=8)
def weights(n_tasks: int, draws: int = DRAWS, seed: int = 0) -> Doubles:
    """How much each task counts in each resample: (draws, n_tasks), every row sums to 1. Raises ValueError."""
    if n_tasks < 1:
        raise ValueError(f"n_tasks = {n_tasks}: expected 1 or more")
    counts = np.random.default_rng(seed).multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), size=draws)
    found = counts / n_tasks
    found.setflags(write=False)
    return found


def resampled(values: ArrayLike, draws: int = DRAWS) -> Doubles:
    """The mean over tasks in each resample, for values (T, ...) -> (draws, ...)."""
    numbers = np.asarray(values, np.float64)
    flat = numbers.reshape(len(numbers), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        means = weights(len(numbers), draws) @ flat
    return means.reshape(draws, *numbers.shape[1:])


def band(values: ArrayLike, draws: int = DRAWS) -> Band:
    """The mean over tasks of values (T, ...), and its interval; NaN where a task's value is no number."""
    numbers = np.asarray(values, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = numbers.mean(0)
    low, high = interval(resampled(numbers, draws))
    return Band(mean, low, high)


def apart(first: tuple[float, float, float], second: tuple[float, float, float]) -> bool:
    """Whether two figures, each (value, low, high) with its 95% interval, differ by more than chance leaves open.

    The interval of the difference follows from the two (Zou and Donner, Construction of confidence limits about effect
    measures, Statistics in Medicine 27, 2008); two intervals may overlap where it leaves zero out. It holds for
    different tasks; over the same tasks, where who does well on one mostly does so together, it is cautious.
    Whoever's value is no number is apart from everybody.
    """
    if not (math.isfinite(first[0]) and math.isfinite(second[0])):
        return True
    (less, _low, high), (more, low, _high) = sorted((first, second))
    return more - less > math.hypot(more - low, high - less)


def median_band(values: ArrayLike) -> Band:
    """The median over tasks of values (T, ...), and the interval between two of its values in order.

    The ends are the j-th smallest and the j-th largest, with the largest j at which that holds the population's
    median in at least 95% of samples, whatever the distribution: a binomial sum tells (David and Nagaraja, Order
    Statistics, section 7.1). NaN where a task's value is no number. Raises ValueError for fewer than FEWEST tasks.
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=0)
    n_tasks = len(ordered)
    if n_tasks < FEWEST:
        raise ValueError(f"n_tasks = {n_tasks}: expected {FEWEST} or more, for an interval of the median")
    j = _rank(n_tasks)
    lost = np.isnan(ordered).any(0)
    middle = (ordered[(n_tasks - 1) // 2] + ordered[n_tasks // 2]) / 2
    ends = (middle, ordered[j - 1], ordered[n_tasks - j])
    return Band(*(np.where(lost, np.nan, part) for part in ends))


def _rank(n_tasks: int) -> int:
    """The largest j for which the median lies between the j-th smallest and the j-th largest with 95% or more."""
    below, j = 1, 0  # chances times 2^n that fewer than j + 1 values lie below the median
    while 2 * below <= 0.05 * 2**n_tasks:
        j += 1
        below += comb(n_tasks, j)
    return j


def interval(resamples: ArrayLike) -> tuple[Doubles, Doubles]:
    """The ends of the 95% interval of what was found in each resample (draws, ...).

    An infinite figure, such as the cost of what is never reached, is an end like any other; NaN makes both ends NaN.
    """
    ordered = np.sort(np.asarray(resamples, np.float64), axis=0)
    # Of sorted values those at whole ranks: between a number and infinity nothing can be interpolated.
    ranks = [round(tail / 100 * (len(ordered) - 1)) for tail in TAILS]
    lost = np.isnan(ordered).any(0)
    low, high = (np.where(lost, np.nan, ordered[rank]) for rank in ranks)
    return low, high
