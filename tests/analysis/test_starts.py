"""Starts ranked on a task, against the inner loop taken by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metalab.algorithms.base import Learner
from metalab.algorithms.maml import MAML
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Cancelled
from metalab.analysis.starts import Candidate, left_out, left_out_drawings, of_goal, rank, sampled
from metalab.models import MLP
from metalab.tasks import Glyphs, Navigation, Sinusoid

NETWORK = MLP(widths=(6,))


def candidate(seed, family=None, run="", rate=0.05):
    family = family or Sinusoid(shots=5, queries=4)

    def load():
        theta = Learner(NETWORK, family).init(torch.Generator().manual_seed(seed))
        return Contender("", MAML(inner_lr=rate), NETWORK, theta, ("test", seed))

    return Candidate(run or f"run{seed}", f"run {seed}", seed, load)


def descended(theta, support, query, steps, rate):
    """The query loss after plain gradient descent with torch.nn.functional on one task."""
    phi = {name: value.clone().requires_grad_() for name, value in theta.items()}

    def f(x):
        return torch.relu(x @ phi["layer1.weight"] + phi["layer1.bias"]) @ phi["head.weight"] + phi["head.bias"]

    for _ in range(steps):
        loss = (f(support[0]) - support[1]).square().mean()
        found = torch.autograd.grad(loss, list(phi.values()))
        phi = {name: (v - rate * g).detach().requires_grad_() for (name, v), g in zip(phi.items(), found, strict=True)}
    return float((f(query[0]) - query[1]).square().mean().detach())


def test_the_ranking_is_that_of_gradient_descent_by_hand():
    family = Sinusoid(shots=5, queries=4)
    batch = sampled(family, 3)
    ranking = rank([candidate(seed) for seed in range(4)], family, batch, steps=3)
    support = batch.support.x[0], batch.support.y[0]
    query = batch.query.x[0], batch.query.y[0]
    expected = {f"run{seed}": descended(candidate(seed).load().theta, support, query, 3, 0.05) for seed in range(4)}
    assert [start.run for start in ranking.starts] == sorted(expected, key=expected.__getitem__)
    for start in ranking.starts:
        assert start.after == pytest.approx(expected[start.run], rel=1e-4)
        assert start.curve.shape == (4,)


def test_each_of_a_persons_points_is_left_out_once():
    points = [(-1.0, 0.5), (0.0, 1.0), (2.0, -0.5)]
    batch = left_out(Sinusoid(), points)
    assert batch.query.x[:, 0, 0].tolist() == [-1.0, 0.0, 2.0]
    assert batch.query.y[:, 0, 0].tolist() == [0.5, 1.0, -0.5]
    for i in range(3):
        others = [point for n, point in enumerate(points) if n != i]
        assert list(zip(batch.support.x[i, :, 0].tolist(), batch.support.y[i, :, 0].tolist(), strict=True)) == others
    ranking = rank([candidate(0)], Sinusoid(), batch, steps=2)
    theta = candidate(0).load().theta
    alone = [
        descended(theta, (batch.support.x[i], batch.support.y[i]), (batch.query.x[i], batch.query.y[i]), 2, 0.05)
        for i in range(3)
    ]
    assert ranking.starts[0].after == pytest.approx(np.mean(alone), rel=1e-4)
    with pytest.raises(ValueError, match="1 points: expected 2 or more"):
        left_out(Sinusoid(), points[:1])


def test_who_diverges_comes_last_and_whose_network_does_not_fit_is_counted():
    family = Sinusoid(shots=5, queries=4)
    chosen = [candidate(0, run="lost", rate=2.0), candidate(1), candidate(2, family=Glyphs(ways=3), run="pixels")]
    ranking = rank(chosen, family, sampled(family, 0), steps=50)
    assert [start.run for start in ranking.starts] == ["run1", "lost"]
    assert not np.isfinite(ranking.starts[1].after) or ranking.starts[1].after > 1e3
    assert ranking.unfit == 1


def test_it_stops_when_nobody_wants_it():
    def report(fraction):
        if fraction >= 0.5:
            raise Cancelled

    loaded = []
    chosen = [Candidate(str(n), "", n, lambda n=n: loaded.append(n) or candidate(n).load()) for n in range(4)]
    with pytest.raises(Cancelled):
        rank(chosen, Sinusoid(), sampled(Sinusoid(), 0), steps=1, report=report)
    assert loaded == [0, 1]


def test_of_each_class_one_drawing_is_asked_and_the_other_given_in_turn():
    side = Glyphs().input_shape[-1]
    # Drawing j of class c is grey all over, with the shade (2 c + j) / 10: shades tell where each went.
    shades = np.arange(6).reshape(3, 2) / 10
    batch = left_out_drawings(Glyphs(ways=3), [[np.full((side, side), shade) for shade in row] for row in shades])
    for i in range(2):
        np.testing.assert_allclose(batch.query.x[i, :, 0, 0, 0], shades[:, i])
        np.testing.assert_allclose(batch.support.x[i, :, 0, 0, 0], shades[:, 1 - i])
    assert batch.support.y.tolist() == batch.query.y.tolist() == [[0, 1, 2]] * 2
    with pytest.raises(ValueError, match="expected 2 of each class"):
        left_out_drawings(Glyphs(ways=3), [[np.zeros((side, side))]] * 3)


def test_a_goal_is_a_task_with_a_query_set():
    batch = of_goal(Navigation(), (0.25, -0.5))
    assert (batch.support.y == torch.tensor([0.25, -0.5])).all()
    assert (batch.query.y == torch.tensor([0.25, -0.5])).all()
    assert not torch.equal(batch.support.x, batch.query.x)
