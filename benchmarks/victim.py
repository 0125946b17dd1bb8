"""The server that benchmarks/kill.py kills: the real one, and in it people who never rest.

It is forked from a process that has imported everything, so that it is there within a moment.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import uvicorn

import app
from metalab.store import RESUMABLE, Run, library
from metalab.store import checkpoints as files
from metalab.training.config import RunConfig, parse_config
from metalab.training.service import CommandError, Service, service

ACTS = ("training", "pausing", "checkpointing", "deleting")
OWNERS = ("ada", "ben")
AT_WORK = 4
"""Runs that train or wait at any time."""
SEEDS = (0, 1)
STEPS = 360

torch.optim.Adam([torch.zeros(1)])  # the first one imports a lot


def config_of(seed: int, evaluate_every: int = 6) -> RunConfig:
    """A small sine-wave run that takes some seconds and many checkpoints."""
    return parse_config(
        {
            "family": {"name": "sinusoid", "shots": 5, "queries": 5},
            "model": {"name": "mlp", "widths": [24, 24]},
            "algorithm": {"name": "maml", "inner_steps_eval": 2},
            "meta_batch_size": 4,
            "evaluation_tasks": 4,
            "outer_steps": STEPS,
            "evaluate_every": evaluate_every,
            "seed": seed,
            "device": "cpu",
        }
    )


class Signs:
    """What goes on in the server now, in memory that outlives it: one count for each act."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, len(ACTS))
        self._lock = threading.Lock()

    def shown(self, act: str) -> bool:
        """Whether somebody is in the middle of it."""
        return self._memory[ACTS.index(act)] > 0

    def clear(self) -> None:
        """Forget what a killed server was doing."""
        self._memory[:] = bytes(len(ACTS))

    @contextlib.contextmanager
    def during(self, act: str) -> Iterator[None]:
        """Show it while the block lasts."""
        place = ACTS.index(act)
        with self._lock:
            self._memory[place] += 1
        try:
            yield
        finally:
            with self._lock:
                self._memory[place] -= 1


def serve(port: int, act: str, seed: int, signs: Signs) -> None:
    """Serve the app for ever, on `METALAB_HOME`, while people do `act` again and again."""
    logging.disable(logging.WARNING)
    _show(files, "write", signs, "checkpointing")
    threading.Thread(target=_people, args=(act, random.Random(seed), signs), daemon=True).start()
    uvicorn.run(app.app, host="127.0.0.1", port=port, log_level="error")


def _show(place: Any, name: str, signs: Signs, act: str) -> None:
    plain: Callable[..., Any] = getattr(place, name)

    def shown(*arguments: Any, **named: Any) -> Any:
        with signs.during(act):
            return plain(*arguments, **named)

    setattr(place, name, shown)


def _people(act: str, chance: random.Random, signs: Signs) -> None:
    try:
        serving = service()
        for run in reversed(serving.store.runs()):
            if run.state in ("interrupted", "paused"):
                with contextlib.suppress(CommandError):  # there is room for some of them only
                    serving.resume(run.id, run.owner)
        while True:
            active = _keep_at_work(serving, chance)
            with signs.during("training"), contextlib.suppress(CommandError, LookupError):
                _do(act, serving, chance.choice(active), signs)
    except BaseException:
        os._exit(3)  # who watches sees that it ended by itself


def _keep_at_work(serving: Service, chance: random.Random) -> list[Run]:
    while True:
        active = [run for run in serving.store.runs() if run.state in ("queued", "running")]
        if len(active) >= AT_WORK:
            return active
        serving.start(config_of(chance.choice(SEEDS)), chance.choice(OWNERS))


def _do(act: str, serving: Service, run: Run, signs: Signs) -> None:
    if act == "pausing":
        with signs.during(act):
            serving.pause(run.id, run.owner)
            serving.wait(run.id, 5)
        if serving.store.get(run.id).state in RESUMABLE:
            serving.resume(run.id, run.owner)
    elif act == "deleting":
        with signs.during(act):
            serving.delete(run.id, run.owner)
            library.empty_bin(serving.store, 0)
    else:
        time.sleep(0.05)
