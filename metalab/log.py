"""What is worth knowing afterwards: one line for each event, for whoever runs the server.

    tell("run_started", run=run.id, person=run.owner)

An event is a name and a few facts. `to_stderr` writes each as one JSON object on a line of its own. JSON escapes
everything but printable ASCII, so that no name of a run can begin a line, colour a terminal or turn a text around.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import traceback
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

Event = Literal[
    "listening",
    "run_queued",
    "run_started",
    "run_ended",
    "run_failed",
    "sweep_started",
    "sweep_ended",
    "quota",
    "refused",
    "teacher",
]
Fact = str | int | float | bool | None

LONGEST_FACT, LONGEST_TRACE = 300, 8_000
"""Characters of one fact, whose end is left out beyond that, and of a traceback, whose beginning is."""
LINES_A_MINUTE = 20
"""Of refusals of one kind to one person, and of one error: who is refused a thousand times does not fill the disk."""
ALL_LINES_A_MINUTE = 300
"""Of refusals and errors of any kind to anybody: whoever has a thousand names does not fill it either."""

THINNED = ("quota", "refused", "teacher")
_EVENTS = logging.getLogger("metalab.events")


def tell(event: Event, **facts: Fact) -> None:
    """Log an event with its facts. Where nobody listens to the package's log at level INFO it costs next to nothing."""
    if _EVENTS.isEnabledFor(logging.INFO):
        cut = {name: _cut(value) for name, value in facts.items()}
        _EVENTS.info("%s %s", event, json.dumps(cut), extra={"event": event, "facts": cut})


def to_stderr() -> None:
    """From now on the package's log is written to stderr, a JSON object a line; doing it twice does nothing."""
    package = logging.getLogger("metalab")
    if not any(isinstance(handler.formatter, JsonLines) for handler in package.handlers):
        package.addHandler(handler(sys.stderr))
        package.setLevel(logging.INFO)
        package.propagate = False


def handler(stream: TextIO) -> logging.Handler:
    """Writes whatever it is given as one JSON object a line, and of many like ones a few."""
    made = logging.StreamHandler(stream)
    made.setFormatter(JsonLines())
    made.addFilter(Thinned())
    return made


class JsonLines(logging.Formatter):
    """A record as one JSON object: time (UTC), level, event, then the event's facts or the message and its trace."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
        }
        if hasattr(record, "facts"):
            line |= record.facts
        else:
            line |= {"logger": record.name, "message": _cut(record.getMessage())}
        if record.exc_info and record.exc_info[0] is not None:
            line["trace"] = "".join(traceback.format_exception(*record.exc_info))[-LONGEST_TRACE:]
        if hasattr(record, "left_out"):
            line["left_out_before"] = record.left_out
        return json.dumps(line)


class Thinned(logging.Filter):
    """Lets so many refusals and errors of one kind pass in a minute; the next one says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._minute = 0
        self._seen: Counter[tuple[str, ...]] = Counter()
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        kind = _kind(record)
        if not kind:
            return True
        minute = int(time.monotonic() // 60)
        with self._lock:
            if minute != self._minute:
                self._minute = minute
                self._seen.clear()
            if self._seen[kind] >= LINES_A_MINUTE or self._seen.total() >= ALL_LINES_A_MINUTE:
                self._left_out += 1
                return False
            self._seen[kind] += 1
            if self._left_out:
                record.left_out, self._left_out = self._left_out, 0
        return True


def _kind(record: logging.LogRecord) -> tuple[str, ...]:
    """What a record has in common with others of which there may be many: who is refused, or where what went wrong.

    Empty for an event of which there are only as many as something happens.
    """
    event = getattr(record, "event", "")
    if event:
        return (event, str(record.facts.get("person", ""))) if event in THINNED else ()  # type: ignore[attr-defined]
    where = ""
    if record.exc_info and record.exc_info[2] is not None:
        *_, last = traceback.walk_tb(record.exc_info[2])
        where = f"{last[0].f_code.co_filename}:{last[1]}"
    return record.name, str(record.msg)[:LONGEST_FACT], where


def _cut(fact: Fact) -> Fact:
    if isinstance(fact, str) and len(fact) > LONGEST_FACT:
        return fact[: LONGEST_FACT - 1] + "…"
    return fact
