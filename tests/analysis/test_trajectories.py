"""Trajectories of a race: what the family walked, on a sampled goal and on a person's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metalab.algorithms import MAML
from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender, race, scratch
from metalab.analysis.challenge import goal_challenge, makeable, points_challenge, sample_challenge
from metalab.analysis.trajectories import FARTHEST, trails
from metalab.models import MLP, Policy
from metalab.tasks.navigation import Navigation, Trajectories
from metalab.tasks.sinusoid import Sinusoid

FAMILY = Navigation(shots=5, queries=10, horizon=12)


def contender(label: str = "maml", seed: int = 0, alpha: float = 0.5) -> Contender:
    learner = Learner(Policy(widths=(6,)), FAMILY)
    theta = learner.init(torch.Generator().manual_seed(seed), torch.float64)
    return Contender(label, MAML(inner_lr=alpha), learner.model, theta, ("policy", seed))


def test_paths_and_returns_are_those_of_the_adapted_policies_on_the_query_trajectories():
    challenge, one = sample_challenge(FAMILY, 3), contender()
    result = race([one], challenge, steps=2)
    found = trails(result, result.lanes[0])
    learner = Learner(one.model, challenge.family)
    support, query = (type(each)(each.x.double(), each.y.double()) for each in (
        challenge.support, type(challenge.support)(challenge.query_x, challenge.query_y),
    ))  # fmt: skip
    for k, inner in enumerate(one.algorithm.adapt(learner, one.theta, support, 2)):
        walked = one.algorithm.attempt(learner, inner.phi, support, query)
        expected = Trajectories.unpack(walked)
        np.testing.assert_allclose(found.paths[k, :, 1:], expected.positions[0, :8], atol=1e-6)
        np.testing.assert_allclose(found.mean[k, 1:], expected.positions[0].mean(0), atol=1e-6)
        assert found.returns[k] == pytest.approx(float(expected.rewards.sum(2).mean()), rel=1e-5)
        off = (expected.positions[0, :, -1] - query.y[0]).norm(dim=-1).mean()
        assert found.distance[k] == pytest.approx(float(off), rel=1e-5)
    assert not found.paths[:, :, 0].any()
    assert found.best > found.returns.max()
    assert found.steps == 2
    assert result.metric == "return"


def test_a_picture_reaches_as_far_as_the_point_goes_and_no_farther_than_its_limit():
    near, far = (race([contender(seed=s)], sample_challenge(FAMILY, 3), steps=1) for s in (0, 1))
    for result in (near, far):
        found = trails(result, result.lanes[0])
        assert 0.5 < found.reach <= FARTHEST
        assert found.reach >= min(FARTHEST, float(np.abs(found.paths).max())) - 1e-6


def test_a_goal_of_ones_own_is_raced_for_with_the_chance_of_task_0():
    own = goal_challenge(FAMILY, (0.25, -0.5))
    sampled = sample_challenge(FAMILY, 0)
    assert torch.equal(own.support.x, sampled.support.x)
    assert own.query_y[0].unique(dim=0).tolist() == [[0.25, -0.5]]
    assert own.title == "goal (0.25, -0.50)"
    assert own.key != goal_challenge(FAMILY, (0.25, -0.4)).key
    assert makeable(FAMILY) == "goal"
    result = race([contender()], own, steps=1)
    np.testing.assert_allclose(trails(result, result.lanes[0]).goal, [0.25, -0.5])


@pytest.mark.parametrize("goal", [(0.6, 0.0), (float("nan"), 0.0), (0.0, float("inf"))])
def test_a_goal_outside_the_square_is_refused(goal):
    with pytest.raises(ValueError, match=r"expected two numbers from -0\.5 to 0\.5"):
        goal_challenge(FAMILY, goal)


def test_only_moved_points_have_trajectories():
    with pytest.raises(ValueError, match="a point is moved, not 'sinusoid'"):
        goal_challenge(Sinusoid(), (0.1, 0.1))
    assert "chooses actions" in Policy().misfit_with(Sinusoid())
    result = race([scratch("s", MLP(), Sinusoid(), 0, 0.1)], points_challenge(Sinusoid(), [(0.0, 1.0)]), steps=1)
    with pytest.raises(ValueError, match="regression task"):
        trails(result, result.lanes[0])
