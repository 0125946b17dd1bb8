"""Names to be written: the model reads some of a language's names and is asked for more of the same kind.

A task is one kind of name (of places, languages or currencies) in one language; see `metalab.tasks.cldr` for where
the names come from and how held-out languages are kept apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metalab.settings import setting
from metalab.tasks.base import Examples, Split, TaskBatch, TaskFamily
from metalab.tasks.cldr import BOUNDARY, KINDS, LONGEST, TOKENS, corpus, without_replacement

IGNORED = -100
"""Target of the positions after a name's end: they count for nothing."""
POSITIONS = LONGEST + 1
"""A boundary to begin with, then the letters."""
MOST_SHOTS, MOST_QUERIES = 30, 30


class Names(TaskFamily):
    """Predict each next letter of a language's names, after a few of them."""

    title: ClassVar[str] = "Names"
    summary: ClassVar[str] = "Write new names in a language of which only a few names are known."
    kind: ClassVar[Literal["regression", "classification", "generation", "reinforcement"]] = "generation"
    tokens: ClassVar[bool] = True
    input_shape: ClassVar[tuple[int, ...]] = (POSITIONS, TOKENS)
    output_size: ClassVar[int] = TOKENS

    name: Literal["names"] = "names"
    shots: int = setting(10, "How many names of each language the model may learn from.", low=1, high=MOST_SHOTS)
    queries: int = setting(10, "How many other names of the language it must then predict.", low=1, high=MOST_QUERIES)

    @property
    def metric(self) -> str:
        """Smaller is better."""
        return "perplexity"

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        found = lists_of(split)
        lists = torch.randint(len(found.first), (n_tasks,), generator=rng)
        places = without_replacement(found.count[lists], self.shots + self.queries, rng)
        x, y = to_predict(found.tokens[found.first[lists][:, None] + places])
        info = {
            "language": [found.language[i] for i in lists.tolist()],
            "kind": [found.kind[i] for i in lists.tolist()],
        }
        support = Examples(x[:, : self.shots], y[:, : self.shots]).to(device)
        return TaskBatch(support, Examples(x[:, self.shots :], y[:, self.shots :]).to(device), info)

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        return f"{info['language'][task]}, names of {_PLURAL[info['kind'][task]]}"

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of each task (T,) in nats per letter, the end of a name counted as one.

        prediction (T, n, POSITIONS, TOKENS), target (T, n, POSITIONS).
        """
        nats = F.cross_entropy(prediction.movedim(-1, 1), target, ignore_index=IGNORED, reduction="none")
        return nats.sum((1, 2)) / (target != IGNORED).sum((1, 2))

    def metrics(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Loss, and perplexity exp(loss): among how many equally likely letters it hesitates."""
        loss = self.loss(prediction, target)
        return {"loss": loss, "perplexity": loss.exp()}


_PLURAL = {"place": "places", "language": "languages", "currency": "currencies"}


def to_predict(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Names (..., LONGEST) as what is read, a boundary first, and what is to be predicted, the boundary last."""
    boundary = tokens.new_full((*tokens.shape[:-1], 1), BOUNDARY)
    x, y = torch.cat([boundary, tokens], -1), torch.cat([tokens, boundary], -1)
    ended = y.eq(BOUNDARY).cumsum(-1) > 1
    return x, y.masked_fill(ended, IGNORED)


class Lists:
    """The split's lists of names long enough for a task, one for each language and kind.

    tokens (N, LONGEST) are all names; a list's begin at `first` and are `count` many, in `language` and of `kind`.
    """

    def __init__(self, split: Split) -> None:
        found = corpus()
        self.tokens = torch.from_numpy(found.tokens)
        lists = [
            (np.flatnonzero((found.language == place) & (found.kind == kind)), found.titles[place], name)
            for place in found.of(split)
            for kind, name in enumerate(KINDS.values())
        ]
        lists = [entry for entry in lists if len(entry[0]) >= MOST_SHOTS + MOST_QUERIES]
        self.first = torch.tensor([int(rows[0]) for rows, _title, _name in lists])
        self.count = torch.tensor([len(rows) for rows, _title, _name in lists])
        self.language = [title for _rows, title, _name in lists]
        self.kind = [name for _rows, _title, name in lists]


@cache
def lists_of(split: Split) -> Lists:
    """The lists of `split`, found once."""
    return Lists(split)
