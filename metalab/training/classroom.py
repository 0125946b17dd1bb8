"""What whoever is in charge of a server does to everybody's runs at once. Who that is, is for the caller to check."""

from __future__ import annotations

from contextlib import suppress

from metalab.store import RunNotFound
from metalab.training.refusals import CommandError
from metalab.training.service import Service
from metalab.training.sweeps import sweeps

WHY = {
    "pause": "Whoever is in charge of this server paused it.",
    "stop": "Whoever is in charge of this server stopped it.",
}
"""What is told of a run or a sweep, by what was done to it."""


def stop_all(service: Service) -> int:
    """Stop every run that trains or waits in this process, and every sweep; what was learned is kept. How many runs."""
    return _stop(service, waiting_only=False)


def empty_queue(service: Service) -> int:
    """Stop every run that waits, and every sweep, which would add more; those that train go on. How many runs."""
    return _stop(service, waiting_only=True)


def _stop(service: Service, *, waiting_only: bool) -> int:
    sweeps(service).stop_feeding(WHY["stop"])
    stopped = 0
    # The waiting ones first, the last of them first: else those would train whose turn comes meanwhile.
    latest = list(service.going().items())[::-1]
    for run_id, waits in sorted(latest, key=lambda each: not each[1]):
        if waits or not waiting_only:
            with suppress(CommandError, RunNotFound):  # it has just ended by itself
                service.stop(run_id, service.store.get(run_id).owner, WHY["stop"])
                stopped += 1
    return stopped
