"""Which of many cells of a map is best, without the luck of a maximum: some tasks choose it, the others judge it.

The best of many means is too good by the luck that made it the best. Here every other task chooses the cell, and its
figures, and what cannot be told from it, come from the tasks that had no say (M. Stone: Cross-validatory choice and
assessment of statistical predictions. Journal of the Royal Statistical Society B 36, 1974).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.bootstrap import Band, band, interval, resampled

FEWEST = 8
"""Tasks: of fewer no half can choose and no half can judge."""


@dataclass(frozen=True, eq=False)
class Best:
    """The cell that one half of the tasks chose, as the other half sees it."""

    place: tuple[int, int]
    """Row and column."""
    value: Band
    """Its mean over the judging tasks and its 95% interval: () each."""
    level: NDArray[np.bool_]
    """(R, C): cells whose paired 95% interval does not say that they are worse; the best is one of them."""
    n_choosing: int
    n_judging: int
    own_gap: Band | None = None
    """How much worse the cell of the run's own setting is, paired: () each; None where it is not on the map."""


def best_cell(each: NDArray, *, higher: bool, own: tuple[int, int] | None = None) -> Best | None:
    """The best cell of a map with values `each` (R, C, T) of T tasks; `own` is the cell of the run's own setting.

    None for fewer than FEWEST tasks, and where every cell has a task whose value is no number.
    """
    signed = np.asarray(each, np.float64) * (1 if higher else -1)
    choosing, judging = signed[..., ::2], signed[..., 1::2]
    sound = np.asarray(np.isfinite(signed).all(-1))
    if signed.shape[-1] < FEWEST or not sound.any():
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        means = np.where(sound, choosing.mean(-1), -np.inf)
        place = np.unravel_index(means.argmax(), means.shape)
        behind = np.moveaxis(judging[place] - judging, -1, 0)
        low, _high = interval(resampled(behind))
        level = sound & (low <= 0)
        gap = None if own is None or not sound[own] else band(behind[(slice(None), *own)])
    row, column = (int(part) for part in place)
    found = band(np.asarray(each, np.float64)[row, column, 1::2])
    return Best((row, column), found, level, choosing.shape[-1], judging.shape[-1], gap)
