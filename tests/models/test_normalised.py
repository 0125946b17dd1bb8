"""One task's block, fast, against the generic way: values, gradients, and gradients of gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metalab.models import Conv4
from metalab.models.normalised import differentiated_twice, moments, normalised
from metalab.params import expand, gradients

POOLED = pytest.mark.parametrize("pooled", [True, False])


def inputs(n: int, side: int, filters: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images' maps (n, side, side, filters), scale and shift (1, filters); the first map is far from 0."""
    rng = torch.Generator().manual_seed(0)
    h = torch.randn(n, side, side, filters, generator=rng, dtype=torch.float64)
    h[..., 0] = 5 + 0.1 * h[..., 0]
    scale, shift = 0.5 + torch.rand(2, 1, filters, generator=rng, dtype=torch.float64)
    return h, scale, shift - 1


@POOLED
def test_a_block_is_torchs_batch_norm_pooling_and_relu(pooled):
    h, scale, shift = inputs(4, 5, 3)
    found, mean, variance = normalised(h, scale, shift, pooled, groups=1)
    maps = h.permute(0, 3, 1, 2)
    expected = torch.nn.functional.batch_norm(maps, None, None, scale[0], shift[0], training=True).relu()
    if pooled:
        expected = torch.nn.functional.max_pool2d(expected, 2)
    torch.testing.assert_close(found.permute(0, 3, 1, 2), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mean.flatten(), h.mean((0, 1, 2)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(variance.flatten(), h.var((0, 1, 2), correction=0), rtol=1e-10, atol=1e-12)


def test_the_moments_of_many_pixels_are_exact_to_single_precision():
    """60,000 pixels of single precision, added up one after another, would be off by hundred times as much."""
    h = torch.randn(75, 28, 28, 8, generator=torch.Generator().manual_seed(0)) + 1
    exact = h.double()
    mean, variance = moments(h.reshape(1, 1, -1, 8))
    torch.testing.assert_close(mean.flatten().double(), exact.mean((0, 1, 2)), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.flatten().double(), exact.var((0, 1, 2), correction=0), rtol=1e-6, atol=0)
    few = h[:1, :4]
    torch.testing.assert_close(
        moments(few.reshape(1, 1, -1, 8))[1].flatten(), few.var((0, 1, 2), correction=0), rtol=1e-5, atol=0
    )


@POOLED
def test_its_gradient_is_the_generic_one_and_does_not_touch_what_it_was_given(pooled):
    given = [value.requires_grad_() for value in inputs(4, 5, 3)]
    found = []
    for twice in (False, True):
        with differentiated_twice(twice):
            out, _, _ = normalised(*given, pooled, groups=1)
        slope = torch.cos(torch.arange(out.numel(), dtype=out.dtype)).view(out.shape)
        before = slope.clone()
        found.append(torch.autograd.grad(out, given, slope))
        assert torch.equal(slope, before)
    for fast, generic in zip(*found, strict=True):
        torch.testing.assert_close(fast, generic, rtol=1e-11, atol=1e-11)


@POOLED
def test_it_differentiates_to_the_second_order_whatever_was_expected(pooled):
    given = [value.requires_grad_() for value in inputs(2, 4, 2)]
    assert torch.autograd.gradcheck(lambda *values: normalised(*values, pooled, groups=1)[0], given)
    assert torch.autograd.gradgradcheck(lambda *values: normalised(*values, pooled, groups=1)[0].square(), given)


@pytest.mark.parametrize("needed", ["conv1.weight", "norm4.scale", "head.weight"])
def test_only_what_is_asked_for_is_differentiated(needed):
    """Each entry alone has the same gradient as together with all others."""
    model = Conv4(filters=4, downsampling="max_pool")
    theta = model.init((1, 16, 16), 2, torch.Generator().manual_seed(0), torch.float64)
    x = torch.randn(1, 3, 1, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    phi = {name: value.detach().requires_grad_() for name, value in expand(theta, 1).items()}
    whole = gradients(model.forward(phi, x).square().mean(), phi)
    alone = {name: value.detach().requires_grad_(name == needed) for name, value in phi.items()}
    found = gradients(model.forward(alone, x).square().mean(), {needed: alone[needed]})
    torch.testing.assert_close(found[needed], whole[needed], rtol=1e-10, atol=1e-13)
