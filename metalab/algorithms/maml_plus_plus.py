"""Antoniou, Edwards, Storkey: How to train your MAML. ICLR 2019, arXiv:1810.09502.

MAML with remedies for its instability, each with a switch of its own here; with all of them off it is MAML:

- multi-step loss: the query loss counts after every inner step, at first evenly; over the first outer steps all the
  weight moves to the last one (section 4.1);
- an inner learning rate for each layer and inner step, learned like theta (section 4.5); at test a step beyond those
  of training takes the last one's. Theta holds them in units of alpha, unlike the paper: an Adam step of 1e-3 is then
  a thousandth of a rate, whatever alpha is. Learned as they are from 0.01, on sine waves, they turned negative within
  500 outer steps and the loss rose again;
- derivative-order annealing: the first outer steps are first order (section 4.3).

The paper's fourth, cosine annealing of the outer learning rate, is the run's own setting `schedule`, for which cosine
is recommended with this algorithm. Its batch statistics and biases for each inner step are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from metalab.algorithms.base import Card, Learner
from metalab.algorithms.gradient_based import GradientBased
from metalab.algorithms.inner_loop import Rates
from metalab.algorithms.unrolled import Unrolled
from metalab.params import RATES, Params, network
from metalab.settings import setting


class MAMLPlusPlus(Unrolled, GradientBased):
    """theta <- theta - beta * grad_theta mean_i sum_k w_k L_query_i(phi_i,k(theta)), w annealed to (0, .., 0, 1)."""

    title: ClassVar[str] = "MAML++"
    summary: ClassVar[str] = "MAML with a loss after every inner step and rates learned for each layer and step."
    card: ClassVar[Card] = Card(
        kind="gradient-based",
        learned="The initial parameters θ, and an inner learning rate αρ for each layer and inner step.",
        adapts="All parameters, each layer at its own rate in each step.",
        gradient_order="1 at first where annealed, then 2",
        memory="Grows with the inner steps; one query pass for each while the multi-step loss lasts.",
        paper="Antoniou, Edwards, Storkey: How to train your MAML. ICLR 2019",
        url="https://arxiv.org/abs/1810.09502",
        rule=r"\begin{aligned}"
        r"\phi^{l}_{k+1} &= \phi^{l}_k - \alpha \rho_{l,k} \nabla_{l} \mathcal{L}^{\mathrm{support}}_i(\phi_k),"
        r" \quad \phi_0 = \theta \\"
        r"(\theta, \rho) &\leftarrow (\theta, \rho) - \beta \, \nabla_{(\theta, \rho)}"
        r" \tfrac{1}{T} \textstyle\sum_i \sum_{k=1}^{K} w_k \, \mathcal{L}^{\mathrm{query}}_i(\phi_k) \\"
        r"w &\colon (\tfrac{1}{K}, \ldots, \tfrac{1}{K}) \to (0, \ldots, 0, 1) \text{ over the first outer steps}"
        r"\end{aligned}",
    )

    name: Literal["maml_plus_plus"] = "maml_plus_plus"
    multi_step_loss: bool = setting(
        True, "Let the query loss count after every inner step at first, and only after the last one later."
    )
    multi_step_until: int = setting(
        500,
        "Outer step from which only the loss after the last inner step counts; until then the weights move there.",
        label="Multi-step loss until",
        low=1,
        high=100_000,
        scale="log",
        only_if={"multi_step_loss": True},
    )
    learn_rates: bool = setting(
        True,
        "Learn an inner learning rate for each layer and inner step, in units of α and starting at one. Off: α is the "
        "rate of all.",
        label="Learn the inner rates",
    )
    anneal_order: bool = setting(
        False, "Take first-order gradients at first, which are cheaper, and second-order ones later."
    )
    first_order_until: int = setting(
        200,
        "Outer steps that are taken with first-order gradients.",
        label="First order until",
        low=1,
        high=100_000,
        scale="log",
        only_if={"anneal_order": True},
    )

    def init(self, learner: Learner, rng: torch.Generator, dtype: torch.dtype = torch.float32) -> Params:
        theta = super().init(learner, rng, dtype)
        if self.learn_rates:
            steps = max(1, self.inner_steps)
            theta |= {f"{RATES}{layer}": torch.ones(steps, dtype=dtype) for layer in layers(theta)}
        return theta

    def rates(self, phi: Params) -> float | Rates:
        if not self.learn_rates:
            return self.inner_lr

        def at(k: int) -> Mapping[str, Tensor]:
            found = {}
            for name, value in network(phi).items():
                learned = phi[f"{RATES}{layer_of(name)}"]
                rate = self.inner_lr * learned[:, min(k, learned.shape[1] - 1)]
                found[name] = rate.view(-1, *[1] * (value.ndim - 1))
            return found

        return at

    @property
    def steady_from(self) -> int:
        weighted = self.multi_step_until if self.multi_step_loss and self.inner_steps > 1 else 0
        return max(weighted, self.first_order_until if self.anneal_order else 0)

    def order_after(self, done: int) -> Literal[2, 1]:
        return 1 if self.anneal_order and done < self.first_order_until else self.order

    def importance(self, done: int) -> Sequence[float]:
        """w_0 .. w_K: evenly 1/K after inner steps 1 .. K at first, falling linearly to 0 but for the last."""
        steps = self.inner_steps
        left = 1 - done / self.multi_step_until
        if not self.multi_step_loss or left <= 0 or steps < 2:
            return super().importance(done)
        early = left / steps
        return [0.0, *[early] * (steps - 1), 1 - early * (steps - 1)]


def layer_of(name: str) -> str:
    """The layer of an entry: conv1 of conv1.weight; an entry that stands alone is its own."""
    return name.rpartition(".")[0] or name


def layers(theta: Params) -> list[str]:
    """The layers that adapt, in order, each once."""
    return list(dict.fromkeys(layer_of(name) for name in network(theta)))
