"""Training in background threads: who trains, who waits, and what people may tell a run.

    run_id = service().start(config, owner)

One service for each process and home, kept in this module. Pausing, stopping and the end of the program leave a
checkpoint from which the run goes on exactly, and free the worker at once.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from metalab import places
from metalab.log import tell
from metalab.store import RESUMABLE, News, Note, Run, State, Store
from metalab.training.bin import Bin
from metalab.training.config import RunConfig
from metalab.training.endings import Endings
from metalab.training.fair import FairQueue
from metalab.training.jobs import OUTCOME, Foreground, Job, Vitals
from metalab.training.machine import cores, worker_count
from metalab.training.quotas import Quotas, from_environment
from metalab.training.recorder import differences, in_words
from metalab.training.refusals import CommandError, TooMuch, check, check_disk, check_kept, hold
from metalab.training.workshop import Workshop

CLOSING_SECONDS = 5.0
LOCKED_SECONDS = 1.0

_services: dict[Path, Service] = {}
_lock = threading.Lock()


def service() -> Service:
    """The service of this process for `places.home()`. Raises StoreError, PlaceError, ConfigError."""
    home = places.home()
    with _lock:
        if home not in _services:
            quotas = Quotas(from_environment(os.environ))
            if not _services:
                # Before the pools of threads that trainers compute on are told to end, where Python offers that.
                getattr(threading, "_register_atexit", atexit.register)(close_all)
            _services[home] = Service(Store(home), quotas=quotas)
        return _services[home]


def close_all() -> None:
    """End every service of this process; runs in training become interrupted, with a checkpoint of now."""
    with _lock:
        services = list(_services.values())
        _services.clear()
    for each in services:
        each.close()


class Service:
    """Trains the runs of one store in this process. Every method may be called from any thread.

    Commands take effect between two outer steps and return at once. They raise RunNotFound for an unknown run,
    PermissionError for another's, CommandError where the run's state does not allow them.
    """

    def __init__(
        self, store: Store, workers: int | None = None, threads: int | None = None, quotas: Quotas | None = None
    ) -> None:
        """`workers`: runs training at once, by default `worker_count()`. `threads`: for each, by default its share.

        `quotas`: what people may ask for, by default everything.
        """
        self.store = store
        self.quotas = quotas or Quotas()
        self.workers = workers or worker_count()
        self.threads = threads
        self.foreground = Foreground()
        """`with service().foreground(): ...` around a short computation makes the trainers wait a moment for it."""
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._queue = FairQueue()
        self._busy = 0
        self._news: Counter[str] = Counter()
        self._closing = False
        store.notice_interrupted()
        self._bin = Bin(store)
        self._endings = Endings(store, self._clear_away)
        self._workshop = Workshop(store, self.quotas, self.foreground, self._changed, self._tell)

    # --- commands

    def start(self, config: RunConfig, owner: str, name: str = "") -> str:
        """Queue a new run of `owner` and return its id. Raises DataMissing, ConfigError, CommandError, StoreError."""
        self._admit(config, owner)
        with self._changed:
            self._check_room(owner)
            run = self.store.create(config, owner, name)
            about = {"family": run.family, "algorithm": run.algorithm, "model": run.model}
            tell("run_queued", run=run.id, person=owner, name=run.name, outer_steps=run.outer_steps, **about)
            self._submit(run, None)
        return run.id

    def resume(self, run_id: str, owner: str) -> None:
        """Let a paused, stopped, failed or interrupted run go on from its last checkpoint; take back a `pause`."""
        self._go_on(run_id, owner, None)

    def step(self, run_id: str, owner: str) -> None:
        """One outer step, an evaluation, then paused. For a run that trains: pause after one more step."""
        self._go_on(run_id, owner, 1)

    def pause(self, run_id: str, owner: str, why: str = "") -> None:
        """Hold a queued or running run after this outer step; `why` is told where it was not its owner's wish."""
        self._end_early(run_id, owner, "pause", (), why)

    def stop(self, run_id: str, owner: str, why: str = "") -> None:
        """End a queued, running or paused run after this outer step, keeping what was learned; `why` as in `pause`."""
        self._end_early(run_id, owner, "stop", ("paused",), why)

    def reset(self, run_id: str, owner: str) -> str:
        """Stop the run where it is active and start anew with the same config, so from the same initialisation.

        Returns the id of the new run. Raises what `start` raises, too, and then the run goes on.
        """
        run = self.store.owned(run_id, owner)
        if run.active:
            self._admit(run.config, owner)
            with self._changed:
                self._check_room(owner)
            self.stop(run_id, owner)
        return self.start(run.config, owner, run.name)

    def change(self, run_id: str, changes: Mapping[str, Any], owner: str) -> None:
        """Set learning rates (dotted names of `RunConfig.live`) from the next outer step on; noted in the run.

        Raises ConfigError for another setting or a value out of its range, too.
        """
        run = self.store.owned(run_id, owner)
        run.current.changed_live(changes)
        with self._changed:
            job = self._live(run_id)
            run = self.store.get(run_id)
            after = run.current.changed(changes)
            if job is not None and job.thread is not None:
                job.changes.update(changes)
                return
            notes = [Note(run.step, text) for text in in_words(differences(run.current, after, changes))]
            states: Sequence[State] = RESUMABLE if job is None else ("queued",)
            if not self.store.revise(run_id, states, after.model_dump_json(), notes):
                raise self._refused(run_id, "Its settings cannot change now.")
            self._tell(run_id)

    def delete(self, run_id: str, owner: str) -> None:
        """Put a run into the bin (`store.library`); one that trains stops, and goes there when its thread has ended."""
        with suppress(CommandError):  # there may be nothing to stop
            self.stop(run_id, owner)
        with self._changed:
            job = self._jobs.get(run_id)
            if job is not None:
                self.store.owned(run_id, owner)
                job.binned = True
                return
        try:
            self._bin.put(run_id, owner)
        except ValueError:
            raise self._refused(run_id, "Stop it before you delete it.") from None
        self._tell(run_id)

    # --- what others need to know

    def place(self, run_id: str) -> int | None:
        """1 for the run that starts next, and so on; None for a run that does not wait in this process."""
        with self._changed:
            return self._queue.place(run_id)

    def controllable(self, run: Run, owner: str) -> bool:
        """Whether `owner` can command the run from this process."""
        elsewhere = run.state in ("queued", "running") and run.process != self.store.process
        return run.owner == owner and not elsewhere

    def news(self, run_id: str) -> int:
        """Counts what this process wrote of a run."""
        with self._changed:
            return self._news[run_id]

    def wait_for_news(self, run_id: str, seen: int, timeout: float) -> bool:
        """Return True as soon as `news` is not `seen`, else False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._news[run_id] != seen, timeout)

    def wait(self, run_id: str, timeout: float | None = None) -> Run:
        """The run as soon as it neither waits nor trains, or as it is after `timeout` seconds. Raises RunNotFound."""
        deadline = time.monotonic() + (timeout if timeout is not None else float("inf"))
        while True:
            seen = self.news(run_id)
            run, left = self.store.get(run_id), deadline - time.monotonic()
            if run.state not in ("queued", "running") or left <= 0:
                return run
            self.wait_for_news(run_id, seen, min(left, 0.5))

    def vitals(self) -> Vitals:
        """How the service does, for a supervisor."""
        # Whoever holds the lock for good has stopped everything: that is worth more than an exact answer.
        free = self._changed.acquire(timeout=LOCKED_SECONDS)
        try:
            jobs, idle = list(self._jobs.values()), bool(len(self._queue)) and self._busy < self.workers
        finally:
            if free:
                self._changed.release()
        return Vitals.of(jobs, self.workers, alive=free and not idle and not self._closing)

    def room(self, owner: str) -> bool:
        """Whether one more run of `owner` may wait."""
        with self._changed:
            return not (self._closing or self._crowded(owner))

    def going(self) -> dict[str, bool]:
        """The runs that wait or train in this process: whether each waits, by its id."""
        with self._changed:
            return {job.run_id: job.thread is None for job in self._jobs.values()}

    def close(self, timeout: float = CLOSING_SECONDS) -> None:
        """Interrupt every run, with a checkpoint of now, waiting at most `timeout` seconds, and close the store."""
        with self._changed:
            self._closing = True
            for job in list(self._jobs.values()):
                job.wish = "interrupt"
                if job.thread is None:
                    self._leave_queue(job, "interrupted")
            threads = [job.thread for job in self._jobs.values() if job.thread is not None]
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._endings.close()
        self.store.close()

    # --- queue

    def _go_on(self, run_id: str, owner: str, steps: int | None) -> None:
        run = self.store.owned(run_id, owner)
        with self._changed:
            job = self._live(run_id, steps)
            if job is not None:
                job.wish, job.binned = "run", False
                job.steps = None if steps is None else (job.steps or 0) + steps
                return
        limits = self.quotas.of(owner)
        check(run.current, owner, limits)
        check_disk(self.store, owner, limits)
        hold(owner, limits.out_of_time(run.seconds), TooMuch)
        with self._changed:
            self._check_room(owner)
            claimed = self.store.claim(run_id, RESUMABLE)
            if claimed is None:
                raise self._refused(run_id, "Only a run that was paused, stopped, interrupted or failed can go on.")
            self._submit(claimed, steps)

    def _end_early(self, run_id: str, owner: str, wish: Any, settled: Sequence[State], why: str) -> None:
        self.store.owned(run_id, owner)
        with self._changed:
            job = self._live(run_id)
            if job is not None:
                job.wish, job.why = wish, why
                if job.thread is None:
                    self._leave_queue(job, OUTCOME[wish])
            elif settled and self.store.settle(run_id, settled, OUTCOME[wish], why):
                self._tell(run_id)
            else:
                raise self._refused(run_id, f"There is nothing to {wish}.")

    def _live(self, run_id: str, steps: int | None = 1) -> Job | None:
        """The run's job; one that takes no more commands, or only a single step, is waited for. Lock held."""

        def settled() -> bool:
            job = self._jobs.get(run_id)
            return job is None or not (job.over or (job.extra and steps is None))

        self._changed.wait_for(settled, 30)
        self._endings.settle(run_id)
        return self._jobs.get(run_id)

    def _submit(self, run: Run, steps: int | None) -> None:
        job = self._jobs[run.id] = Job(run.id, run.owner, run.outer_steps, steps)
        # Who asks for a single step watches for it: it goes beside the others, one such at a time.
        busy = self._busy >= self.workers
        if steps is not None and busy and not any(other.extra for other in self._jobs.values()):
            job.extra = True
            self._begin(job)
        else:
            self._queue.add(run.id, run.owner)
            self._dispatch()

    def _dispatch(self) -> None:
        while len(self._queue) and self._busy < self.workers and not self._closing:
            self._busy += 1
            self._begin(self._jobs[self._queue.take()])
        for run_id in self._queue.order():
            self._news[run_id] += 1
        self._changed.notify_all()

    def _begin(self, job: Job) -> None:
        job.thread = threading.Thread(target=self._work, args=(job,), name=f"metalab-{job.run_id}", daemon=True)
        job.thread.start()

    def _leave_queue(self, job: Job, state: State) -> None:
        self._queue.remove(job.run_id)
        del self._jobs[job.run_id]
        self._endings.write(job, News(status={"state": state, "message": job.why, "rate": None}))
        tell("run_ended", run=job.run_id, person=job.owner, state=state, why=job.why or "It waited still.")
        self._tell(job.run_id)
        self._dispatch()

    def _admit(self, config: RunConfig, owner: str) -> None:
        limits = self.quotas.of(owner)
        check(config, owner, limits)
        check_disk(self.store, owner, limits)
        check_kept(self.store, owner, limits)

    def _check_room(self, owner: str) -> None:
        if self._closing:
            raise CommandError("This program is ending and starts no more runs.")
        hold(owner, self._crowded(owner))

    def _crowded(self, owner: str) -> str:
        going = [job.owner for job in self._jobs.values() if job.wish == "run"]
        return self.quotas.of(owner).too_many_runs(going.count(owner), len(going))

    def _refused(self, run_id: str, why: str) -> CommandError:
        run = self.store.get(run_id)
        if run.state in ("queued", "running") and run.process != self.store.process:
            why = "Another program on this computer trains it: tell it there."
        return CommandError(f"Run {run_id} is {run.state}. {why}")

    def _tell(self, run_id: str) -> None:
        with self._changed:
            self._news[run_id] += 1
            self._changed.notify_all()

    # --- threads

    def _work(self, job: Job) -> None:
        try:
            threads = self.threads or max(1, cores() // max(1, self._busy))
            last = self._workshop.train(job, threads)
            if last is not None:
                self._endings.write(job, last)
        finally:
            with self._changed:
                del self._jobs[job.run_id]
                if not job.extra:
                    self._busy -= 1
                    self._queue.done(job.owner)
                self._tell(job.run_id)
                if not self._endings.waits(job.run_id):
                    self._clear_away(job)
                self._dispatch()

    def _clear_away(self, job: Job) -> None:
        with self._changed:
            self._bin.clear_away(job.run_id, job.owner, deleted=job.binned)
            self._tell(job.run_id)
