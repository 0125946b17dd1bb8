"""The conditional neural process: Garnelo, Rosenbaum, Maddison, Ramalho, Saxton, Shanahan, Teh, Rezende, Eslami:
Conditional Neural Processes. ICML 2018, arXiv:1807.01613.

An encoder makes a representation of each example (x, y), their mean r stands for the whole support set, and a decoder
reads a query x with r and says what y is: a mean and a standard deviation. The order of the examples cannot matter.
Without any example r is 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from metalab.models.base import HEAD, SupportReader, init_linear, shared_linear
from metalab.params import CONTEXT, Params
from metalab.settings import setting

MEAN = f"{CONTEXT}mean"
LEAST = 0.1
"""Smallest standard deviation, as in the paper's code: it keeps the likelihood bounded where a point is known."""


class CNP(SupportReader):
    """encoder(x, y) -> mean r over the support set; decoder(x, r) -> mean and standard deviation of y."""

    title: ClassVar[str] = "Conditional neural process"
    summary: ClassVar[str] = "Reads the support set into one vector, the mean over its examples."

    name: Literal["cnp"] = "cnp"
    width: int = setting(128, "Units in each hidden layer, and length of the vector.", low=8, high=512, scale="log")
    layers: int = setting(3, "Layers of the encoder, and hidden layers of the decoder.", low=1, high=6)

    def misfit(self, input_shape: Sequence[int]) -> str | None:
        return None if math.prod(input_shape) else "cnp reads numbers, but tasks here have no inputs: choose a point"

    def init(
        self,
        input_shape: Sequence[int],
        output_size: int,
        rng: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Params:
        n_inputs = math.prod(input_shape)
        sizes = {"encoder": n_inputs + output_size, "decoder": n_inputs + self.width}
        params: Params = {}
        for part, size in sizes.items():
            for i, (fan_in, fan_out) in enumerate(itertools.pairwise([size] + self.layers * [self.width])):
                params |= init_linear(f"{part}{i + 1}", fan_in, fan_out, rng, dtype)
        return params | init_linear("head", self.width, 2 * output_size, rng, dtype)

    def outputs(self, theta: Params) -> int:
        return theta[f"{HEAD}bias"].shape[-1] // 2

    def read(self, theta: Params, x: Tensor, y: Tensor) -> Params:
        h = torch.cat([x.flatten(2), y], -1)
        for i in range(1, self.layers + 1):
            h = shared_linear(theta, f"encoder{i}", h)
            h = h.relu() if i < self.layers else h
        return {MEAN: h.sum(1) / max(h.shape[1], 1)}

    def distribution(self, theta: Params, known: Params, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of y at x (T, m, *input_shape): (T, m, output_size) each."""
        h = torch.cat([x.flatten(2), known[MEAN][:, None].expand(-1, x.shape[1], -1)], -1)
        for i in range(1, self.layers + 1):
            h = shared_linear(theta, f"decoder{i}", h).relu()
        mean, spread = shared_linear(theta, "head", h).chunk(2, -1)
        return mean, LEAST + (1 - LEAST) * F.softplus(spread)

    def answer(self, theta: Params, known: Params, x: Tensor) -> Tensor:
        return self.distribution(theta, known, x)[0]
