"""Drawn characters: N-way K-shot classification of characters never seen before.

Episodes after Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra: Matching Networks for One Shot Learning.
NeurIPS 2016, arXiv:1606.04080. A family is a `CharacterFamily` with its `Library` of pictures.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor

from metalab.settings import setting
from metalab.tasks.base import Examples, Split, TaskBatch, TaskFamily, moved

DRAWERS = 20
"""People who drew each character once, unless a library says otherwise."""
SIDE = 28
"""Height and width of a picture in pixels."""


@dataclass(frozen=True)
class Characters:
    """The classes of one split: images (C, drawers, SIDE, SIDE), ink 255 on 0, and a name for each class."""

    images: NDArray[np.uint8]
    names: tuple[str, ...]

    def turned(self) -> Characters:
        """Each character four times, turned by 0, 90, 180 and 270 degrees: classes of their own (4 C)."""
        images = np.concatenate([np.rot90(self.images, turns, (2, 3)) for turns in range(4)])
        marks = ("", ", turned 90°", ", turned 180°", ", turned 270°")
        return Characters(images, tuple(name + mark for mark in marks for name in self.names))


class Library:
    """The pictures of one family, loaded at the first use, once for all threads, and kept on each device."""

    def __init__(self, load: Callable[[], Mapping[Split, Characters]], *, turn: bool = True) -> None:
        """`load` gives the unturned characters of every split; it may raise `DataMissing`.

        With `turn` each rotation by 90 degrees of a training character is a class of its own.
        """
        self._load = load
        self._turn = turn
        self._lock = threading.RLock()
        self._splits: dict[Split, Characters] = {}
        self._images: dict[tuple[Split, torch.device], Tensor] = {}

    @property
    def loaded(self) -> bool:
        return bool(self._splits)

    def characters(self, split: Split) -> Characters:
        """The classes of `split`, in "train" with their rotations where there are any."""
        splits = self._splits
        if not splits:
            with self._lock:
                if not self._splits:
                    found = dict(self._load())
                    if self._turn:
                        found["train"] = found["train"].turned()
                    self._splits = found
                splits = self._splits
        return splits[split]

    def images(self, split: Split, device: torch.device | str = "cpu") -> Tensor:
        """(C, drawers, SIDE, SIDE) uint8 on `device`, shared: not to be written to."""
        key = (split, torch.device(device))
        found = self._images.get(key)
        if found is None:
            images = torch.from_numpy(np.ascontiguousarray(self.characters(split).images)).to(device)
            with self._lock:
                found = self._images.setdefault(key, images)
        return found


class CharacterFamily(TaskFamily):
    """Tell N characters apart that were never seen before, from K drawings of each."""

    kind: ClassVar[Literal["regression", "classification"]] = "classification"
    input_shape: ClassVar[tuple[int, ...]] = (1, SIDE, SIDE)
    library: ClassVar[Library]
    each: ClassVar[int] = DRAWERS
    """Pictures of each class."""

    ways: int = setting(5, "How many different characters each task asks to tell apart.", low=2, high=20)
    shots: int = setting(1, "How many drawings of each character the model may learn from.", low=1, high=10)
    queries: int = setting(9, "How many other drawings of each character it is then tested on.", low=1, high=15)

    @model_validator(mode="after")
    def _enough_drawers(self) -> Self:
        if self.shots + self.queries > self.each:
            raise ValueError(
                f"shots + queries = {self.shots} + {self.queries} = {self.shots + self.queries}, expected at most "
                f"{self.each}: every character was drawn by {self.each} people, once each. Lower shots or queries"
            )
        return self

    @property
    def output_size(self) -> int:
        return self.ways

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        """Tasks whose label k is the k-th of `ways` random classes, examples in the order of their labels.

        support x (T, ways * shots, 1, SIDE, SIDE), ink 1 on 0; info: `classes` (T, ways) numbers within the
        split, `drawers` (T, ways, shots + queries), support first, and `names`, a list of `ways` for each task.
        Raises DataMissing.
        """
        images = self.images(split, device)
        n = self.shots + self.queries
        # The places of the highest of independent numbers are a random choice in random order.
        classes = torch.rand(n_tasks, len(images), generator=rng).topk(self.ways).indices
        drawers = torch.rand(n_tasks, self.ways, images.shape[1], generator=rng).topk(n).indices
        rows = classes[..., None] * images.shape[1] + drawers
        names = self.characters(split).names
        info = {
            "classes": classes,
            "drawers": drawers,
            "names": [[names[c] for c in task] for task in classes.tolist()],
        }
        support = self._examples(images, rows[..., : self.shots])
        return TaskBatch(support, self._examples(images, rows[..., self.shots :]), info)

    def _examples(self, images: Tensor, rows: Tensor) -> Examples:
        """The pictures `rows` (T, ways, each) as examples (T, ways * each), class after class."""
        n_tasks, ways, each = rows.shape
        chosen = images.view(-1, SIDE * SIDE).index_select(0, moved(rows.reshape(-1), images.device))
        x = chosen.to(torch.float32).div_(255).view(n_tasks, ways * each, *self.input_shape)
        y = torch.arange(ways, device=images.device).repeat_interleave(each).repeat(n_tasks, 1)
        return Examples(x, y)

    def source(self, split: Split) -> tuple[Library, Split]:
        """Whose pictures the tasks of `split` are made of."""
        return self.library, split

    def characters(self, split: Split) -> Characters:
        """The classes of `split`. Raises DataMissing."""
        library, its = self.source(split)
        return library.characters(its)

    def images(self, split: Split, device: torch.device | str = "cpu") -> Tensor:
        """(C, drawers, SIDE, SIDE) uint8, ink 255 on 0, shared: not to be written to. Raises DataMissing."""
        library, its = self.source(split)
        return library.images(its, device)

    def n_classes(self, split: Split) -> int:
        """How many classes the split has, in "train" with their rotations. Raises DataMissing."""
        return len(self.characters(split).names)

    def class_name(self, split: Split, class_id: int) -> str:
        """Alphabet and number of a class of `split`, e.g. 'Greek 7, turned 90°'. Raises DataMissing."""
        return self.characters(split).names[class_id]

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        return "; ".join(info["names"][task])
