"""The server under load: started by the README's command in a home of its own, with one run in training."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving import ROOT, Server, serving

from classroom.tab import Tab
from classroom.usage import Usage, usage

ENDLESS = 150_000
"""Outer steps of a run that trains for some minutes: about as many as a server allows."""
EXAMPLES = ROOT / "assets" / "examples"


@dataclass(frozen=True)
class Run:
    """A run as the database has it."""

    id: str
    number: int
    owner: str
    state: str
    step: int
    updated: float


@dataclass(frozen=True)
class School:
    """The server and its home."""

    server: Server
    home: Path

    @property
    def port(self) -> int:
        return self.server.port

    def tab(self) -> Tab:
        """A tab of a new visitor."""
        return Tab(self.port)

    def usage(self) -> Usage:
        """What the server uses now."""
        return usage(self.server.process.pid)

    def runs(self) -> list[Run]:
        """Every run that somebody started, in order; the server itself puts the examples there."""
        from metalab.store import EXAMPLE

        with closing(sqlite3.connect(f"file:{self.home / 'metalab.db'}?mode=ro", uri=True)) as database:
            rows = database.execute(
                "SELECT id, number, owner, state, step, updated FROM runs WHERE owner != :example ORDER BY number",
                {"example": EXAMPLE},
            )
            return [Run(*row) for row in rows]

    def run(self, run_id: str) -> Run:
        return next(run for run in self.runs() if run.id == run_id)


@contextmanager
def school(family: str = "sinusoid", *, idle: bool = True) -> Iterator[School]:
    """A server whose home holds the example runs of one family; it ends with the block.

    With `idle` it has done by then what it does after its start, such as drawing characters for a new home.
    """
    from metalab.store import Store
    from metalab.store.bundle import unpack

    with tempfile.TemporaryDirectory(prefix="metalab-class-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        with closing(Store(home)) as store:
            for path in sorted(EXAMPLES.glob(f"{family}-*.safetensors"), reverse=True):
                unpack(store, path)
        environment = {"METALAB_HOME": str(home)}
        with serving(ROOT / "app.py", Path(folder), environment) as server:
            server.wait("/metalab/health", lambda body: json.loads(body)["service"])
            if idle:
                _wait_idle(server)
            yield School(server, home)


def _wait_idle(server: Server, seconds: float = 60.0) -> None:
    """Return once the server computes nothing, at the latest after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = usage(server.process.pid).seconds
        time.sleep(1.0)
        if usage(server.process.pid).seconds - before < 0.1:
            return


async def start_run(school: School, tab: Tab, *, outer_steps: int = ENDLESS, seed: int = 0) -> str:
    """Start a run on the Train page of a visitor; its id. Raises RuntimeError where none was started."""
    before = {run.id for run in school.runs()}
    await tab.open("train", {"family": "sinusoid", "algorithm": "maml", "outer_steps": outer_steps, "seed": seed})
    await tab.press("train.start")
    new = [run.id for run in school.runs() if run.id not in before]
    if not new:
        raise RuntimeError(f"Start started no run: {tab.errors}")
    return new[-1]


@dataclass(frozen=True)
class Share:
    """What happened between two moments."""

    steps_per_second: float
    """Of the run in training."""
    server: float
    """Cores that the server used, training included."""
    load: float
    """Cores that the load generator used."""


class Stopwatch:
    """Training rate and processor shares since it was made."""

    def __init__(self, school: School, run_id: str) -> None:
        self._school, self._run_id = school, run_id
        self._run, self._clock = school.run(run_id), time.monotonic()
        self._server, self._load = school.usage().seconds, _own_seconds()

    def read(self) -> Share:
        run, passed = self._school.run(self._run_id), time.monotonic() - self._clock
        steps, seconds = run.step - self._run.step, run.updated - self._run.updated
        return Share(
            steps / seconds if seconds > 0 else 0.0,
            (self._school.usage().seconds - self._server) / passed,
            (_own_seconds() - self._load) / passed,
        )


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system
