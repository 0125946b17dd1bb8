"""What a process and those that it started use, as Linux tells in /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """A process and all its descendants at one moment, added up: memory that they share counts for each."""

    resident: float
    """MB."""
    peak: float
    """MB, the largest that each of them ever was."""
    processes: int
    threads: int
    handles: int
    """Open files and sockets."""
    connections: int
    """Of them, sockets."""
    seconds: float
    """Processor time so far, of descendants that have ended too."""


def usage(process: int) -> Usage:
    """What a process uses now. Raises OSError where there is no such process, or no Linux."""
    found = [_one(process)]
    for child in descendants(process):
        try:
            found.append(_one(child))
        except OSError:
            continue  # it has ended meanwhile
    return Usage(*(sum(values) for values in zip(*found, strict=True)))


def descendants(process: int) -> list[int]:
    """The processes that it started, and those that they started."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                children.setdefault(int(_fields(folder)[1]), []).append(int(folder.name))
            except OSError:
                continue
    found, unseen = [], [process]
    while unseen:
        new = children.get(unseen.pop(), [])
        found += new
        unseen += new
    return found


def _one(process: int) -> tuple[float, float, int, int, int, int, float]:
    folder = _PROC / str(process)
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    fields = _fields(folder)
    targets = []
    for handle in (folder / "fd").iterdir():
        try:
            targets.append(str(handle.readlink()))
        except FileNotFoundError:
            continue  # closed meanwhile
    return (
        _megabytes(status.get("VmRSS", "0 kB")),  # a process that has just ended has no memory
        _megabytes(status.get("VmHWM", "0 kB")),
        1,
        int(status["Threads"]),
        len(targets),
        sum(target.startswith("socket:") for target in targets),
        sum(map(int, fields[11:15])) / _TICK,
    )


def _fields(folder: Path) -> list[str]:
    """Of its stat file, from the state on."""
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _megabytes(text: str) -> float:
    return int(text.split()[0]) / 1024
