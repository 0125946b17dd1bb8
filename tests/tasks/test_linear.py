"""Straight lines: their ranges, their formula, what least squares makes of them, and the best unadapted guess."""

from __future__ import annotations

import math

import pytest
import torch

from metalab.tasks.linear import Linear


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dimension", [1, 4])
def test_shapes(dimension):
    family = Linear(dimension=dimension, shots=5, queries=7)
    batch = family.sample(3, "train", rng())
    assert family.input_shape == (dimension,)
    assert batch.support.x.shape == (3, 5, dimension)
    assert batch.query.x.shape == (3, 7, dimension)
    assert batch.query.y.shape == (3, 7, 1)
    assert batch.info["slope"].shape == (3, dimension)
    assert batch.info["intercept"].shape == (3,)


@pytest.mark.parametrize("dimension", [1, 3])
def test_least_squares_on_one_point_more_than_inputs_finds_the_task(dimension):
    family = Linear(dimension=dimension, shots=dimension + 1, slope=(-2.0, 3.0), intercept=(1.0, 2.0))
    batch = family.sample(20, "test", rng(1))
    x = torch.cat([batch.support.x, torch.ones_like(batch.support.x[..., :1])], -1).double()
    solution = torch.linalg.solve(x, batch.support.y.double())[..., 0]
    # Twenty random systems; the worst of them magnifies float32's rounding a thousand times.
    torch.testing.assert_close(solution[:, :-1], batch.info["slope"].double(), atol=5e-3, rtol=0)
    torch.testing.assert_close(solution[:, -1], batch.info["intercept"].double(), atol=5e-3, rtol=0)


def test_ranges_are_kept_and_filled_evenly():
    info = Linear(dimension=2, slope=(0.5, 2.5), intercept=(-4.0, -3.0)).sample(5_000, "train", rng(2)).info
    for found, low, high in ((info["slope"].flatten(), 0.5, 2.5), (info["intercept"], -4.0, -3.0)):
        assert low <= found.min() < found.max() <= high
        assert abs(float(found.double().mean()) - (low + high) / 2) < 4 * (high - low) / math.sqrt(12 * len(found))
        assert float(found.double().var()) == pytest.approx((high - low) ** 2 / 12, rel=0.08)


@pytest.mark.parametrize("dimension", [1, 3])
def test_loss_of_the_zero_function(dimension):
    """E[y^2] = d E[w^2] E[x^2] + E[b^2] + sigma^2 = d (1/3) (25/3) + 1/3 + 0.3^2; zero is the best unadapted guess."""
    family = Linear(dimension=dimension, shots=1, queries=5, noise=0.3)
    y = family.sample(40_000, "test", rng(3)).query.y
    losses = family.loss(torch.zeros_like(y), y).double()
    error = float(losses.std()) / math.sqrt(len(losses))
    assert error < 0.05
    assert abs(float(losses.mean()) - (dimension * 25 / 9 + 1 / 3 + 0.09)) < 4 * error


def test_truth_and_title_and_the_picture_that_there_is_or_is_not():
    family = Linear()
    batch = family.sample(3, "test", rng(4))
    for t in range(3):
        assert torch.allclose(family.truth(batch.info, batch.query.x[t])[t], batch.query.y[t], atol=1e-6)
    assert family.probe_x.shape == (101, 1)
    info = {"slope": torch.tensor([[0.5]]), "intercept": torch.tensor([-0.25])}
    assert family.describe(info, 0) == "slope 0.50, intercept -0.25"
    many = Linear(dimension=2)
    assert many.probe_x is None
    info = {"slope": torch.tensor([[0.5, -1.0]]), "intercept": torch.tensor([2.0])}
    assert many.describe(info, 0) == "slopes 0.50, -1.00, intercept 2.00"
