"""Tasks as points: what the inner loop makes of each, seen along the same axes after every inner step.

    sampled(..) -> Tasks;  over_inner_steps(contender, tasks, view) -> Embedding;  tsne(embedding) -> places

The axes are the principal components of the tasks at one stage, fitted once: a point that moves from frame to frame
has moved, not the axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.challenge import Challenge
from metalab.analysis.embedding_tasks import Described, Floats, Tasks
from metalab.analysis.embedding_views import View, misfit, vectors
from metalab.analysis.neighbourhood import NEIGHBOURS, Agreement, agreement, nearest, squared_distances
from metalab.params import Params, network
from metalab.tasks.base import Examples, TaskFamily

AXES = 3
FEWEST = 10
"""Tasks: fewer have no neighbourhoods."""
NUMBERS_AT_ONCE = 4_000_000
"""Adapted parameters of a chunk of tasks."""
FLOOR = 0.01
"""Added to the Fisher information before its logarithm is taken, as a share of its mean: a dead unit is no outlier."""
ONE_POINT = 1e-9
"""Tasks whose largest squared distance is this share of that at the fitted stage are apart by rounding alone."""


@dataclass(frozen=True, eq=False)
class NewTask:
    """A person's task among the others."""

    places: Floats
    """(S, 3)"""
    nearest: tuple[int, ...]
    """The nearest tasks, as places in the sample, the nearest first, at the fitted stage."""
    distances: Floats
    """Theirs, as a share of the median distance between two of the tasks."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """T tasks along the same three axes at S stages."""

    view: View
    about: Described
    """The tasks."""
    label: str
    """The contender's."""
    colour_key: tuple[str, int, int]
    axis: Literal["inner step", "outer step"]
    """What the stages count: inner steps from one theta, or the outer step whose theta adapts to the end."""
    stages: tuple[int, ...]
    fitted: int
    """The stage on which the axes were fitted."""
    places: Floats
    """(S, T, 3)"""
    explained: Floats
    """(3,) the share of the variance at the fitted stage that lies along each axis."""
    distances: Floats
    """(T, T) Euclidean, between whole vectors, at the fitted stage."""
    agreements: tuple[Agreement, ...]
    """One for each of the tasks' attributes."""
    new: NewTask | None


def over_inner_steps(
    contender: Contender,
    tasks: Tasks,
    view: View,
    *,
    steps: int,
    new: Challenge | None = None,
    fitted_alone: bool = False,
    report: Report = quiet,
) -> Embedding:
    """The tasks at phi_0 .. phi_steps, axes fitted on the last, gradients' at theta, where they do not vanish yet.

    `new` is a person's task, which lies along the same axes but does not decide them. With `fitted_alone` there is only
    the stage of the axes. Raises ValueError where the view does not suit the contender, or the inner loop leaves the
    range of numbers.
    """
    first = view == "gradient"
    wanted = _wanted(view, steps, fitted_alone)
    stack = _stack(contender, tasks.family, view, tasks.batch.support, wanted, report)
    placed = None if new is None else _stack(contender, new.family, view, new.support, wanted, quiet)
    stages = wanted[-len(stack) :]
    return _embedded(contender, tasks, view, "inner step", stages, stack, 0 if first else len(stack) - 1, placed)


def _wanted(view: View, steps: int, fitted_alone: bool) -> tuple[int, ...]:
    """The inner steps after which vectors are wanted."""
    if not fitted_alone:
        return tuple(range(steps + 1))
    return (0,) if view == "gradient" else (steps,)


def over_training(
    contenders: Sequence[tuple[int, Contender]],
    tasks: Tasks,
    view: View,
    *,
    steps: int,
    report: Report = quiet,
) -> Embedding:
    """The tasks as the thetas of several outer steps adapt to them, along the axes of the last theta.

    Each theta adapts for `steps` inner steps; a gradient is that at theta. Raises as `over_inner_steps`.
    """
    if not contenders:
        raise ValueError("no checkpoints: expected one or more")
    stack = []
    for i, (_step, contender) in enumerate(contenders):

        def part(fraction: float, i: int = i) -> None:
            report((i + fraction) / len(contenders))

        wanted = _wanted(view, steps, fitted_alone=True)
        stack.append(_stack(contender, tasks.family, view, tasks.batch.support, wanted, part)[0])
    stages = tuple(step for step, _contender in contenders)
    return _embedded(contenders[-1][1], tasks, view, "outer step", stages, np.stack(stack), len(stack) - 1, None)


def _stack(
    contender: Contender, family: TaskFamily, view: View, support: Examples, wanted: Sequence[int], report: Report
) -> Floats:
    """The vectors after the wanted inner steps (S, T, D)."""
    learner, algorithm = Learner(contender.model, family), contender.algorithm
    reason = misfit(view, algorithm, learner)
    if reason:
        raise ValueError(f"No such embedding: {reason}.")
    outputs = contender.model.outputs(contender.theta)
    if outputs is not None and outputs != family.output_size:
        raise ValueError(f"{contender.label} has {outputs} outputs, but the tasks need {family.output_size}.")
    n = len(support.x)
    at_once = max(1, NUMBERS_AT_ONCE // size(contender.theta))
    chunks = []
    for first in range(0, n, at_once):
        part = Examples(support.x[first : first + at_once], support.y[first : first + at_once])
        found = []
        for vector in vectors(view, algorithm, learner, contender.theta, part, wanted):
            found.append(vector.float().numpy())
            report((first + len(found) / len(wanted) * len(part.x)) / n)
        chunks.append(np.stack(found))
    stack = np.concatenate(chunks, 1)
    lost = int((~np.isfinite(stack).all((0, 2))).sum())
    if lost:
        raise ValueError(
            f"The inner loop of {contender.label} diverged on {lost} of {n} tasks: take fewer inner steps, or another "
            "checkpoint."
        )
    return stack


def size(theta: Params) -> int:
    """How many parameters may adapt to a task."""
    return max(1, sum(value.numel() for value in network(theta).values()))


def _embedded(
    contender: Contender,
    tasks: Tasks,
    view: View,
    axis: Literal["inner step", "outer step"],
    stages: tuple[int, ...],
    stack: Floats,
    fitted: int,
    placed: Floats | None,
) -> Embedding:
    if tasks.n < FEWEST:
        raise ValueError(f"{tasks.n} tasks: expected {FEWEST} or more")
    if view == "fisher":
        # Task2Vec compares tasks by the ratios of their entries, and so do differences of logarithms.
        floor = FLOOR * float(stack[fitted].mean()) or 1e-12
        stack = np.log(stack + floor)
        placed = None if placed is None else np.log(placed + floor)
    mean = stack[fitted].mean(0)
    axes, explained = principal_axes(stack[fitted] - mean)
    apart = [squared_distances(each - each.mean(0)) for each in stack]
    around = [nearest(each) if each.max() > ONE_POINT * apart[fitted].max() else None for each in apart]
    raw = None if tasks.raw is None else nearest(squared_distances(tasks.raw))
    return Embedding(
        view=view,
        about=tasks.about,
        label=contender.label,
        colour_key=contender.colour_key,
        axis=axis,
        stages=stages,
        fitted=fitted,
        places=((stack - mean) @ axes).astype(np.float32),
        explained=explained.astype(np.float32),
        distances=np.sqrt(apart[fitted]).astype(np.float32),
        agreements=tuple(agreement(each, around, fitted, raw) for each in tasks.about.attributes),
        new=None if placed is None else _new(stack[fitted] - mean, placed[:, 0] - mean, axes, fitted, apart[fitted]),
    )


def _new(known: Floats, vector: Floats, axes: NDArray, fitted: int, apart: NDArray) -> NewTask:
    """Where a further task with vectors (S, D) lies among `known` (T, D)."""
    far = np.sqrt(squared_distances(vector[fitted : fitted + 1], known)[0])
    order = far.argsort(kind="stable")[:NEIGHBOURS]
    usual = float(np.median(np.sqrt(apart[np.triu_indices(len(apart), 1)]))) or 1.0
    return NewTask((vector @ axes).astype(np.float32), tuple(map(int, order)), (far[order] / usual).astype(np.float32))


def principal_axes(centred: NDArray, n: int = AXES) -> tuple[NDArray, NDArray]:
    """The n main directions (D, n) of centred rows (T, D), orthonormal, and their shares of the variance (n,).

    From the eigenvectors of the rows' inner products (T, T): D may be far larger than T. Where the rows span fewer
    directions the rest are zero. The row that lies farthest out along a direction lies on its positive side.
    """
    products = centred.astype(np.float64) @ centred.T.astype(np.float64)
    values, inner = np.linalg.eigh(products)
    values, inner = values[::-1].clip(0.0), inner[:, ::-1]
    total = values.sum()
    axes, shares = np.zeros((centred.shape[1], n)), np.zeros(n)
    for i in range(min(n, len(values))):
        if values[i] <= 1e-10 * total or total == 0:
            break
        direction = centred.T.astype(np.float64) @ inner[:, i] / np.sqrt(values[i])
        along = inner[:, i]
        axes[:, i] = direction * np.sign(along[np.abs(along).argmax()])
        shares[i] = values[i] / total
    return axes, shares


def tsne(found: Embedding, dimensions: int, *, report: Report = quiet, seed: int = 0) -> Floats:
    """Places (T, dimensions) of the tasks at the fitted stage by t-SNE, starting from their principal components.

    van der Maaten, Hinton: Visualizing Data using t-SNE. JMLR 9, 2008. Neighbours stay neighbours, distances between
    groups mean nothing, and there are no axes along which another stage could be drawn.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    report(0.0)
    start = found.places[found.fitted, :, :dimensions].astype(np.float64)
    start *= 1e-4 / max(float(start[:, 0].std()), 1e-12)
    perplexity = min(30.0, (len(start) - 1) / 3)
    model = TSNE(dimensions, perplexity=perplexity, metric="precomputed", init=start, random_state=seed, n_jobs=1)
    with threadpool_limits(1):
        return model.fit_transform(found.distances.astype(np.float64)).astype(np.float32)
