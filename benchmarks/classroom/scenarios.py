"""What a class does at once, and what is measured of it. Every scenario starts a server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from classroom.http import Follower
from classroom.school import School, Stopwatch, start_run
from classroom.tab import Tab
from classroom.table import Findings, median, p95

SETTLING = 3.0
"""Seconds before anything is measured: a run's first steps, and what pages do once."""
MOVE_EVERY = 2.0


async def follow(school: School, clients: int, seconds: float) -> Findings:
    """Viewers of the run in training: how old what they see is, how often it comes, and what it costs the training."""
    found = Findings(f"follow: {clients} clients")
    starter = school.tab()
    run_id = await start_run(school, starter)
    await starter.close()
    await asyncio.sleep(SETTLING)
    watch = Stopwatch(school, run_id)
    await asyncio.sleep(seconds)
    before = watch.read()

    tabs = await all_open(school, clients, "train", {"runs": run_id})
    async with following(school, tabs, run_id) as followers:
        await asyncio.sleep(SETTLING)
        since = time.monotonic()
        sizes = [len(follower.ages) for follower in followers]
        watch = Stopwatch(school, run_id)
        await asyncio.sleep(seconds)
        with_viewers, until = watch.read(), time.monotonic()
        ages = [age for follower, size in zip(followers, sizes, strict=True) for age in follower.ages[size:]]
        rates = [sum(since <= at < until for at in f.arrivals) / (until - since) for f in followers]
    found.problems += problems_of(tabs) + [f.problem for f in followers if f.problem]
    await all_close(tabs)

    await asyncio.sleep(SETTLING)
    watch = Stopwatch(school, run_id)
    await asyncio.sleep(seconds)
    after = watch.read()
    few = clients <= 30
    found.add("data age, median", 1e3 * median(ages), "ms")
    found.add("data age, p95", 1e3 * p95(ages), "ms", most=100 if few else 250)
    found.add("updates of the client with fewest", min(rates, default=0), "a second", least=4 if few else 2)
    alone = mean([before.steps_per_second, after.steps_per_second])
    found.add("training rate without viewers", alone, "outer steps a second")
    found.add("training rate with viewers", with_viewers.steps_per_second / alone, "of that", least=0.9 if few else 0.8)
    add_shares(found, with_viewers.server, with_viewers.load)
    return found


async def adapt(school: School, clients: int, seconds: float, *, at_once: bool = False) -> Findings:
    """Visitors of Adapt, each with a task of their own, who move a slider every two seconds while a run trains.

    They do so evenly spread over the two seconds, or all `at_once`.
    """
    how = ", all at the same moment" if at_once else ""
    found = Findings(f"adapt: {clients} clients, a move every {MOVE_EVERY:g} s each{how}")
    starter = school.tab()
    run_id = await start_run(school, starter)
    await starter.close()
    hands = [Hand(school.tab(), random.Random(seed), seed) for seed in range(clients)]
    for hand in hands:  # one after another: joining at once is another scenario
        await hand.sit_down()
    await asyncio.sleep(SETTLING)
    watch = Stopwatch(school, run_id)
    await asyncio.sleep(seconds / 2)
    before = watch.read()
    async with moving(hands, at_once=at_once):
        await asyncio.sleep(SETTLING)
        for hand in hands:
            hand.taken.clear()
        watch = Stopwatch(school, run_id)
        await asyncio.sleep(seconds)
        meanwhile = watch.read()
    await asyncio.sleep(1)
    watch = Stopwatch(school, run_id)
    await asyncio.sleep(seconds / 2)
    after = watch.read()
    taken = [second for hand in hands for second in hand.taken]
    found.problems += problems_of([hand.tab for hand in hands])
    found.add("answers", len(taken), "")
    found.add("message to complete answer, median", 1e3 * median(taken), "ms")
    found.add("message to complete answer, p95", 1e3 * p95(taken), "ms", most=800)
    found.add("errors", len(found.problems), "", most=0)
    alone = mean([before.steps_per_second, after.steps_per_second])
    found.add("training rate without them", alone, "outer steps a second")
    found.add("training rate meanwhile", meanwhile.steps_per_second / alone, "of that", least=0.5)
    found.add("an answer's size", sum(hand.tab.received for hand in hands) / max(1, len(taken)) / 1024, "KB, pages too")
    add_shares(found, meanwhile.server, meanwhile.load)
    await all_close([hand.tab for hand in hands])
    return found


async def join(school: School, clients: int, page: str) -> Findings:
    """Visitors who all open a page within the same second while a run trains, with empty browser caches."""
    found = Findings(f"join: {clients} clients open /{page}")
    starter = school.tab()
    await start_run(school, starter)
    await starter.close()
    await asyncio.sleep(SETTLING)
    tabs = [school.tab() for _ in range(clients)]

    async def arrive(tab: Tab, after: float) -> float:
        await asyncio.sleep(after)
        return await tab.open(page, assets=True)

    taken = await asyncio.gather(*(arrive(tab, n / clients) for n, tab in enumerate(tabs)))
    found.problems += problems_of(tabs)
    found.add("page usable, median", median(taken), "s")
    found.add("page usable, p95", p95(taken), "s", most=3)
    found.add("errors", len(found.problems), "", most=0)
    await all_close(tabs)
    return found


async def queue(school: School, clients: int, outer_steps: int, *, first: int = 6000, many: int = 10) -> Findings:
    """A run of each visitor; one starts `many`, the first of `first` outer steps, before anybody else starts one."""
    found = Findings(f"queue: {clients + many - 1} runs of {clients} users, {outer_steps} outer steps each")
    before = len(school.runs())
    users = [school.tab() for _ in range(clients)]
    began = time.monotonic()
    for n, user in enumerate([users[0]] * many + users[1:]):
        tab = school.tab()
        tab.cookies = user.cookies
        await start_run(school, tab, outer_steps=outer_steps if n else first)
        user.cookies = tab.cookies
        found.problems += problems_of([tab])
        await tab.close()
    queued = sum(run.state == "queued" for run in school.runs())
    largest = 0.0
    order: list[str] = []
    while True:
        runs = school.runs()[before:]
        over = [run for run in runs if run.state not in ("queued", "running") and run.id not in order]
        order += [run.id for run in sorted(over, key=lambda run: run.updated)]
        largest = max(largest, school.usage().resident)
        if len(order) == len(runs):
            break
        await asyncio.sleep(0.2)
    owner = {run.id: run.owner for run in runs}
    found.add("runs that waited when all were started", queued, "")
    found.add("runs that finished", sum(run.state == "finished" for run in runs), "", least=len(runs))
    found.add("first runs behind somebody's second", unfair([owner[run_id] for run_id in order]), "", most=0)
    found.add("errors", len(found.problems), "", most=0)
    found.add("resident size, largest", largest, "MB", most=2560)
    found.add("time for all", time.monotonic() - began, "s")
    return found


def unfair(owners: Sequence[str]) -> int:
    """Of how many owners the first run ended after somebody's second."""
    count: Counter[str] = Counter()
    late = 0
    for owner in owners:
        count[owner] += 1
        late += count[owner] == 1 and max(count.values()) > 1
    return late


# --- what scenarios are made of


@dataclass
class Hand:
    """A visitor of the Adapt page who moves the inner learning rate of one contender after another."""

    tab: Tab
    chance: random.Random
    seed: int
    taken: list[float] = field(default_factory=list)
    """Seconds from each move to its complete answer."""
    _sent: int = 0
    _values: dict[str, float] = field(default_factory=dict)

    async def sit_down(self) -> None:
        """Open the page on a task of one's own."""
        await self.tab.open("adapt", {"seed": self.seed})

    async def move(self) -> None:
        """Move one slider to another place and wait for the picture."""
        dials: dict[str, Any] = json.loads(self.tab.widgets["adapt.dials"].data)
        dial = self.chance.choice([dial for dial in dials["dials"] if dial["name"].startswith("alpha:")])
        self._values[dial["name"]] = self.chance.choice(dial["stops"])
        self._sent += 1
        value = {"revision": dials["revision"], "seq": self._sent, "values": self._values, "moving": False}
        took = await self.tab.send("adapt.dials", {"dials": value})
        answered = json.loads(self.tab.widgets["adapt.dials"].data)["seq"]
        if answered != self._sent:
            self.tab.errors.append(f"move {self._sent} was answered as {answered}")
        self.taken.append(took)

    async def keep_moving(self, start: float) -> None:
        """A move every two seconds until cancelled, late ones at once."""
        due = start
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += MOVE_EVERY
            try:
                await self.move()
            except (TimeoutError, EOFError) as problem:
                self.tab.errors.append(f"a move was not answered: {problem or type(problem).__name__}")
                return


@contextlib.asynccontextmanager
async def moving(hands: Sequence[Hand], *, at_once: bool = False) -> AsyncIterator[None]:
    """All hands move while the block runs, evenly spread over the two seconds or `at_once`."""
    start, apart = time.monotonic(), 0.0 if at_once else MOVE_EVERY / max(1, len(hands))
    async with doing([hand.keep_moving(start + apart * n) for n, hand in enumerate(hands)]):
        yield


@contextlib.asynccontextmanager
async def following(school: School, tabs: Sequence[Tab], run_id: str) -> AsyncIterator[list[Follower]]:
    """Each tab's event stream of the run is read while the block runs."""
    followers = [Follower(school.port, run_id, tab.cookies) for tab in tabs]
    async with doing([follower.follow() for follower in followers]):
        yield followers


@contextlib.asynccontextmanager
async def doing(works: Sequence[Any]) -> AsyncIterator[None]:
    """Tasks that are cancelled at the block's end."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def all_open(school: School, clients: int, page: str, query: dict[str, Any]) -> list[Tab]:
    """So many visitors' tabs on one page, opened one after another."""
    tabs = [school.tab() for _ in range(clients)]
    for tab in tabs:
        await tab.open(page, query)
    return tabs


async def all_close(tabs: Sequence[Tab]) -> None:
    await asyncio.gather(*(tab.close() for tab in tabs))


def problems_of(tabs: Sequence[Tab]) -> list[str]:
    """Whatever any of their visitors saw go wrong."""
    return [problem for tab in tabs for problem in tab.errors]


def add_shares(found: Findings, server: float, load: float) -> None:
    found.add("cores that the server used", server, "")
    found.add("cores that these clients used", load, "")
