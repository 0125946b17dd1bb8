"""How the server does, for a supervisor that starts it again when it is dead: GET /metalab/health."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metalab.training.jobs import Vitals

ANSWER_SECONDS = 5.0
_STARTED = time.monotonic()


async def health(vitals: Callable[[], Vitals] | None, streams: Mapping[str, int]) -> tuple[int, dict[str, Any]]:
    """The answer's status and body: 200 "ok", or 503 "starting" (no `vitals` yet) or "dead"."""
    found: Vitals | None = None
    if vitals is not None:
        with suppress(TimeoutError):
            found = await asyncio.wait_for(asyncio.to_thread(vitals), ANSWER_SECONDS)
    alive = found is not None and found.alive
    status = "ok" if alive else "starting" if vitals is None else "dead"
    training = {} if found is None else {name: value for name, value in asdict(found).items() if name != "alive"}
    return (200 if alive else 503), {
        "status": status,
        "service": vitals is not None,
        "version": our_version(),
        "uptime_seconds": round(time.monotonic() - _STARTED, 1),
        **training,
        "memory_bytes": resident_bytes(),
        "threads": threading.active_count(),
        **streams,
    }


@cache
def our_version() -> str:
    """MetaLab's version."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def resident_bytes() -> int | None:
    """Memory that this process has in the machine's; where the system does not say, the most that it ever had."""
    table = Path("/proc/self/statm")
    if table.exists():
        return int(table.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
