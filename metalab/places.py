"""Where things lie on this machine: our own folder, its cache, and the data sets.

Every function reads the environment when it is called, so that a test or a server can move a place.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

log = logging.getLogger(__name__)
_warned: set[str] = set()


class PlaceError(RuntimeError):
    """A folder cannot be made or written to. The message names it and the variable that moves it."""


def home() -> Path:
    """`METALAB_HOME`, by default `.metalab/` under the current directory; made where it is missing.

    Raises PlaceError where it cannot be made or written to.
    """
    return _writable(home_folder(), "METALAB_HOME")


def home_folder() -> Path:
    """Where `home()` lies. It may be missing or read-only: nothing is made here."""
    return Path(os.environ.get("METALAB_HOME") or ".metalab").expanduser().resolve()


def cache() -> Path:
    """`home()/cache`: what can be computed again. Raises PlaceError like `home`."""
    return _writable(home() / "cache", "METALAB_HOME")


def data() -> Path:
    """`METALAB_DATA`, by default `~/.cache/metalab`. It may be missing or read-only: nothing is made here."""
    return Path(os.environ.get("METALAB_DATA") or "~/.cache/metalab").expanduser().resolve()


def writable_data(name: str) -> Path:
    """`data()/name`, made where it is missing. Raises PlaceError where it cannot be made or written to."""
    return _writable(data() / name, "METALAB_DATA")


def refused(folder: Path, variable: str, problem: OSError) -> PlaceError:
    """The error to raise where a file in `folder` cannot be made or taken."""
    return PlaceError(
        f"cannot write to {folder} ({problem.strerror or problem}): set {variable} to a folder that you may write to"
    )


def _writable(folder: Path, variable: str) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise PlaceError(
            f"cannot make the folder {folder} ({problem.strerror}): set {variable} to a folder that you may write to"
        ) from problem
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PlaceError(f"cannot write to {folder}: set {variable} to a folder that you may write to")
    return folder


def write_atomically(path: Path, write: Callable[[Any], object], *, sync: bool = False) -> None:
    """Let `write(file)` fill a temporary binary file that then takes the name `path`, whole or not at all.

    With `sync` that holds even after a power failure. What a killed process leaves is named `.<name>.*.part`.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def cached_array(name: str, dtype: np.dtype, shape: tuple[int, ...], build: Callable[[], np.ndarray]) -> np.ndarray:
    """The array of cache file `name` (with a version in it), or `build()`, which is then kept there.

    A file that is damaged or of another dtype or shape is built anew. Where the cache cannot be written
    the array lives in memory only; that is logged once.
    """
    path = cached_path(name)
    if path is not None:
        found = _read(path, dtype, shape)
        if found is not None:
            return found
    array = build()
    if path is not None:
        try:
            write_atomically(path, lambda file: np.save(file, array, allow_pickle=False))
        except OSError as problem:
            _warn_once(f"cannot write {path} ({problem.strerror}): kept in memory, built again at the next start")
    return array


def cached_path(name: str) -> Path | None:
    """Where `cached_array` keeps `name`, or None where there is no cache to write to."""
    try:
        return cache() / name
    except PlaceError as problem:
        _warn_once(f"{problem}; until then {name} is kept in memory and built again at each start")
        return None


def _read(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as problem:
        _warn_once(f"{path} cannot be read ({problem}): it is built anew")
        return None
    if array.dtype != dtype or array.shape != shape:
        _warn_once(f"{path} holds {array.dtype} {array.shape}, expected {dtype} {shape}: it is built anew")
        return None
    return array


def _warn_once(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        log.warning("%s", text)
