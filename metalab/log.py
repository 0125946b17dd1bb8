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
from typing import Any, Literal

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

LONGEST_FACT = 300
"""Characters of one fact; the end of a longer one is left out."""
LINES_A_MINUTE = 20
"""Of refusals of one kind to one person: who is refused a thousand times does not fill the disk."""
ALL_LINES_A_MINUTE = 300
"""Of refusals of any kind to anybody: whoever has a thousand names does not fill it either."""

_EVENTS = logging.getLogger("metalab.events")


def tell(event: Event, **facts: Fact) -> None:
    """Log an event with its facts. Where nobody listens to the package's log at level INFO it costs next to nothing."""
    if _EVENTS.isEnabledFor(logging.INFO):
        cut = {name: _cut(value) for name, value in facts.items()}
        _EVENTS.info("%s %s", event, json.dumps(cut), extra={"event": event, "facts": cut})


def to_stderr() -> None:
    """From now on the package's log is written to stderr, a JSON object a line; doing it twice does nothing."""
    package = logging.getLogger("metalab")
    if any(isinstance(handler.formatter, JsonLines) for handler in package.handlers):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(Thinned())
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    package.propagate = False


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
            line["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line)


class Thinned(logging.Filter):
    """Lets so many refusals of one kind to one person pass in a minute; the next one says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._minute = 0
        self._seen: Counter[tuple[str, str]] = Counter()
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(record, "event", "")
        if event not in ("quota", "refused", "teacher"):
            return True
        minute = int(time.monotonic() // 60)
        key = event, str(record.facts.get("person", ""))  # type: ignore[attr-defined]
        with self._lock:
            if minute != self._minute:
                self._minute = minute
                self._seen.clear()
            if self._seen[key] >= LINES_A_MINUTE or self._seen.total() >= ALL_LINES_A_MINUTE:
                self._left_out += 1
                return False
            self._seen[key] += 1
            if self._left_out:
                record.facts["left_out_before"] = self._left_out  # type: ignore[attr-defined]
                self._left_out = 0
        return True


def _cut(fact: Fact) -> Fact:
    if isinstance(fact, str) and len(fact) > LONGEST_FACT:
        return fact[: LONGEST_FACT - 1] + "…"
    return fact
