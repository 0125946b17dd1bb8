"""From a trainer's events to the store: buffered, so that neither disk nor device makes the trainer wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from metalab.store import News, Note, Run, Store
from metalab.training.config import RunConfig
from metalab.training.evaluation import AWAY, summarise
from metalab.training.events import Changed, Checkpointed, Evaluated, Event, Noted, OuterStep

FLUSH_SECONDS = 0.15
RATE_SECONDS = 5.0
"""The stretch of running time over which the rate is taken."""


class Recorder:
    """Writes one stretch of a run's training; used by the thread that trains."""

    def __init__(self, store: Store, run: Run, step: int, told: Callable[[], None]) -> None:
        """`told()` is called after each write."""
        self._store, self._run_id, self._told = store, run.id, told
        self._steps: list[OuterStep] = []
        self._step = step
        self._seconds = run.seconds
        self._began = self._flushed = time.monotonic()
        self._changed: News | None = None
        """Changes whose checkpoint is still to come."""
        self._pace: deque[tuple[float, int]] = deque()
        """When which outer step was taken, from the first one on: what comes before it is no pace."""

    @property
    def seconds(self) -> float:
        """Of running, those before this stretch included."""
        return self._seconds + time.monotonic() - self._began

    def take(self, event: Event) -> None:
        """Record an event: evaluations, checkpoints and the first outer step at once, others soon."""
        self._step = event.step
        if isinstance(event, OuterStep):
            self._steps.append(event)
            if not self._pace or time.monotonic() - self._flushed >= FLUSH_SECONDS:
                self.flush()
        elif isinstance(event, Evaluated):
            self.flush(News(evaluations=[event], metrics=before_and_after(event)))
        elif isinstance(event, Checkpointed):
            # What led here is written before, so that no step before a checkpoint is ever missing.
            if self._steps:
                self.flush()
            self._store.save_checkpoint(self._run_id, event.checkpoint)
            if self._changed is not None:
                self.flush(self._changed)
                self._changed = None
        elif isinstance(event, Changed):
            # Told with the checkpoint that follows: a run that went back to an earlier one would else take again,
            # with the new settings, steps that were recorded with the old ones.
            self._changed = self._changed or News()
            self._changed.notes += [Note(event.step, text) for text in in_words(event.changes)]
            self._changed.status["current"] = event.config.model_dump_json()
        elif isinstance(event, Noted):
            self.flush(News(notes=[Note(event.step, event.text)]))

    def flush(self, news: News | None = None) -> None:
        """Write what is buffered, and `news` with it, in one transaction. Raises RunNotFound for a deleted run."""
        self._store.append(self._run_id, self._complete(news or News()))
        self._steps.clear()
        self._flushed = time.monotonic()
        self._told()

    def last(self, status: Mapping[str, Any]) -> News:
        """What is still to be written of a run that ends with this status."""
        return self._complete(News(status=dict(status)))

    def _complete(self, news: News) -> News:
        news.metrics[:0] = _fetched(self._steps)
        rate = self._rate(time.monotonic())
        news.status = {"step": self._step, "seconds": self.seconds, "rate": rate, **news.status}
        return news

    def _rate(self, now: float) -> float | None:
        """Outer steps a second lately; None until the second look at the clock."""
        if not self._steps and not self._pace:
            return None
        self._pace.append((now, self._step))
        while len(self._pace) > 2 and now - self._pace[1][0] > RATE_SECONDS:
            self._pace.popleft()
        then, before = self._pace[0]
        return (self._step - before) / (now - then) if self._step > before and now > then else None


def differences(before: RunConfig, after: RunConfig, names: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    """Dotted name to (old, new) for settings of the outer loop and of the algorithm."""

    def values(config: RunConfig) -> dict[str, Any]:
        data = config.model_dump()
        return data | {f"algorithm.{name}": value for name, value in data["algorithm"].items()}

    old, new = values(before), values(after)
    return {name: (old[name], new[name]) for name in names}


def in_words(changes: Mapping[str, Any]) -> list[str]:
    """One sentence for each setting that has another value now: dotted name to (old, new)."""
    return [
        f"{name.rpartition('.')[2]} changed from {old:g} to {new:g}"
        for name, (old, new) in changes.items()
        if old != new
    ]


def _fetched(steps: Sequence[OuterStep]) -> list[tuple[int, str, float]]:
    """The metrics of outer steps, fetched from the device in one go for each name."""
    found: list[tuple[int, str, float]] = []
    if steps:
        for name in steps[0].metrics:
            values = torch.stack([step.metrics[name] for step in steps]).tolist()
            found += [(step.step, f"train/{name}", value) for step, value in zip(steps, values, strict=True)]
    return found


def before_and_after(event: Evaluated) -> list[tuple[int, str, float]]:
    """Means over the held-out tasks at inner step 0 and at the last, at home (validation) and away."""
    found = []
    for name, curve in event.curves.items():
        metric = name.removesuffix(AWAY)
        place = "validation" if metric == name else "away"
        mean = summarise(curve).mean.tolist()
        found.append((event.step, f"{place}/{metric}_before", mean[0]))
        found.append((event.step, f"{place}/{metric}_after", mean[-1]))
    return found
