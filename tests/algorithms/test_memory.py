"""What an outer step keeps for its gradient, against the inner steps: what the cards say of memory."""

from __future__ import annotations

from weakref import WeakSet

import pytest
import torch
from engine_cases import sine_case
from torch import Tensor

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.inner_loop import inner_loop
from metalab.algorithms.unrolled import Unrolled
from metalab.params import separate

UNROLLED = ("maml", "anil", "boil", "meta_sgd", "maml_plus_plus")


class Kept:
    """A tensor that the graph holds on to."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # a node that held its own output would never be let go


def kept(algorithm: Unrolled) -> int:
    """Numbers that are still held for the backward pass when the inner loop has ended and the query loss is known."""
    case, alive = sine_case(), WeakSet[Kept]()

    def pack(tensor: Tensor) -> Kept:
        alive.add(found := Kept(tensor))
        return found

    own = separate(case.theta(algorithm), case.batch.n_tasks)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda found: found.tensor):
        steps, rates = algorithm.inner_steps, algorithm.rates(own)
        for inner in inner_loop(case.learner, own, case.batch.support, steps, rates, order=algorithm.order):
            phi = inner.phi
        loss = case.learner.query_loss(phi, case.batch)
    assert loss.requires_grad
    return sum(found.tensor.numel() for found in alive)


@pytest.mark.parametrize("name", UNROLLED)
def test_at_second_order_every_inner_step_costs_memory(name):
    few, more, most = (kept(ALGORITHMS[name](inner_steps=steps)) for steps in (1, 3, 5))
    assert most - more == more - few > 0


@pytest.mark.parametrize("name", UNROLLED)
def test_at_first_order_it_is_constant_where_the_card_says_so(name):
    """A learned rate's gradient is the step's inner gradient, which must be kept for it."""
    few, more = (kept(ALGORITHMS[name](inner_steps=steps, order=1)) for steps in (1, 5))
    assert (few == more) is ("constant" in ALGORITHMS[name].card.memory)


@pytest.mark.parametrize("name", ["meta_sgd", "maml_plus_plus"])
def test_at_first_order_rates_that_are_not_learned_cost_nothing(name):
    few, more = (kept(ALGORITHMS[name](inner_steps=steps, order=1, learn_rates=False)) for steps in (1, 5))
    assert few == more
