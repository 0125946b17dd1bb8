"""What a network must offer: everything is batched over tasks, with one set of weights for each task."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from metalab.params import Params
from metalab.settings import Settings

HEAD = "head."
"""Prefix of the last layer's entries; all others are the body."""


class Model(Settings):
    """A network. A subclass declares `name`, its settings, `init` and `features`."""

    name: str

    def misfit(self, input_shape: Sequence[int]) -> str | None:
        """Why the network cannot read inputs of this shape, in one sentence, or None where it can."""
        return None

    def init(
        self,
        input_shape: Sequence[int],
        output_size: int,
        rng: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Params:
        """Fresh parameters, drawn from `rng` on the CPU, without a task axis."""
        raise NotImplementedError

    def features(
        self, params: Params, x: Tensor, *, support: Tensor | None = None, collect: Params | None = None
    ) -> Tensor:
        """What the head reads: (T, n, width). Arguments as in `forward`."""
        raise NotImplementedError

    def forward(
        self, params: Params, x: Tensor, *, support: Tensor | None = None, collect: Params | None = None
    ) -> Tensor:
        """Predictions (T, n, output_size) of params (each with task axis T) at x (T, n, *input_shape).

        Without `support`, x is itself a support set: batch statistics, where there are any, are its own.
        With `support` (T, s, *input_shape), x is a query set, normalised as the network's setting says.
        `collect`, where given, receives batch statistics of x, averaged over tasks, for a running average.
        """
        return linear(params, "head", self.features(params, x, support=support, collect=collect))


def linear(params: Params, layer: str, x: Tensor) -> Tensor:
    """x (T, n, in) -> (T, n, out) with weight (T, in, out) and bias (T, out)."""
    return torch.baddbmm(params[f"{layer}.bias"][:, None], x, params[f"{layer}.weight"])


def init_linear(layer: str, fan_in: int, fan_out: int, rng: torch.Generator, dtype: torch.dtype) -> Params:
    """Weight (in, out) and bias (out), both U(-1/sqrt(in), 1/sqrt(in))."""
    bound = 1 / math.sqrt(fan_in)
    draw = torch.rand(fan_in + 1, fan_out, generator=rng, dtype=torch.float64)
    values = ((2 * draw - 1) * bound).to(dtype)
    return {f"{layer}.weight": values[:-1].clone(), f"{layer}.bias": values[-1].clone()}
