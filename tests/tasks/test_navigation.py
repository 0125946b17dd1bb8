"""Navigation against a plain loop over trajectories, and what its learning rests on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metalab.algorithms import MAML, Pretrained, Reptile
from metalab.algorithms.base import Learner
from metalab.models import MLP
from metalab.params import detach, expand
from metalab.tasks.base import Examples, TaskBatch
from metalab.tasks.navigation import UNIT, Navigation, Trajectories, best_return
from metalab.tasks.policy_gradient import surrogate


def batch_of(family: Navigation, n_tasks: int = 3, seed: int = 1) -> TaskBatch:
    found = family.sample(n_tasks, "train", torch.Generator().manual_seed(seed))

    def double(examples: Examples) -> Examples:
        return Examples(examples.x.double(), examples.y.double())

    return TaskBatch(double(found.support), double(found.query), found.info)


def learner_of(family: Navigation, width: int = 4) -> Learner:
    return Learner(MLP(widths=(width,), activation="tanh"), family)


def theta_of(learner: Learner, seed: int = 0) -> dict[str, Tensor]:
    return learner.init(torch.Generator().manual_seed(seed), torch.float64)


def towards(goal: Tensor, gain: float):
    """A policy that knows the goal (T, 1, 2): the mean leads there, the standard deviation is the family's."""
    return lambda x: torch.cat([gain * (goal - x * UNIT), torch.zeros_like(x)], -1)


def plain_walk(policy, noise: Tensor, goal: Tensor, std: float) -> tuple[list[tuple[float, float]], list[float]]:
    """One trajectory (H, 2) by hand: positions and rewards until it ends."""
    x, y, places, rewards = 0.0, 0.0, [], []
    for e1, e2 in noise.tolist():
        m1, m2 = policy(x, y)
        x += 0.1 * max(-1.0, min(1.0, m1 + std * e1))
        y += 0.1 * max(-1.0, min(1.0, m2 + std * e2))
        dx, dy = x - float(goal[0]), y - float(goal[1])
        places.append((x, y))
        rewards.append(-math.hypot(dx, dy))
        if abs(dx) < 0.01 and abs(dy) < 0.01:
            break
    return places, rewards


def test_trajectories_are_those_of_a_plain_loop():
    family = Navigation(shots=6, queries=1, horizon=60, std=1.0)
    batch = batch_of(family)

    # Towards the goal, so that some arrive.
    found = Trajectories.unpack(family.attempt(towards(batch.support.y[:, :1], 8), batch.support))
    lengths = []
    for task in range(3):
        goal = batch.info["goal"][task].double()
        for n in range(6):

            def policy(x, y, g=goal):
                return 8 * (float(g[0]) - x), 8 * (float(g[1]) - y)

            places, rewards = plain_walk(policy, batch.support.x[task, n], goal, 1.0)
            end = len(rewards)
            lengths.append(end)
            torch.testing.assert_close(found.positions[task, n, :end], torch.tensor(places, dtype=torch.float64))
            torch.testing.assert_close(found.rewards[task, n, :end], torch.tensor(rewards, dtype=torch.float64))
            assert found.counts[task, n].tolist() == [1.0] * end + [0.0] * (60 - end)
            assert not found.rewards[task, n, end:].any()
            assert (found.positions[task, n, end:] == found.positions[task, n, end - 1]).all()
    assert min(lengths) < 60, "no trajectory arrives: the end is not tested"


def test_a_step_along_an_axis_is_at_most_a_tenth():
    family = Navigation(shots=5, queries=1, horizon=20, std=2.0)
    found = Trajectories.unpack(family.attempt(towards(torch.tensor([[[9.0, -9.0]]]), 1), batch_of(family).support))
    steps = (found.positions - found.observations).abs()
    assert float(steps.max()) == pytest.approx(0.1)
    assert float((steps > 0.0999).double().mean()) > 0.9


def test_log_probabilities_are_those_of_the_normal_distribution_but_for_a_constant():
    family = Navigation(shots=2, queries=1, horizon=5, std=0.7)
    learner, batch = learner_of(family), batch_of(family)
    phi = expand(theta_of(learner), 3)
    found = Trajectories.unpack(family.attempt(lambda x: learner.model.forward(phi, x), batch.support))
    mean, log_std = learner.model.forward(phi, found.observations.flatten(1, 2) / UNIT).chunk(2, -1)
    std = (0.7 * log_std.exp()).view_as(found.positions)
    normal = torch.distributions.Normal(mean.view_as(std), std)
    expected = normal.log_prob(mean.view_as(std) + std * batch.support.x).sum(-1)
    torch.testing.assert_close(found.log_prob, expected + math.log(2 * math.pi))
    assert float(std.std()) > 0.001


def test_the_loss_is_minus_the_return_and_so_are_the_metrics():
    family = Navigation(shots=3, queries=2, horizon=7)
    learner, batch = learner_of(family), batch_of(family)
    theta = detach(theta_of(learner), requires_grad=True)
    prediction = learner.attempt(expand(theta, 3), batch)
    loss, figures = family.loss(prediction, batch.query.y), family.metrics(prediction, batch.query.y)
    returns = Trajectories.unpack(prediction).rewards.sum(2).mean(1)
    torch.testing.assert_close(loss, -returns)
    assert torch.equal(figures["return"], returns)
    assert torch.equal(figures["loss"], -figures["return"])
    assert family.metric == "return"


def test_the_best_return_is_what_full_speed_along_both_axes_earns_and_nobody_earns_more():
    family = Navigation(shots=10, queries=1, horizon=30, std=0.05)
    batch = batch_of(family, 40)
    found = best_return(batch.info["goal"].double(), 30)
    for goal, value in zip(batch.info["goal"].double(), found, strict=True):

        def policy(x, y, g=goal):
            return 10 * (float(g[0]) - x), 10 * (float(g[1]) - y)

        _places, rewards = plain_walk(policy, torch.zeros(30, 2), goal, 0.0)
        assert float(value) == pytest.approx(sum(rewards))
    walked = family.attempt(towards(batch.support.y[:, :1], 10), batch.support)
    assert (family.metrics(walked, batch.support.y)["return"] <= found).all()


def test_goals_fill_the_square_and_noise_is_standard_normal():
    batch = Navigation(shots=2, queries=2, horizon=10).sample(4000, "test", torch.Generator().manual_seed(0))
    goal = batch.info["goal"]
    assert float(goal.abs().max()) <= 0.5
    assert float(goal.var(0, correction=0).mean()) == pytest.approx(1 / 12, abs=0.004)
    assert float(batch.support.x.var()) == pytest.approx(1, abs=0.02)
    assert torch.equal(batch.support.y, goal[:, None].expand(-1, 2, -1))


def test_each_inner_step_has_trajectories_of_its_own_out_of_the_same_numbers():
    family = Navigation(shots=4, queries=1, horizon=20)
    support = batch_of(family).support
    assert torch.equal(family.fresh(support, 0).x, support.x)
    seen = [support.x]
    for k in (1, 2, 3):
        again = family.fresh(support, k)
        assert torch.equal(again.x, family.fresh(support, k).x)
        assert torch.equal(again.x.flatten(1, 2).sort(1).values, support.x.flatten(1, 2).sort(1).values)
        assert all(float((again.x == other).double().mean()) < 0.1 for other in seen)
        seen.append(again.x)


def test_the_inner_loop_learns_from_fresh_trajectories_at_each_step():
    family = Navigation(shots=4, queries=1, horizon=6)
    learner, batch = learner_of(family), batch_of(family)
    theta = theta_of(learner)
    first, second, *_ = MAML(inner_lr=0.3).adapt(learner, theta, batch.support, 2)
    phi = detach(second.phi, requires_grad=True)
    loss = learner.support_loss(phi, family.fresh(batch.support, 1))
    gradient = dict(zip(phi, torch.autograd.grad(loss.sum(), list(phi.values())), strict=True))
    for name, value in second.gradient.items():
        torch.testing.assert_close(value, gradient[name])
        assert not torch.allclose(value, first.gradient[name])


@pytest.mark.parametrize("algorithm", [MAML(order=2), MAML(order=1), Reptile(inner_steps=3), Pretrained()])
def test_tasks_together_are_tasks_one_by_one(algorithm):
    family = Navigation(shots=5, queries=5, horizon=8)
    learner, batch = learner_of(family), batch_of(family)
    theta = theta_of(learner)
    together = algorithm.meta_gradient(learner, theta, batch)
    single = [algorithm.meta_gradient(learner, theta, batch.tasks(i, i + 1)) for i in range(3)]
    for name, value in together.gradient.items():
        torch.testing.assert_close(value, torch.stack([one.gradient[name] for one in single]).mean(0))
    torch.testing.assert_close(together.metrics["loss"], torch.stack([one.metrics["loss"] for one in single]).mean())


def test_same_seed_same_gradient_bit_for_bit():
    family = Navigation(shots=5, queries=5, horizon=8)
    learner = learner_of(family)
    one, two = (
        MAML(inner_steps=2).meta_gradient(learner, theta_of(learner), batch_of(family)).gradient for _ in range(2)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("curvature", ["log", "ratio", "dice"])
def test_second_order_is_the_hessian_of_the_surrogate_on_the_trajectories_that_were_walked(curvature):
    """g = (I - alpha H) g_query, with H the dense Hessian of the surrogate whose trajectories do not move."""
    family = Navigation(shots=6, queries=6, horizon=5, curvature=curvature)
    learner, batch, alpha = learner_of(family, 2), batch_of(family, 1), 0.2
    theta = theta_of(learner)
    names, shapes = list(theta), [value.shape for value in theta.values()]
    walked = Trajectories.unpack(learner.family.attempt(
        lambda x: learner.model.forward(expand(theta, 1), x), batch.support
    ))  # fmt: skip
    seen = walked.observations.flatten(1, 2) / UNIT

    def policy(phi: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        mean, log_std = learner.model.forward(phi, seen).chunk(2, -1)
        return mean.view_as(walked.positions), family.std * log_std.exp().view_as(walked.positions)

    mean, std = policy(expand(theta, 1))
    actions = mean + std * batch.support.x
    better = family.advantages(walked)

    def fixed(vector: Tensor) -> Tensor:
        parts = vector.split([shape.numel() for shape in shapes])
        phi = {name: part.view(1, *shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        log_prob = torch.distributions.Normal(*policy(phi)).log_prob(actions).sum(-1)
        return -surrogate(log_prob, better, curvature).sum() / walked.counts.sum()

    def flat(params: dict[str, Tensor]) -> Tensor:
        return torch.cat([params[name].flatten() for name in names])

    first = flat(MAML(order=1, inner_lr=alpha).meta_gradient(learner, theta, batch).gradient)
    second = flat(MAML(order=2, inner_lr=alpha).meta_gradient(learner, theta, batch).gradient)
    hessian = torch.autograd.functional.hessian(fixed, flat(theta))
    torch.testing.assert_close(second, first - alpha * hessian @ first, rtol=1e-8, atol=1e-10)
    assert (second - first).norm() > 1e-3 * first.norm()


def test_a_task_is_described_by_its_goal():
    family = Navigation()
    assert family.describe({"goal": torch.tensor([[0.314, -0.2]])}, 0) == "goal (0.31, -0.20)"
