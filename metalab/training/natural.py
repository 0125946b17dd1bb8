"""Natural gradient descent: steps measured by how much they change the tasks' losses, not the parameters.

    F <- rho F + (1 - rho) mean_i g_i^2,    theta <- theta - beta * g / (F + damping),    g = mean_i g_i

F is the diagonal of the empirical Fisher matrix mean_i g_i g_i^T, whose samples are the tasks' own meta-gradients g_i
(Amari: Natural Gradient Works Efficiently in Learning, Neural Computation 10, 1998; for the empirical Fisher, its
damping and what it is not: Kunstner, Balles, Hennig, arXiv:1905.12558). Unlike Adam it squares before the mean over
tasks, so that tasks that disagree slow a parameter down, and it divides by F and not by its root.

Most algorithms give every g_i in the pass that gives g. Those that read or learn all tasks with one set of weights
(cnp, in_context, and the transfer baselines) take another pass for each task, here alone. Where those mix tasks by
batch normalisation, g_i normalises its task alone: F is then that of the tasks one by one, g stays the meta-batch's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class NaturalGradient(torch.optim.Optimizer):
    """`observe` takes the mean squares of this step's gradients, then `step` descends along `grad`."""

    def __init__(self, params: Sequence[Tensor], lr: float, damping: float, decay: float) -> None:
        """`damping` > 0 bounds a step by lr |g| / damping; `decay` in [0, 1) is rho, 0 takes the last squares alone."""
        super().__init__(params, {"lr": lr, "damping": damping, "decay": decay})

    def observe(self, squares: Sequence[Tensor]) -> None:
        """Take the mean squares of each parameter's gradients into its F, in the order of the parameters."""
        values = [value for group in self.param_groups for value in group["params"]]
        for value, square in zip(values, squares, strict=True):
            state, rho = self.state[value], self.param_groups[0]["decay"]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                state["fisher"] = torch.zeros_like(value, requires_grad=False)
            state["step"] += 1
            state["fisher"].mul_(rho).add_(square, alpha=1 - rho)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """theta <- theta - lr g / (F + damping), F without the zeros that it began with."""
        for group in self.param_groups:
            for value in group["params"]:
                state = self.state[value]
                begun = 1 - group["decay"] ** float(state["step"])
                value.addcdiv_(value.grad, state["fisher"] / begun + group["damping"], value=-group["lr"])
