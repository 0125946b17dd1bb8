"""Another's run or sweep: whatever a visitor's page is made to ask for, it is refused, and nothing has changed."""

from __future__ import annotations

import pytest
from small_runs import SINE, small

from metalab.store import COMMAND_LINE, RunNotFound, Store, library
from metalab.store import sweeps as disk
from metalab.training import service as services
from metalab.training.service import Service
from metalab.training.sweeps import Sweeps
from metalab.ui import identity, runs, sweeps
from metalab.ui import library as shelf
from metalab.ui.live import Command

STATES = ("running", "queued", "paused", "stopped", "finished", "interrupted")


def dump(store):
    """All that is in the database."""
    with store.database.read() as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: [tuple(row) for row in db.execute(f"SELECT * FROM {table}")] for table in sorted(tables)}


@pytest.fixture
def school(tmp_path, monkeypatch):
    """A service with Ada's runs in every state, one in her bin and a sweep; the visitor is Eve."""
    monkeypatch.setenv("METALAB_HOME", str(tmp_path))
    serving = Service(Store(tmp_path), 1)
    monkeypatch.setattr(services, "_services", {tmp_path.resolve(): serving})
    monkeypatch.setattr(runs, "_stores", {tmp_path.resolve(): serving.store})
    for module in (identity, runs, shelf, sweeps):
        for name, value in (("current_user", "eve"), ("current_owners", frozenset({"eve"}))):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda value=value: value)
    yield serving
    serving.close()


def commands_to_a_run(serving, run_id):
    store = serving.store
    yield from (lambda each=each: each(run_id, "eve") for each in (serving.resume, serving.step, serving.pause))
    yield from (lambda each=each: each(run_id, "eve") for each in (serving.stop, serving.reset, serving.delete))
    yield lambda: serving.change(run_id, {"outer_lr": 0.5}, "eve")
    yield lambda: store.rename(run_id, "eve was here", "eve")
    yield lambda: store.delete(run_id, "eve")
    yield lambda: library.describe(store, run_id, "eve", ["mine"], "mine")
    yield lambda: library.put_into_bin(store, run_id, "eve")
    yield lambda: library.restore(store, run_id, "eve")


def what_pages_do_to_a_run(run):
    yield from (lambda n=n: runs.obey(Command(run.id, n)) for n in ("resume", "pause", "step", "stop", "reset"))
    yield lambda: runs.change(run.id, {"outer_lr": 0.5})
    yield lambda: runs.rename(run.id, "eve was here")
    yield lambda: runs.delete(run.id)
    yield lambda: shelf.describe(run, "mine", "mine")
    yield lambda: shelf.restore(run)


@pytest.mark.parametrize("owner", ["ada", COMMAND_LINE, "example"])
@pytest.mark.parametrize("state", STATES)
def test_nobody_commands_anothers_run(school, owner, state):
    run = school.store.create(small(), owner, state=state)
    before = dump(school.store)
    for command in commands_to_a_run(school, run.id):
        with pytest.raises((PermissionError, RunNotFound)):
            command()
    for command in what_pages_do_to_a_run(run):
        with pytest.raises(runs.Problem):
            command()
    assert dump(school.store) == before


def test_nobody_takes_anothers_run_out_of_the_bin(school):
    run = school.store.create(small(), "ada", state="finished")
    library.put_into_bin(school.store, run.id, "ada")
    before = dump(school.store)
    for command in [*commands_to_a_run(school, run.id), lambda: library.star(school.store, run.id, "eve", True)]:
        with pytest.raises((PermissionError, RunNotFound)):
            command()
    for command in what_pages_do_to_a_run(run):
        with pytest.raises(runs.Problem):
            command()
    assert shelf.binned() == []
    assert dump(school.store) == before


def test_a_star_is_ones_own(school):
    run = school.store.create(small(), "ada", state="finished")
    library.star(school.store, run.id, "ada", True)
    shelf.star(run.id, True)
    shelf.star(run.id, False)
    assert library.marks(school.store, [run], {"ada"})[run.id].starred


def test_nobody_commands_anothers_sweep(school):
    plan = {"base": SINE, "axes": [{"name": "seed", "values": [0, 1]}]}
    feeder = Sweeps(school)
    for state in ("running", "stopped", "finished"):
        sweep = disk.create(school.store, plan, "ada", "Ada's")
        disk.settle(school.store, sweep.id, state)
        before = dump(school.store)
        for command in (feeder.stop, feeder.resume, lambda *who: disk.delete(school.store, *who)):
            with pytest.raises(PermissionError, match="belongs to somebody else"):
                command(sweep.id, "eve")
        for name in ("stop", "resume", "delete"):
            with pytest.raises(runs.Problem, match="belongs to somebody else"):
                sweeps.command(disk.get(school.store, sweep.id), name)
        assert dump(school.store) == before
