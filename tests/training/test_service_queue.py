"""Who trains when: turns, workers, and how many threads a trainer takes."""

from __future__ import annotations

import threading

import pytest
import torch
from small_runs import ENDLESS, PATIENCE, small, trained, until

from metalab.training import machine
from metalab.training import workshop as module
from metalab.training.config import ConfigError
from metalab.training.events import Finished
from metalab.training.machine import worker_count
from metalab.training.quotas import Limits
from metalab.training.service import CommandError


@pytest.fixture
def gated(monkeypatch):
    """Runs that do nothing, one after another: `started` lists their seeds, `gate` lets them end."""
    gate, started = threading.Semaphore(0), []

    def pretend(config, **_):
        started.append(config.seed)
        assert gate.acquire(timeout=PATIENCE)
        yield Finished(config.outer_steps)

    monkeypatch.setattr(module, "train", pretend)
    return gate, started


def test_owners_take_turns(serve, gated):
    (gate, started), serving = gated, serve(workers=1)
    runs = [serving.start(small(seed=seed), owner) for seed, owner in enumerate("aaabc")]
    assert [serving.place(run) for run in runs] == [None, 3, 4, 1, 2]
    assert [serving.store.get(run).state for run in runs[1:]] == ["queued"] * 4
    gate.release(5)
    for run in runs:
        assert serving.wait(run, PATIENCE).state == "finished"
    assert started == [0, 3, 4, 1, 2]


def test_no_more_runs_train_at_once_than_there_are_workers(serve, gated):
    (gate, started), serving = gated, serve(workers=2)
    runs = [serving.start(small(seed=seed), "a") for seed in range(4)]
    until(lambda: len(started) == 2, "two runs")
    assert [serving.place(run) for run in runs] == [None, None, 1, 2]
    gate.release()
    until(lambda: len(started) == 3, "the third run")
    assert len(started) == 3
    gate.release(3)


def test_a_paused_run_frees_its_worker(serve):
    serving = serve(workers=1)
    first, second = serving.start(ENDLESS, "ada"), serving.start(ENDLESS, "bob")
    trained(serving, first, 1)
    assert serving.store.get(second).state == "queued"
    serving.pause(first, "ada")
    trained(serving, second, 1)
    assert serving.store.get(first).state == "paused"
    serving.resume(first, "ada")
    assert (serving.store.get(first).state, serving.place(first)) == ("queued", 1)


def test_a_waiting_run_can_be_paused_resumed_changed_and_stopped(serve):
    serving = serve(workers=1)
    serving.start(ENDLESS, "ada")
    waiting = serving.start(small(), "ada")
    serving.pause(waiting, "ada")
    assert (serving.store.get(waiting).state, serving.place(waiting)) == ("paused", None)
    serving.resume(waiting, "ada")
    serving.change(waiting, {"outer_lr": 0.01}, "ada")
    assert (serving.store.get(waiting).state, serving.place(waiting)) == ("queued", 1)
    assert serving.store.get(waiting).current.outer_lr == 0.01
    serving.stop(waiting, "ada")
    assert serving.store.get(waiting).state == "stopped"


def test_one_owner_cannot_fill_the_queue(serve, gated):
    serving = serve(workers=1)
    serving.quotas.limits = Limits()
    for _ in range(20):
        serving.start(small(), "ada")
    with pytest.raises(CommandError, match="20 of your runs already train or wait"):
        serving.start(small(), "ada")
    serving.start(small(), "bob")
    gated[0].release(30)


def test_the_number_of_workers(monkeypatch):
    monkeypatch.setenv("METALAB_WORKERS", "7")
    assert worker_count() == 7
    monkeypatch.delenv("METALAB_WORKERS")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(machine, "cores", lambda: 8)
    assert worker_count() == 7
    monkeypatch.setattr(machine, "cores", lambda: 1)
    assert worker_count() == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert worker_count() == 3
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("METALAB_WORKERS", wrong)
        with pytest.raises(ConfigError, match=r"METALAB_WORKERS = .* expected a whole number"):
            worker_count()


def test_a_trainer_computes_on_one_torch_thread(serve, monkeypatch):
    """Also where the rest of the program has more: the number is each thread's own."""
    seen = []

    def pretend(config, **_):
        seen.append(torch.get_num_threads())
        yield Finished(config.outer_steps)

    monkeypatch.setattr(module, "train", pretend)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        serving = serve()
        serving.wait(serving.start(small(), "ada"), PATIENCE)
        assert seen == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
