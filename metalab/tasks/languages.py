"""Names to be told apart by their languages: N languages never seen before, K names of each to learn from.

Text classification; see `metalab.tasks.cldr` for where the names come from and how held-out languages are kept apart.
No name belongs to two languages, so every name has one right answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from metalab.settings import setting
from metalab.tasks.base import Examples, Split, TaskBatch, TaskFamily
from metalab.tasks.cldr import LONGEST, TOKENS, corpus, without_replacement


class Languages(TaskFamily):
    """Say which of N languages a name is in, after K names of each."""

    title: ClassVar[str] = "Languages"
    summary: ClassVar[str] = "Say in which of a few unknown languages a name is written."
    kind: ClassVar[Literal["regression", "classification", "generation", "reinforcement"]] = "classification"
    tokens: ClassVar[bool] = True
    input_shape: ClassVar[tuple[int, ...]] = (LONGEST, TOKENS)

    name: Literal["languages"] = "languages"
    ways: int = setting(5, "How many languages each task asks to tell apart.", low=2, high=15)
    shots: int = setting(5, "How many names of each language the model may learn from.", low=1, high=20)
    queries: int = setting(10, "How many other names of each language it is then tested on.", low=1, high=30)

    @property
    def output_size(self) -> int:
        return self.ways

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        found = rows_of(split)
        classes = torch.rand(n_tasks, len(found.titles), generator=rng).argsort(1)[:, : self.ways]
        places = without_replacement(found.count[classes], self.shots + self.queries, rng)
        rows = found.first[classes][..., None] + places
        info = {
            "classes": classes,
            "languages": [[found.titles[i] for i in task] for task in classes.tolist()],
        }
        support = _examples(found.tokens, rows[..., : self.shots])
        return TaskBatch(support.to(device), _examples(found.tokens, rows[..., self.shots :]).to(device), info)

    def n_classes(self, split: Split) -> int:
        return len(rows_of(split).titles)

    def class_names(self, info: Mapping[str, Any], task: int) -> tuple[str, ...]:
        return tuple(info["languages"][task])

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        return ", ".join(info["languages"][task])


def _examples(tokens: Tensor, rows: Tensor) -> Examples:
    """The names `rows` (T, ways, each) as examples (T, ways * each), class after class."""
    n_tasks, ways, each = rows.shape
    y = torch.arange(ways).repeat_interleave(each).repeat(n_tasks, 1)
    return Examples(tokens[rows.flatten(1)], y)


class Rows:
    """Where in the corpus the split's languages stand.

    tokens (N, LONGEST) are all names; a language's begin at `first` and are `count` many, and `titles` are what the
    languages are called.
    """

    def __init__(self, split: Split) -> None:
        found = corpus()
        places = found.of(split)
        self.tokens = torch.from_numpy(found.tokens)
        self.titles = [found.titles[place] for place in places]
        self.first = torch.from_numpy(np.searchsorted(found.language, places))
        self.count = torch.from_numpy(np.bincount(found.language)[places])


@cache
def rows_of(split: Split) -> Rows:
    """Where the languages of `split` stand, found once."""
    return Rows(split)
