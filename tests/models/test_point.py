"""The network that is none: its parameters are its prediction."""

from __future__ import annotations

import torch

from metalab.models import MLP, Conv4
from metalab.models.point import Point
from metalab.params import expand
from metalab.tasks import FAMILIES


def test_the_prediction_is_theta_of_each_task_for_every_example():
    theta = Point().init((0,), 3, torch.Generator().manual_seed(0))
    phi = expand(theta, 2)
    phi["head.bias"] = theta["head.bias"] + torch.tensor([[0.0], [10.0]])
    prediction = Point().forward(phi, torch.zeros(2, 4, 0))
    assert prediction.shape == (2, 4, 3)
    assert torch.equal(prediction, phi["head.bias"][:, None].expand(2, 4, 3))


def test_it_starts_where_its_setting_says():
    start = Point(spread=3.0).init((0,), 10_000, torch.Generator().manual_seed(1))["head.bias"]
    # Four standard errors: 3 / sqrt(10,000) for the mean, that over sqrt(2) for the deviation.
    assert abs(float(start.mean())) < 0.12
    assert abs(float(start.std()) - 3) < 0.09
    assert not Point(spread=0.0).init((0,), 2, torch.Generator())["head.bias"].any()


def test_it_fits_quadratics_alone_and_what_reads_numbers_does_not():
    for name, cls in FAMILIES.items():
        assert (Point().misfit(cls().input_shape) is None) == (name == "quadratic")
    assert "no inputs" in MLP().misfit(FAMILIES["quadratic"]().input_shape)
    assert "conv4 reads images" in Conv4().misfit(FAMILIES["quadratic"]().input_shape)
