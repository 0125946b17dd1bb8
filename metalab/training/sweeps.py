"""Sweeps: many runs that differ in a few settings, fed into the service's queue as places become free.

    sweep = sweeps().start(plan, owner)

A plan says which settings take which values; a grid takes every combination, a random sweep draws them, and Optuna
(an optional extra) chooses each trial by what the finished ones found (Akiba et al., KDD 2019, arXiv:1907.10902).
Trials are ordinary runs. Feeding is a thread of this process: after a restart a sweep that was not done counts as
interrupted, and goes on when it is resumed.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from metalab.log import tell
from metalab.settings import Settings, explain
from metalab.store import Run, RunNotFound, StoreError, library
from metalab.store import sweeps as disk
from metalab.store.sweeps import Sweep, Trial
from metalab.tasks.base import HIGHER_IS_BETTER, DataMissing
from metalab.training.config import ConfigError, RunConfig, parse_config
from metalab.training.refusals import CommandError, TooMuch, check, hold
from metalab.training.service import Service

MOST_TRIALS = 60
MOST_AXES = 4
MOST_VALUES = 12
IN_FLIGHT = 4
"""Runs of a sweep that wait or train at once: its owner has room for others beside them."""
LOOK_SECONDS = 0.3
OPTUNA = "Optuna is not installed here: python -m pip install optuna, then start MetaLab again."
SEEDS = 2**31
TAKEN_UP = frozenset({"interrupted", "stopped", "paused"})
"""States of runs that go on when their sweep is resumed."""

log = logging.getLogger(__name__)


class Axis(Settings):
    """One setting that varies: over `values`, or between `low` and `high`, evenly or evenly in its logarithm."""

    name: str = Field(max_length=80, pattern=r"^[\w.]+$")
    values: Annotated[tuple[Any, ...], Field(max_length=MOST_VALUES)] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _something(self) -> Axis:
        if not self.values:
            if self.low is None or self.high is None:
                raise ValueError(f"{self.name}: expected values, or a lowest and a highest one")
            if not self.low < self.high or (self.log and self.low <= 0):
                raise ValueError(f"{self.name}: expected a range from a smaller number to a larger one")
        return self


class Plan(Settings):
    """What a sweep tries."""

    base: dict[str, Any]
    """The settings that all its runs share, nested as in a config."""
    axes: Annotated[tuple[Axis, ...], Field(min_length=1, max_length=MOST_AXES)]
    method: Literal["grid", "random", "optuna"] = "grid"
    trials: int = Field(12, ge=2, le=MOST_TRIALS)
    """How many a random or an Optuna sweep has; a grid has all combinations."""
    seed: int = Field(0, ge=0, lt=SEEDS)

    @model_validator(mode="after")
    def _possible(self) -> Plan:
        names = [axis.name for axis in self.axes]
        if len(set(names)) < len(names):
            raise ValueError("a setting varies twice: expected each once")
        if self.method == "grid":
            wide = next((axis.name for axis in self.axes if not axis.values), None)
            if wide is not None:
                raise ValueError(f"{wide} is a range: a grid needs single values, or choose a random sweep")
            if self.size > MOST_TRIALS:
                raise ValueError(f"the grid has {self.size} combinations: expected at most {MOST_TRIALS}")
        return self

    @property
    def size(self) -> int:
        """How many trials there will be."""
        return math.prod(len(axis.values) for axis in self.axes) if self.method == "grid" else self.trials


def parse_plan(data: Any) -> Plan:
    """A checked plan. Raises ConfigError, also for a value that its setting refuses beside the others' first ones."""
    try:
        plan = Plan.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error)) from None
    tried = {axis.name: axis.values or _ends(axis) for axis in plan.axes}
    first = {name: values[0] for name, values in tried.items()}
    for name, values in tried.items():
        for value in values:
            config_of(plan, first | {name: value})
    return plan


def _ends(axis: Axis) -> tuple[Any, ...]:
    return tuple(round(end) if axis.whole else end for end in (axis.low, axis.high) if end is not None)


def config_of(plan: Plan, changes: Mapping[str, Any]) -> RunConfig:
    """The config of a trial. Raises ConfigError."""
    return parse_config(plan.base).changed(changes)


def drawn(plan: Plan) -> list[dict[str, Any]]:
    """The changes of every trial of a grid or random sweep, the same for the same plan."""
    names = [axis.name for axis in plan.axes]
    if plan.method == "grid":
        return [dict(zip(names, each, strict=True)) for each in itertools.product(*(a.values for a in plan.axes))]
    rng = random.Random(plan.seed)
    return [{axis.name: _drawn(axis, rng) for axis in plan.axes} for _ in range(plan.trials)]


def _drawn(axis: Axis, rng: random.Random) -> Any:
    if axis.values:
        return rng.choice(axis.values)
    assert axis.low is not None
    assert axis.high is not None
    share = rng.random()
    value = axis.low * (axis.high / axis.low) ** share if axis.log else axis.low + (axis.high - axis.low) * share
    return min(max(round(value), math.ceil(axis.low)), math.floor(axis.high)) if axis.whole else float(f"{value:.4g}")


def optuna_there() -> bool:
    """Whether the optional extra is installed."""
    return find_spec("optuna") is not None


def suggested(plan: Plan, done: Sequence[tuple[Mapping[str, Any], float]], higher: bool, place: int) -> dict[str, Any]:
    """Optuna's choice for the trial at `place`, after the `done` ones: their changes, and what they reached.

    The study is made anew each time, so that nothing but the sweep itself need be kept. Raises ConfigError.
    """
    if not optuna_there():
        raise ConfigError(OPTUNA)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ways = {axis.name: _distribution(axis) for axis in plan.axes}
    sampler = optuna.samplers.TPESampler(seed=(plan.seed + place) % SEEDS, n_startup_trials=5)
    study = optuna.create_study(direction="maximize" if higher else "minimize", sampler=sampler)
    for changes, value in done:
        params = {axis.name: _known(axis, changes[axis.name]) for axis in plan.axes}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=ways, value=value))
    asked = study.ask(ways).params
    return {axis.name: axis.values[int(asked[axis.name])] if axis.values else asked[axis.name] for axis in plan.axes}


def _distribution(axis: Axis) -> Any:
    from optuna import distributions as ways

    if axis.values:
        return ways.CategoricalDistribution(tuple(range(len(axis.values))))
    if axis.whole:
        return ways.IntDistribution(math.ceil(axis.low or 0), math.floor(axis.high or 0), log=axis.log)
    return ways.FloatDistribution(axis.low or 0.0, axis.high or 0.0, log=axis.log)


def _known(axis: Axis, value: Any) -> Any:
    """A value as Optuna knows it: the place among given values (lists came back from JSON as lists)."""
    if not axis.values:
        return value
    return next(i for i, each in enumerate(axis.values) if _same(each, value))


def _same(one: Any, other: Any) -> bool:
    return (list(one) if isinstance(one, tuple | list) else one) == (
        list(other) if isinstance(other, tuple | list) else other
    )


def is_over(sweep: Sweep, state: str) -> bool:
    """Whether a trial in this state ("refused" or "gone" where there is no run) is trained no further.

    What was stopped goes on when the sweep is resumed: it is over only once the sweep has finished without it.
    """
    if state == "stopped":
        return sweep.state == "finished"
    return state not in TAKEN_UP | {"queued", "running"}


class Sweeps:
    """Feeds the sweeps of one service. Every method may be called from any thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        """Held while runs are started for a sweep, and while those of one are stopped."""
        self._fed: dict[str, Plan] = {}
        self._owners: dict[str, str] = {}
        """Of the sweeps that were fed."""
        self._to_resume: dict[str, set[str]] = {}
        """Runs that go on with their sweep."""
        self._thread: threading.Thread | None = None

    def start(self, plan: Plan, owner: str, name: str = "") -> Sweep:
        """Begin a sweep. Raises CommandError, DataMissing, ConfigError, StoreError."""
        config = config_of(plan, {})
        check(config, owner, self._service.quotas.of(owner))
        if plan.method == "optuna" and not optuna_there():
            raise ConfigError(OPTUNA)
        self._check_room(owner)
        title = name or f"{config.algorithm.label} · {config.family.title}"
        sweep = disk.create(self._store, plan.model_dump(mode="json"), owner, title)
        tell("sweep_started", sweep=sweep.id, person=owner, name=sweep.name, trials=plan.size)
        self._feed(sweep.id, plan, owner)
        return sweep

    def resume(self, sweep_id: str, owner: str) -> None:
        """Go on with a sweep that was stopped or interrupted, its unfinished runs first.

        Raises SweepNotFound, PermissionError, CommandError, ConfigError.
        """
        sweep = disk.owned(self._store, sweep_id, owner)
        self._check_here(sweep)
        plan = parse_plan(sweep.plan)
        if not self.feeds(sweep_id):
            self._check_room(owner)
        disk.settle(self._store, sweep_id, "running")
        with self._lock:
            self._to_resume[sweep_id] = {trial.run for trial in sweep.trials if trial.run}
        self._feed(sweep_id, plan, owner)

    def stop(self, sweep_id: str, owner: str) -> None:
        """Start no more runs, and stop those that train or wait.

        Raises SweepNotFound, PermissionError, CommandError.
        """
        self._check_here(disk.owned(self._store, sweep_id, owner))
        with self._lock:
            self._fed.pop(sweep_id, None)
            disk.settle(self._store, sweep_id, "stopped")
        with self._turn:
            for trial in disk.get(self._store, sweep_id).trials:
                run = self._store.find(trial.run)
                if run is not None and run.active:
                    with suppress(CommandError, RunNotFound):
                        self._service.stop(run.id, owner)

    def stop_feeding(self, why: str) -> int:
        """Start no more runs for any sweep; those that train or wait go on. How many sweeps were stopped."""
        with self._lock:
            fed, self._fed = list(self._fed), {}
        for sweep_id in fed:
            disk.settle(self._store, sweep_id, "stopped", why)
            tell("sweep_ended", sweep=sweep_id, person=self._owners.get(sweep_id), state="stopped", why=why)
        with self._turn:  # a run that is being started meanwhile
            return len(fed)

    def feeds(self, sweep_id: str) -> bool:
        """Whether this process feeds it; one that is "running" on disk and that nobody feeds was interrupted."""
        with self._lock:
            return sweep_id in self._fed

    def elsewhere(self, sweep: Sweep) -> bool:
        """Whether another process that lives feeds it: then one of its runs trains or waits there."""
        if sweep.state != "running" or self.feeds(sweep.id):
            return False
        runs = (self._store.find(trial.run) for trial in sweep.trials)
        return any(run is not None and run.active and run.process != self._store.process for run in runs)

    def _check_here(self, sweep: Sweep) -> None:
        if self.elsewhere(sweep):
            raise CommandError("Another program on this computer trains this sweep: tell it there.")

    def _check_room(self, owner: str) -> None:
        with self._lock:
            mine = sum(self._owners.get(sweep_id) == owner for sweep_id in self._fed)
        hold(owner, self._service.quotas.of(owner).too_many_sweeps(mine))

    def _feed(self, sweep_id: str, plan: Plan, owner: str) -> None:
        with self._lock:
            self._fed[sweep_id], self._owners[sweep_id] = plan, owner
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="metalab-sweeps", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                fed = dict(self._fed)
                if not fed:
                    self._thread = None
                    return
            for sweep_id, plan in fed.items():
                try:
                    with self._turn:
                        done = self._step(sweep_id, plan)
                    if done:
                        self._leave(sweep_id, "finished", "")
                except CommandError:
                    pass  # no room now, or the program is ending: it is looked at again
                except (LookupError, StoreError, ConfigError, DataMissing) as problem:
                    self._leave(sweep_id, "stopped", str(problem))
                except Exception:
                    log.exception("Sweep %s failed.", sweep_id)
                    self._leave(
                        sweep_id, "stopped", "It ended with an internal error, which the server's log describes."
                    )
            pause.wait(LOOK_SECONDS)

    def _leave(self, sweep_id: str, state: disk.SweepState, message: str) -> None:
        with self._lock:
            if self._fed.pop(sweep_id, None) is not None:
                with suppress(StoreError):
                    disk.settle(self._store, sweep_id, state, message)
                tell("sweep_ended", sweep=sweep_id, person=self._owners.get(sweep_id), state=state, why=message)

    def _step(self, sweep_id: str, plan: Plan) -> bool:
        """Start what there is room for; whether all is done."""
        sweep = disk.get(self._store, sweep_id)
        for run_id in sorted(self._to_resume.get(sweep_id, ())):
            run = self._store.find(run_id)
            if run is not None and run.state in TAKEN_UP:
                with suppress(TooMuch):
                    self._service.resume(run_id, sweep.owner)
            self._to_resume[sweep_id].discard(run_id)
        runs = {trial.place: self._store.find(trial.run) for trial in sweep.trials}
        going = sum(run is not None and run.state in ("queued", "running") for run in runs.values())
        places = [place for place in range(plan.size) if place not in runs]
        fixed = drawn(plan) if plan.method != "optuna" else []
        for place in places[: max(0, IN_FLIGHT - going)]:
            if not (self.feeds(sweep_id) and self._service.room(sweep.owner)):
                return False
            changes = fixed[place] if fixed else self._suggested(plan, sweep, runs, place)
            self._begin(sweep, plan, place, changes)
            if plan.method == "optuna":
                break  # the next one is chosen when it is known that this one goes
        return not places and not going

    def _suggested(self, plan: Plan, sweep: Sweep, runs: Mapping[int, Run | None], place: int) -> dict[str, Any]:
        finished = [run for run in runs.values() if run is not None and run.state == "finished"]
        metric = config_of(plan, {}).family.metric
        looks = library.last_looks(self._store, finished)
        by_run = {trial.run: trial.changes for trial in sweep.trials}
        reached = {
            run.id: float(looks[run.id].curves[metric][:, -1].double().mean()) for run in finished if run.id in looks
        }
        done = [(by_run[run_id], value) for run_id, value in reached.items() if math.isfinite(value)]
        return suggested(plan, done, metric in HIGHER_IS_BETTER, place)

    def _begin(self, sweep: Sweep, plan: Plan, place: int, changes: dict[str, Any]) -> None:
        try:
            run_id = self._service.start(config_of(plan, changes), sweep.owner, f"{sweep.name}, trial {place + 1}")
        except (ConfigError, TooMuch) as problem:
            disk.add_trial(self._store, sweep.id, Trial(place, changes, "", str(problem)))
            return
        disk.add_trial(self._store, sweep.id, Trial(place, changes, run_id, ""))


_sweeps: dict[int, tuple[Service, Sweeps]] = {}
_lock = threading.Lock()


def sweeps(service: Service) -> Sweeps:
    """The one that feeds this service."""
    with _lock:
        known = _sweeps.get(id(service))
        if known is None or known[0] is not service:
            known = _sweeps[id(service)] = service, Sweeps(service)
        return known[1]
