"""How sharply support losses bend at theta: the largest eigenvalue of each task's Hessian, by power iteration.

Along the direction in which a loss bends by lambda, an inner step multiplies the distance to the optimum by
1 - alpha lambda: where alpha passes 2 / lambda_max, gradient descent on a quadratic diverges (B. Polyak, Introduction
to Optimization, 1987, section 1.4). A Hessian is never formed: its product with a vector costs two backward passes.
For symmetric H some eigenvalue lies within ||H v - lambda v|| of lambda (v of length 1), which says when to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metalab.algorithms.base import Learner
from metalab.algorithms.imaml import combined, dot
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.speed import at_once, held_out
from metalab.params import Params, gradients
from metalab.tasks.base import TaskBatch, TaskFamily

ITERATIONS = 120
"""At most: products of a Hessian with a vector."""
SETTLED = 0.005
"""Power iteration ends where ||H v - lambda v|| is this share of lambda: some eigenvalue is as near to lambda."""


class Bends(NamedTuple):
    """How sharply each of T losses bends."""

    steepest: NDArray[np.float64]
    """(T,) lambda_max; where it has not settled, no more than that."""
    settled: NDArray[np.bool_]
    """(T,) whether power iteration came to an end within its iterations."""


def steepest(
    contender: Contender,
    family: TaskFamily,
    *,
    n_tasks: int,
    seed: int = 0,
    iterations: int = ITERATIONS,
    report: Report = quiet,
) -> Bends:
    """lambda_max of each held-out task's support loss at theta, over the entries that adapt.

    A term lambda/2 ||phi - theta||^2 of the inner loop bends its loss by lambda more, and counts. Raises what `report`
    raises.
    """
    batch, size, found = held_out(family, n_tasks, seed), at_once(family), []
    for first in range(0, n_tasks, size):
        part = batch.tasks(first, min(first + size, n_tasks))

        def done(share: float, first: int = first, part: TaskBatch = part) -> None:
            report((first + share * part.n_tasks) / n_tasks)

        found.append(_steepest(contender, family, part, iterations, done))
    values, off = (torch.cat(parts).double().numpy() for parts in zip(*found, strict=True))
    return Bends(values + getattr(contender.algorithm, "proximal", 0.0), off <= SETTLED)


def _steepest(
    contender: Contender, family: TaskFamily, batch: TaskBatch, iterations: int, report: Report
) -> tuple[Tensor, Tensor]:
    learner = Learner(contender.model, family)
    start = next(iter(contender.algorithm.adapt(learner, contender.theta, batch.support, 1)))
    assert start.gradient is not None
    at = {name: start.phi[name].detach().requires_grad_() for name in start.gradient}
    with torch.enable_grad():
        slope = gradients(learner.support_loss(start.phi | at, batch.support).sum(), at, create_graph=True)

        def product(vector: Params) -> Params:
            along = torch.stack([(slope[name] * value).sum() for name, value in vector.items()]).sum()
            return gradients(along, at, retain_graph=True)

        rng = torch.Generator().manual_seed(0)
        begin = {name: torch.randn(g.shape, generator=rng, dtype=torch.float64).to(g) for name, g in slope.items()}
        none = torch.zeros(batch.n_tasks).to(next(iter(begin.values())))
        return largest(product, begin, none, iterations, report)


def largest(
    product: Callable[[Params], Params], begin: Params, none: Tensor, iterations: int, report: Report = quiet
) -> tuple[Tensor, Tensor]:
    """The largest eigenvalue (T,) of symmetric H, given by H v for v (T, ...), and how far off it may be (T,).

    `none` is a zero for each task. Power iteration finds what is largest in size; where that is negative, once more
    with H moved up by as much. Off is ||H v - lambda v||, as a share of the eigenvalue of largest size.
    """
    most, off = _power(product, begin, none, iterations, report, 0.0)
    if bool((most >= 0).all()):
        return most, off
    return _power(product, begin, (-most).clamp(min=0), iterations, report, 0.5)


def _power(
    product: Callable[[Params], Params], begin: Params, shift: Tensor, iterations: int, report: Report, done: float
) -> tuple[Tensor, Tensor]:
    """The eigenvalue of largest size of H + shift I, less the shift, and its residual's share: (T,) each."""
    vector, value, off = _unit(begin), shift, torch.full_like(shift, torch.inf)
    for i in range(iterations):
        report(done + i / (2 * iterations))
        image = combined(product(vector), shift, vector)
        value = dot(vector, image)
        rest = combined(image, -value, vector)
        off = dot(rest, rest).sqrt() / value.abs().clamp(min=1e-30)
        if bool((off <= SETTLED).all()):
            break
        vector = _unit(image)
    return (value - shift).detach(), off.detach()


def _unit(vector: Params) -> Params:
    length = dot(vector, vector).sqrt().clamp(min=1e-30)
    zero = {name: torch.zeros_like(value) for name, value in vector.items()}
    return {name: value.detach() for name, value in combined(zero, 1 / length, vector).items()}
