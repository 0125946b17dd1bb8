"""Four convolutional blocks: 3x3 convolution, batch normalisation, ReLU.

Vinyals et al. 2016 (arXiv:1606.04080) with 2x2 max-pooling; Finn et al. 2017 (arXiv:1703.03400) with
strided convolutions for Omniglot, a quarter of the arithmetic. Several tasks at once, each with a filter bank
of its own, are one batched matrix product over unfolded patches: one kernel on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from metalab.models.base import Model, init_linear
from metalab.models.normalised import affine, normalised
from metalab.params import STATISTICS, Params
from metalab.settings import setting

BLOCKS = 4


class Conv4(Model):
    """Four blocks of 3x3 filters, then a linear head. Works on images (channels, height, width)."""

    title: ClassVar[str] = "Four-layer convolutional network"
    summary: ClassVar[str] = "The standard network of few-shot image classification."

    name: Literal["conv4"] = "conv4"
    filters: int = setting(64, "Filters in each of the four layers.", low=4, high=128, scale="log")
    downsampling: Literal["strided", "max_pool"] = setting(
        "strided", "How the image shrinks from layer to layer: strided filters (fast) or 2x2 max-pooling."
    )
    batch_norm: Literal["transductive", "support_plus_one", "running"] = setting(
        "transductive",
        "What query images are normalised with: all query images together (transductive: they help each "
        "other), the support set plus the one image, or running averages from meta-training.",
    )

    @property
    def keeps_averages(self) -> bool:
        return self.batch_norm == "running"

    def misfit(self, input_shape: Sequence[int]) -> str | None:
        if len(input_shape) != 3:
            return f"conv4 reads images (channels, height, width), but inputs here have shape {tuple(input_shape)}"
        if min(input_shape[1:]) < 2**BLOCKS:
            return f"conv4 halves the image four times, so it needs 16x16 pixels or more, not {input_shape[1:]}"
        return None

    def init(
        self,
        input_shape: Sequence[int],
        output_size: int,
        rng: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Params:
        channels, height, width = input_shape
        params: Params = {}
        for i in range(BLOCKS):
            # He initialisation; no bias, since the normalisation would subtract it again.
            draw = torch.randn(9 * channels, self.filters, generator=rng, dtype=torch.float64)
            params[f"conv{i + 1}.weight"] = (draw * math.sqrt(2 / (9 * channels))).to(dtype)
            params[f"norm{i + 1}.scale"] = torch.ones(self.filters, dtype=dtype)
            params[f"norm{i + 1}.shift"] = torch.zeros(self.filters, dtype=dtype)
            if self.batch_norm == "running":
                params[f"{STATISTICS}norm{i + 1}.mean"] = torch.zeros(self.filters, dtype=dtype)
                params[f"{STATISTICS}norm{i + 1}.variance"] = torch.ones(self.filters, dtype=dtype)
            channels = self.filters
            height, width = self._halved(height), self._halved(width)
        return params | init_linear("head", channels * height * width, output_size, rng, dtype)

    def _halved(self, size: int) -> int:
        return (size + 1) // 2 if self.downsampling == "strided" else size // 2

    def features(
        self, params: Params, x: Tensor, *, support: Tensor | None = None, collect: Params | None = None
    ) -> Tensor:
        n_tasks, n = x.shape[:2]
        one_by_one = support is not None and self.batch_norm == "support_plus_one"
        known = support is not None and self.batch_norm == "running" and collect is None
        if one_by_one:
            x = _each_with(support, x)
        h = x.flatten(0, 1).permute(0, 2, 3, 1)
        for i in range(1, BLOCKS + 1):
            h = self._block(params, i, h, n if one_by_one else 1, known, collect)
        h = h.reshape(n_tasks, -1, math.prod(h.shape[1:]))
        return h.unflatten(1, (n, -1))[:, :, -1] if one_by_one else h

    def _block(self, params: Params, i: int, h: Tensor, groups: int, known: bool, collect: Params | None) -> Tensor:
        """Block i of h (T * n, H, W, C), normalised in `groups` for each task or, if `known`, by running averages."""
        weight, scale, shift = (params[name] for name in (f"conv{i}.weight", f"norm{i}.scale", f"norm{i}.shift"))
        mean_name, variance_name = f"{STATISTICS}norm{i}.mean", f"{STATISTICS}norm{i}.variance"
        pooled = self.downsampling == "max_pool"
        sign: Tensor | float = 1.0
        if pooled:
            # What a negative scale would turn over is turned over here, so that pooling may come first.
            sign = torch.copysign(torch.ones_like(scale), scale.detach())[:, None]
            weight, scale = weight * sign, scale * sign[:, 0]
            sign = sign[:, None]
        h = _convolve(h, weight, stride=1 if pooled else 2)
        if known:
            mean, variance = params[mean_name][:, None, None] * sign, params[variance_name][:, None, None]
            return affine(h, mean, variance, scale, shift, pooled)
        h, mean, variance = normalised(h, scale, shift, pooled, groups)
        if collect is not None:
            collect[mean_name] = (mean.detach() * sign).mean((0, 1, 2))
            collect[variance_name] = variance.detach().mean((0, 1, 2))
        return h


def _each_with(support: Tensor | None, x: Tensor) -> Tensor:
    """The support set followed by one query image, for each query image: (T, n * (s + 1), ...)."""
    assert support is not None
    n = x.shape[1]
    repeated = support[:, None].expand(-1, n, *support.shape[1:])
    return torch.cat([repeated, x[:, :, None]], 2).flatten(1, 2)


def _convolve(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """x (T * n, H, W, C), weight (T, 9 C, filters) -> (T * n, H', W', filters); 3x3, zero padding 1.

    torch's convolution knows one filter bank: on a CPU, task after task is the fastest way (see `training.parallel`).
    """
    n_tasks = weight.shape[0]
    if n_tasks == 1:
        filters = weight.view(3, 3, x.shape[-1], -1).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        return F.conv2d(x.permute(0, 3, 1, 2), filters, stride=stride, padding=1).permute(0, 2, 3, 1)
    patches = Patches.apply(x, stride)
    product = torch.bmm(patches.reshape(n_tasks, -1, patches.shape[-1]), weight)
    return product.reshape(*patches.shape[:3], -1)


class Patches(torch.autograd.Function):
    """All 3x3 patches: (B, H, W, C) -> (B, H', W', 9 C), zero padding 1.

    A linear map; its adjoint is `Scatter`, whose adjoint is this one, so both differentiate to any order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int) -> Tensor:
        ctx.shape, ctx.stride = x.shape, stride
        b, height, width, channels = x.shape
        padded = F.pad(x, (0, 0, 1, 1, 1, 1)).contiguous()
        sb, sh, sw, _ = padded.stride()
        out_h, out_w = (height + stride - 1) // stride, (width + stride - 1) // stride
        shape, strides = (b, out_h, out_w, 3, 3 * channels), (sb, stride * sh, stride * sw, sh, 1)
        return padded.as_strided(shape, strides).reshape(b, out_h, out_w, 9 * channels)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return Scatter.apply(grads[0], ctx.shape, ctx.stride), None


class Scatter(torch.autograd.Function):
    """The adjoint of `Patches`: every patch is added back where it came from."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, shape: torch.Size, stride: int) -> Tensor:
        ctx.stride = stride
        b, height, width, channels = shape
        out_h, out_w = patches.shape[1:3]
        out = patches.new_zeros(b, height + 2, width + 2, channels)
        parts = patches.reshape(b, out_h, out_w, 3, 3, channels)
        for i in range(3):
            for j in range(3):
                rows, columns = slice(i, i + stride * out_h, stride), slice(j, j + stride * out_w, stride)
                out[:, rows, columns] += parts[:, :, :, i, j]
        return out[:, 1 : height + 1, 1 : width + 1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return Patches.apply(grads[0], ctx.stride), None, None
