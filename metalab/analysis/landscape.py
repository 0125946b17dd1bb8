"""The loss of several tasks on a plane through theta, with the inner loops' paths on it.

A plane theta + x u + y v is laid through theta and two adapted parameters, or along the two main directions of all
tasks' phi_K - theta, after Li, Xu, Taylor, Studer, Goldstein: Visualizing the Loss Landscape of Neural Nets. NeurIPS
2018, arXiv:1712.09913, section 7 (trajectories in the directions of their principal components).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.theta import held_out_tasks
from metalab.params import Params, network
from metalab.tasks.base import Examples, TaskBatch, TaskFamily

Doubles = NDArray[np.float64]
Plane = Literal["tasks", "directions"]
Set = Literal["support", "query"]
SHOWN = 3
"""Tasks with a picture of their own."""
MARGIN = 0.45
"""Of the paths' extent, added on each side."""
AT_ONCE = 4_000_000
"""Numbers of a network's parameters that are laid out at once, over points of the plane."""


@dataclass(frozen=True, eq=False)
class Landscape:
    """The plane, in the unit of theta's parameters; theta lies at (0, 0)."""

    plane: Plane
    on: Set
    """On which examples the losses are."""
    x: Doubles
    """(G,)"""
    y: Doubles
    """(G,)"""
    losses: Doubles
    """Of each shown task, and last the mean over all tasks: (SHOWN + 1, G, G), y before x."""
    paths: Doubles
    """phi_0 .. phi_K of every task, laid on the plane: (T, K + 1, 2)."""
    off: Doubles
    """How much of the length of phi_K - theta the plane leaves out, for each task: (T,), 0 .. 1."""
    described: tuple[str, ...]
    """The shown tasks in words."""
    loss_name: str
    share: float
    """How much of all tasks' squared phi_K - theta the plane holds."""


def landscape(
    contender: Contender,
    family: TaskFamily,
    *,
    plane: Plane = "tasks",
    on: Set = "support",
    steps: int,
    n_tasks: int,
    grid: int,
    seed: int = 0,
    report: Report = quiet,
) -> Landscape:
    """Lay the plane and measure the losses on `grid` x `grid` points of it.

    Raises ValueError for a contender without inner loop, fewer than SHOWN tasks, or where nothing moves.
    """
    if contender.algorithm.axis == "shot":
        raise ValueError(f"{contender.label} reads its shots and takes no inner steps: choose another run")
    if n_tasks < SHOWN:
        raise ValueError(f"n_tasks = {n_tasks}: expected {SHOWN} or more")
    learner, tasks = Learner(contender.model, family), held_out_tasks(family, n_tasks, seed)
    path, start = _paths(contender, learner, tasks, steps, report)
    moved = path[:, -1]
    if not np.isfinite(moved).all():
        raise ValueError(f"The inner loop of {contender.label} diverges on these tasks: there is no path to show")
    axes = principal_directions(moved) if plane == "directions" else directions_to(moved[0], moved[1])
    paths = path @ axes.T
    x, y = (_ticks(paths[:SHOWN, :, i], grid) for i in (0, 1))
    losses = _losses(contender, learner, tasks, start, axes, (x, y), on, report)
    squares = (moved**2).sum(1)
    held = (paths[:, -1] ** 2).sum(1)
    return Landscape(
        plane=plane,
        on=on,
        x=x,
        y=y,
        losses=np.concatenate([losses[:SHOWN], losses.mean(0, keepdims=True)]),
        paths=paths,
        off=np.sqrt(np.maximum(1 - held / np.maximum(squares, 1e-300), 0)),
        described=tuple(family.describe(tasks.info, i) for i in range(SHOWN)),
        loss_name=family.loss_name,
        share=float(held.sum() / max(squares.sum(), 1e-300)),
    )


def directions_to(first: Doubles, second: Doubles) -> Doubles:
    """Two orthonormal directions (2, P): to `first`, and to what of `second` lies aside of it. Raises ValueError."""
    x = _unit(first)
    return np.stack([x, _unit(second - (second @ x) * x)])


def principal_directions(moved: Doubles) -> Doubles:
    """The two orthonormal directions (2, P) through zero that hold most of the squared length of moved (T, P).

    Raises ValueError where all lie on one line.
    """
    # Not centred: the plane is to run through theta.
    values, vectors = np.linalg.eigh(moved @ moved.T)
    if values[-2] <= 1e-12 * max(values[-1], 1e-300):
        raise ValueError("The adapted parameters of these tasks all lie on one line: no plane is spanned")
    axes = (vectors[:, -2:].T @ moved / np.sqrt(values[-2:])[:, None])[::-1]
    # Which way an eigenvector points is chance: most tasks lie to the right, and above.
    return axes * np.where((moved @ axes.T).sum(0) < 0, -1.0, 1.0)[:, None]


def _unit(direction: Doubles) -> Doubles:
    length = np.linalg.norm(direction)
    if length < 1e-12:
        raise ValueError("These two tasks lead to the same parameters, or nowhere: no plane is spanned")
    return direction / length


def _paths(
    contender: Contender, learner: Learner, tasks: TaskBatch, steps: int, report: Report
) -> tuple[Doubles, Params]:
    """phi_k - theta of every task, (T, K + 1, P), and what the inner loop starts from, (1, ...) each."""
    rows, start = [], Params()
    for inner in contender.algorithm.adapt(learner, contender.theta, tasks.support, steps):
        report(0.3 * inner.k / (steps + 1))
        start = start or {name: value[:1].detach() for name, value in inner.phi.items()}
        moved = [(inner.phi[name] - start[name]).flatten(1) for name in network(start)]
        rows.append(torch.cat(moved, 1).double().numpy())
    return np.stack(rows, 1), start


def _ticks(values: Doubles, grid: int) -> Doubles:
    low, high = float(values.min()), float(values.max())
    room = MARGIN * max(high - low, 1e-9)
    return np.linspace(low - room, high + room, grid)


def _losses(
    contender: Contender,
    learner: Learner,
    tasks: TaskBatch,
    start: Params,
    axes: Doubles,
    ticks: tuple[Doubles, Doubles],
    on: Set,
    report: Report,
) -> Doubles:
    """The loss of every task at each point: (T, G, G), y before x."""
    x, y = ticks
    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    n_tasks, at_once = tasks.n_tasks, max(1, AT_ONCE // (axes.shape[1] * 25))
    found = np.empty((n_tasks, len(places)))
    for i in range(n_tasks):
        one = tasks.tasks(i, i + 1)
        for first in range(0, len(places), at_once):
            report(0.3 + 0.7 * (i + first / len(places)) / n_tasks)
            some = places[first : first + at_once]
            found[i, first : first + at_once] = _loss(contender, learner, one, at(start, axes, some), on)
    return found.reshape(n_tasks, len(y), len(x))


def at(start: Params, axes: Doubles, places: Doubles) -> Params:
    """The parameters at places (N, 2) of the plane, on the axis of tasks: (N, ...) each."""
    away = torch.from_numpy(places @ axes)
    phi, done = {}, 0
    for name, value in start.items():
        phi[name] = value.expand(len(places), *value.shape[1:])
        if name in network(start):
            size = math.prod(value.shape[1:])
            phi[name] = phi[name] + away[:, done : done + size].reshape(phi[name].shape).to(value)
            done += size
    return phi


def _loss(contender: Contender, learner: Learner, task: TaskBatch, phi: Params, on: Set) -> Doubles:
    n = next(iter(phi.values())).shape[0]
    support, query = (
        Examples(*(part.expand(n, *part.shape[1:]) for part in examples)) for examples in (task.support, task.query)
    )
    with torch.no_grad():
        if on == "support":
            losses = contender.algorithm.support_loss(learner, phi, support)
        else:
            prediction = contender.algorithm.attempt(learner, phi, support, query)
            losses = learner.family.loss(prediction, query.y)
    return losses.double().numpy()
