"""A transformer that reads a support set as a sequence and answers queries in the same pass.

Vaswani et al.: Attention Is All You Need. NeurIPS 2017, arXiv:1706.03762, with normalisation before each layer. A token
is an example: x and y embedded and added. Support tokens attend to each other, both ways and without positions, so
that their order cannot matter; a query, which has no y, attends to them and to no other query (as in Müller et al.:
Transformers Can Do Bayesian Inference. ICLR 2022, arXiv:2112.10510). A learned token stands before the examples, so
that there is something to attend to when there are none.

Images are embedded by strided 3x3 convolutions without batch normalisation: no query knows of another. What the images
of a support set have in common is taken out, and each head begins by looking for what is like the query. Without
either, what tells images apart drowns in what they share, and for hundreds of steps nothing is learned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from metalab.models.base import SupportReader, init_linear, shared_linear
from metalab.params import CONTEXT, Params
from metalab.settings import setting

CONVOLUTIONS = 4
MEAN, SPREAD = f"{CONTEXT}mean", f"{CONTEXT}spread"
EPSILON = 1e-5
HEAD_WIDTH = 16
WIDENING = 2
"""How much wider the hidden layer of a block's perceptron is."""


class Transformer(SupportReader):
    """tokens (x_i, y_i) -> attention among them; query tokens x -> attention to them -> y."""

    title: ClassVar[str] = "Transformer over the support set"
    summary: ClassVar[str] = "Reads the support set as a sequence of examples and answers queries in the same pass."

    name: Literal["transformer"] = "transformer"
    layers: int = setting(3, "Attention layers.", low=1, high=8)
    heads: int = setting(
        4,
        "Ways in which each layer compares examples. Each has 16 units, so that 4 make vectors of 64.",
        label="Attention heads",
        low=1,
        high=16,
    )
    filters: int = setting(
        32, "Filters in each of the four convolutions that embed an image.", low=4, high=128, scale="log", advanced=True
    )

    @property
    def width(self) -> int:
        """Length of the vector that stands for an example."""
        return HEAD_WIDTH * self.heads

    def misfit(self, input_shape: Sequence[int]) -> str | None:
        if len(input_shape) == 3 and min(input_shape[1:]) < 2**CONVOLUTIONS:
            return f"transformer halves images four times, so it needs 16x16 pixels or more, not {input_shape[1:]}"
        if not math.prod(input_shape):
            return "transformer reads numbers, but tasks here have no inputs: choose a point"
        return None

    def init(
        self,
        input_shape: Sequence[int],
        output_size: int,
        rng: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Params:
        d = self.width
        params = self._init_embedding(input_shape, rng, dtype) | init_linear("label", output_size, d, rng, dtype)
        draw = torch.randn(2, d, generator=rng, dtype=torch.float64) / math.sqrt(d)
        params |= {"token.first": draw[0].to(dtype), "token.query": draw[1].to(dtype)}
        for i in range(1, self.layers + 1):
            for part, sizes in {
                "attend": (d, 3 * d),
                "gather": (d, d),
                "widen": (d, WIDENING * d),
                "narrow": (WIDENING * d, d),
            }.items():
                params |= init_linear(f"{part}{i}", *sizes, rng, dtype)
            if len(input_shape) == 3:
                weight = params[f"attend{i}.weight"]
                weight[:, d : 2 * d] = weight[:, :d]  # keys as queries: at first alike attends to alike
            params |= _init_norm(f"before{i}", d, dtype) | _init_norm(f"between{i}", d, dtype)
        return params | _init_norm("last", d, dtype) | init_linear("head", d, output_size, rng, dtype)

    def _init_embedding(self, input_shape: Sequence[int], rng: torch.Generator, dtype: torch.dtype) -> Params:
        if len(input_shape) != 3:
            return init_linear("embed1", math.prod(input_shape), self.width, rng, dtype) | init_linear(
                "embed2", self.width, self.width, rng, dtype
            )
        channels, height, width = input_shape
        params: Params = {}
        for i in range(1, CONVOLUTIONS + 1):
            # He initialisation.
            draw = torch.randn(self.filters, channels, 3, 3, generator=rng, dtype=torch.float64)
            params[f"conv{i}.weight"] = (draw * math.sqrt(2 / (9 * channels))).to(dtype)
            params[f"conv{i}.bias"] = torch.zeros(self.filters, dtype=dtype)
            channels, height, width = self.filters, (height + 1) // 2, (width + 1) // 2
        return params | init_linear("embed2", channels * height * width, self.width, rng, dtype)

    def _embedded(self, theta: Params, x: Tensor) -> Tensor:
        """x (T, n, *input_shape) -> (T, n, width)."""
        if x.dim() != 5:
            return shared_linear(theta, "embed2", F.gelu(shared_linear(theta, "embed1", x.flatten(2))))
        h = x.flatten(0, 1)
        for i in range(1, CONVOLUTIONS + 1):
            h = F.conv2d(h, theta[f"conv{i}.weight"], theta[f"conv{i}.bias"], stride=2, padding=1).relu()
        return shared_linear(theta, "embed2", h.flatten(1)).unflatten(0, x.shape[:2])

    def read(self, theta: Params, x: Tensor, y: Tensor) -> Params:
        """The keys and values of each layer, (T, heads, 1 + n, width / heads): all that queries attend to.

        Of images also the mean (T, 1, width) and the standard deviation (T, 1, 1) of their embeddings.
        """
        h = theta["token.first"].expand(x.shape[0], 1, -1)
        known: Params = {}
        if x.shape[1]:
            embedded = self._embedded(theta, x)
            if x.dim() == 5:
                mean = embedded.mean(1, keepdim=True)
                spread = ((embedded - mean).square().mean((1, 2), keepdim=True) + EPSILON).sqrt()
                known, embedded = {MEAN: mean, SPREAD: spread}, (embedded - mean) / spread
            h = torch.cat([h, embedded + shared_linear(theta, "label", y)], 1)
        for i in range(1, self.layers + 1):
            query, key, value = self._compared(theta, i, h)
            known |= {f"{CONTEXT}key{i}": key, f"{CONTEXT}value{i}": value}
            if i < self.layers:
                h = self._block(theta, i, h, query, key, value)
        return known

    def answer(self, theta: Params, known: Params, x: Tensor) -> Tensor:
        embedded = self._embedded(theta, x)
        if MEAN in known:
            embedded = (embedded - known[MEAN]) / known[SPREAD]
        h = embedded + theta["token.query"]
        for i in range(1, self.layers + 1):
            query, _key, _value = self._compared(theta, i, h)
            h = self._block(theta, i, h, query, known[f"{CONTEXT}key{i}"], known[f"{CONTEXT}value{i}"])
        return shared_linear(theta, "head", _normalised(theta, "last", h))

    def _compared(self, theta: Params, i: int, h: Tensor) -> tuple[Tensor, ...]:
        """Query, key and value of tokens h (T, n, width) in layer i: (T, heads, n, width / heads) each."""
        both = shared_linear(theta, f"attend{i}", _normalised(theta, f"before{i}", h))
        return both.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def _block(self, theta: Params, i: int, h: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Tokens after layer i: what they gathered by attention, then a perceptron on each."""
        gathered = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        h = h + shared_linear(theta, f"gather{i}", gathered)
        wide = F.gelu(shared_linear(theta, f"widen{i}", _normalised(theta, f"between{i}", h)))
        return h + shared_linear(theta, f"narrow{i}", wide)


def _init_norm(layer: str, width: int, dtype: torch.dtype) -> Params:
    return {f"{layer}.scale": torch.ones(width, dtype=dtype), f"{layer}.shift": torch.zeros(width, dtype=dtype)}


def _normalised(theta: Params, layer: str, h: Tensor) -> Tensor:
    """Each token with mean 0 and variance 1, then scaled and shifted (layer normalisation)."""
    return F.layer_norm(h, h.shape[-1:], theta[f"{layer}.scale"], theta[f"{layer}.shift"])
