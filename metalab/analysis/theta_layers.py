"""What each layer does in the inner loop: how far it moves, whether its features change, and whether it is needed.

After Raghu, Raghu, Bengio, Vinyals: Rapid Learning or Feature Reuse? ICLR 2020, arXiv:1909.09157, sections 3.2 (layers
frozen in the inner loop) and 3.3 (similarity of features before and after). Similarity is linear CKA (Kornblith,
Norouzi, Lee, Hinton 2019, arXiv:1905.00414, eq. 3 and 4): 1 for features that are the same up to a rotation and one
scale for all, 0 for features that have nothing in common.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metalab.algorithms.base import Algorithm, InnerStep, Learner
from metalab.algorithms.gradient_based import InnerDescent
from metalab.algorithms.inner_loop import Rates, constant, inner_loop
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.bootstrap import Band, band
from metalab.analysis.theta import AT_ONCE, held_out_tasks, metric_of
from metalab.models.base import HEAD
from metalab.params import Params, network
from metalab.tasks.base import Examples, TaskBatch, TaskFamily

Doubles = NDArray[np.float64]
HEAD_LAYER = HEAD.removesuffix(".")
NON_LINEAR = frozenset({torch.relu, Tensor.relu, torch.tanh, Tensor.tanh, torch.nn.functional.softplus})
WITH_FEATURES = frozenset({"mlp", "conv4"})
"""Networks in which one non-linearity ends each layer, so that a layer's features are what leaves it."""
MIDDLE = (10, 90)
"""Percentiles between which the middle 80% of the tasks lie."""


@dataclass(frozen=True, eq=False)
class Spread:
    """A figure of each task: its mean, and between which values the middle 80% of the tasks lie; (L,) each."""

    mean: Doubles
    low: Doubles
    high: Doubles


@dataclass(frozen=True, eq=False)
class Layers:
    """One contender, layer by layer."""

    label: str
    colour_key: tuple[str, int, int]
    names: tuple[str, ...]
    """The L layers from the first to the head."""
    movement: Spread
    """|phi_K - phi_0| / |phi_0| of each layer's parameters."""
    similarity: Spread | None
    """CKA of each layer's features before and after adaptation; of the head's its predictions. None where the network
    is not made of one non-linearity after another."""
    frozen: Band
    """The metric after K steps with the first 0, 1, .., L layers frozen: (L + 1,)."""
    free_curve: Band
    """The metric at phi_0 .. phi_K with nothing frozen: (K + 1,)."""


def layers_of(theta: Params) -> dict[str, list[str]]:
    """The network's layers from the first to the head, and the entries of each.

    Entries that carry the same number belong together; layers without a number stand before them.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(network(theta)):
        layer = name.rpartition(".")[0] or name
        number = re.search(r"\d+", layer)
        found.setdefault(number[0] if number else layer, []).append(name)
    # A stored theta comes back in the order of its names.
    return dict(sorted(found.items(), key=_place))


def _place(layer: tuple[str, list[str]]) -> tuple[bool, int]:
    name = layer[0]
    return name == HEAD_LAYER, int(name) if name.isdigit() else 0


def layers(
    contender: Contender, family: TaskFamily, *, steps: int, n_tasks: int, seed: int = 0, report: Report = quiet
) -> Layers:
    """Look at one contender on held-out tasks. Raises ValueError for one without inner loop, or steps below 1."""
    learner = _learner(contender, family, steps)
    found = [
        _part(contender, learner, tasks, steps, share)
        for tasks, share in _parts(held_out_tasks(family, n_tasks, seed), report)
    ]
    alike = [each.alike for each in found if each.alike is not None]
    return Layers(
        label=contender.label,
        colour_key=contender.colour_key,
        names=found[0].names,
        movement=spread(np.concatenate([each.moved for each in found])),
        similarity=spread(np.concatenate(alike)) if alike else None,
        frozen=band(np.concatenate([each.counted for each in found])),
        free_curve=band(np.concatenate([each.free for each in found])),
    )


def frozen_curve(
    contender: Contender,
    family: TaskFamily,
    *,
    frozen: Collection[str],
    steps: int,
    n_tasks: int,
    seed: int = 0,
    report: Report = quiet,
) -> Band:
    """The metric at phi_0 .. phi_K, (K + 1,), on the same tasks as `layers`, with the layers of these names frozen.

    Raises ValueError as `layers` does, and for a layer that the network has not.
    """
    learner = _learner(contender, family, steps)
    return band(
        np.concatenate(
            [
                _run(contender, learner, tasks, steps, frozen, True, partial(share, 0.0)).metric
                for tasks, share in _parts(held_out_tasks(family, n_tasks, seed), report)
            ]
        )
    )


def _learner(contender: Contender, family: TaskFamily, steps: int) -> Learner:
    if not isinstance(contender.algorithm, InnerDescent) or contender.algorithm.axis == "shot":
        raise ValueError(f"{contender.label} takes no inner steps: choose another run")
    if steps < 1:
        raise ValueError(f"steps = {steps}: expected 1 or more")
    return Learner(contender.model, family)


def _parts(tasks: TaskBatch, report: Report) -> Iterator[tuple[TaskBatch, Report]]:
    """A few tasks after the other, each with what reports the fraction done of them."""
    for first in range(0, tasks.n_tasks, AT_ONCE):

        def share(fraction: float, first: int = first) -> None:
            report(min(1.0, (first + fraction * AT_ONCE) / tasks.n_tasks))

        yield tasks.tasks(first, first + AT_ONCE), share


@dataclass(frozen=True, eq=False)
class _Part:
    """What is found on some of the tasks: (T, ...) each."""

    names: tuple[str, ...]
    moved: Doubles
    alike: Doubles | None
    counted: Doubles
    free: Doubles


def _part(contender: Contender, learner: Learner, tasks: TaskBatch, steps: int, report: Report) -> _Part:
    free = _run(contender, learner, tasks, steps, (), True, partial(report, 0.0))
    names, counted = tuple(layers_of(free.start)), [free.metric[:, -1:]]
    for n in range(1, len(names) + 1):
        ask = partial(report, n / (len(names) + 1))
        counted.append(_run(contender, learner, tasks, steps, names[:n], False, ask).metric)
    features = contender.model.name in WITH_FEATURES
    return _Part(
        names,
        moved=movement(free.start, free.end),
        alike=similarity(learner, free.start, free.end, tasks) if features else None,
        counted=np.concatenate(counted, 1),
        free=free.metric,
    )


@dataclass(frozen=True, eq=False)
class _Run:
    start: Params
    """phi_0"""
    end: Params
    """phi_K"""
    metric: Doubles
    """At phi_0 .. phi_K, or at phi_K alone: (T, K + 1) or (T, 1)."""


def _run(
    contender: Contender,
    learner: Learner,
    tasks: TaskBatch,
    steps: int,
    frozen: Collection[str],
    every: bool,
    ask: Callable[[], None],
) -> _Run:
    metrics, phis = [], []
    for inner in adapt_with_frozen(contender.algorithm, learner, contender.theta, tasks.support, steps, frozen):
        ask()
        phis.append(inner.phi)
        if every or inner.k == steps:
            metrics.append(metric_of(contender, learner, inner.phi, tasks))
    return _Run(phis[0], phis[-1], np.stack(metrics, 1))


# --- freezing


def adapt_with_frozen(
    algorithm: Algorithm, learner: Learner, theta: Params, support: Examples, steps: int, frozen: Collection[str]
) -> Iterator[InnerStep]:
    """phi_0 .. phi_steps of the algorithm's own inner loop, the `frozen` layers (see `layers_of`) left as they begin.

    Raises ValueError for a layer that the network has not, or an algorithm without inner loop.
    """
    if not isinstance(algorithm, InnerDescent):
        raise ValueError(f"{algorithm.label} takes no inner steps: nothing can be frozen")
    if not frozen:
        return algorithm.adapt(learner, theta, support, steps)
    first = next(iter(algorithm.adapt(learner, theta, support, 1)))
    known = layers_of(first.phi)
    unknown = sorted(set(frozen) - set(known))
    if unknown:
        raise ValueError(f"layer {unknown[0]!r}: expected one of {', '.join(known)}")
    held = {name for layer in frozen for name in known[layer]}
    moving = [name for name in first.gradient or {} if name not in held]
    if not moving:
        return (InnerStep(k, first.phi, None, None) for k in range(steps + 1))
    rates = algorithm.rates(first.phi)
    every: Rates = rates if callable(rates) else constant(first.phi, rates)
    return inner_loop(
        learner,
        first.phi,
        support,
        steps,
        lambda k: {name: rate for name, rate in every(k).items() if name in moving},
        optimiser=getattr(algorithm, "inner_optimiser", "sgd"),
        batch_size=getattr(algorithm, "inner_batch", 0),
        proximal=getattr(algorithm, "proximal", 0.0),
    )


# --- movement and similarity


def movement(before: Params, after: Params) -> Doubles:
    """|after - before| / |before| of each layer's parameters, (T, L)."""
    columns = []
    for names in layers_of(before).values():
        away = _length([after[name] - before[name] for name in names])
        columns.append(away / _length([before[name] for name in names]))
    return torch.stack(columns, 1).double().numpy()


def _length(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.detach().square().flatten(1).sum(1) for part in parts]).sum(0).sqrt()


def similarity(learner: Learner, before: Params, after: Params, tasks: TaskBatch) -> Doubles:
    """CKA of each layer's features before and after adaptation, (T, L), of the last of the predictions.

    Features are those of the probe inputs of a function of one variable, else of the query set, normalised by their
    own statistics where the network normalises.
    """
    x, probe = tasks.query.x, learner.family.probe_x
    if probe is not None:
        x = probe.to(x).expand(len(x), *probe.shape)
    pairs = zip(features(learner, before, x), features(learner, after, x), strict=True)
    return torch.stack([cka(a, b) for a, b in pairs], 1).double().numpy()


def features(learner: Learner, phi: Params, x: Tensor) -> list[Tensor]:
    """What leaves each layer for inputs x (T, n, ...): (T, n, width) each."""
    with torch.no_grad(), _Leaving() as leaving:
        prediction = learner.model.forward(phi, x)
    return [h.reshape(*x.shape[:2], -1) for h in [*leaving.found, prediction]]


class _Leaving(TorchFunctionMode):
    """Collects what leaves each non-linearity while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in NON_LINEAR:
            self.found.append(out)
        return out


def cka(a: Tensor, b: Tensor) -> Tensor:
    """Linear CKA of features a (T, n, p) and b (T, n, q) of the same n inputs: (T,), NaN where all are alike."""
    grams = []
    for part in (a.double(), b.double()):
        centred = part - part.mean(1, keepdim=True)
        grams.append(centred @ centred.mT)
    first, second = grams
    return (first * second).sum((1, 2)) / (first.square().sum((1, 2)) * second.square().sum((1, 2))).sqrt()


def spread(values: Doubles) -> Spread:
    """Mean and middle 80% over tasks of values (T, L); a task whose value is no number is left out."""
    with np.errstate(invalid="ignore"):
        low, high = np.nanpercentile(values, MIDDLE, axis=0)
        return Spread(np.nanmean(values, axis=0), low, high)
