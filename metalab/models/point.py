"""No network at all: the parameters are the prediction. For tasks whose loss is a function of theta itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from metalab.models.base import HEAD, Model
from metalab.params import Params
from metalab.settings import setting


class Point(Model):
    """f(theta) = theta: a head without inputs, whose bias is all there is."""

    title: ClassVar[str] = "A point"
    summary: ClassVar[str] = "No network: a handful of parameters, moved to where a task's loss is least."

    name: Literal["point"] = "point"
    spread: float = setting(
        1.0, "How far from zero the point starts: the standard deviation of each parameter.", low=0.0, high=10.0
    )

    @property
    def has_body(self) -> bool:
        return False

    def misfit(self, input_shape: Sequence[int]) -> str | None:
        if math.prod(input_shape):
            return (
                f"point reads no inputs, but tasks here have inputs of shape {tuple(input_shape)}: it is for quadratics"
            )
        return None

    def init(
        self,
        input_shape: Sequence[int],
        output_size: int,
        rng: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Params:
        theta = self.spread * torch.randn(output_size, generator=rng, dtype=torch.float64)
        return {f"{HEAD}weight": torch.zeros(0, output_size, dtype=dtype), f"{HEAD}bias": theta.to(dtype)}

    def features(
        self, params: Params, x: Tensor, *, support: Tensor | None = None, collect: Params | None = None
    ) -> Tensor:
        return x
