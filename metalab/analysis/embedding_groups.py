"""What goes with an embedding: the score of every view, and the adaptation curve of every task."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.embedding import NUMBERS_AT_ONCE, over_inner_steps, size
from metalab.analysis.embedding_tasks import Floats, Tasks
from metalab.analysis.embedding_views import VIEWS, View, misfit
from metalab.analysis.neighbourhood import Agreement
from metalab.tasks.base import Examples


@dataclass(frozen=True, eq=False)
class Learning:
    """How a contender learned each of T tasks."""

    metric: str
    """The family's that says best how well."""
    loss_name: str
    """What the family's loss is, with its unit."""
    colour_key: tuple[str, int, int]
    values: Floats
    """(T, K + 1) of the query set at phi_0 .. phi_K."""


def compared(
    contender: Contender, tasks: Tasks, *, steps: int, report: Report = quiet
) -> dict[View, tuple[Agreement, ...]]:
    """The agreements of each view that suits the contender, of the stage alone on which its axes are fitted.

    Raises ValueError where an inner loop leaves the range of numbers.
    """
    learner = Learner(contender.model, tasks.family)
    suiting = [view for view in VIEWS if misfit(view, contender.algorithm, learner) is None]
    found = {}
    for i, view in enumerate(suiting):

        def part(fraction: float, i: int = i) -> None:
            report((i + fraction) / len(suiting))

        each = over_inner_steps(contender, tasks, view, steps=steps, fitted_alone=True, report=part)
        found[view] = each.agreements
    return found


def learning(contender: Contender, tasks: Tasks, *, steps: int, report: Report = quiet) -> Learning:
    """Each task's adaptation curve, by the family's most telling metric."""
    algorithm, learner = contender.algorithm, Learner(contender.model, tasks.family)
    if algorithm.axis == "shot":
        raise ValueError(f"{algorithm.label} takes no inner step: there is no curve over them.")
    at_once = max(1, NUMBERS_AT_ONCE // size(contender.theta))
    metric, chunks = tasks.family.metric, []
    for first in range(0, tasks.n, at_once):
        part = tasks.batch.tasks(first, min(first + at_once, tasks.n))
        columns = []
        for inner in algorithm.adapt(learner, contender.theta, part.support, steps):
            with torch.no_grad():
                made = algorithm.attempt(learner, inner.phi, part.support, Examples(*part.query))
                columns.append(tasks.family.metrics(made, part.query.y)[metric].float())
            report((first + (inner.k + 1) / (steps + 1) * part.n_tasks) / tasks.n)
        chunks.append(torch.stack(columns, 1))
    return Learning(metric, tasks.family.loss_name, contender.colour_key, torch.cat(chunks).numpy())
