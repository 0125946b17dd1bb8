"""What a network must offer: everything is batched over tasks, with one set of weights for each task."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from metalab.params import CONTEXT, Params, context
from metalab.settings import Settings
from metalab.tasks.base import TaskFamily

# On a GPU, convolutions compute in float32 like everything else: torch's default, TF32, multiplies numbers of 11 bits.
with warnings.catch_warnings(action="ignore"):  # the newer name for it cannot be set where inductor reads this one
    torch.backends.cudnn.allow_tf32 = False

HEAD = "head."
"""Prefix of the last layer's entries; all others are the body."""


class Model(Settings):
    """A network. A subclass declares `name`, its settings, `init` and `features`."""

    reads_support: ClassVar[bool] = False
    """True for a network that takes the support set as an input, instead of being adapted to it."""
    reads_tokens: ClassVar[bool] = False
    """True for a network that reads letters, and no numbers."""
    name: str

    @property
    def keeps_averages(self) -> bool:
        """Whether meta-training keeps running averages that new tasks are normalised with."""
        return False

    @property
    def has_body(self) -> bool:
        """Whether anything is learned before the head."""
        return True

    def misfit(self, input_shape: Sequence[int]) -> str | None:
        """Why the network cannot read inputs of this shape, in one sentence, or None where it can."""
        return None

    def misfit_with(self, family: TaskFamily) -> str | None:
        """Why the network cannot learn the family's tasks, in one sentence, or None where it can."""
        if family.tokens and not self.reads_tokens:
            return f"{self.name} reads numbers, but the examples of {family.name} are letters: choose a text network"
        if self.reads_tokens and not family.tokens:
            return f"{self.name} reads letters, but the examples of {family.name} are numbers"
        return self.misfit(family.input_shape)

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

    def outputs(self, theta: Params) -> int | None:
        """Width of the predictions of these parameters; None where the head is made anew for each task."""
        bias = theta.get(f"{HEAD}bias")
        return None if bias is None else bias.shape[-1]

    def forward(
        self, params: Params, x: Tensor, *, support: Tensor | None = None, collect: Params | None = None
    ) -> Tensor:
        """Predictions (T, n, output_size) of params (each with task axis T) at x (T, n, *input_shape).

        Without `support`, x is itself a support set: batch statistics, where there are any, are its own.
        With `support` (T, s, *input_shape), x is a query set, normalised as the network's setting says.
        `collect`, where given, receives batch statistics of x, averaged over tasks, for a running average.
        """
        return linear(params, "head", self.features(params, x, support=support, collect=collect))


class SupportReader(Model):
    """A network that reads a support set and then answers queries, with the same parameters for every task.

    A subclass declares `name`, its settings, `init`, `read` and `answer`, whose theta has no task axis.
    """

    reads_support: ClassVar[bool] = True

    def read(self, theta: Params, x: Tensor, y: Tensor) -> Params:
        """What is known of each task after its examples x (T, n, *input_shape), y (T, n, output_size), n >= 0.

        Class ids come as one-hot rows. Entries (T, ...) whose names begin with `context.`.
        """
        raise NotImplementedError

    def answer(self, theta: Params, known: Params, x: Tensor) -> Tensor:
        """Predictions (T, m, output_size) at x (T, m, *input_shape) from what `read` gave."""
        raise NotImplementedError

    def forward(
        self, params: Params, x: Tensor, *, support: Tensor | None = None, collect: Params | None = None
    ) -> Tensor:
        """`answer` from the context that stands in `params`; all tasks have the first one's other entries."""
        return self.answer(*parted(params), x)


def parted(params: Params) -> tuple[Params, Params]:
    """Of params (T, ...) of a support reader: theta, without a task axis, and what is known of each task."""
    shared = {name: value[0] for name, value in params.items() if not name.startswith(CONTEXT)}
    return shared, context(params)


def linear(params: Params, layer: str, x: Tensor) -> Tensor:
    """x (T, n, in) -> (T, n, out) with weight (T, in, out) and bias (T, out)."""
    return torch.baddbmm(params[f"{layer}.bias"].unsqueeze(1), x, params[f"{layer}.weight"])


def shared_linear(theta: Params, layer: str, x: Tensor) -> Tensor:
    """x (..., in) -> (..., out) with weight (in, out) and bias (out,), the same for every task."""
    return F.linear(x, theta[f"{layer}.weight"].mT, theta[f"{layer}.bias"])


def init_linear(layer: str, fan_in: int, fan_out: int, rng: torch.Generator, dtype: torch.dtype) -> Params:
    """Weight (in, out) and bias (out), both U(-1/sqrt(in), 1/sqrt(in))."""
    bound = 1 / math.sqrt(fan_in)
    draw = torch.rand(fan_in + 1, fan_out, generator=rng, dtype=torch.float64)
    values = ((2 * draw - 1) * bound).to(dtype)
    return {f"{layer}.weight": values[:-1].clone(), f"{layer}.bias": values[-1].clone()}
