"""What a task is known by: the vector that stands for it after each inner step.

Achille, Lam, Tewari, Ravichandran, Maji, Fowlkes, Soatto, Perona: Task2Vec: Task Embedding for Meta-Learning. ICCV
2019, arXiv:1902.03545, for the Fisher information; the others are what the inner loop makes of a task anyhow.

Legend: T tasks, n examples, D entries of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from metalab.algorithms.base import Algorithm, Learner
from metalab.models.base import HEAD
from metalab.params import Params, context, detach, gradients, network
from metalab.tasks.base import Examples, TaskFamily
from metalab.tasks.navigation import HALF

View = Literal["delta", "gradient", "features", "fisher"]
VIEWS: tuple[View, ...] = ("delta", "gradient", "features", "fisher")
DRAWS = 16
"""Sets of targets that are drawn from the network's own predictions for the Fisher information."""
PROBES = 21
LONGEST = 16_384
"""Longer vectors are shortened to this many entries."""


def misfit(view: View, algorithm: Algorithm, learner: Learner) -> str | None:
    """Why these tasks have no such vector, in one sentence, or None where they have one."""
    name = algorithm.label
    if view == "features":
        if learner.model.reads_support or learner.model.has_body:
            return None
        return f"the network of {name} is nothing but a head: it has no features"
    if algorithm.axis == "shot":
        return f"{name} takes no inner step, so that θ does not move: its tasks can be told apart by features alone"
    if view == "fisher" and learner.family.kind not in ("regression", "classification"):
        return (
            "the Fisher information is computed where a network predicts a value or a class, not for policies or text"
        )
    return None


def vectors(
    view: View, algorithm: Algorithm, learner: Learner, theta: Params, support: Examples, wanted: Sequence[int]
) -> Iterator[Tensor]:
    """The tasks' vectors (T, D) at phi_k for each wanted k, rising; one alone for an algorithm without inner steps.

    delta     phi_k - theta, of all entries of the network.
    gradient  the support loss's at phi_k, of the entries that adapt.
    features  what the head reads at phi_k: at the family's probe inputs, one after another, where all tasks share
              them, else the mean over the task's own support inputs.
    fisher    the diagonal of the Fisher information at phi_k on the support inputs, see `fisher`.
    """
    if algorithm.axis == "shot":
        phi: Params = {}
        for inner in algorithm.adapt(learner, theta, support, algorithm.evaluation_steps):
            phi = inner.phi
        yield shortened(features(learner, phi, support))
        return
    # The gradient at the last phi is the one that a further step would follow.
    for inner in algorithm.adapt(learner, theta, support, wanted[-1] + (view == "gradient")):
        if inner.k not in wanted:
            continue
        if view == "delta":
            yield shortened(_flat([inner.phi[name] - value for name, value in network(theta).items()]))
        elif view == "gradient":
            assert inner.gradient is not None
            yield shortened(_flat(list(inner.gradient.values())))
        elif view == "features":
            yield shortened(features(learner, inner.phi, support))
        else:
            yield fisher(learner, inner.phi, support)


def features(learner: Learner, phi: Params, support: Examples) -> Tensor:
    """What the body makes of the tasks (T, D); of a network that reads the support set, what it has read."""
    if learner.model.reads_support:
        return _flat([value.flatten(2).mean(1) if value.ndim > 2 else value for value in context(phi).values()])
    shared = probes(learner.family)
    with torch.no_grad():
        if shared is not None:
            x = shared.to(support.x if support.x.is_floating_point() else torch.float32)
            return learner.model.features(phi, x.expand(len(support.x), *x.shape)).flatten(1)
        found = learner.model.features(phi, support.x)
        return found.flatten(1, -2).mean(1)


def probes(family: TaskFamily) -> Tensor | None:
    """Inputs (m, *input_shape) that make sense in every task of the family, where there are any."""
    if family.kind == "reinforcement":
        side = torch.linspace(-HALF, HALF, 5)
        return torch.cartesian_prod(side, side)
    x = family.probe_x
    if x is None:
        return None
    places = torch.linspace(0, len(x) - 1, min(PROBES, len(x))).round().long()
    return x[places]


def fisher(learner: Learner, phi: Params, support: Examples, seed: int = 0) -> Tensor:
    """The diagonal of the Fisher information of the body, averaged over the weights into each unit or filter: (T, D).

        F = 1/n sum_i E_{y ~ p(y | x_i, phi)} [ (d log p(y | x_i, phi) / d phi)^2 ]      (Task2Vec, equation 1)

    A value is taken as the mean of a normal distribution with variance 1. Targets drawn independently have gradients
    without correlation, so that the square of their sum is the sum of their squares in expectation: one backward pass
    a draw, not one an example. The same draws serve all tasks. The head is left out, as in the paper.
    """
    rng = torch.Generator().manual_seed(seed)
    entries = {name: value for name, value in network(phi).items() if name.endswith(".weight")}
    body = {name: value for name, value in entries.items() if not name.startswith(HEAD)} or entries
    at = detach(body, requires_grad=True)
    total: Params = {}
    with torch.enable_grad():
        prediction = learner.model.forward(phi | at, support.x)
        n = prediction.shape[1]
        for _draw in range(DRAWS):
            likelihood = _drawn(prediction, learner.family, rng)
            for name, g in gradients(likelihood, at, retain_graph=True).items():
                square = g.square().mean(-2) / (n * DRAWS)
                total[name] = total[name] + square if name in total else square
    return _flat(list(total.values()))


def _drawn(prediction: Tensor, family: TaskFamily, rng: torch.Generator) -> Tensor:
    """The summed log-likelihood () of targets drawn from the predictions (T, n, C), up to terms without gradient."""
    if family.kind == "classification":
        share = torch.rand(prediction.shape[1], 1, generator=rng).to(prediction)
        drawn = (prediction.softmax(-1).cumsum(-1) < share).sum(-1, keepdim=True).clamp(max=prediction.shape[-1] - 1)
        return prediction.log_softmax(-1).gather(-1, drawn).sum()
    # Any residual of mean zero and variance one gives the same expectation; signs give it with the least variance.
    sign = torch.randint(0, 2, prediction.shape[1:], generator=rng).to(prediction) * 2 - 1
    return (prediction * sign).sum()


def shortened(vector: Tensor) -> Tensor:
    """Vectors (T, D) with at most LONGEST entries, distances about as they were.

    Each entry is added, with a random sign, to a random one of the new: Weinberger, Dasgupta, Langford, Smola,
    Attenberg: Feature Hashing for Large Scale Multitask Learning. ICML 2009, arXiv:0902.2206. The same for all tasks.
    """
    d = vector.shape[1]
    if d <= LONGEST:
        return vector
    rng = torch.Generator().manual_seed(d)
    place = torch.randint(LONGEST, (d,), generator=rng).to(vector.device)
    sign = (torch.randint(0, 2, (d,), generator=rng) * 2 - 1).to(vector)
    return vector.new_zeros(len(vector), LONGEST).index_add_(1, place, vector * sign)


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.detach().flatten(1) for part in parts], 1)
