"""How much one person, and all together, may ask of a server; declared once, checked by the service.

    METALAB_MAX_RUNS=5 METALAB_MAX_HOURS=none python -m streamlit run app.py

Whoever sits at the server's own machine, or has shown the teacher's token, is free of them: `Quotas.free`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping

from pydantic import ValidationError

from metalab.settings import Settings, explain, setting
from metalab.store import COMMAND_LINE

PREFIX = "METALAB_MAX_"
GIGABYTE = 1e9
OTHERWISE = "or ask whoever runs this server"


class Limits(Settings):
    """What is allowed. Each can be set as METALAB_MAX_<NAME>; "none" lifts it.

    The methods answer with one sentence that says what was asked, what is allowed and what to do, or with "".
    """

    runs: int | None = setting(20, "Runs of one person that train or wait at once.", low=1)
    queue: int | None = setting(400, "Runs of everybody together that train or wait at once.", low=1)
    sweeps: int | None = setting(3, "Sweeps of one person that go on at once.", low=1)
    outer_steps: int | None = setting(200_000, "Outer steps of a run.", low=1)
    checkpoints: int | None = setting(2_000, "Checkpoints of a run: one is kept at each look at held-out tasks.", low=1)
    parameters: int | None = setting(2_000_000, "Numbers in a run's theta.", low=1)
    memory: float | None = setting(
        None, "Gigabytes of memory that a run needs at a time; in any case no more than is free.", low=0.01
    )
    kept: int | None = setting(1_000, "Runs that one person keeps, those in the bin included.", low=1)
    disk: float | None = setting(2.0, "Gigabytes that one person's runs take on the disk.", low=0.001)
    hours: float | None = setting(2.0, "Hours that a run trains, waits and pauses left out.", low=0.001)
    streams: int | None = setting(32, "Live views that one person has open.", low=1)
    all_streams: int | None = setting(300, "Live views that everybody has open together.", low=1)
    newcomers: int | None = setting(500, "New visitors from one address within a minute.", low=1)

    def too_many_runs(self, theirs: int, together: int) -> str:
        """Of a person who has `theirs` of `together` runs that train or wait, and wants one more."""
        if self.runs is not None and theirs >= self.runs:
            have = "already trains or waits" if theirs == 1 else "already train or wait"
            return f"{theirs} of your runs {have}, {self.runs} allowed here. Stop one, or wait until one has finished."
        if self.queue is not None and together >= self.queue:
            return (
                f"{together:,} runs already train or wait on this server, {self.queue:,} are allowed. "
                "Try again when some have finished."
            )
        return ""

    def too_many_sweeps(self, theirs: int) -> str:
        """Of a person whose `theirs` sweeps go on, and who wants one more."""
        if self.sweeps is None or theirs < self.sweeps:
            return ""
        have = "already runs" if theirs == 1 else "already run"
        return f"{theirs} of your sweeps {have}, {self.sweeps} allowed here. Stop one, or wait until one has finished."

    def too_long(self, outer_steps: int, evaluate_every: int) -> str:
        """Of a run of so many outer steps, looked at every so many."""
        if self.outer_steps is not None and outer_steps > self.outer_steps:
            return (
                f"The run asks for {outer_steps:,} outer steps, at most {self.outer_steps:,} are allowed here. "
                f"Take fewer, {OTHERWISE}."
            )
        kept = math.ceil(outer_steps / evaluate_every) + 1
        if self.checkpoints is not None and kept > self.checkpoints:
            return (
                f"The run would keep {kept:,} checkpoints, at most {self.checkpoints:,} are allowed here. "
                f"Take fewer outer steps or a larger evaluate_every than {evaluate_every:,}, {OTHERWISE}."
            )
        return ""

    def too_large(self, parameters: int) -> str:
        """Of a run whose theta has so many numbers."""
        if self.parameters is None or parameters <= self.parameters:
            return ""
        return (
            f"The network has {parameters:,} parameters, at most {self.parameters:,} are allowed here. "
            f"Choose a narrower or a shallower one, {OTHERWISE}."
        )

    def too_many_kept(self, theirs: int) -> str:
        """Of a person who keeps `theirs`, and wants one more."""
        if self.kept is None or theirs < self.kept:
            return ""
        have = "1 run" if theirs == 1 else f"{theirs:,} runs"
        return (
            f"You keep {have}, those in the bin included, as many as are allowed here. "
            f"Delete some on Library and empty the bin there, {OTHERWISE}."
        )

    def out_of_room(self, taken: int) -> str:
        """Of a person whose runs take so many bytes on the disk."""
        if self.disk is None or taken < self.disk * GIGABYTE:
            return ""
        return (
            f"Your runs take {size_in_words(taken)} on the disk, those in the bin included, and "
            f"{size_in_words(self.disk * GIGABYTE)} are allowed here. Delete some on Library and empty the bin there, "
            f"{OTHERWISE}."
        )

    def out_of_time(self, seconds: float) -> str:
        """Of a run that has trained for so long."""
        if self.hours is None or seconds < self.hours * 3600:
            return ""
        return (
            f"It has trained for {in_words(seconds)}, and {in_words(self.hours * 3600)} are allowed here. "
            f"Its last checkpoint is kept: use that, start a run with fewer outer steps, {OTHERWISE}."
        )

    def too_many_streams(self, theirs: int, together: int) -> str:
        """Of a person with `theirs` of `together` live views open, who opens one more."""
        if self.all_streams is not None and together >= self.all_streams:
            return f"This server already sends {together:,} live views. Close one, or try again in a minute."
        if self.streams is not None and theirs >= self.streams:
            return f"You already have {theirs} live views open. Close some of your tabs and try again."
        return ""

    def too_many_newcomers(self, came: int) -> str:
        """Of an address from which so many new visitors came within a minute, and now one more."""
        if self.newcomers is None or came < self.newcomers:
            return ""
        return (
            f"{came:,} new visitors came from your network within a minute, {self.newcomers:,} are allowed here. "
            "Wait a minute, then open the page again."
        )


UNLIMITED = Limits(**dict.fromkeys(Limits.model_fields))


def from_environment(environment: Mapping[str, str]) -> Limits:
    """The limits with what METALAB_MAX_... variables say. Raises ConfigError, also for one that is no limit."""
    from metalab.training.config import ConfigError  # here, because it loads torch, for which no page need wait

    given = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in Limits.model_fields:
            known = ", ".join(PREFIX + each.upper() for each in Limits.model_fields)
            raise ConfigError(f"{variable} is no limit of MetaLab: expected one of {known}")
        if text.strip():
            given[name] = None if text.strip().lower() == "none" else text.strip()
    try:
        return Limits.model_validate(given)
    except ValidationError as error:
        variable = PREFIX + str(error.errors()[0]["loc"][0]).upper()
        raise ConfigError(f'{explain(error)}, or "none" (from {variable})') from None


class Quotas:
    """The limits of a server, and who is free of them. Thread-safe."""

    def __init__(self, limits: Limits = UNLIMITED) -> None:
        self.limits = limits
        self._free: set[str] = set()
        self._lock = threading.Lock()

    def of(self, owner: str) -> Limits:
        """What `owner` is held to. The command line's runs belong to whoever can reach the folder itself."""
        with self._lock:
            return UNLIMITED if owner == COMMAND_LINE or owner in self._free else self.limits

    def free(self, owner: str, free: bool = True) -> None:
        """Free `owner` of the limits, or hold them to the limits again."""
        with self._lock:
            if free:
                self._free.add(owner)
            else:
                self._free.discard(owner)


def in_words(seconds: float) -> str:
    """A stretch of time as people say it: 90 seconds, 45 minutes, 2 hours, 1.5 hours."""
    for size, unit in ((3600, "hour"), (60, "minute")):
        if seconds >= size:
            n = f"{seconds / size:.1f}".removesuffix(".0")
            return f"{n} {unit}" if n == "1" else f"{n} {unit}s"
    return f"{seconds:.0f} seconds"


def size_in_words(count: float) -> str:
    """So many bytes as people say them: 0.3 MB, 12 MB, 2 GB."""
    value, unit = (count / GIGABYTE, "GB") if count >= GIGABYTE else (count / 1e6, "MB")
    n = f"{value:,.1f}" if value < 10 else f"{value:,.0f}"
    return f"{n.removesuffix('.0')} {unit}"
