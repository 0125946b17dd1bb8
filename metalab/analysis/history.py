"""A run as it was recorded: what it trained on, and what its looks at the held-out tasks found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metalab.store import Evaluation
from metalab.training.evaluation import summarise

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 1_000
"""Of the training loss: as many as a figure can show."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Look:
    """A metric on the held-out tasks after 0 .. K inner steps (or shots): (K + 1,) each."""

    step: int
    """Outer steps taken."""
    mean: Floats
    ci95: Floats
    """Half the width of the mean's 95% interval over tasks."""
    tasks: int


@dataclass(frozen=True, eq=False)
class History:
    """What was recorded of one run."""

    metric: str
    loss_name: str
    """What the loss is, with its unit."""
    steps: NDArray[np.int64]
    """(n,) outer steps of the training loss."""
    loss: Floats
    """(n,) each the mean over the outer steps since the one before."""
    looks: tuple[Look, ...]
    """In the order of their outer steps."""


def history(metrics: pd.DataFrame, evaluations: Sequence[Evaluation], metric: str, loss_name: str) -> History:
    """Out of a store's `metrics` and `evaluations`; without evaluations there are no looks."""
    trained = metrics[metrics["name"] == "train/loss"]
    steps, loss = _thinned(trained["step"].to_numpy(np.int64), trained["value"].to_numpy(np.float64))
    latest: Mapping[int, Evaluation] = {seen.step: seen for seen in evaluations}
    looks = tuple(_look(latest[step], metric) for step in sorted(latest))
    return History(metric, loss_name, steps, loss, looks)


def _look(seen: Evaluation, metric: str) -> Look:
    found = summarise(seen.curves[metric])
    return Look(seen.step, found.mean.numpy(), found.ci95.numpy(), len(seen.curves[metric]))


def _thinned(steps: NDArray[np.int64], loss: Floats) -> tuple[NDArray[np.int64], Floats]:
    """At most MOST_POINTS points: means over stretches of equal length, each at the stretch's last outer step."""
    length = -(-len(steps) // MOST_POINTS)
    if length <= 1:
        return steps, loss
    starts = np.arange(0, len(steps), length)
    counts = np.diff([*starts, len(steps)])
    return steps[np.minimum(starts + length, len(steps)) - 1], np.add.reduceat(loss, starts) / counts
