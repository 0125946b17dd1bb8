"""Meta-learning on names: the meta-gradient through attention, and prompting."""

from __future__ import annotations

import pytest
import torch
from engine_cases import assert_same

from metalab.algorithms import MAML
from metalab.algorithms.base import Learner
from metalab.algorithms.prompting import Prompting
from metalab.algorithms.scratch import Scratch
from metalab.models import MLP, CharTransformer
from metalab.params import expand, gradients
from metalab.tasks.names import Names
from metalab.tasks.sinusoid import Sinusoid

FAMILY = Names(shots=2, queries=2)
LEARNER = Learner(CharTransformer(width=8, heads=2, layers=1), FAMILY)


@pytest.fixture
def theta():
    rng = torch.Generator().manual_seed(0)
    return {
        n: v + 0.2 * torch.randn(v.shape, generator=rng, dtype=v.dtype)
        for n, v in LEARNER.init(rng, torch.float64).items()
    }


@pytest.fixture
def batch():
    return FAMILY.sample(2, "train", torch.Generator().manual_seed(1))


@pytest.mark.parametrize("steps", [1, 2])
def test_mamls_meta_gradient_is_the_central_difference(theta, batch, steps):
    algorithm = MAML(order=2, inner_steps=steps, inner_lr=0.3)
    found = algorithm.meta_gradient(LEARNER, theta, batch).gradient
    rng = torch.Generator().manual_seed(2)
    way = {n: torch.randn(v.shape, generator=rng, dtype=v.dtype) for n, v in theta.items()}
    h = 1e-5

    def loss(step):
        moved = {n: v + step * way[n] for n, v in theta.items()}
        return float(algorithm.meta_gradient(LEARNER, moved, batch).metrics["loss"])

    slope = sum(float((found[n] * way[n]).sum()) for n in theta)
    assert slope == pytest.approx((loss(h) - loss(-h)) / (2 * h), rel=1e-6)


@pytest.mark.parametrize(
    "algorithm", [MAML(inner_lr=0.3), MAML(order=1, inner_lr=0.3), Prompting()], ids=lambda a: a.label
)
def test_a_meta_batch_is_the_mean_of_its_tasks(theta, batch, algorithm):
    together = algorithm.meta_gradient(LEARNER, theta, batch).gradient
    alone = [algorithm.meta_gradient(LEARNER, theta, batch.tasks(t, t + 1)).gradient for t in range(2)]
    assert_same(together, {n: (alone[0][n] + alone[1][n]) / 2 for n in together}, 1e-10)


def test_order_two_is_second_order(theta, batch):
    two, one = (MAML(order=order, inner_lr=0.3).meta_gradient(LEARNER, theta, batch).gradient for order in (2, 1))
    assert any(not torch.allclose(two[n], one[n], rtol=1e-3) for n in theta)


def test_prompting_without_examples_is_the_plain_network(theta, batch):
    first = next(iter(Prompting().adapt(LEARNER, theta, batch.support, 2)))
    plain = next(iter(Scratch().adapt(LEARNER, theta, batch.support, 0)))
    found = Prompting().attempt(LEARNER, first.phi, batch.support, batch.query)
    assert torch.equal(found, Scratch().attempt(LEARNER, plain.phi, batch.support, batch.query))


def test_prompting_changes_no_weight_and_reads_one_name_more_at_each_step(theta, batch):
    path = list(Prompting().adapt(LEARNER, theta, batch.support, 10))
    assert [inner.k for inner in path] == [0, 1, 2]
    for inner in path:
        assert all(torch.equal(inner.phi[n], expand(theta, 2)[n]) for n in theta)
    for k in (1, 2):
        found = Prompting().attempt(LEARNER, path[k].phi, batch.support, batch.query)
        by_hand = LEARNER.model.in_context(expand(theta, 2), batch.query.x, batch.support.x[:, :k])
        assert torch.equal(found, by_hand)


def test_prompting_descends_every_name_given_those_before_it(theta, batch):
    """By hand: the loss of each name in the context of the names before it, over all letters of a task."""
    leaves = {n: v.clone().requires_grad_() for n, v in theta.items()}
    phi = expand(leaves, 2)
    x, y = torch.cat([batch.support.x, batch.query.x], 1), torch.cat([batch.support.y, batch.query.y], 1)
    each = [LEARNER.model.in_context(phi, x[:, k : k + 1], x[:, :k]) for k in range(x.shape[1])]
    loss = FAMILY.loss(torch.cat(each, 1), y).mean()
    found = Prompting().meta_gradient(LEARNER, theta, batch)
    assert float(found.metrics["loss"]) == pytest.approx(float(loss.detach()), rel=1e-10)
    assert_same(found.gradient, gradients(loss, leaves), 1e-10)


def test_prompting_needs_a_network_that_reads_examples():
    assert "choose names" in Prompting().misfit(Learner(MLP(), Sinusoid()))
    assert Prompting().misfit(LEARNER) is None
