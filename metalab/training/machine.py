"""What this machine offers to training."""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from metalab.training.config import ConfigError

_lock = threading.Lock()
_threads = Counter[int]()
"""How many threads train on each GPU."""
_streams = defaultdict[int, list[torch.cuda.Stream]](list)
"""Those of each GPU that no thread has now."""


def cores() -> int:
    """Processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def worker_count() -> int:
    """`METALAB_WORKERS`, by default one for each GPU, or one less than there are cores. Raises ConfigError."""
    given = os.environ.get("METALAB_WORKERS", "").strip()
    if not given:
        return torch.cuda.device_count() or max(1, cores() - 1)
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(f"METALAB_WORKERS = {given!r}: expected a whole number of trainers, 1 or more")
    return int(given)


@contextmanager
def gpu() -> Iterator[None]:
    """Where there are GPUs: this thread's is the one with the fewest such threads, with a stream of its own there.

    So no run waits for what another one has launched.
    """
    if not torch.cuda.is_available():
        yield
        return
    with _lock:
        chosen = min(range(torch.cuda.device_count()), key=lambda index: _threads[index])
        _threads[chosen] += 1
        # One that another thread has left: libraries keep working memory for each.
        stream = _streams[chosen].pop() if _streams[chosen] else torch.cuda.Stream(chosen)
    try:
        with torch.cuda.device(chosen), torch.cuda.stream(stream):
            yield
    finally:
        with _lock:
            _threads[chosen] -= 1
            _streams[chosen].append(stream)


def free(device: torch.device) -> float | None:
    """Bytes that are free on the device, or for this process; None where the system does not say."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + unused)
    found = [value for value in (_available(), _left_in_group()) if value is not None]
    if found:
        return min(found)
    try:
        # A Mac says how much it has, not how much is free.
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return None


def _available(path: Path = Path("/proc/meminfo")) -> float | None:
    """What Linux says is available, in bytes."""
    for line in _lines(path):
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return None


def _left_in_group(folder: Path = Path("/sys/fs/cgroup")) -> float | None:
    """What the process's control group, a container's say, may still take; None where it is held to nothing."""
    most, now = _lines(folder / "memory.max"), _lines(folder / "memory.current")
    if not most or not now or not most[0].isdecimal():
        return None
    cached = [line.split()[1] for line in _lines(folder / "memory.stat") if line.startswith("inactive_file ")]
    return float(most[0]) - float(now[0]) + sum(map(float, cached))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
