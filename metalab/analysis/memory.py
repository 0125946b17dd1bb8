"""A small memory of what was computed: bounded, oldest use forgotten first, safe between threads; what results take."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch

V = TypeVar("V")


class Memory(Generic[V]):
    """Keeps the `size` values that were asked for last."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size = {size}: expected 1 or more")
        self._size = size
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value of `key`, made by `make` where it is not known.

        Two threads that ask for the same new key at once may both make it: nobody waits for another's work.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        return self.put(key, make())

    def put(self, key: Hashable, value: V) -> V:
        """Keep `value` under `key`, and return it."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        return value

    def __len__(self) -> int:
        return len(self._values)


def size_of(result: Any) -> int:
    """Bytes of the arrays and tensors in a result of dataclasses, tuples, lists and mappings."""
    if isinstance(result, torch.Tensor | np.ndarray):
        return result.nbytes
    if isinstance(result, Mapping):
        return sum(map(size_of, result.values()))
    if isinstance(result, tuple | list):
        return sum(map(size_of, result))
    if is_dataclass(result) and not isinstance(result, type):
        return sum(size_of(getattr(result, each.name, None)) for each in fields(result))
    return 0
