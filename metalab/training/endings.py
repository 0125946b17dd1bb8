"""The ends of runs, written even where the disk is full at that moment.

An end that cannot be written is kept here, with the last of what was measured, and tried again, ever less often,
until it is written; meanwhile the run is shown in the state in which it is (`store.unwritten`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from metalab.store import News, RunNotFound, Store, unwritten
from metalab.training.jobs import Job

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts; each pause is twice the one before."""

log = logging.getLogger(__name__)


class Endings:
    """Writes the ends of a store's runs. Every method may be called from any thread."""

    def __init__(self, store: Store, written: Callable[[Job], None]) -> None:
        """`written(job)` is called when an end is written that could not be written at once."""
        self._store, self._written = store, written
        self._changed = threading.Condition()
        self._waiting: dict[str, tuple[Job, News]] = {}
        self._thread: threading.Thread | None = None
        self._closing = False

    def write(self, job: Job, news: News) -> None:
        """Write the end of a run now or, where that is not possible, later; a run that is gone needs none."""
        try:
            with suppress(RunNotFound):
                self._store.append(job.run_id, news)
        except Exception:
            log.exception("The end of run %s could not be written: it is tried again and again.", job.run_id)
            with self._changed:
                self._waiting[job.run_id] = job, news
                unwritten.keep(self._store.home, job.run_id, news.status)
                if self._thread is None and not self._closing:
                    self._thread = threading.Thread(target=self._try_again, name="metalab-endings", daemon=True)
                    self._thread.start()

    def waits(self, run_id: str) -> bool:
        """Whether the end of a run is still to be written."""
        with self._changed:
            return run_id in self._waiting

    def settle(self, run_id: str) -> None:
        """Write now what is still to be written of a run. Raises StoreError, PlaceError where it cannot be."""
        with self._changed:
            if run_id not in self._waiting:
                return
            job, news = self._waiting[run_id]
            with suppress(RunNotFound):
                self._store.append(run_id, news)
            self._forget(run_id)
        log.info("The end of run %s is written now.", run_id)
        self._written(job)

    def close(self) -> None:
        """Try a last time; a run whose end is not written then counts as interrupted when the program starts again."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            left = list(self._waiting)
        for run_id in left:
            try:
                self.settle(run_id)
            except Exception:
                log.warning("The end of run %s could not be written: it will count as interrupted.", run_id)
                with self._changed:
                    self._forget(run_id)

    def _forget(self, run_id: str) -> None:
        self._waiting.pop(run_id, None)
        unwritten.forget(self._store.home, run_id)

    def _try_again(self) -> None:
        pause = FIRST_PAUSE
        while True:
            with self._changed:
                if not self._waiting or self._changed.wait_for(lambda: self._closing, pause):
                    self._thread = None
                    return
                left = list(self._waiting)
            for run_id in left:
                with suppress(Exception):  # as before: it was logged the first time
                    self.settle(run_id)
            pause = min(2 * pause, LONGEST_PAUSE)
