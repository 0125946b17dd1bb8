"""Parameters as plain dictionaries of tensors, with or without a leading task axis.

theta has no task axis. phi has one: entry `name` of phi is (T, *theta[name].shape).
Names under `running.` are statistics that are carried along, never differentiated. Names under `rates.` are
inner learning rates: the outer loop learns them, the inner loop reads them. Names under `context.` are what a
support set was read into: they stand in phi alone, and nothing learns them.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

Params = dict[str, Tensor]

STATISTICS = "running."
"""Prefix of the entries that are statistics and no parameters."""
RATES = "rates."
"""Prefix of the entries that are inner learning rates and not the network's."""
CONTEXT = "context."
"""Prefix of the entries of phi that a support set was read into."""


def weights(params: Params) -> Params:
    """The entries that the outer loop learns: all but the running statistics."""
    return {name: value for name, value in params.items() if not name.startswith(STATISTICS)}


def network(params: Params) -> Params:
    """The entries that the inner loop may adapt: the network's own, without rates, statistics and context."""
    return {name: value for name, value in params.items() if not name.startswith((STATISTICS, RATES, CONTEXT))}


def statistics(params: Params) -> Params:
    """The running statistics alone."""
    return {name: value for name, value in params.items() if name.startswith(STATISTICS)}


def context(params: Params) -> Params:
    """What a support set was read into, alone."""
    return {name: value for name, value in params.items() if name.startswith(CONTEXT)}


def expand(theta: Params, n_tasks: int) -> Params:
    """theta for each of `n_tasks` tasks: views with a leading task axis, nothing is copied."""
    return {name: value.expand(n_tasks, *value.shape) for name, value in theta.items()}


def separate(theta: Params, n_tasks: int) -> Params:
    """theta once for each task, cut off from any graph and from each other, the learned entries to be differentiated.

    The gradient of a sum of the tasks' losses with respect to them is each task's own, (T, ...).
    """
    return leaves(expand(theta, n_tasks))


def leaves(params: Params) -> Params:
    """The same values cut off from any graph, the learned entries to be differentiated."""
    found = detach(params)
    for value in weights(found).values():
        value.requires_grad_()
    return found


def detach(params: Params, *, requires_grad: bool = False) -> Params:
    """The same values cut off from any graph."""
    return {name: value.detach().requires_grad_(requires_grad) for name, value in params.items()}


def gradients(loss: Tensor, params: Params, *, create_graph: bool = False, retain_graph: bool | None = None) -> Params:
    """d loss / d params, of a loss () or of the sum of losses (T,); zero where it does not depend on an entry.

    Raises RuntimeError where `loss` depends on none of the entries.
    """
    found = torch.autograd.grad(
        loss,
        list(params.values()),
        # Ones in place of a sum: small networks pay for every operation.
        torch.ones_like(loss),
        create_graph=create_graph,
        retain_graph=retain_graph,
        allow_unused=True,
    )
    if all(g is None for g in found):
        raise RuntimeError(f"the loss depends on none of {sorted(params)}")
    return {
        name: torch.zeros_like(value) if g is None else g
        for (name, value), g in zip(params.items(), found, strict=True)
    }


def norm(tensors: Iterable[Tensor], *, task_axis: bool) -> Tensor:
    """Euclidean norm over all tensors: () or, with `task_axis`, (T,)."""
    lengths = [
        torch.linalg.vector_norm(t.flatten(1), dim=1) if task_axis else torch.linalg.vector_norm(t) for t in tensors
    ]
    return torch.linalg.vector_norm(torch.stack(lengths), dim=0)
