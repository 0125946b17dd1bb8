"""The multi-layer perceptron and the linear layer that every network ends in."""

from __future__ import annotations

import pytest
import torch

from metalab.models import MLP
from metalab.models.base import init_linear, linear
from metalab.params import expand


def test_linear_uses_each_tasks_own_weights():
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 4, 2, generator=rng, dtype=torch.float64)
    bias = torch.randn(3, 2, generator=rng, dtype=torch.float64)
    x = torch.randn(3, 5, 4, generator=rng, dtype=torch.float64)
    found = linear({"a.weight": weight, "a.bias": bias}, "a", x)
    for task in range(3):
        torch.testing.assert_close(found[task], x[task] @ weight[task] + bias[task])


def test_squared_distances_to_prototypes_are_a_linear_head():
    """Identity 11: weights 2 c_k and biases -|c_k|^2 give -|f - c_k|^2 up to a term that all classes share."""
    rng = torch.Generator().manual_seed(0)
    prototypes = torch.randn(2, 5, 4, generator=rng, dtype=torch.float64)
    features = torch.randn(2, 7, 4, generator=rng, dtype=torch.float64)
    head = {"head.weight": 2 * prototypes.mT, "head.bias": -prototypes.square().sum(-1)}
    expected = (-torch.cdist(features, prototypes).square()).softmax(-1)
    torch.testing.assert_close(linear(head, "head", features).softmax(-1), expected, rtol=1e-10, atol=1e-12)


def test_linear_starts_uniform_within_one_over_the_root_of_the_inputs():
    params = init_linear("a", 400, 50, torch.Generator().manual_seed(0), torch.float64)
    assert params["a.weight"].shape == (400, 50)
    assert params["a.bias"].shape == (50,)
    for value in params.values():
        assert value.abs().max() <= 1 / 20
    assert float(params["a.weight"].var()) == pytest.approx((1 / 20) ** 2 / 3, rel=0.03)
    assert abs(float(params["a.weight"].mean())) < 1e-3


@pytest.mark.parametrize("widths", [(), (7,), (7, 3, 5)])
def test_layers_have_the_declared_widths(widths):
    model = MLP(widths=widths)
    theta = model.init((2, 3), 4, torch.Generator().manual_seed(0))
    sizes = [6, *widths, 4]
    layers = [f"layer{i + 1}" for i in range(len(widths))] + ["head"]
    for layer, fan_in, fan_out in zip(layers, sizes, sizes[1:], strict=False):
        assert theta[f"{layer}.weight"].shape == (fan_in, fan_out)
        assert theta[f"{layer}.bias"].shape == (fan_out,)
    assert len(theta) == 2 * len(layers)
    assert model.forward(expand(theta, 2), torch.rand(2, 5, 2, 3)).shape == (2, 5, 4)
    assert model.features(expand(theta, 2), torch.rand(2, 5, 2, 3)).shape == (2, 5, sizes[-2])


def test_any_input_can_be_read_and_none_cannot():
    assert MLP().misfit((1,)) is None
    assert MLP().misfit((1, 28, 28)) is None
    assert "no inputs" in MLP().misfit((0,))


@pytest.mark.parametrize(
    ("activation", "at_minus_one", "at_two"),
    [("relu", 0.0, 2.0), ("tanh", -0.7615941559557649, 0.9640275800758169), ("softplus", 0.3132616875, 2.1269280110)],
)
def test_activations(activation, at_minus_one, at_two):
    params = {
        "layer1.weight": torch.ones(1, 1, 1, dtype=torch.float64),
        "layer1.bias": torch.zeros(1, 1, dtype=torch.float64),
    }
    x = torch.tensor([[[-1.0], [2.0]]], dtype=torch.float64)
    found = MLP(widths=(1,), activation=activation).features(params, x)
    torch.testing.assert_close(found.flatten(), torch.tensor([at_minus_one, at_two], dtype=torch.float64))
