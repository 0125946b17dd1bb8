"""What the store knows of a run."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from torch import Tensor

    from metalab.training.config import RunConfig

State = Literal["queued", "running", "paused", "finished", "stopped", "failed", "interrupted"]
STATES: tuple[State, ...] = get_args(State)
ACTIVE: tuple[State, ...] = ("queued", "running", "paused")
"""States that end with the process that the run belongs to."""
RESUMABLE: tuple[State, ...] = ("paused", "stopped", "failed", "interrupted")
"""States from which a run can go on."""


class RunNotFound(LookupError):
    """There is no run of that id (any more)."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no run {run_id[:64]!r}. It may have been deleted.")


COMMAND_LINE = "command line"
"""Owner of the runs that no browser started; no browser's name is spelled so."""
EXAMPLE = "example"
"""Owner of the runs that came with MetaLab."""


@dataclass(frozen=True)
class Run:
    """A run as it was when it was read."""

    number: int
    """Runs are counted in the order in which they were made."""
    id: str
    name: str
    owner: str
    state: State
    step: int
    """Outer steps taken."""
    message: str
    """Why it ended, in one sentence, or empty."""
    created: float
    """Seconds since 1970, for display only."""
    updated: float
    seconds: float
    """Seconds of running, pauses left out."""
    rate: float | None
    """Outer steps a second over the last few seconds of running."""
    process: str
    """The process that trains it, or did so last."""
    epoch: int
    """Counts how often part of the run's history was taken back."""
    version: int
    """Counts every change of the run that its viewers see: of a checkpoint they see nothing."""
    config_json: str
    current_json: str
    deleted: float | None = None
    """Seconds since 1970 at which it was put into the bin; None for a run that is not there."""

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Run:
        values = dict(row)
        values["config_json"], values["current_json"] = values.pop("config"), values.pop("current")
        return cls(**values)

    @cached_property
    def config(self) -> RunConfig:
        """The config that it was started with. Raises ConfigError where this version does not know it."""
        return _parsed(self.config_json, self.id)

    @cached_property
    def current(self) -> RunConfig:
        """The config with all changes that were made while it ran. Raises ConfigError like `config`."""
        return _parsed(self.current_json, self.id)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The config that it was started with as nested dictionaries, unchecked: for lists of many runs."""
        return json.loads(self.config_json)

    @property
    def family(self) -> str:
        return self.settings["family"]["name"]

    @property
    def model(self) -> str:
        return self.settings["model"]["name"]

    @property
    def algorithm(self) -> str:
        return self.settings["algorithm"]["name"]

    @property
    def outer_steps(self) -> int:
        return self.settings["outer_steps"]

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the last outer step at the present rate; None unless running."""
        if self.state != "running" or not self.rate:
            return None
        return (self.outer_steps - self.step) / self.rate


@lru_cache(maxsize=256)
def _parsed(text: str, run_id: str) -> RunConfig:
    """A stored config, checked; configs do not change, and pages ask for the same ones again and again."""
    from metalab.training.config import parse_config

    return parse_config(json.loads(text), f"run {run_id}")


@dataclass(frozen=True)
class Evaluation:
    """What `training.events.Evaluated` said, read back."""

    id: int
    step: int
    curves: dict[str, Tensor]
    """Each metric on the query sets after each inner step: (T, K + 1)."""
    functions: Tensor | None
    """Predictions at the family's probe inputs: (few tasks, K + 1, m), or None."""


@dataclass(frozen=True)
class Note:
    """Something worth knowing that happened at outer step `step`."""

    step: int
    text: str
