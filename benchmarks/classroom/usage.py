"""What a process uses, as Linux tells in /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """A process at one moment."""

    resident: float
    """MB."""
    peak: float
    """MB, the largest that it ever was."""
    threads: int
    handles: int
    """Open files and sockets."""
    connections: int
    """Of them, sockets."""
    seconds: float
    """Processor time so far."""


def usage(process: int) -> Usage:
    """What a process uses now. Raises OSError where there is no such process, or no Linux."""
    folder = Path("/proc") / str(process)
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    targets = []
    for handle in (folder / "fd").iterdir():
        try:
            targets.append(str(handle.readlink()))
        except FileNotFoundError:
            continue  # closed meanwhile
    return Usage(
        resident=_megabytes(status["VmRSS"]),
        peak=_megabytes(status["VmHWM"]),
        threads=int(status["Threads"]),
        handles=len(targets),
        connections=sum(target.startswith("socket:") for target in targets),
        seconds=(int(fields[11]) + int(fields[12])) / _TICK,
    )


def _megabytes(text: str) -> float:
    return int(text.split()[0]) / 1024
