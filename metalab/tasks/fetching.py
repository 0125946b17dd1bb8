"""Downloading the files of a data set: checked, with progress, and each one whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.request import urlopen

from metalab import places

TIMEOUT = 20.0
"""Seconds without an answer after which a download gives up."""
BLOCK = 1 << 16

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes in all; 0 in all: not known."""

PROBLEMS = (OSError, HTTPException, ValueError, places.PlaceError)
"""What `fetch` raises where the network, the folder or the source does not allow it."""


class Remote(NamedTuple):
    """A file of a data set: where it is, where it goes, and the MD5 sum it must have."""

    url: str
    path: Path
    md5: str


def fetch(files: Sequence[Remote], largest: int, progress: Progress | None = None) -> None:
    """Download the files, each of at most `largest` bytes; one takes its name only when it is whole.

    What `progress` raises ends the download. Raises one of PROBLEMS.
    """
    with ExitStack() as stack:
        streams = [(file, stack.enter_context(urlopen(file.url, timeout=TIMEOUT))) for file in files]
        sizes = [int(stream.headers.get("Content-Length") or 0) for _file, stream in streams]
        total = sum(sizes) if all(sizes) else 0
        done = 0
        for file, stream in streams:
            done = _fetch(stream, file, done, total, largest, progress)


def _fetch(stream: HTTPResponse, file: Remote, done: int, total: int, largest: int, progress: Progress | None) -> int:
    """Write `stream` to its place and return `done` plus its bytes. Raises ValueError on a wrong sum."""
    start, digest = done, hashlib.md5(usedforsecurity=False)

    def write(out: BinaryIO) -> None:
        nonlocal done
        while block := stream.read(BLOCK):
            done += len(block)
            if done - start > largest:
                raise ValueError(f"{file.path.name} has more than {largest} bytes")
            digest.update(block)
            out.write(block)
            if progress:
                progress(done, total)
        if (found := digest.hexdigest()) != file.md5:
            raise ValueError(
                f"{file.path.name} arrived damaged ({done - start} bytes, MD5 {found}, expected {file.md5})"
            )

    places.write_atomically(file.path, write)
    return done
