"""A Gaussian policy: an action's mean from a multi-layer perceptron, its standard deviation from parameters alone.

Finn et al. 2017, section 5.3, with the initialisation of its code: Glorot's uniform weights and biases of zero, so
that the policy first stays about where it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from metalab.models.base import HEAD, Model, linear
from metalab.models.mlp import ACTIVATIONS, Width
from metalab.params import Params
from metalab.settings import setting
from metalab.tasks.base import TaskFamily

LOG_STD = f"{HEAD}log_std"
"""The entry that says how much the policy tries out; it adapts and is learned like any other."""


class Policy(Model):
    """Predictions are the mean of an action and the logarithm of its standard deviation, one after the other."""

    title: ClassVar[str] = "Gaussian policy"
    summary: ClassVar[str] = "Says where to go, and how much to try out."

    name: Literal["policy"] = "policy"
    widths: Annotated[tuple[Width, ...], Field(max_length=6)] = setting(
        (40, 40), "Units in each hidden layer, from the first to the last."
    )
    activation: Literal["tanh", "relu", "softplus"] = setting(
        "tanh", "The non-linearity after each hidden layer.", advanced=True
    )

    @property
    def has_body(self) -> bool:
        return bool(self.widths)

    def misfit_with(self, family: TaskFamily) -> str | None:
        if family.kind != "reinforcement":
            return f"policy chooses actions, but {family.name} asks for answers: choose a family in which one acts"
        return super().misfit_with(family)

    def init(
        self,
        input_shape: Sequence[int],
        output_size: int,
        rng: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Params:
        sizes = [math.prod(input_shape), *self.widths, output_size // 2]
        layers = [f"layer{i + 1}" for i in range(len(self.widths))] + [HEAD.removesuffix(".")]
        params: Params = {}
        for layer, (fan_in, fan_out) in zip(layers, itertools.pairwise(sizes), strict=True):
            bound = math.sqrt(6 / (fan_in + fan_out))
            draw = torch.rand(fan_in, fan_out, generator=rng, dtype=torch.float64)
            params[f"{layer}.weight"] = ((2 * draw - 1) * bound).to(dtype)
            params[f"{layer}.bias"] = torch.zeros(fan_out, dtype=dtype)
        return params | {LOG_STD: torch.zeros(output_size // 2, dtype=dtype)}

    def outputs(self, theta: Params) -> int | None:
        return theta[f"{HEAD}bias"].shape[-1] + theta[LOG_STD].shape[-1]

    def features(
        self, params: Params, x: Tensor, *, support: Tensor | None = None, collect: Params | None = None
    ) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        h = x.flatten(2)
        for i in range(len(self.widths)):
            h = activation(linear(params, f"layer{i + 1}", h))
        return h

    def forward(
        self, params: Params, x: Tensor, *, support: Tensor | None = None, collect: Params | None = None
    ) -> Tensor:
        mean = linear(params, "head", self.features(params, x, support=support, collect=collect))
        return torch.cat([mean, params[LOG_STD][:, None].expand(mean.shape)], -1)
