"""The parts of the policy gradient against independent computations: numpy's least squares, plain sums, quadrature.

The quadrature: a trajectory of H steps in the plane has 2 H standard normal numbers, so that an expectation over
trajectories is a sum over Gauss-Hermite nodes. Finite differences of that sum are the true derivatives of the return.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor

from metalab.algorithms.base import Learner
from metalab.models import MLP
from metalab.params import Params, expand
from metalab.tasks import navigation
from metalab.tasks.base import Examples
from metalab.tasks.navigation import Navigation
from metalab.tasks.policy_gradient import baseline, features, standardised, to_go

NODES = 7
STEP = 1e-4


def test_rewards_to_go_are_the_plain_sum():
    rewards = torch.randn(2, 3, 5, dtype=torch.float64)
    found = to_go(rewards, 0.9)
    for i, j, t in itertools.product(range(2), range(3), range(5)):
        expected = sum(0.9 ** (s - t) * float(rewards[i, j, s]) for s in range(t, 5))
        assert float(found[i, j, t]) == pytest.approx(expected)


def test_the_baseline_is_numpys_least_squares_of_each_task_on_the_steps_that_count():
    rng = torch.Generator().manual_seed(0)
    observations = torch.randn(3, 4, 30, 2, generator=rng, dtype=torch.float64)
    returns = torch.randn(3, 4, 30, generator=rng, dtype=torch.float64)
    counts = (torch.arange(30) < torch.tensor([[30], [12], [5], [20]])).double().expand(3, 4, 30)
    found = baseline(observations, returns, counts)
    for task in range(3):
        o, t = observations[task].reshape(-1, 2).numpy(), np.tile(np.arange(30) / 100, 4)
        table = np.column_stack([o, o**2, t, t**2, t**3, np.ones_like(t)])
        assert np.allclose(table, features(observations[task : task + 1]).flatten(0, 2).numpy())
        seen = counts[task].flatten().bool().numpy()
        # Ridge regression as least squares: a row of sqrt(lambda) for each weight.
        rows = np.vstack([table[seen], np.sqrt(1e-5) * np.eye(8)])
        weights = np.linalg.lstsq(rows, np.append(returns[task].flatten().numpy()[seen], np.zeros(8)), rcond=None)[0]
        np.testing.assert_allclose(found[task].flatten().numpy(), table @ weights, atol=1e-6)


def test_standardised_advantages_have_mean_0_and_deviation_1_over_what_counts():
    counts = (torch.rand(2, 3, 20, generator=torch.Generator().manual_seed(1)) < 0.6).double()
    found = standardised(5 + 3 * torch.randn(2, 3, 20, dtype=torch.float64), counts)
    for task in range(2):
        seen = found[task][counts[task].bool()]
        assert float(seen.mean()) == pytest.approx(0, abs=1e-12)
        assert float(seen.std(correction=0)) == pytest.approx(1, abs=1e-6)
        assert not found[task][~counts[task].bool()].any()


class Expected:
    """The expected loss of a small policy, by quadrature: each node is a task of one trajectory, with its weight."""

    def __init__(self, curvature: str, horizon: int) -> None:
        family = Navigation(shots=1, queries=1, horizon=horizon, std=0.1, discount=1, normalise=False,
                            curvature=curvature)  # fmt: skip
        self.learner = Learner(MLP(widths=(3,), activation="tanh"), family)
        self.theta = self.learner.init(torch.Generator().manual_seed(3), torch.float64)
        node, weight = hermegauss(NODES)
        grid = torch.tensor(list(itertools.product(node, repeat=2 * horizon)))
        shares = torch.tensor(list(itertools.product(weight / weight.sum(), repeat=2 * horizon)))
        self.weights = shares.prod(1)
        goal = torch.tensor([0.9, -0.7], dtype=torch.float64).expand(len(grid), 1, 2)
        self.examples = Examples(grid.view(-1, 1, horizon, 2), goal)

    def loss(self, vector: Tensor) -> Tensor:
        parts = vector.split([value.numel() for value in self.theta.values()])
        theta: Params = {n: p.view_as(v) for (n, v), p in zip(self.theta.items(), parts, strict=True)}
        losses = self.learner.support_loss(expand(theta, len(self.weights)), self.examples)
        return (self.weights * losses).sum()

    def gradient(self, vector: Tensor) -> Tensor:
        vector = vector.detach().requires_grad_()
        return torch.autograd.grad(self.loss(vector), vector)[0]

    @property
    def start(self) -> Tensor:
        return torch.cat([value.flatten() for value in self.theta.values()])


@pytest.fixture(autouse=True)
def _known_baseline(request, monkeypatch):
    """In expectations any function of where the point stands is a baseline; a fit to one trajectory is not."""
    if "expected" in request.node.name:
        monkeypatch.setattr(navigation, "baseline", lambda seen, returns, counts: seen.sum(-1) - 0.4)


def direction(case: Expected) -> Tensor:
    found = torch.randn(case.start.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return found / found.norm()


@pytest.mark.parametrize("curvature", ["log", "ratio", "dice"])
@pytest.mark.parametrize("horizon", [1, 2])
def test_expected_policy_gradient_is_the_slope_of_the_expected_return(horizon, curvature):
    case = Expected(curvature, horizon)
    along, start = direction(case), case.start
    with torch.no_grad():
        slope = (case.loss(start + STEP * along) - case.loss(start - STEP * along)) / (2 * STEP)
    assert float(case.gradient(start) @ along) == pytest.approx(float(slope), rel=1e-5)


@pytest.mark.parametrize(
    ("curvature", "horizon", "exact"),
    [("dice", 1, True), ("dice", 2, True), ("ratio", 1, True), ("ratio", 2, False), ("log", 1, False)],
)
def test_expected_curvature_is_exact_where_it_is_said_to_be(curvature, horizon, exact):
    """The second derivative by autograd against differences of the (true) gradients."""
    case = Expected(curvature, horizon)
    along, start = direction(case), case.start
    expected = (case.gradient(start + STEP * along) - case.gradient(start - STEP * along)) / (2 * STEP)
    vector = start.clone().requires_grad_()
    first = torch.autograd.grad(case.loss(vector), vector, create_graph=True)[0]
    found = torch.autograd.grad(first @ along, vector)[0]
    missed = float((found - expected).norm() / expected.norm())
    assert (missed < 1e-5) if exact else (missed > 0.01)
