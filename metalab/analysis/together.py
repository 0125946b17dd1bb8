"""Requests of the same kind that wait at the same time are answered by one call.

    together = Together()
    result = together.ask(key, request, answer)      # answer([request, ...]) -> [result, ...]

Nobody waits for others to come: whoever asks while nothing of the key is computed is answered at once, on their own
thread. Who asks meanwhile waits, and the first of them then answers all (Hendler, Incze, Shavit, Tzafrir: Flat
Combining and the Synchronization-Parallelism Tradeoff. SPAA 2010).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Q = TypeVar("Q")
R = TypeVar("R")
MOST = 32
"""Requests in one call."""


@dataclass(eq=False)
class _Asked(Generic[Q, R]):
    """A request, and what came of it."""

    request: Q
    results: list[R] = field(default_factory=list)
    """The one result, once it is there."""
    problem: Exception | None = None
    over: bool = False


@dataclass(eq=False)
class _Line(Generic[Q, R]):
    """The requests of one key."""

    waiting: list[_Asked[Q, R]] = field(default_factory=list)
    running: int = 0
    """Calls that answer some of them now."""


class Together(Generic[Q, R]):
    """Every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: dict[Hashable, _Line[Q, R]] = {}

    def ask(
        self,
        key: Hashable,
        request: Q,
        answer: Callable[[Sequence[Q]], Sequence[R]],
        *,
        most: int = MOST,
        at_once: int = 1,
    ) -> R:
        """The request's own result; raises what `answer` raises for it.

        Up to `most` requests of a key go into one call, and up to `at_once` calls of a key run at a time. `answer`
        returns a result for each request, in order; whose `answer` it is does not matter. Where it raises for
        several, each is answered alone, so that nobody suffers from what another asked.
        """
        mine: _Asked[Q, R] = _Asked(request)
        with self._changed:
            line = self._lines.setdefault(key, _Line())
            line.waiting.append(mine)
            self._changed.wait_for(lambda: mine.over or (line.running < at_once and line.waiting[:1] == [mine]))
            if not mine.over:
                group, line.waiting = line.waiting[:most], line.waiting[most:]
                line.running += 1
                self._changed.notify_all()  # the next of them may begin
        if not mine.over:
            try:
                _fill(group, answer)
            finally:
                self._end(key, line, group)
        if mine.problem is not None:
            raise mine.problem
        return mine.results[0]

    def waiting(self) -> int:
        """How many requests wait for a call now."""
        with self._changed:
            return sum(len(line.waiting) for line in self._lines.values())

    def _end(self, key: Hashable, line: _Line[Q, R], group: Sequence[_Asked[Q, R]]) -> None:
        with self._changed:
            for asked in group:
                asked.over = True
                if not asked.results and asked.problem is None:
                    asked.problem = RuntimeError("The computation was broken off.")
            line.running -= 1
            if not line.running and not line.waiting:
                del self._lines[key]
            self._changed.notify_all()


def _fill(group: Sequence[_Asked[Q, R]], answer: Callable[[Sequence[Q]], Sequence[R]]) -> None:
    try:
        for asked, result in zip(group, answer([asked.request for asked in group]), strict=True):
            asked.results = [result]
    except Exception as problem:
        if len(group) == 1:
            group[0].problem = problem
            return
        for asked in group:
            _fill([asked], answer)
