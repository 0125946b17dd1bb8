"""What others wait for while a server is attacked: asked again and again from a process of its own.

    python -m classroom.bystander PORT RUN

Writes a line for each answer: its kind (health, page, live), when it was there and the seconds that it took. "live"
is the time between two updates of a run in training.
"""

from __future__ import annotations

import asyncio
import sys
import time

from classroom.http import Follower, get
from classroom.tab import Tab

HEALTH_EVERY, PAGE_EVERY = 0.1, 0.4


def _tell(kind: str, seconds: float) -> None:
    print(kind, time.monotonic(), seconds, flush=True)


async def _health(port: int) -> None:
    while True:
        began = time.monotonic()
        await get(port, "/_stcore/health")
        _tell("health", time.monotonic() - began)
        await asyncio.sleep(HEALTH_EVERY)


async def _page(port: int) -> None:
    tab = Tab(port)
    await tab.open("home")
    while True:
        _tell("page", await tab.rerun())
        await asyncio.sleep(PAGE_EVERY)


async def _live(port: int, run_id: str) -> None:
    follower = Follower(port, run_id, {})
    reading = asyncio.create_task(follower.follow())
    seen = 0
    while not reading.done():
        await asyncio.sleep(0.05)
        for n in range(max(seen, 1), len(follower.arrivals)):
            _tell("live", follower.arrivals[n] - follower.arrivals[n - 1])
        if seen and len(follower.arrivals) == seen and time.monotonic() - follower.arrivals[-1] > 1:
            _tell("live", time.monotonic() - follower.arrivals[-1])  # still waiting
        seen = len(follower.arrivals)
    raise OSError(follower.problem or "the live stream ended")


async def watch(port: int, run_id: str) -> None:
    """Ask until cancelled. Raises OSError where the server lets a bystander down."""
    await asyncio.gather(_health(port), _page(port), _live(port, run_id))


if __name__ == "__main__":
    asyncio.run(watch(int(sys.argv[1]), sys.argv[2]))
