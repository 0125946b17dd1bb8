"""One run in training, seen from outside its thread: what it was told, and whether its thread listens still."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from metalab.store import State
from metalab.training.events import Change, Changed, Checkpointed, Command, Event, Look, OuterStep

Wish = Literal["run", "pause", "stop", "interrupt"]
OUTCOME: Mapping[str, State] = {"run": "paused", "pause": "paused", "stop": "stopped", "interrupt": "interrupted"}
"""The state in which a run ends that was wished something; "run" ends early only after single outer steps."""
COURTESY_SECONDS = 0.3


class Job:
    """A queued or running run of this process. Its attributes are guarded by the service's lock."""

    def __init__(self, run_id: str, owner: str, outer_steps: int, steps: int | None) -> None:
        """`steps`: pause after so many outer steps; None for no end."""
        self.run_id = run_id
        self.owner = owner
        self.outer_steps = outer_steps
        self.steps = steps
        self.wish: Wish = "run"
        self.changes: dict[str, Any] = {}
        self.extra = False
        """Whether it runs beside the workers, for a single step that should not wait."""
        self.over = False
        """Whether its thread takes no more commands."""
        self.binned = False
        """Whether it goes into the bin when its thread has ended."""
        self.thread: threading.Thread | None = None
        self.heard = time.monotonic()
        """When its trainer last told something."""
        self.weigh_next = -math.inf
        """From when on it is looked again at how much of the disk its owner's runs take; its thread's alone."""
        self.why = ""
        """Why it is paused or stopped, where it was not its owner who did so."""

    def hear(self, out_of_time: str) -> None:
        """Note that the trainer told something; a sentence why its time is over stops the run."""
        self.heard = time.monotonic()
        if out_of_time and self.wish == "run":
            self.wish, self.why = "stop", out_of_time

    def reply(self, event: Event) -> Command | None:
        """What to send to the trainer in reply to an event. Sets `over` where the trainer is to be closed."""
        if isinstance(event, OuterStep) and self.steps is not None:
            self.steps -= 1
        if not isinstance(event, OuterStep | Checkpointed | Changed):
            return None
        if self.changes:
            changes, self.changes = self.changes, {}
            return Change(changes)
        ending = event.step < self.outer_steps and (self.wish != "run" or (self.steps is not None and self.steps <= 0))
        if isinstance(event, Checkpointed):
            self.over = ending
            return None
        if ending:
            return Look(evaluate=self.wish == "run")
        # A change that only a coming checkpoint knew would be lost with the process.
        return Look() if isinstance(event, Changed) else None


@dataclass(frozen=True)
class Vitals:
    """How a service does."""

    alive: bool
    """False where it ends, where its lock is held for good, or where runs wait though a worker is free."""
    running: int
    waiting: int
    workers: int
    silent_seconds: float | None
    """How long that trainer has told nothing that has been silent longest; None where none trains."""

    @classmethod
    def of(cls, jobs: Sequence[Job], workers: int, alive: bool) -> Vitals:
        """Of a service with these jobs; a thread that ended without a word is a sign of death, too."""
        threads = [job.thread for job in jobs if job.thread is not None]
        now = time.monotonic()
        silent = max((now - job.heard for job in jobs if job.thread is not None), default=None)
        alive = alive and all(thread.is_alive() for thread in threads)
        return cls(alive, len(threads), len(jobs) - len(threads), workers, silent)


class Foreground:
    """Lets somebody's short computation go before the trainers' long ones."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._condition:
            self._count += 1
        try:
            yield
        finally:
            with self._condition:
                self._count -= 1
                self._condition.notify_all()

    def wait(self) -> None:
        """Return when nobody is in the foreground, at the latest after COURTESY_SECONDS."""
        with self._condition:
            self._condition.wait_for(lambda: self._count == 0, COURTESY_SECONDS)

    @property
    def busy(self) -> bool:
        return self._count > 0


class Courtesy:
    """One trainer's waits for the foreground: never more than half of its time."""

    def __init__(self, foreground: Foreground) -> None:
        self._foreground = foreground
        self._waited = 0.0
        self._since = time.monotonic()

    def wait(self) -> None:
        """Between two outer steps: wait if somebody is in the foreground and as long was worked as last waited."""
        if not self._foreground.busy:
            return
        start = time.monotonic()
        if start - self._since < self._waited:
            return
        self._foreground.wait()
        self._since = time.monotonic()
        self._waited = self._since - start
