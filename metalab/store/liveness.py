"""Which processes are alive, without clocks: each holds a file lock that ends with it, however it ends."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from metalab.places import refused


class Process:
    """This process's name among those that train, and the lock that it holds while it lives.

    Raises PlaceError where the folder of the locks cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.name = secrets.token_hex(8)
        self._lock = FileLock(lock_path(folder, self.name), thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except OSError as problem:
            raise refused(folder, "METALAB_HOME", problem) from problem

    def close(self) -> None:
        """Count as dead from now on."""
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


def lock_path(folder: Path, process: str) -> Path:
    """Where the lock of a process lies."""
    return folder / f"{process}.lock"


@contextmanager
def burying(folder: Path, process: str) -> Iterator[bool]:
    """True where `process` is dead; while the block lasts nobody else finds it so. Raises PlaceError."""
    path = lock_path(folder, process)
    if not path.exists():
        yield True
        return
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except OSError as problem:
        raise refused(folder, "METALAB_HOME", problem) from problem
    try:
        yield True
    finally:
        lock.release()
        with suppress(OSError):  # a lock that stays and that nobody holds is as good as none
            path.unlink(missing_ok=True)
