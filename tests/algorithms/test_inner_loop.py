"""Minibatches, Adam, what the inner loop hands out, and what it must leave alone."""

from __future__ import annotations

import pytest
import torch
from engine_cases import ALL, clones, conv_case, sine_case

from metalab.algorithms import ANIL, BOIL, IMAML, MAML, MAMLPlusPlus, MetaSGD, Pretrained, Reptile, Scratch
from metalab.algorithms.inner_loop import adam_direction, inner_loop, minibatch
from metalab.params import expand, statistics, weights
from metalab.tasks.base import Examples

ALGORITHMS = {
    "maml": MAML(inner_lr=0.1, inner_steps=2),
    "fomaml": MAML(order=1, inner_lr=0.1, inner_steps=2),
    "reptile": Reptile(inner_lr=0.1, inner_steps=3, inner_batch=3),
    "reptile_adam": Reptile(inner_lr=0.01, inner_steps=3, inner_optimiser="adam"),
    "anil": ANIL(inner_lr=0.1, inner_steps=2),
    "boil": BOIL(inner_lr=0.1, inner_steps=2),
    "meta_sgd": MetaSGD(inner_lr=0.1, inner_steps=2),
    "maml_plus_plus": MAMLPlusPlus(inner_lr=0.1, inner_steps=2),
    "imaml": IMAML(inner_lr=0.1, inner_steps=2),
    "pretrained": Pretrained(inner_lr=0.1),
    "scratch": Scratch(inner_lr=0.1),
}


def numbered(n: int) -> Examples:
    """Two tasks whose examples carry their own numbers, 100 apart."""
    numbers = torch.arange(n) + torch.tensor([[0], [100]])
    return Examples(numbers[..., None].double(), numbers)


@pytest.mark.parametrize(("n", "size"), [(6, 2), (6, 3), (7, 3), (15, 10), (5, 1)])
def test_an_epoch_of_minibatches_shows_no_example_twice(n, size):
    per_epoch = n // size
    for epoch in range(3):
        parts = [minibatch(numbered(n), size, epoch * per_epoch + k) for k in range(per_epoch)]
        seen = torch.cat([part.y[0] for part in parts])
        assert len(seen) == len(set(seen.tolist())) == per_epoch * size
        assert seen.min() >= 0
        assert seen.max() < n
        for part in parts:
            torch.testing.assert_close(part.y[1], part.y[0] + 100)
            torch.testing.assert_close(part.x[..., 0], part.y.double())


def test_epochs_are_shuffled_differently_and_repeatably():
    epochs = [tuple(minibatch(numbered(20), 10, k).y[0].tolist()) for k in range(0, 10, 2)]
    assert len(set(epochs)) == 5
    assert epochs == [tuple(minibatch(numbered(20), 10, k).y[0].tolist()) for k in range(0, 10, 2)]


def test_classes_take_turns_in_minibatches():
    """Four examples of each of three classes, arranged otherwise in each task: every six hold two of each."""
    y = torch.stack([torch.arange(3).repeat_interleave(4), torch.arange(3).repeat(4)])
    examples = Examples(torch.arange(24.0).view(2, 12, 1), y)
    for epoch in range(3):
        parts = [minibatch(examples, 6, 2 * epoch + k) for k in range(2)]
        for task in range(2):
            assert all(part.y[task].bincount().tolist() == [2, 2, 2] for part in parts)
            seen = torch.cat([part.x[task, :, 0] for part in parts]).long()
            assert sorted(seen.tolist()) == list(range(12 * task, 12 * task + 12))
            assert torch.equal(y[task][seen - 12 * task], torch.cat([part.y[task] for part in parts]))


@pytest.mark.parametrize("size", [0, 6, 7])
def test_a_minibatch_as_large_as_the_set_is_the_set(size):
    examples = numbered(6)
    assert minibatch(examples, size, 3) is examples


def test_adam_with_a_constant_gradient_moves_by_its_sign():
    gradient = {"w": torch.tensor([3.0, -1e-3, 0.0], dtype=torch.float64)}
    moment: dict[str, torch.Tensor] = {}
    for k in range(4):
        direction, moment = adam_direction(gradient, moment, k)
        torch.testing.assert_close(direction["w"], torch.tensor([1.0, -1.0, 0.0]).double(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ALGORITHMS)
def test_theta_is_left_alone_and_the_same_input_gives_the_same_numbers(name, kind):
    case, algorithm = ALL[name](), ALGORITHMS[kind]
    theta = case.theta(algorithm)
    before, tasks_before = clones(theta), clones(case.batch.support._asdict() | case.batch.query._asdict())
    found, again = (algorithm.meta_gradient(case.learner, theta, case.batch) for _ in range(2))
    paths = [list(algorithm.adapt(case.learner, theta, case.batch.support, 3)) for _ in range(2)]
    for entry, value in before.items():
        assert torch.equal(theta[entry], value), entry
        assert not theta[entry].requires_grad
        assert theta[entry].grad is None
    for entry, value in (case.batch.support._asdict() | case.batch.query._asdict()).items():
        assert torch.equal(value, tasks_before[entry])
    for entry in found.gradient:
        assert torch.equal(found.gradient[entry], again.gradient[entry])
    for one, two in zip(*paths, strict=True):
        assert all(torch.equal(one.phi[entry], two.phi[entry]) for entry in one.phi)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ALL)
def test_the_seed_fixes_the_initialisation(name, seed):
    case, algorithm = ALL[name](), Pretrained()
    one, two, other = (
        algorithm.init(case.learner, torch.Generator().manual_seed(s), torch.float64) for s in (seed, seed, seed + 1)
    )
    assert all(torch.equal(one[entry], two[entry]) for entry in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
    single = algorithm.init(case.learner, torch.Generator().manual_seed(seed))
    assert all(torch.equal(single[entry], one[entry].float()) for entry in one)


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_what_adapt_hands_out_is_cut_off_from_any_graph(kind):
    case, algorithm = sine_case(), ALGORITHMS[kind]
    theta = {name: value.requires_grad_() for name, value in case.theta(algorithm).items()}
    for inner in algorithm.adapt(case.learner, theta, case.batch.support, 2):
        handed = [*inner.phi.values(), *(inner.gradient or {}).values()]
        handed += [] if inner.support_loss is None else [inner.support_loss]
        assert not any(value.requires_grad for value in handed)


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_adapt_works_where_gradients_are_switched_off(kind):
    case, algorithm = sine_case(), ALGORITHMS[kind]
    theta = case.theta(algorithm)
    *_, expected = algorithm.adapt(case.learner, theta, case.batch.support, 3)
    with torch.no_grad():
        *_, found = algorithm.adapt(case.learner, theta, case.batch.support, 3)
    assert all(torch.equal(found.phi[entry], expected.phi[entry]) for entry in expected.phi)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_order_says_how_far_an_outer_loss_reaches(order):
    """phi_2 depends on theta not at all, as a shift of it, or through the inner gradients too."""
    case = sine_case("tanh")
    theta = {name: value.requires_grad_() for name, value in case.theta(MAML()).items()}
    *_, end = inner_loop(case.learner, expand(theta, case.batch.n_tasks), case.batch.support, 2, 0.1, order=order)
    if order == 0:
        assert not any(value.requires_grad for value in end.phi.values())
        return
    found = torch.autograd.grad(end.phi["head.bias"].sum(), list(theta.values()), allow_unused=True)
    slopes = {name: g for name, g in zip(theta, found, strict=True) if g is not None}
    if order == 1:
        assert set(slopes) == {"head.bias"}
        torch.testing.assert_close(slopes["head.bias"], torch.full_like(theta["head.bias"], case.batch.n_tasks))
    else:
        assert set(slopes) == set(theta)


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_running_statistics_are_carried_and_never_differentiated(kind):
    case, algorithm = conv_case("strided", "running"), ALGORITHMS[kind]
    theta = case.theta(algorithm)
    assert len(statistics(theta)) == 8
    found = algorithm.meta_gradient(case.learner, theta, case.batch)
    assert set(found.gradient) == set(weights(theta))
    assert set(found.statistics) == set(statistics(theta))
    for inner in algorithm.adapt(case.learner, theta, case.batch.support, 3):
        assert inner.gradient is None or not statistics(inner.gradient)
        for name, value in statistics(theta).items():
            assert torch.equal(inner.phi[name], value.expand(case.batch.n_tasks, -1))
