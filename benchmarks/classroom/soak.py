"""Hours of a class: viewers, slider moves, visitors who come and go, runs that queue; what the server keeps of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from classroom.http import Follower
from classroom.scenarios import Hand, doing, moving
from classroom.school import School, start_run
from classroom.tab import Tab
from classroom.table import Findings, median
from classroom.usage import Usage

PAGES = (
    "", "train", "adapt", "speed", "library", "embeddings", "theta", "order", "sensitivity", "decision", "lab",
    "sweeps",
)  # fmt: skip
RUN_STEPS = 2_000
WAITING = 2
"""Runs that wait behind the one that trains."""
LONGEST_LOOK = 60.0
"""Seconds for which a viewer stays with one run."""
LONGEST_STAY = 8.0
"""Seconds that somebody who comes and goes spends on a page: less than what some of them compute for it."""
PATIENCE = 300.0
"""Seconds for an answer: this is not about time, and the machine may have other work."""
FORGOTTEN = 130.0
"""Streamlit keeps a closed tab's session, and the event loop (three handles) in it, for two minutes, and looks what it
can let go of when the next tab closes."""
SETTLING = 20.0
"""Seconds for what is cleared away in the background."""
KEPT_SESSIONS = 128
"""Of closed tabs, that Streamlit keeps at most: the brief soak counts when so many are there."""
BRIEF_STAY = 2.0
QUIET = 5.0
"""Seconds without a change after which nothing more is expected to close."""
MORE_HANDLES = 20
MORE_THREADS = 16
"""What may be open at the end and was not before, of pools that fill as they are used: eight connections to the
database with two files each; twelve threads that compute for pages, four that read for live streams. Whatever was left
behind by each tab, stream or run would be many more."""
MOST_GROWTH = 5.0
"""Percent."""
MOST_GROWTH_BRIEF = 8.0
"""Percent in the brief soak: what is remembered, such as lanes and results, is not full within a minute."""


@dataclass
class Day:
    """What happened so far."""

    school: School
    chance: Random
    hands: list[Hand] = field(default_factory=list)
    viewed: int = 0
    """Updates of live runs that viewers were sent."""
    visits: int = 0
    started: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def moves(self) -> int:
        return sum(len(hand.taken) for hand in self.hands)

    def tab(self) -> Tab:
        """A tab of a new visitor, who has time."""
        tab = self.school.tab()
        tab.patience = PATIENCE
        return tab

    def line(self, minute: float, used: Usage) -> str:
        """One sample, to be read."""
        return (
            f"{minute:6.1f} min: {used.resident:.0f} MB in {used.processes} processes, {used.threads} threads, "
            f"{used.handles} handles, {used.connections} connections; {self.moves} moves, {self.viewed} updates, "
            f"{self.visits} visits, {self.started} runs, {len(self.problems)} problems"
        )


async def soak(school: School, clients: int, minutes: float, tell: Callable[[str], None]) -> Findings:
    """Half of the clients follow what trains, half move sliders, others come and go; runs of theirs queue.

    `tell` is given a line about every minute. Counted are the server and whatever it started, before anybody came and
    after everybody has left.
    """
    found = Findings(f"soak: {clients} clients, {minutes:g} minutes")
    day = Day(school, Random(0))
    await _visit(day, PAGES, stay=2.0)  # what is filled once is there before anything is counted
    before = await _settled(day)
    tell(f"before: {day.line(0, before)}")
    day.hands = [Hand(day.tab(), Random(seed), seed) for seed in range(clients // 2)]
    for hand in day.hands:
        await hand.sit_down()
    others = [come_and_go(day), train(day), *(view(day) for _ in range(clients - clients // 2))]
    async with moving(day.hands), doing(others):
        taken = await _sampled(day, minutes, tell)
    for hand in day.hands:
        day.problems += hand.tab.errors
        await hand.tab.close()
    after = await _settled(day)
    tell(f"after:  {day.line(minutes, after)}")
    found.problems = day.problems
    _judge(found, day, taken, before, after)
    return found


async def brief_soak(school: School, clients: int, rounds: int, tell: Callable[[str], None]) -> Findings:
    """About a minute of the same, by counts and not by time, so that a slower machine does the same work."""
    found = Findings(f"soak, brief: {clients} clients, {rounds} rounds")
    day = Day(school, Random(0))
    await _visit(day, PAGES, stay=BRIEF_STAY)
    await _class(day, clients, 1)
    before = await _quiet(day)
    tell(f"before: {day.line(0, before)}")
    await _class(day, clients, rounds)
    after = await _quiet(day)
    tell(f"after:  {day.line(0, after)}")
    found.problems = day.problems
    found.add("resident size before", before.resident, "MB")
    found.add("resident size after", after.resident, "MB")
    found.add("growth", 100 * (after.resident / before.resident - 1), "%", most=MOST_GROWTH_BRIEF)
    _count(found, day, before, after)
    return found


async def _class(day: Day, clients: int, rounds: int) -> None:
    """Viewers, slider moves and runs while somebody opens every page so many times; then all leave."""
    hands = [Hand(day.tab(), Random(seed), seed) for seed in range(clients // 2)]
    day.hands += hands
    for hand in hands:
        await hand.sit_down()
    async with moving(hands), doing([train(day), *(view(day) for _ in range(clients - clients // 2))]):
        for _ in range(rounds):
            await _visit(day, PAGES, stay=BRIEF_STAY)
    for hand in hands:
        day.problems += hand.tab.errors
        await hand.tab.close()


async def _quiet(day: Day) -> Usage:
    """What is used with nobody there, once all runs have ended and nothing closes any more.

    Streamlit then remembers as many closed tabs as it can, all of Home.
    """
    await _all_ended(day)
    await _visit(day, ("",) * KEPT_SESSIONS, stay=0.0)
    since, last = time.monotonic(), day.school.usage()
    while time.monotonic() - since < QUIET:
        await asyncio.sleep(0.5)
        now = day.school.usage()
        if (now.handles, now.threads) != (last.handles, last.threads):
            since = time.monotonic()
        last = now
    return last


async def _all_ended(day: Day) -> None:
    while any(run.state in ("queued", "running") for run in day.school.runs()):
        await asyncio.sleep(0.5)


async def _sampled(day: Day, minutes: float, tell: Callable[[str], None]) -> list[Usage]:
    """What is used, about a hundred times and at least once a minute."""
    every = min(60.0, 60 * minutes / 100)
    taken: list[Usage] = []
    began = told = time.monotonic()
    problems: list[str] = []
    while time.monotonic() < began + 60 * minutes:
        await asyncio.sleep(every)
        taken.append(day.school.usage())
        if time.monotonic() > told + 59 or len(taken) == 1:
            told = time.monotonic()
            tell(day.line((told - began) / 60, taken[-1]))
            for problem in day.problems[len(problems) :]:
                tell(f"            problem: {problem}")
            problems = list(day.problems)
    return taken


async def _settled(day: Day) -> Usage:
    """What is used once all runs have ended and Streamlit has let go of all closed tabs but one."""
    await _all_ended(day)
    await asyncio.sleep(FORGOTTEN)
    await _visit(day, ("",), stay=0.0)
    await asyncio.sleep(SETTLING)
    return day.school.usage()


def _judge(found: Findings, day: Day, taken: list[Usage], before: Usage, after: Usage) -> None:
    quarter = max(1, len(taken) // 4)
    early, late = (
        median([each.resident for each in some]) for some in (taken[quarter : 2 * quarter], taken[-quarter:])
    )
    found.add("resident size, second quarter", early, "MB")
    found.add("resident size, last quarter", late, "MB")
    found.add("growth", 100 * (late / early - 1), "%", most=MOST_GROWTH)
    found.add("resident size, largest", max(each.peak for each in taken), "MB", most=2560)
    _count(found, day, before, after)


def _count(found: Findings, day: Day, before: Usage, after: Usage) -> None:
    """What was done, and what is left open."""
    found.add("moves answered", day.moves, "")
    found.add("updates of live runs", day.viewed, "")
    found.add("visits of a page", day.visits, "")
    found.add("runs", day.started, "")
    found.add("threads before", before.threads, "")
    found.add("threads after", after.threads, "", most=before.threads + MORE_THREADS)
    found.add("files and connections before", before.handles, "")
    found.add("files and connections after", after.handles, "", most=before.handles + MORE_HANDLES)
    found.add("connections before", before.connections, "")
    found.add("connections after", after.connections, "", most=before.connections + 2)
    found.add("errors", len(found.problems), "", most=0)


# --- who is there


async def view(day: Day) -> None:
    """Follow whatever trains in a new tab each time; now and then leave before it has ended."""
    cookies: dict[str, str] = {}
    while True:
        running = next((run.id for run in day.school.runs() if run.state == "running"), None)
        if running is None:
            await asyncio.sleep(0.5)
            continue
        follower = Follower(day.school.port, running, cookies)
        with _noted(day, f"a viewer of {running}"):
            async with _here(day, cookies, "train", runs=running):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(follower.follow(), day.chance.uniform(1.0, LONGEST_LOOK))
        day.viewed += len(follower.arrivals)
        if follower.problem:
            day.problems.append(f"the live stream of {running}: {follower.problem}")


async def come_and_go(day: Day) -> None:
    """One visitor after another opens every page and leaves it soon."""
    while True:
        await _visit(day, PAGES, stay=LONGEST_STAY)


async def _visit(day: Day, pages: tuple[str, ...], stay: float) -> None:
    """A new visitor opens every one of `pages` in a tab of its own, for up to `stay` seconds."""
    cookies: dict[str, str] = {}
    for page in pages:
        with _noted(day, f"/{page}"):
            async with _here(day, cookies, page):
                await asyncio.sleep(day.chance.uniform(0, stay))
        day.visits += 1


async def train(day: Day) -> None:
    """New visitors' runs, so that one always trains and some wait."""
    while True:
        if sum(run.state in ("queued", "running") for run in day.school.runs()) <= WAITING:
            with _noted(day, "a new run"):
                tab = day.tab()
                try:
                    await start_run(day.school, tab, outer_steps=RUN_STEPS, seed=day.started)
                    day.started += 1
                finally:  # also where the class ends in the middle of it
                    day.problems += tab.errors
                    await tab.close()
        await asyncio.sleep(1)


@contextlib.asynccontextmanager
async def _here(day: Day, cookies: dict[str, str], page: str, **query: str) -> AsyncIterator[None]:
    """A visitor's new tab, which is closed at the block's end; every other one without a word.

    `cookies` are the visitor's: empty at first, and those that the server gave from then on.
    """
    tab = day.tab()
    tab.cookies = cookies
    try:
        await tab.open(page, query)
        yield
    finally:
        day.problems += [f"/{page}: {problem}" for problem in tab.errors]
        await tab.close(rude=day.chance.random() < 0.5)


@contextlib.contextmanager
def _noted(day: Day, what: str) -> Iterator[None]:
    """Whatever goes wrong in the block is a problem of the day, which goes on."""
    try:
        yield
    except (OSError, EOFError, TimeoutError, RuntimeError) as problem:
        day.problems.append(f"{what}: {problem or type(problem).__name__}")
