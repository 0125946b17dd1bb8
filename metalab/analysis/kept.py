"""What analyses found, kept in files: a picture that was computed once is there after the next start too.

A result is a value of numbers (those of NumPy come back as plain ones), words, arrays, tuples, lists, mappings and this
package's dataclasses. It is kept as a safetensors file: the arrays as they are, the rest as JSON in its metadata.
Nothing in a file is ever run: a class is named, and taken only if it is a dataclass of `metalab.analysis`. A result or
a key of other parts is not kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import logging
import platform
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from metalab.places import PlaceError, write_atomically
from metalab.places import cache as cache_folder

PACKAGE = Path(__file__).resolve().parents[1]
MADE_BY = ("analysis", "algorithms", "models", "tasks", "training")
"""The folders of the package whose code a result depends on."""
MOST_BYTES, MOST_FILES = 200 << 20, 2_000
"""Of all files together: the ones not used for longest go first."""
LARGEST_BYTES = 20 << 20
SUFFIX = ".safetensors"

log = logging.getLogger(__name__)


class NotKept(TypeError):
    """A part of a result or of a key that these files cannot hold; the message names its type."""


class Kept:
    """Results by key, in a folder. Every method may be called from any thread, and none raises for what a disk does."""

    def __init__(self, folder: Callable[[], Path] = lambda: cache_folder() / "results") -> None:
        self._folder = folder

    def get(self, key: Hashable) -> Any:
        """The result kept for `key`. Raises LookupError where there is none that can be read."""
        try:
            path = self._folder() / name(key)
            with safe_open(path, framework="numpy") as file:
                arrays = {each: file.get_tensor(each) for each in file.keys()}  # noqa: SIM118 (no mapping)
                tree = json.loads((file.metadata() or {})["tree"])
            found = _read(tree, arrays)
            with suppress(OSError):
                path.touch()
        except FileNotFoundError as problem:
            raise LookupError("nothing is kept for this key") from problem
        except (
            NotKept,
            PlaceError,
            OSError,
            SafetensorError,
            ImportError,
            ValueError,
            TypeError,
            LookupError,
        ) as problem:
            raise LookupError(f"what is kept for this key cannot be read: {problem}") from problem
        return found

    def put(self, key: Hashable, result: Any) -> bool:
        """Keep `result` for `key`, and forget old ones where the folder grows too large; whether it is kept now."""
        arrays: dict[str, np.ndarray] = {}
        try:
            file_name = name(key)
            tree = json.dumps(_write(result, arrays))
            data = save(arrays, {"tree": tree})
            if len(data) > LARGEST_BYTES:
                return False
            folder = self._folder()
            folder.mkdir(exist_ok=True)
            write_atomically(folder / file_name, lambda file: file.write(data))
            _make_room(folder)
        except NotKept as problem:
            log.debug("A result is not kept in a file: %s", problem)
            return False
        except (PlaceError, OSError) as problem:
            log.debug("A result could not be kept: %s", problem)
            return False
        return True


def name(key: Hashable) -> str:
    """The file's name for a key of numbers, words and tuples: this code's on this machine. Raises NotKept."""
    _plain(key)
    return hashlib.sha256(repr((_code(), platform.node(), key)).encode()).hexdigest() + SUFFIX


def _plain(key: Any) -> None:
    if isinstance(key, tuple):
        for part in key:
            _plain(part)
    elif type(key) not in (str, int, float, bool, bytes, type(None)):
        raise NotKept(f"a key with {type(key).__name__} in it")


@cache
def _code() -> str:
    """Changes with the code that results come from."""
    found = hashlib.sha256()
    for folder in MADE_BY:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


def _write(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return _write(value.item(), arrays)
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise NotKept(f"an array of {value.dtype}")
        place = str(len(arrays))
        arrays[place] = np.ascontiguousarray(value)
        return {"array": place, "shape": value.shape}
    if type(value) in (tuple, list):
        return {type(value).__name__: [_write(each, arrays) for each in value]}
    if isinstance(value, Mapping):
        return {"dict": [[_write(each, arrays) for each in pair] for pair in value.items()]}
    kind = type(value)
    if dataclasses.is_dataclass(kind) and kind.__module__.startswith("metalab.analysis."):
        fields = {
            each.name: _write(getattr(value, each.name), arrays) for each in dataclasses.fields(kind) if each.init
        }
        return {"class": [kind.__module__, kind.__qualname__], "fields": fields}
    raise NotKept(f"{kind.__module__}.{kind.__qualname__}")


def _read(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]].reshape(tree["shape"])
    if "tuple" in tree:
        return tuple(_read(each, arrays) for each in tree["tuple"])
    if "list" in tree:
        return [_read(each, arrays) for each in tree["list"]]
    if "dict" in tree:
        return {_read(key, arrays): _read(value, arrays) for key, value in tree["dict"]}
    kind = _class(*tree["class"])
    return kind(**{field: _read(value, arrays) for field, value in tree["fields"].items()})


def _class(module: str, qualname: str) -> Any:
    if not module.startswith("metalab.analysis."):
        raise NotKept(f"{module}.{qualname}")
    kind = getattr(importlib.import_module(module), qualname, None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module):
        raise NotKept(f"{module}.{qualname}")
    return kind


def _make_room(folder: Path) -> None:
    files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in folder.glob(f"*{SUFFIX}"))
    taken = sum(size for _, size, _ in files)
    for place, (_, size, path) in enumerate(files):
        if len(files) - place <= MOST_FILES and taken <= MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        taken -= size
