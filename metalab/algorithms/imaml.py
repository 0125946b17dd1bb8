"""Rajeswaran, Finn, Kakade, Levine: Meta-Learning with Implicit Gradients. NeurIPS 2019, arXiv:1909.04630.

The inner loop minimises the support loss plus lambda/2 ||phi - theta||^2. Where it has arrived, how phi* depends on
theta follows from the curvature there alone, whatever the path was:

    d phi*/d theta = (I + H/lambda)^-1,   H = Hessian of L_support at phi*

so that the meta-gradient is the solution of one linear system for each task. Conjugate gradients solve it from
products of H with a vector, which cost two backward passes each; H itself is never formed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor

from metalab.algorithms.base import Card, InnerStep, Learner, MetaGradient
from metalab.algorithms.gradient_based import GradientBased
from metalab.algorithms.inner_loop import inner_loop
from metalab.params import Params, detach, expand, gradients, network, statistics
from metalab.settings import setting
from metalab.tasks.base import Examples, TaskBatch

FLOOR = 0.5
"""I + H/lambda bends by 1 or more wherever the support loss bends upwards; below this, no solution is trusted."""


class IMAML(GradientBased):
    """theta <- theta - beta * mean_i (I + H_i(phi_i)/lambda)^-1 grad L_query_i(phi_i)."""

    title: ClassVar[str] = "iMAML"
    summary: ClassVar[str] = "Differentiates where the inner loop ends instead of the way there."
    card: ClassVar[Card] = Card(
        kind="gradient-based",
        learned="The initial parameters θ, to which adaptation is also drawn back.",
        adapts="All parameters, by inner gradient steps that stay near θ.",
        gradient_order="2, by products of the Hessian with vectors",
        memory="Constant, however many inner steps.",
        paper="Rajeswaran, Finn, Kakade, Levine: Meta-Learning with Implicit Gradients. NeurIPS 2019",
        url="https://arxiv.org/abs/1909.04630",
        rule=r"\begin{aligned}"
        r"\phi_{k+1} &= \phi_k - \alpha \big(\nabla \mathcal{L}^{\mathrm{support}}_i(\phi_k)"
        r" + \lambda (\phi_k - \theta)\big), \quad \phi_0 = \theta \\"
        r"\theta &\leftarrow \theta - \beta \, \tfrac{1}{T} \textstyle\sum_i"
        r" \big(I + \tfrac{1}{\lambda + \delta} \nabla^2 \mathcal{L}^{\mathrm{support}}_i(\phi_K)\big)^{-1}"
        r" \nabla \mathcal{L}^{\mathrm{query}}_i(\phi_K) \\"
        r"\delta &\colon \text{damping}"
        r"\end{aligned}",
    )

    name: Literal["imaml"] = "imaml"
    inner_steps: int = setting(16, "Inner steps on each task while meta-training.", low=1, high=64)
    proximal: float = setting(
        2.0,
        "Lambda: how strongly the adapted parameters are held to the meta-parameters. Below the curvature of the "
        "support loss the inner loop needs more steps to arrive, and the meta-gradient more conjugate-gradient steps.",
        label="Proximal strength λ",
        low=1e-3,
        high=100.0,
        scale="log",
    )
    cg_steps: int = setting(
        5,
        "Conjugate-gradient steps towards the exact meta-gradient; with 0 it is first order.",
        label="Conjugate-gradient steps",
        low=0,
        high=50,
    )

    damping: float = setting(
        0.0,
        "Added to λ in the meta-gradient's linear system alone. Where the inner loop has not arrived or the loss bends "
        "the wrong way, the exact system may have no sensible solution; 10 is what the authors' code uses.",
        low=0.0,
        high=100.0,
        step=0.5,
    )

    def adapt(self, learner: Learner, theta: Params, support: Examples, steps: int) -> Iterator[InnerStep]:
        phi = expand(theta, support.x.shape[0])
        return inner_loop(learner, phi, support, steps, self.inner_lr, proximal=self.proximal)

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        phi = theta
        for inner in self.adapt(learner, theta, batch.support, self.inner_steps):
            phi = inner.phi
        adapted = detach(network(phi), requires_grad=True)
        collected: Params = {}
        prediction = learner.attempt(phi | adapted, batch, collect=collected)
        slope = gradients(learner.family.loss(prediction, batch.query.y).sum(), adapted)
        figures = learner.family.metrics(prediction.detach(), batch.query.y)
        return MetaGradient.of_tasks(
            self._implicit(learner, phi, batch.support, slope),
            {name: value.mean() for name, value in figures.items()},
            {name: collected[name] for name in statistics(theta)},
        )

    def _implicit(self, learner: Learner, phi: Params, support: Examples, slope: Params) -> Params:
        """(I + H/(lambda + damping))^-1 slope for each task (T, ...), H the Hessian of its support loss at phi."""
        if self.cg_steps == 0:
            return slope
        at = detach(network(phi), requires_grad=True)
        first = gradients(learner.support_loss(phi | at, support).sum(), at, create_graph=True)

        def product(vector: Params) -> Params:
            along = torch.stack([(first[name] * value).sum() for name, value in vector.items()]).sum()
            bent = gradients(along, at, retain_graph=True)
            return {name: value + bent[name] / (self.proximal + self.damping) for name, value in vector.items()}

        return conjugate_gradients(product, slope, self.cg_steps, floor=FLOOR)


def conjugate_gradients(product: Callable[[Params], Params], b: Params, steps: int, *, floor: float = 0.0) -> Params:
    """x (T, ...) with A x = b (T, ...) for each task, after `steps` steps from x = b; `product` gives A v for v.

    Each A is symmetric. Exact after as many steps as a task has parameters, where A is positive definite; a task
    whose A bends by `floor` or less along a search direction keeps what it has by then (Hestenes and Stiefel 1952;
    Nocedal and Wright, Numerical Optimization, algorithm 5.2, truncated as in their section 7.1).
    """
    x = b
    residual = combined(b, -1.0, product(b))
    direction, square = residual, dot(residual, residual)
    least = torch.finfo(square.dtype).eps ** 2 * dot(b, b)
    going = torch.ones_like(square, dtype=torch.bool)
    for _ in range(steps):
        image = product(direction)
        bend = dot(direction, image)
        going = going & (bend > floor * dot(direction, direction)) & (square > least)
        length = torch.where(going, square / bend, 0.0)
        x = combined(x, length, direction)
        residual = combined(residual, -length, image)
        now = dot(residual, residual)
        direction = combined(residual, torch.where(going, now / square, 0.0), direction)
        square = now
    return x


def dot(one: Params, other: Params) -> Tensor:
    """The inner product of each task: (T,)."""
    return torch.stack([(value * other[name]).flatten(1).sum(1) for name, value in one.items()]).sum(0)


def combined(one: Params, factor: Tensor | float, other: Params) -> Params:
    """one + factor * other, with a factor (T,) of each task or one for all."""

    def shaped(value: Tensor) -> Tensor | float:
        return factor.view(-1, *[1] * (value.ndim - 1)) if isinstance(factor, Tensor) else factor

    return {name: value + shaped(value) * other[name] for name, value in one.items()}
