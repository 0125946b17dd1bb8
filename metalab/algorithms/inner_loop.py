"""The inner loop: the only one, for training, evaluation and every picture.

    phi_0 = theta,   phi_{k+1} = phi_k - alpha * (grad L_support(phi_k) + lambda (phi_k - theta))

Tasks do not touch each other, so the gradient of the summed losses holds every task's own gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from metalab.algorithms.base import InnerStep, Learner
from metalab.models.normalised import differentiated_twice
from metalab.params import Params, detach, gradients, network
from metalab.tasks.base import Examples, shuffled

Optimiser = Literal["sgd", "adam"]
Order = Literal[0, 1, 2]
Rates = Callable[[int], Mapping[str, float | Tensor]]
"""The inner learning rate of each entry at step k; an entry that it leaves out does not adapt. A rate is one for each
task, (T,), or broadcasts against (T, ...)."""


def inner_loop(
    learner: Learner,
    phi: Params,
    support: Examples,
    steps: int,
    inner_lr: float | Rates,
    *,
    order: Order = 0,
    optimiser: Optimiser = "sgd",
    batch_size: int = 0,
    proximal: float = 0.0,
    begin: int = 0,
) -> Iterator[InnerStep]:
    """Yield phi_begin .. phi_steps, starting at phi (T, ...) on support (T, n, ...).

    order       how far an outer loss can be differentiated through the steps: 0 not at all (constant
                memory), 1 with every inner gradient taken as constant, 2 exactly.
    optimiser   "adam" is Adam with beta1 = 0 (Nichol et al. 2018), starting afresh for each task.
    batch_size  examples in a step's minibatch; 0 takes the whole support set.
    proximal    lambda: how strongly phi is held to where it started (Rajeswaran et al. 2019); 0 not at all.
    begin       the step that phi stands before: 0, or a later one of a loop of plain SGD that goes on from there.

    Legend: T tasks, n support examples.
    """
    rates = inner_lr if callable(inner_lr) else constant(phi, inner_lr)
    phi = detach(phi) if order == 0 else phi
    first, second_moment = phi, Params()
    for k in range(begin, steps):
        rate = rates(k)
        start = {name: phi[name] for name in rate}
        if order == 0:
            start = detach(start, requires_grad=True)
        with torch.enable_grad(), differentiated_twice(order == 2):
            examples = minibatch(learner.family.fresh(support, k), batch_size, k)
            losses = learner.support_loss(phi | start, examples)
            gradient = gradients(losses, start, create_graph=order == 2)
        yield InnerStep(k, phi, losses.detach(), detach(gradient) if order == 2 else gradient)
        with torch.set_grad_enabled(order != 0):
            if proximal:
                gradient = {name: g + proximal * (phi[name] - first[name]) for name, g in gradient.items()}
            if optimiser == "adam":
                gradient, second_moment = adam_direction(gradient, second_moment, k)
            phi = phi | {name: descended(phi[name], rate[name], gradient[name]) for name in rate}
    yield InnerStep(steps, phi, None, None)


def descended(value: Tensor, rate: float | Tensor, slope: Tensor) -> Tensor:
    """value - rate * slope as one operation."""
    if isinstance(rate, Tensor):
        if rate.ndim == 1:
            rate = rate.view(-1, *[1] * (value.ndim - 1))
        return torch.addcmul(value, rate, slope, value=-1)
    return torch.add(value, slope, alpha=-rate)


def constant(phi: Params, inner_lr: float, adapts: Callable[[str], bool] = lambda name: True) -> Rates:
    """The same rate at every step for each entry of the network that `adapts`, by its name."""
    rates = {name: inner_lr for name in network(phi) if adapts(name)}
    return lambda k: rates


def adam_direction(
    gradient: Params, second_moment: Params, k: int, beta2: float = 0.999, epsilon: float = 1e-8
) -> tuple[Params, Params]:
    """Adam's direction with beta1 = 0 at step k = 0, 1, .., and the new second moment."""
    if not second_moment:
        second_moment = {name: torch.zeros_like(g) for name, g in gradient.items()}
    second_moment = {name: beta2 * second_moment[name] + (1 - beta2) * g.square() for name, g in gradient.items()}
    correction = 1 - beta2 ** (k + 1)
    direction = {name: g / ((second_moment[name] / correction).sqrt() + epsilon) for name, g in gradient.items()}
    return direction, second_moment


def minibatch(support: Examples, size: int, k: int) -> Examples:
    """The examples of inner step k: each epoch runs through a shuffle in which the classes take turns.

    Taking turns keeps every minibatch balanced: else the last one of a task would favour the same labels in every
    task, and the head with them. Which of a class's examples stands where is already random, so that one shuffle
    serves all tasks.
    """
    n = support.x.shape[1]
    if not 0 < size < n:
        return support
    per_epoch = n // size
    shuffle = shuffled(n, k // per_epoch, support.x.device)
    start = (k % per_epoch) * size
    if support.y.ndim != 2:
        chosen = shuffle[start : start + size]
        return Examples(support.x[:, chosen], support.y[:, chosen])
    order = shuffle[occurrence(support.y[:, shuffle]).argsort(dim=1, stable=True)]
    chosen = order[:, start : start + size]
    tasks = torch.arange(len(chosen), device=chosen.device)[:, None]
    return Examples(support.x[tasks, chosen], support.y[tasks, chosen])


def occurrence(y: Tensor) -> Tensor:
    """How many of a task's earlier examples have the same class id, for class ids (T, n): (T, n)."""
    same = y[:, :, None] == y[:, None, :]
    return same.tril(-1).sum(2)
