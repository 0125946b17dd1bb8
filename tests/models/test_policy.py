"""The Gaussian policy: a mean that depends on where one is, a spread that does not, and a start that stands still."""

from __future__ import annotations

import math

import pytest
import torch

from metalab.models import MLP, Policy
from metalab.models.policy import LOG_STD
from metalab.params import expand
from metalab.tasks.navigation import Navigation
from metalab.tasks.sinusoid import Sinusoid


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_mean_is_a_perceptrons_and_the_spread_its_parameters(activation):
    rng = torch.Generator().manual_seed(0)
    model = Policy(widths=(5, 3), activation=activation)
    theta = {n: v + torch.randn(v.shape, generator=rng) for n, v in model.init((2,), 4, rng).items()}
    x = torch.randn(2, 7, 2, generator=rng)
    found = model.forward(expand(theta, 2), x)
    mean = MLP(widths=(5, 3), activation=activation).forward(expand(theta, 2), x)
    torch.testing.assert_close(found[..., :2], mean)
    torch.testing.assert_close(found[..., 2:], theta[LOG_STD].expand(2, 7, 2))
    assert model.outputs(theta) == 4


def test_it_begins_with_glorots_weights_and_stays_where_it_stands():
    theta = Policy(widths=(300,)).init((2,), 4, torch.Generator().manual_seed(0), torch.float64)
    weight = theta["layer1.weight"]
    assert float(weight.abs().max()) <= math.sqrt(6 / 302)
    assert float(weight.var()) == pytest.approx(2 / 302, rel=0.15)
    assert not any(value.any() for name, value in theta.items() if not name.endswith("weight"))
    at_the_start = Policy(widths=(300,)).forward(expand(theta, 1), torch.zeros(1, 1, 2, dtype=torch.float64))
    assert not at_the_start.any()


def test_it_acts_and_answers_nothing():
    assert Policy().misfit_with(Navigation()) is None
    assert "chooses actions, but sinusoid asks for answers" in Policy().misfit_with(Sinusoid())
    assert not Policy(widths=()).has_body
