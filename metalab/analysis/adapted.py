"""What an algorithm makes of one task, step by step, as arrays; of the tasks of several people in one batched call."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metalab.algorithms.base import Algorithm, Learner
from metalab.algorithms.gradient_based import InnerDescent
from metalab.analysis.challenge import Challenge
from metalab.analysis.text import written_names
from metalab.analysis.together import MOST, Together
from metalab.params import Params, norm, weights
from metalab.tasks.base import Examples, TaskFamily
from metalab.tasks.navigation import Trajectories
from metalab.training.machine import cores
from metalab.training.parallel import tasks_at_once

QUERY = "query_"
"""Prefix of the columns that hold the family's metrics on the query set."""
WRITTEN = 10
"""Names that are written after each step."""
PHIS_AT_ONCE = 8
"""Inner steps that are measured in one call: few enough that a convolution's patches fit the cache."""
Columns = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class _Wish:
    """A task, and the algorithm at the inner learning rate with which it is to be learned."""

    algorithm: Algorithm
    challenge: Challenge


_together: Together[_Wish, Columns] = Together()


def adapted(
    key: Hashable, theta: Params, algorithm: Algorithm, learner: Learner, challenge: Challenge, steps: int
) -> Columns:
    """Adapt theta (without a task axis; equal where `key` is) for `steps` inner steps, or to all shots, and measure.

    Tasks of equal shapes that are asked for at the same time, of the same theta, network, algorithm and number of
    steps, are computed in one call, each at its own inner learning rate: equal to one by one up to rounding. Where
    tasks are drawn or answers written by chance they are computed one by one. How many go together, and how many of
    convolutions at the same time instead, follows training's rule (`training.parallel`).

    Columns: support_loss (K + 1,), gradient_norm (K,) or (0,), the metrics with the prefix "query_" (K + 1,), and what
    else there is: functions (K + 1, m), spread, probabilities (K + 1, q, ways), positions, written.
    """

    def run(wishes: Sequence[_Wish]) -> list[Columns]:
        return _run(theta, learner, wishes, steps)

    wish, family = _Wish(algorithm, challenge), challenge.family
    if family.kind not in ("regression", "classification"):
        return run([wish])[0]
    apart = {"inner_lr"} if algorithm.alpha is not None and isinstance(algorithm, InnerDescent) else None
    parts = (*challenge.support, challenge.query_x, challenge.query_y)
    shapes = tuple(None if part is None else tuple(part.shape) for part in parts)
    settings = (algorithm.model_dump_json(exclude=apart), learner.model.model_dump_json(), family.model_dump_json())
    most = tasks_at_once(learner.model)
    return _together.ask((key, *settings, shapes, steps), wish, run, most=most or MOST, at_once=cores() if most else 1)


def _run(theta: Params, learner: Learner, wishes: Sequence[_Wish], steps: int) -> list[Columns]:
    """The columns of each wish, all of one kind: their tasks stand on the axis of tasks."""
    dtype = next(iter(theta.values())).dtype
    algorithm, together = wishes[0].algorithm, _stacked([wish.challenge for wish in wishes])
    rates = [wish.algorithm.alpha for wish in wishes]
    if len(set(rates)) > 1 and isinstance(algorithm, InnerDescent):
        algorithm = algorithm.at_rates(torch.tensor(rates, dtype=dtype))
    support = Examples(*(part.to(dtype) if part.is_floating_point() else part for part in together.support))
    phis: list[Params] = []
    lengths: list[Tensor] = []
    for inner in algorithm.adapt(learner, theta, support, steps):
        phis.append(inner.phi)
        if inner.gradient is not None:
            lengths.append(norm(weights(inner.gradient).values(), task_axis=True))
    norms = torch.stack(lengths) if lengths else torch.zeros(0, len(wishes))
    found = {"gradient_norm": [norms]}
    # What was read of k shots has another shape for each k.
    at_once = 1 if algorithm.axis == "shot" else PHIS_AT_ONCE
    with torch.no_grad():
        for first in range(0, len(phis), at_once):
            some = phis[first : first + at_once]
            for name, values in _measured(algorithm, learner, together, support, some).items():
                found.setdefault(name, []).append(values.unflatten(0, (len(some), len(wishes))))
    columns = {name: torch.cat(values).float().numpy() for name, values in found.items()}
    if len(wishes) == 1:
        return [{name: values[:, 0] for name, values in columns.items()}]
    # Copies, so that what one keeps does not hold what was made for all.
    return [{name: values[:, n].copy() for name, values in columns.items()} for n in range(len(wishes))]


def _stacked(challenges: Sequence[Challenge]) -> Challenge:
    """Several tasks of equal shapes as one challenge with as many tasks; what else is known is that of the first."""
    first = challenges[0]
    if len(challenges) == 1:
        return first
    support = Examples(*(torch.cat(parts) for parts in zip(*(each.support for each in challenges), strict=True)))
    asked = [each.query_x for each in challenges if each.query_x is not None]
    known = [each.query_y for each in challenges if each.query_y is not None]
    query_x, query_y = torch.cat(asked) if asked else None, torch.cat(known) if known else None
    return replace(first, support=support, query_x=query_x, query_y=query_y)


def _measured(
    algorithm: Algorithm, learner: Learner, challenge: Challenge, support: Examples, phis: Sequence[Params]
) -> dict[str, Tensor]:
    """What a lane shows of each phi (T, ...), in one batched call: first those of the first inner step, and so on."""
    n, family = len(phis), challenge.family
    phi = {name: torch.cat([each[name] for each in phis]) for name in phis[0]}

    def again(x: Tensor) -> Tensor:
        return x.expand(n, *x.shape[1:]) if len(x) == 1 else x.repeat(n, *[1] * (x.ndim - 1))

    x = again(support.x)
    found = {"support_loss": algorithm.support_loss(learner, phi, Examples(x, again(support.y)))}
    probe_x = probe_inputs(family)
    if probe_x is not None:
        everywhere = probe_x.to(x).expand(len(x), *probe_x.shape)
        found["functions"] = algorithm.predict(learner, phi, everywhere, x)[..., 0]
        spread = algorithm.spread(learner, phi, everywhere)
        if spread is not None:
            found["spread"] = spread[..., 0]
    if family.kind == "generation":
        found["written"] = written_names(
            algorithm, learner, phi, x, WRITTEN, temperature=challenge.temperature, seed=challenge.draw
        )
    if challenge.query_x is None:
        return found
    query_x, query_y = again(challenge.query_x.to(x)), challenge.query_y
    if query_y is None:
        prediction = algorithm.predict(learner, phi, query_x, x)
    else:
        target = again(query_y.to(x) if query_y.is_floating_point() else query_y)
        own = Examples(x, again(support.y))
        prediction, figures = algorithm.judged(learner, phi, own, Examples(query_x, target))
        found |= {f"{QUERY}{name}": value for name, value in figures.items()}
    if family.kind == "classification":
        found["probabilities"] = prediction.softmax(-1)
    elif family.kind == "reinforcement":
        found["positions"] = Trajectories.unpack(prediction).positions
    return found


def probe_inputs(family: TaskFamily) -> Tensor | None:
    """The inputs (m, 1) of a picture of the whole function, for functions of one variable."""
    return family.probe_x if family.input_shape == (1,) and family.output_size == 1 else None
