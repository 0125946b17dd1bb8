"""The trajectories of a race: where each contender's policies phi_0 .. phi_K go, and how near they come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from metalab.analysis.adaptation import Floats, Lane, Race
from metalab.tasks.navigation import HALF, best_return

SHOWN = 8
"""Trajectories of each policy that a picture shows; more cover each other."""
FARTHEST = 1.5
"""A picture goes no farther from the start than this along an axis, wherever a policy may lead."""


@dataclass(frozen=True, eq=False)
class Trails:
    """One contender's K + 1 policies on one goal."""

    label: str
    goal: Floats
    """(2,)"""
    paths: Floats
    """(K + 1, n, H + 1, 2) positions of single trajectories, from the start on; where an episode ends they stay."""
    mean: Floats
    """(K + 1, H + 1, 2) mean over all query trajectories."""
    distance: Floats
    """(K + 1,) from the goal at the end, a mean over all query trajectories."""
    returns: Floats
    """(K + 1,)"""
    best: float
    """The largest return that is possible for who knows the goal."""
    reach: float
    """How far from the start along an axis there is something to see."""

    @property
    def steps(self) -> int:
        """K."""
        return len(self.mean) - 1


def trails(race: Race, lane: Lane) -> Trails:
    """The trajectories of one lane of a race in navigation. Raises ValueError for another family."""
    if lane.positions is None or race.query_y is None:
        raise ValueError(f"trajectories of a {race.kind} task: expected one in which a point is moved")
    start = np.zeros_like(lane.positions[:, :, :1])
    paths = np.concatenate([start, lane.positions], 2)
    goal = race.query_y[0]
    ends = np.abs(paths[:, :SHOWN]).max((1, 2, 3))
    ends = ends[np.isfinite(ends)]
    off = np.linalg.norm(paths[:, :, -1] - goal, axis=-1)
    return Trails(
        label=lane.label,
        goal=goal,
        paths=paths[:, :SHOWN],
        mean=paths.mean(1),
        distance=off.mean(1),
        returns=lane.query["return"],
        best=float(best_return(torch.from_numpy(goal), lane.positions.shape[2])),
        reach=float(np.clip(ends.max(initial=HALF), HALF * 1.1, FARTHEST)),
    )
