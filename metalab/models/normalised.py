"""Batch normalisation, ReLU and max-pooling of a convolution's output.

`normalised` is what a network calls. `Normalised` does the same for one task in a third of the operations and fewer
passes over memory; the generic way is its oracle, and takes its place where gradients are differentiated again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5
SQUARE = [2, 2]
"""Pixels of which the largest is kept."""
MANY = 2_000
"""Pixels from which on torch's kernel for moments is faster than single operations."""
COLUMNS = 28
"""In how many columns it gets them at most: what 28x28 images divide into, and the maps made of them."""
_TWICE: ContextVar[bool] = ContextVar("twice", default=False)


@contextmanager
def differentiated_twice(twice: bool) -> Iterator[None]:
    """Say whether gradients of what is computed here will be differentiated again: a matter of speed alone."""
    before = _TWICE.set(twice)
    try:
        yield
    finally:
        _TWICE.reset(before)


def normalised(h: Tensor, scale: Tensor, shift: Tensor, pooled: bool, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """relu(scale * (h - mean) / sqrt(variance + EPSILON) + shift) for h (T * n, H, W, C), the mean and the variance.

    scale and shift (T, C). The images of each task are normalised in so many groups of its own, one after another, by
    their moments (T, groups, 1, C). `pooled`: of the largest of each 2x2 pixels; no scale is negative then.
    """
    if groups == scale.shape[0] == 1 and not _TWICE.get():
        return Normalised.apply(h, scale, shift, pooled)
    mean, variance = Moments.apply(h.reshape(scale.shape[0], groups, -1, h.shape[-1]))
    return affine(h, mean, variance, scale, shift, pooled), mean, variance


def affine(h: Tensor, mean: Tensor, variance: Tensor, scale: Tensor, shift: Tensor, pooled: bool) -> Tensor:
    """As `normalised`, with given moments (T, groups, 1, C)."""
    if pooled:
        # Where no scale is negative, the largest is the largest after the normalisation too, and only a quarter of the
        # pixels is left to be normalised.
        h = F.max_pool2d(h.permute(0, 3, 1, 2), SQUARE).permute(0, 2, 3, 1)
    factor = torch.rsqrt(variance + EPSILON) * scale[:, None, None]
    offset = torch.addcmul(shift[:, None, None], mean, factor, value=-1)
    pixels = h.reshape(*mean.shape[:2], -1, h.shape[-1])
    return torch.addcmul(offset, pixels, factor).relu().reshape(h.shape)


class Normalised(torch.autograd.Function):
    """`normalised` of one task's h (n, H, W, C) in one group; moments (1, 1, 1, C), without a gradient of their own.

    The gradient is that of Ioffe and Szegedy 2015 (arXiv:1502.03167), section 3, behind max-pooling.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, scale: Tensor, shift: Tensor, pooled: bool) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = moments(h.reshape(1, 1, -1, h.shape[-1]))
        inverse = torch.rsqrt(variance + EPSILON)
        factor = inverse * scale
        kept, places = h, None
        if pooled:
            kept, places = torch.ops.aten.max_pool2d_with_indices(h.permute(0, 3, 1, 2), SQUARE)
            kept = kept.permute(0, 2, 3, 1)
        out = torch.addcmul(torch.addcmul(shift, mean, factor, value=-1), kept, factor).relu_()
        ctx.save_for_backward(h, scale, shift, mean, inverse, factor, kept, places, out)
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        h, scale, shift, mean, inverse, factor, kept, places, out = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _generically(grads[0], (h, scale, shift), ctx.needs_input_grad, places is not None)
        slope = torch.ops.aten.threshold_backward(grads[0], out, 0)
        of_shift = slope.sum((0, 1, 2))
        of_factor = (slope * kept).sum((0, 1, 2)) - of_shift * mean
        of_h = None
        if ctx.needs_input_grad[0]:
            of_h = slope.mul_(factor)
            if places is not None:
                of_h = torch.ops.aten.max_pool2d_with_indices_backward(
                    of_h.permute(0, 3, 1, 2), h.permute(0, 3, 1, 2), SQUARE, [], [0, 0], [1, 1], False, places
                ).permute(0, 2, 3, 1)
            of_mean, of_variance = (
                value / h[..., 0].numel() for value in (-of_shift * factor, -0.5 * of_factor * scale * inverse.pow(3))
            )
            of_h.add_(torch.addcmul(of_mean - 2 * of_variance * mean, h, 2 * of_variance))
        return of_h, (of_factor * inverse).view_as(scale), of_shift.view_as(shift), None


def _generically(
    slope: Tensor, inputs: tuple[Tensor, Tensor, Tensor], needed: tuple[bool, ...], pooled: bool
) -> tuple[Tensor | None, ...]:
    """The gradients as the generic way has them: to be differentiated again."""
    with differentiated_twice(True):
        out, _, _ = normalised(*inputs, pooled, groups=1)
    wanted = [value for value, is_needed in zip(inputs, needed, strict=False) if is_needed]
    found = iter(torch.autograd.grad(out, wanted, slope, create_graph=True))
    return *(next(found) if is_needed else None for is_needed in needed[:3]), None


class Moments(torch.autograd.Function):
    """Mean and variance over the pixels of (T, groups, pixels, C): (T, groups, 1, C) each.

    torch's own gradient was measured at several times the time: here it is one pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = moments(x)
        ctx.save_for_backward(x, mean)
        return mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        of_mean, of_variance = (grad / x.shape[2] for grad in grads)
        return torch.addcmul(of_mean - 2 * of_variance * mean, x, 2 * of_variance)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """As `Moments`, without a graph."""
    n_tasks, groups, pixels, channels = x.shape
    columns = math.gcd(pixels, COLUMNS)
    if x.is_cpu and n_tasks == groups == 1 and pixels >= MANY and columns > 1:
        # In half of the time. It adds up one number after another, so it gets them in columns: its rounding stays far
        # below that of all pixels in a row.
        side_by_side = x.reshape(-1, columns * channels)
        found = torch.batch_norm_update_stats(side_by_side, None, None, 0.0)
        means, spreads = (value.view(1, 1, columns, channels) for value in found)
        mean = means.mean(2, keepdim=True)
        return mean, (means - mean).square_().add_(spreads).mean(2, keepdim=True)
    mean = x.mean(2, keepdim=True)
    return mean, (x - mean).square_().mean(2, keepdim=True)
