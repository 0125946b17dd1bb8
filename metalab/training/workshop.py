"""One run's training from its last checkpoint to the end that it comes to: what the service's threads do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import torch

from metalab.log import Event as LogEvent
from metalab.log import tell
from metalab.store import News, RunNotFound, State, Store
from metalab.store.people import disk_bytes
from metalab.store.store import INTERRUPTED
from metalab.training.events import Checkpointed, Event, Failed, Finished
from metalab.training.jobs import OUTCOME, Courtesy, Foreground, Job
from metalab.training.machine import gpu
from metalab.training.quotas import Quotas
from metalab.training.recorder import Recorder
from metalab.training.refusals import check_memory, in_one_sentence
from metalab.training.trainer import train

DISK_SECONDS = 2.0
"""So often at most the disk that its owner's runs take is looked at while a run trains."""
DISK_SHARE = 100
"""It takes at most one part in so many of the time."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workshop:
    """What all the threads of a service work with."""

    store: Store
    quotas: Quotas
    foreground: Foreground
    lock: threading.Condition
    """Guards jobs."""
    told: Callable[[str], None]
    """Is called with a run's id after each write."""

    def train(self, job: Job, threads: int) -> News | None:
        """Train a run on so many threads until it ends or is to end.

        What is still to be written of it, whatever went wrong; None for a run that was deleted meanwhile.
        """
        torch.set_num_threads(1)  # counts for this thread alone
        try:
            with gpu():
                return self._train(job, threads)
        except RunNotFound:
            tell("run_ended", run=job.run_id, person=job.owner, state="deleted")
            return None
        except Exception as problem:
            log.exception("Run %s failed.", job.run_id)
            message = in_one_sentence(problem)
            tell("run_failed", run=job.run_id, person=job.owner, why=message)
            return News(status={"state": "failed", "message": message, "rate": None})

    def _train(self, job: Job, threads: int) -> News:
        run, checkpoint = self.store.get(job.run_id), self.store.load_checkpoint(job.run_id)
        step = checkpoint.step if checkpoint else 0
        self.store.take_back(run.id, step if checkpoint else -1)
        recorder = Recorder(self.store, run, step, lambda: self.told(run.id))
        # A program that was killed may have written the files of a checkpoint, and not that they are there.
        recorder.flush(News(status={"state": "running"}, checkpoints=[step] if checkpoint else []))
        tell("run_started", run=run.id, person=run.owner, step=step, threads=threads)
        check_memory(run.current, run.owner, self.quotas.of(run.owner), threads)  # there may be less than at its start
        # Settings may have been changed since the checkpoint was taken.
        resume = replace(checkpoint, config=run.current) if checkpoint else None
        courtesy = Courtesy(self.foreground)
        with closing(train(run.current, resume=resume, threads=threads)) as events:
            event = next(events)
            while True:
                recorder.take(event)
                spent = self.quotas.of(job.owner).out_of_time(recorder.seconds) or self._out_of_room(job, event)
                with self.lock:
                    job.hear(spent)
                    command = job.reply(event)
                    job.over = job.over or isinstance(event, Finished | Failed)
                if job.over:
                    break
                courtesy.wait()
                event = events.send(command)
        state, message = _outcome(job, event)
        event_name: LogEvent = "run_failed" if state == "failed" else "run_ended"
        seconds = round(recorder.seconds, 1)
        tell(event_name, run=run.id, person=run.owner, state=state, step=event.step, seconds=seconds, why=message)
        return recorder.last({"state": state, "message": message, "rate": None})

    def _out_of_room(self, job: Job, event: Event) -> str:
        """A sentence where the owner's runs take too much of the disk; looked at when there was time for more."""
        limits, began = self.quotas.of(job.owner), time.monotonic()
        if limits.disk is None or not isinstance(event, Checkpointed) or began < job.weigh_next:
            return ""
        used = disk_bytes(self.store, job.owner)
        now = time.monotonic()
        job.weigh_next = now + max(DISK_SECONDS, DISK_SHARE * (now - began))
        return limits.out_of_room(used)


def _outcome(job: Job, event: Event) -> tuple[State, str]:
    """The state and the sentence in which a run ends, by its last event and by what it was told."""
    if isinstance(event, Finished):
        return "finished", ""
    if isinstance(event, Failed):
        return "failed", event.message
    state = OUTCOME[job.wish]
    return state, INTERRUPTED if state == "interrupted" else job.why
