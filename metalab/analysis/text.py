"""What contenders write: names drawn letter by letter from an adapted network."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from metalab.algorithms.base import Algorithm, Learner
from metalab.params import Params
from metalab.tasks.cldr import BOUNDARY, LONGEST, SHORTEST, corpus, decode
from metalab.tasks.names import POSITIONS

Origin = Literal["copied", "real", "new"]
LOWEST, HIGHEST = 0.1, 2.0
"""Temperatures that can be asked for."""


def written_names(
    algorithm: Algorithm,
    learner: Learner,
    phi: Params,
    support_x: Tensor,
    n: int,
    *,
    temperature: float = 0.7,
    seed: int = 0,
) -> Tensor:
    """`n` names that each of phi (T, ...), adapted to support_x (T, k, POSITIONS), writes: tokens (T, n, LONGEST).

    Each letter is drawn from softmax(logits / temperature): the lower, the more often the likeliest. The same seed
    draws with the same chances for every phi, so that names differ only where the networks do. Names have at least
    SHORTEST letters.

    Raises ValueError for a temperature outside 0.1 .. 2.
    """
    if not LOWEST <= temperature <= HIGHEST:
        raise ValueError(f"temperature = {temperature!r}: expected a number from {LOWEST:g} to {HIGHEST:g}")
    n_tasks = support_x.shape[0]
    chances = torch.rand(n, LONGEST, generator=torch.Generator().manual_seed(seed)).to(support_x.device)
    x = support_x.new_full((n_tasks, n, POSITIONS), BOUNDARY)
    ended = torch.zeros(n_tasks, n, dtype=torch.bool, device=x.device)
    with torch.no_grad():
        for place in range(LONGEST):
            logits = algorithm.predict(learner, phi, x[..., : place + 1], support_x)[..., -1, :] / temperature
            if place < SHORTEST:
                logits[..., BOUNDARY] = -torch.inf
            below = logits.double().nan_to_num().softmax(-1).cumsum(-1)
            letter = (below < chances[:, place, None]).sum(-1).clamp(max=logits.shape[-1] - 1)
            ended = ended | (letter == BOUNDARY)
            x[..., place + 1] = letter.masked_fill(ended, BOUNDARY)
            if bool(ended.all()):
                break
    return x[..., 1:]


def origins(written: NDArray, support: NDArray) -> list[tuple[str, Origin]]:
    """The names of token rows (n, LONGEST), and where each is from.

    Copied from the examples `support` (k, LONGEST), a real name of some language that was not among them, or new.
    """
    given = set(spelled(support))
    return [(name, "copied" if name in given else "real" if name in _real() else "new") for name in spelled(written)]


def spelled(tokens: NDArray) -> list[str]:
    """The names of token rows."""
    return [decode(row) for row in tokens.astype(int)]


def names_read(support_x: NDArray) -> NDArray:
    """Of what a network reads (k, POSITIONS) the names alone (k, LONGEST)."""
    return support_x[:, 1:]


@cache
def _real() -> frozenset[str]:
    return frozenset(decode(row) for row in corpus().tokens)
