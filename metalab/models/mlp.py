"""Multi-layer perceptron; two layers of 40 ReLU units for sine waves (Finn et al. 2017, section 5.1)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from metalab.models.base import Model, init_linear, linear
from metalab.params import Params
from metalab.settings import setting

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "softplus": torch.nn.functional.softplus}
Width = Annotated[int, Field(ge=1, le=1024)]


class MLP(Model):
    """Fully connected layers; images are read as one long row of pixels."""

    title: ClassVar[str] = "Multi-layer perceptron"
    summary: ClassVar[str] = "Fully connected layers."

    name: Literal["mlp"] = "mlp"
    widths: Annotated[tuple[Width, ...], Field(max_length=6)] = setting(
        (40, 40), "Units in each hidden layer, from the first to the last."
    )
    activation: Literal["relu", "tanh", "softplus"] = setting(
        "relu", "The non-linearity after each hidden layer.", advanced=True
    )

    @property
    def has_body(self) -> bool:
        return bool(self.widths)

    def misfit(self, input_shape: Sequence[int]) -> str | None:
        return None if math.prod(input_shape) else "mlp reads numbers, but tasks here have no inputs: choose a point"

    def init(
        self,
        input_shape: Sequence[int],
        output_size: int,
        rng: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Params:
        sizes = [math.prod(input_shape), *self.widths]
        params: Params = {}
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            params |= init_linear(f"layer{i + 1}", fan_in, fan_out, rng, dtype)
        return params | init_linear("head", sizes[-1], output_size, rng, dtype)

    def features(
        self, params: Params, x: Tensor, *, support: Tensor | None = None, collect: Params | None = None
    ) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        h = x.flatten(2)
        for i in range(len(self.widths)):
            h = activation(linear(params, f"layer{i + 1}", h))
        return h
