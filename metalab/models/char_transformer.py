"""A small decoder-only transformer that reads and writes names letter by letter.

Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin: Attention Is All You Need. NeurIPS 2017,
arXiv:1706.03762, of which only the decoder is left, as in Radford, Narasimhan, Salimans, Sutskever: Improving
Language Understanding by Generative Pre-Training. 2018. Normalisation stands before each part and only scales:
Zhang, Sennrich: Root Mean Square Layer Normalization. NeurIPS 2019, arXiv:1910.07467.

Every letter sees the letters before it in its own name and, where there is a context, all letters of the names in
the context. A position counts within a name, so that the order of the names means nothing; whether a letter belongs
to another name is told by one learned number for each head, added to the attention. Without a context that number
plays no part: one set of parameters reads names with and without examples before them.

Legend: T tasks, n names, S positions, E width, H heads, P letters of a context.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn import functional as F

from metalab.models.base import Model, init_linear, linear
from metalab.params import Params
from metalab.settings import setting
from metalab.tasks.base import TaskFamily

EPSILON = 1e-6
HIDDEN = 4
"""Units between the two layers of a block, in widths."""


class Letters(NamedTuple):
    """Names one after another, without what filled them up."""

    tokens: Tensor
    """(T, P)"""
    position: Tensor
    """(T, P), within the name."""
    name: Tensor
    """(T, P), which name it belongs to; -1 for what only fills a task's row up."""


class Keys(NamedTuple):
    """What a layer's attention looks at: both (T, n, H, S, E / H)."""

    key: Tensor
    value: Tensor


class CharTransformer(Model):
    """Predicts each next letter of a name from those before it."""

    title: ClassVar[str] = "Character transformer"
    summary: ClassVar[str] = "A decoder-only transformer that predicts a name letter by letter."
    reads_tokens: ClassVar[bool] = True

    name: Literal["char_transformer"] = "char_transformer"
    width: int = setting(32, "Numbers that stand for one letter between the layers.", low=8, high=256, scale="log")
    heads: Literal[4, 1, 2, 8] = setting(4, "Different things that a letter can look at at once.")
    layers: int = setting(2, "Blocks of attention, one on the other.", low=1, high=6)

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"width = {self.width} of a character transformer with heads = {self.heads}: expected a multiple, "
                f"e.g. {self.width // self.heads * self.heads or self.heads}"
            )
        return self

    def misfit_with(self, family: TaskFamily) -> str | None:
        if family.kind != "generation":
            return f"{self.name} predicts letter after letter, but {family.name} asks for one answer to each example"
        return super().misfit_with(family)

    def init(
        self,
        input_shape: Sequence[int],
        output_size: int,
        rng: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Params:
        positions, tokens = input_shape
        e = self.width

        def normal(*shape: int) -> Tensor:
            return (torch.randn(*shape, generator=rng, dtype=torch.float64) / math.sqrt(e)).to(dtype)

        params: Params = {"letter.weight": normal(tokens, e), "position.weight": normal(positions, e)}
        for i in range(1, self.layers + 1):
            params[f"norm{i}a.scale"] = torch.ones(e, dtype=dtype)
            params |= init_linear(f"attention{i}", e, 3 * e, rng, dtype)
            params[f"others{i}"] = torch.zeros(self.heads, dtype=dtype)
            params |= init_linear(f"mix{i}", e, e, rng, dtype)
            params[f"norm{i}b.scale"] = torch.ones(e, dtype=dtype)
            params |= init_linear(f"widen{i}", e, HIDDEN * e, rng, dtype)
            params |= init_linear(f"narrow{i}", HIDDEN * e, e, rng, dtype)
        params["norm.scale"] = torch.ones(e, dtype=dtype)
        return params | init_linear("head", e, output_size, rng, dtype)

    def features(
        self, params: Params, x: Tensor, *, support: Tensor | None = None, collect: Params | None = None
    ) -> Tensor:
        """x (T, n, S) -> (T, n, S, E); every name by itself, `support` is not looked at."""
        return self._run(params, self._embed(params, x), _causal(x.shape[-1], params["norm.scale"]))[0]

    def forward(
        self, params: Params, x: Tensor, *, support: Tensor | None = None, collect: Params | None = None
    ) -> Tensor:
        """Logits of each next letter: x (T, n, S) -> (T, n, S, tokens)."""
        return self._logits(params, self.features(params, x))

    def in_context(self, params: Params, x: Tensor, context: Tensor) -> Tensor:
        """As `forward`, each name of x (T, n, S) after the names of context (T, k, S).

        A row of the context without a letter is no name: a context of such rows alone is no context.
        """
        if context.shape[1] == 0:
            return self.forward(params, x)
        seen = packed(context)
        memory = self._run_letters(params, seen)[1]
        absent = torch.where(seen.name < 0, -torch.inf, 0.0).to(params["norm.scale"])[:, None, None, None, :]
        h, _ = self._run(params, self._embed(params, x), _causal(x.shape[-1], absent), memory, absent)
        return self._logits(params, h)

    def one_after_another(self, params: Params, x: Tensor) -> Tensor:
        """Logits of each next letter (T, n, S, tokens), each name of x (T, n, S) after those before it in x.

        Zero where a position only fills its row up.
        """
        seen = packed(x)
        logits = self._logits(params, self._run_letters(params, seen)[0])[:, 0]
        n_tasks, n, s = x.shape
        there = seen.name >= 0
        task = torch.arange(n_tasks, device=x.device)[:, None].expand_as(seen.name)
        place = (task * n + seen.name) * s + seen.position
        out = logits.new_zeros(n_tasks * n * s + 1, logits.shape[-1])
        # What fills a row up goes to a place behind all others: to choose by a mask would make a GPU wait.
        place = torch.where(there, place, n_tasks * n * s)
        return out.index_put((place,), logits)[:-1].view(n_tasks, n, s, -1)

    # --- parts

    def _embed(self, params: Params, x: Tensor) -> Tensor:
        letter = _looked_up(params["letter.weight"], x.flatten(1)).unflatten(1, x.shape[1:])
        return letter + params["position.weight"][:, None, : x.shape[-1]]

    def _run_letters(self, params: Params, seen: Letters) -> tuple[Tensor, list[Keys]]:
        """(T, 1, P, E), and the keys of each layer (T, 1, H, P, E / H)."""
        h = _looked_up(params["letter.weight"], seen.tokens) + _looked_up(params["position.weight"], seen.position)
        other = seen.name[:, :, None] != seen.name[:, None, :]
        return self._run(params, h[:, None], _causal(h.shape[1], h), other=other.to(h)[:, None, None])

    def _run(
        self,
        params: Params,
        h: Tensor,
        blocked: Tensor,
        memory: Sequence[Keys] | None = None,
        absent: Tensor | None = None,
        *,
        other: Tensor | None = None,
    ) -> tuple[Tensor, list[Keys]]:
        """All blocks on h (T, n, S, E): what the head reads, and the keys of each layer.

        blocked (S, S) and absent (T, 1, 1, 1, P) hold -inf where one letter must not see another of its own
        sequence or of `memory`, else 0; other (T, 1, 1, S, S) holds 1 where they are of different names.
        """
        keys = []
        n_tasks, n, s, e = h.shape
        for i in range(1, self.layers + 1):
            part = linear(params, f"attention{i}", _normed(params, f"norm{i}a", h).flatten(1, 2))
            q, k, v = part.view(n_tasks, n, s, 3, self.heads, e // self.heads).permute(3, 0, 1, 4, 2, 5)
            keys.append(Keys(k, v))
            q = q / math.sqrt(e // self.heads)
            bias = params[f"others{i}"][:, None, :, None, None]
            scores = torch.matmul(q, k.mT) + (blocked if other is None else blocked + bias * other)
            if memory is None or absent is None:
                seen = torch.matmul(scores.softmax(-1), v)
            else:
                far = torch.matmul(q, memory[i - 1].key.mT) + (bias + absent)
                share = torch.cat([far, scores], -1).softmax(-1)
                seen = torch.matmul(share[..., : far.shape[-1]], memory[i - 1].value)
                seen = seen + torch.matmul(share[..., far.shape[-1] :], v)
            h = h + linear(params, f"mix{i}", seen.transpose(2, 3).reshape(n_tasks, n * s, e)).view(h.shape)
            wide = linear(params, f"widen{i}", _normed(params, f"norm{i}b", h).flatten(1, 2))
            h = h + linear(params, f"narrow{i}", F.gelu(wide)).view(h.shape)
        return _normed(params, "norm", h), keys

    def _logits(self, params: Params, h: Tensor) -> Tensor:
        return linear(params, "head", h.flatten(1, 2)).unflatten(1, h.shape[1:3])


def packed(x: Tensor) -> Letters:
    """The names of x (T, n, S), each from its start to its last letter, without what fills their rows up."""
    s = x.shape[-1]
    inside = torch.cat([(x[..., 1:] != 0).any(-1, keepdim=True), x[..., 1:] != 0], -1).flatten(1)
    # A CPU has less to do on shorter rows; a GPU would have to be waited for to learn how short they may be.
    longest = max(int(inside.sum(1).max()), 1) if x.device.type == "cpu" else inside.shape[1]
    order = (~inside).to(torch.int8).argsort(dim=1, stable=True)[:, :longest]
    there = inside.gather(1, order)
    return Letters(x.flatten(1).gather(1, order), order % s, torch.where(there, order // s, -1))


def _looked_up(table: Tensor, ids: Tensor) -> Tensor:
    """table (T, V, E), ids (T, P) -> (T, P, E): as a product, whose second derivatives are cheap."""
    return torch.bmm(F.one_hot(ids, table.shape[1]).to(table), table)


def _normed(params: Params, layer: str, h: Tensor) -> Tensor:
    scale = params[f"{layer}.scale"][:, None, None]
    return h * torch.rsqrt(h.square().mean(-1, keepdim=True) + EPSILON) * scale


def _causal(s: int, like: Tensor) -> Tensor:
    """(S, S): -inf where a position comes after, else 0."""
    return torch.full((s, s), -torch.inf, dtype=like.dtype, device=like.device).triu(1)
