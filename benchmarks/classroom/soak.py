"""Hours of a class: viewers, slider moves, visitors who come and go, runs that queue; what the server keeps of it."""

from __future__ import annotations

import asyncio
import time
from random import Random

from classroom.scenarios import Hand, all_close, all_open, doing, following, moving, problems_of
from classroom.school import School, start_run
from classroom.tab import Tab
from classroom.table import Findings, median
from classroom.usage import Usage

PAGES = ("", "train", "adapt", "library", "speed", "lab")
EVERY = 10.0
"""Seconds between two visitors who come and go."""
RUN_EVERY = 30.0
RUN_STEPS = 2_000
FORGOTTEN = 150.0
"""Seconds after which Streamlit has let go of a closed tab's session, and of the event loop (three handles) in it."""


async def soak(school: School, clients: int, minutes: float) -> Findings:
    """Half of the clients follow, half move sliders, others come and go; runs of theirs train one after another."""
    found = Findings(f"soak: {clients} clients, {minutes:g} minutes")
    begin = school.tab()
    run_id = await start_run(school, begin, outer_steps=RUN_STEPS)
    await begin.close()
    idle = school.usage()
    viewers = await all_open(school, clients - clients // 2, "train", {"runs": run_id})
    hands = [Hand(school.tab(), Random(seed), seed) for seed in range(clients // 2)]
    for hand in hands:
        await hand.sit_down()
    tabs = [*viewers, *(hand.tab for hand in hands)]
    taken: list[Usage] = []
    comers: list[str] = []
    until = time.monotonic() + 60 * minutes
    async with following(school, viewers, run_id), moving(hands), doing([come_and_go(school, comers), train(school)]):
        while time.monotonic() < until:
            await asyncio.sleep(min(5.0, max(0.5, minutes)))
            taken.append(school.usage())
    found.problems += problems_of(tabs) + comers
    await all_close(tabs)
    warm, last = taken[len(taken) // 4 : len(taken) // 2], taken[-max(1, len(taken) // 4) :]
    early, late = (median([each.resident for each in some]) for some in (warm, last))
    await asyncio.sleep(FORGOTTEN)
    end = school.usage()
    found.add("resident size, second quarter", early, "MB")
    found.add("resident size, last quarter", late, "MB")
    found.add("growth", 100 * (late / early - 1), "%", most=5)
    found.add("resident size, largest", end.peak, "MB", most=2560)
    found.add("moves answered", sum(len(hand.taken) for hand in hands), "")
    found.add("threads before", idle.threads, "")
    found.add("threads after", end.threads, "", most=idle.threads + 8)
    found.add("files and connections before", idle.handles, "")
    found.add("files and connections after", end.handles, "", most=idle.handles + 8)
    found.add("connections after", end.connections, "", most=idle.connections + 2)
    found.add("errors", len(found.problems), "", most=0)
    return found


async def come_and_go(school: School, problems: list[str]) -> None:
    """One visitor after another opens every page and leaves."""
    while True:
        tab = school.tab()
        try:
            for page in PAGES:
                guest = Tab(school.port, tab.cookies)
                await guest.open(page)
                await guest.close()
                problems += [f"/{page}: {problem}" for problem in guest.errors]
        except (OSError, EOFError, TimeoutError) as problem:
            problems.append(f"a visitor was turned away: {problem or type(problem).__name__}")
        await asyncio.sleep(EVERY)


async def train(school: School) -> None:
    """A new visitor's run now and then, so that one always trains."""
    while True:
        tab = school.tab()
        await start_run(school, tab, outer_steps=RUN_STEPS)
        await tab.close()
        await asyncio.sleep(RUN_EVERY)
