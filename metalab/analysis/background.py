"""Computations that take longer than a page may wait: progress, cancelling, turns, and what was found is kept.

    work = background().ask(key, make, asker)      # make(report) -> result
    work.state, work.fraction, work.result

Whoever asks for a key that somebody computes already joins in. An asker follows one computation for each of its
places; asking for another there lets go of the former, which ends when nobody follows it any more.

Computations take turns: one of whoever has had the least time lately goes next, and of theirs the one that has had
the least; it gives way at its next report to one that has had less by `TURN_SECONDS`. So a short one is not held up by
a long one, whoever asked first, and nobody's many hold up another's one (least attained service; Nuyens and Wierman
2008, "The foreground-background queue"). One of which no page asks any more rests, so that the page that is looked at
instead has the processor.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from metalab.analysis.kept import Kept
from metalab.analysis.memory import size_of
from metalab.tasks.base import DataMissing

Report = Callable[[float], None]
"""Takes the fraction done, in [0, 1]. Raises Cancelled when nobody wants the result any more."""
State = Literal["waiting", "running", "done", "failed", "cancelled"]

KEPT, KEPT_BYTES = 200, 256 << 20
"""Results, of everybody, and what their arrays take in memory."""
AT_ONCE = max(1, (os.cpu_count() or 1) // 2)
"""Computations that run at the same time: the other cores are for training and the pages."""
MOST_BEGUN = 12
"""Computations that have begun and take turns, each in a thread with what it holds in memory; others wait."""
BEGUN_OF_ONE, MOST_OF_ONE = 4, 24
"""Computations of one person that have begun, and that have begun or wait: what waits longest unasked for is left."""
LATELY_SECONDS = 20.0
"""After so long half of the time that a person has had is forgiven."""
TURN_SECONDS = 0.5
MOST_PEOPLE = 1_000
"""Whose time is reckoned."""
WORTH_KEEPING_SECONDS = 0.3
"""What takes less is computed again after the next start."""
CLOSING_SECONDS = 5.0
UNATTENDED_SECONDS = 1.0
"""A computation of which no page has asked for so long rests until one asks again: another page is looked at."""
LOOK_AGAIN_SECONDS = 0.2
"""So often one that rests looks whether it may go on."""
ABANDONED_SECONDS = 20.0
"""And after so long it ends: its tab was closed."""
UNKNOWN = "The computation failed; the server's log says why."

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """Nobody wants the result any more."""


def quiet(_fraction: float) -> None:
    """A report to nobody."""


@dataclass(eq=False)
class Work:
    """One computation, as whoever asked for it sees it."""

    key: Hashable
    make: Callable[[Report], Any] | None
    """None once it has ended: it may hold much."""
    person: Hashable
    """Who asked first."""
    state: State = "waiting"
    fraction: float = 0.0
    result: Any = None
    size: int = 0
    """Bytes of the result's arrays."""
    problem: str = ""
    """Why it failed, in one sentence."""
    started: float | None = None
    """On the clock of time.monotonic."""
    spent: float = 0.0
    """Seconds of turns it has had."""
    turn: float = 0.0
    """When its turn, or the part of it that is not in `spent` yet, began."""
    asked: float = field(default_factory=time.monotonic)
    not_before: float = 0.0
    """When it may begin to compute."""
    followers: set[Hashable] = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        return self.ended.is_set()

    @property
    def unasked(self) -> float:
        """Seconds since a page last asked for it."""
        return time.monotonic() - self.asked

    @property
    def rests(self) -> bool:
        """Whether its time has not come, or no page asks for it."""
        return time.monotonic() < self.not_before or self.unasked >= UNATTENDED_SECONDS

    @property
    def seconds_left(self) -> float | None:
        """By the rate so far; None before it can be told."""
        if self.started is None or self.fraction <= 0.02:
            return None
        spent = time.monotonic() - self.started
        return spent / self.fraction - spent


class Background:
    """The threads, and what they found. Every method may be called from any thread."""

    def __init__(
        self, at_once: int = AT_ONCE, kept: int = KEPT, most_begun: int = MOST_BEGUN, files: Kept | None = None
    ) -> None:
        """`files`: where results stay when the program ends; they stay in memory only without."""
        self._files = files
        self._changed = threading.Condition()
        self._works: OrderedDict[Hashable, Work] = OrderedDict()
        self._waiting: list[Work] = []
        self._following: dict[Hashable, Work] = {}
        self._kept, self._at_once, self._most_begun = kept, at_once, most_begun
        self._threads: list[threading.Thread] = []
        self._idle = 0
        """Threads that could begin a computation."""
        self._running = 0
        self._begun: Counter[Hashable] = Counter()
        """Computations that have begun, by person."""
        self._had: dict[Hashable, tuple[float, float]] = {}
        """Seconds of turns that a person has had lately, and when that was reckoned."""
        self._paused: list[Work] = []
        self._closing = False

    def ask(
        self,
        key: Hashable,
        make: Callable[[Report], Any],
        asker: Hashable,
        wait: float = 0.0,
        person: Hashable | None = None,
        after: float = 0.0,
    ) -> Work:
        """The computation of `key`, begun if nobody has yet; returns after `wait` seconds, or as soon as it ends.

        `person`: whose the asker is, by default nobody's but its own. What is not kept in a file is computed `after` so
        many seconds.
        """
        with self._changed:
            if self._closing:
                raise RuntimeError("the program ends: nothing is computed any more")
            work = self._works.get(key)
            if work is None or work.state == "cancelled":
                work = self._works[key] = Work(key, make, asker if person is None else person)
                work.not_before = work.asked + after
                self._waiting.append(work)
                self._leave_out(work.person)
                self._hire()
                self._changed.notify_all()
            work.asked = time.monotonic()
            self._works.move_to_end(key)
            self._follow(asker, work)
        end = time.monotonic() + wait
        while not work.over and (left := end - time.monotonic()) > 0:
            work.ended.wait(min(left, UNATTENDED_SECONDS / 2))
            work.asked = time.monotonic()
        return work

    def cancel(self, asker: Hashable) -> None:
        """The asker wants nothing any more."""
        with self._changed:
            former = self._following.pop(asker, None)
            if former is not None:
                self._let_go(former, asker)

    def rest(self, person: Hashable) -> None:
        """Let a person's computations rest at their next reports, until a page asks for them again."""
        with self._changed:
            left = time.monotonic() - UNATTENDED_SECONDS
            for work in self._works.values():
                if work.person == person and not work.over:
                    work.asked = min(work.asked, left)

    def again(self, key: Hashable) -> None:
        """Forget a computation that failed, so that asking for it begins it anew."""
        with self._changed:
            if key in self._works and self._works[key].state == "failed":
                del self._works[key]

    def close(self, timeout: float = CLOSING_SECONDS) -> None:
        """End all computations, for the end of the program: a thread that still computes then takes it down."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout)

    def _follow(self, asker: Hashable, work: Work) -> None:
        former = self._following.get(asker)
        if former is not None and former is not work:
            self._let_go(former, asker)
        work.followers.add(asker)
        self._following[asker] = work

    def _let_go(self, work: Work, asker: Hashable) -> None:
        work.followers.discard(asker)
        if not work.followers and not work.over:
            self._cancel(work)

    def _cancel(self, work: Work) -> None:
        work.state = "cancelled"
        if work in self._waiting:
            self._waiting.remove(work)
            self._end(work)
        self._changed.notify_all()

    def _end(self, work: Work) -> None:
        work.make = None
        for asker in work.followers:
            if self._following.get(asker) is work:
                del self._following[asker]
        work.followers.clear()
        work.ended.set()

    def _forget(self) -> None:
        over = [work for work in self._works.values() if work.over]
        taken = sum(work.size for work in over)
        for place, work in enumerate(over):
            if len(over) - place <= self._kept and taken <= KEPT_BYTES:
                return
            taken -= work.size
            del self._works[work.key]

    def _leave_out(self, person: Hashable) -> None:
        """Cancel what waits and of which no page has asked for long, and of one person's all but so many."""
        late = time.monotonic() - ABANDONED_SECONDS
        theirs = sorted((work for work in self._waiting if work.person == person), key=lambda work: work.asked)
        many = theirs[: max(0, self._begun[person] + len(theirs) - MOST_OF_ONE)]
        for work in [work for work in self._waiting if work.asked < late or (work in many and len(work.followers) < 2)]:
            self._cancel(work)

    def _hire(self) -> None:
        if self._idle < len(self._waiting) and len(self._threads) < self._most_begun:
            thread = threading.Thread(target=self._serve, name="metalab-background", daemon=True)
            thread.start()  # it waits for the lock that is held here
            self._threads.append(thread)
            self._idle += 1

    def _next(self) -> Work | None:
        """Whose turn it is: of those that can go on, the one that has had the least; None if no turn is free."""
        if self._running >= self._at_once:
            return None
        now = time.monotonic()
        return min(self._in_line(), key=lambda work: (self._lately(work.person, now), work.spent), default=None)

    def _in_line(self) -> list[Work]:
        ready = [work for work in self._paused if not work.rests]
        waiting = [work for work in self._waiting if self._begun[work.person] < BEGUN_OF_ONE]
        return ready + (waiting if self._idle else [])

    def _lately(self, person: Hashable, now: float) -> float:
        """Seconds of turns that a person has had; what was long ago counts less."""
        had, then = self._had.get(person, (0.0, now))
        return had * 0.5 ** ((now - then) / LATELY_SECONDS)

    def _charge(self, work: Work) -> None:
        """Reckon the time of its turn since this was done last."""
        now = time.monotonic()
        work.spent += now - work.turn
        self._had[work.person] = self._lately(work.person, now) + now - work.turn, now
        work.turn = now
        if len(self._had) > MOST_PEOPLE:
            del self._had[min(self._had, key=lambda person: self._lately(person, now))]

    def _to_begin(self) -> Work | None:
        work = self._next()
        return work if work is not None and work.state == "waiting" else None

    def _serve(self) -> None:
        torch.set_num_threads(1)  # of this thread: beside a trainer two are slower than one
        while True:
            with self._changed:
                work = self._changed.wait_for(lambda: self._closing or self._to_begin())
                if not isinstance(work, Work):
                    return
                self._waiting.remove(work)
                work.state, work.started = "running", time.monotonic()
                self._idle -= 1
                self._begun[work.person] += 1
                self._begin_turn(work)
            self._compute(work)

    def _begin_turn(self, work: Work) -> None:
        work.turn = time.monotonic()
        self._running += 1

    def _end_turn(self) -> None:
        self._running -= 1
        self._changed.notify_all()

    def _give_way(self, work: Work) -> None:
        """Wait for its next turn if somebody who has had less stands in line, or as long as it rests."""
        with self._changed:
            self._charge(work)
            others = any(self._comes_before(other, work) for other in self._in_line())
            if not others and not work.rests:
                return
            self._paused.append(work)
            self._end_turn()
            while not (self._closing or self._wanted_no_more(work) or self._next() is work):
                self._changed.wait(LOOK_AGAIN_SECONDS)
            self._paused.remove(work)
            self._begin_turn(work)

    def _comes_before(self, other: Work, work: Work) -> bool:
        """Whether the other has had less by a turn: its person or, of the same person's, itself."""
        if other.person == work.person:
            return other.spent + TURN_SECONDS < work.spent
        now = work.turn
        return self._lately(other.person, now) + TURN_SECONDS < self._lately(work.person, now)

    def _wanted_no_more(self, work: Work) -> bool:
        """Whether nobody waits for it; sooner where it holds the place of another."""
        if work.state == "cancelled":
            return True
        many = self._begun[work.person] >= BEGUN_OF_ONE
        full = not self._idle and len(self._threads) >= self._most_begun
        wanted = any(full or (many and other.person == work.person) for other in self._waiting)
        return work.unasked > (UNATTENDED_SECONDS if wanted else ABANDONED_SECONDS)

    def _compute(self, work: Work) -> None:
        def report(fraction: float) -> None:
            work.fraction = min(max(fraction, 0.0), 1.0)
            self._give_way(work)
            with self._changed:
                if self._closing or self._wanted_no_more(work):
                    raise Cancelled

        state: State = "cancelled"
        try:
            work.result = self._found(work, report)
            state = "done"
        except Cancelled:
            pass
        except (ValueError, LookupError, DataMissing) as problem:
            state, work.problem = "failed", str(problem)
        except Exception:
            log.exception("A computation in the background failed.")
            state, work.problem = "failed", UNKNOWN
        with self._changed:
            work.state, work.size = state, size_of(work.result)
            self._charge(work)
            self._begun[work.person] -= 1
            self._begun += Counter()  # drops whoever has none
            self._end(work)
            self._forget()
            self._idle += 1
            self._end_turn()

    def _found(self, work: Work, report: Report) -> Any:
        assert work.make is not None
        if self._files is not None:
            with suppress(LookupError):
                return self._files.get(work.key)
        report(0.0)
        began = time.monotonic()
        result = work.make(report)
        if self._files is not None and time.monotonic() - began > WORTH_KEEPING_SECONDS:
            self._files.put(work.key, result)
        return result


_background: Background | None = None
_lock = threading.Lock()


def background() -> Background:
    """The one of this process."""
    global _background
    with _lock:
        if _background is None:
            _background = Background(files=Kept())
            getattr(threading, "_register_atexit", atexit.register)(_background.close)
        return _background
