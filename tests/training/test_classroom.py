"""What whoever is in charge does to everybody's runs, and what is known of who uses what."""

from __future__ import annotations

import threading

from small_runs import ENDLESS, PATIENCE, SINE, small, trained, until

from metalab.store import EXAMPLE
from metalab.store import sweeps as disk
from metalab.store.people import Share, shares
from metalab.training.classroom import WHY, empty_queue, stop_all
from metalab.training.sweeps import parse_plan, sweeps

STOPPED = "Whoever is in charge of this server stopped it."
PLAN = parse_plan(
    {
        "base": SINE | {"outer_steps": 100_000, "evaluate_every": 50_000},
        "axes": [{"name": "algorithm.inner_lr", "values": [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]}],
    }
)


def school(serve):
    """A run that trains, two that wait, a paused one, and a sweep with room for more."""
    serving = serve(workers=1)
    paused = serving.start(ENDLESS, "ada")
    trained(serving, paused, 1)
    serving.pause(paused, "ada")
    settled(serving)
    runs = [serving.start(ENDLESS, owner) for owner in ("ada", "bob", "eve")]
    sweep = sweeps(serving).start(PLAN, "bob")
    until(lambda: len(disk.get(serving.store, sweep.id).trials) == 4, "the sweep's first runs")
    trained(serving, runs[0], 1)
    return serving, paused, runs, sweep


def settled(serving):
    """Wait until nothing trains or waits."""
    until(lambda: not serving.going(), "rest")


def test_all_is_stopped_at_once_and_nothing_is_added(serve):
    serving, paused, runs, sweep = school(serve)
    assert stop_all(serving) == 7
    settled(serving)
    assert not sweeps(serving).feeds(sweep.id)
    sweep = disk.get(serving.store, sweep.id)
    assert (sweep.state, sweep.message, len(sweep.trials)) == ("stopped", STOPPED, 4)
    for run_id in [*runs, *(trial.run for trial in sweep.trials)]:
        run = serving.store.get(run_id)
        assert (run.state, run.message) == ("stopped", STOPPED)
    assert serving.store.get(paused).state == "paused"
    assert serving.store.load_checkpoint(runs[0]).step == serving.store.get(runs[0]).step
    serving.resume(runs[0], "ada")  # its owner may go on
    trained(serving, runs[0], serving.store.get(runs[0]).step + 1)
    assert serving.store.get(runs[0]).message == ""


def test_the_queue_is_emptied_and_who_trains_goes_on(serve):
    serving, _, runs, sweep = school(serve)
    assert empty_queue(serving) == 6
    assert serving.going() == {runs[0]: False}
    assert disk.get(serving.store, sweep.id).state == "stopped"
    assert [serving.store.get(run).state for run in runs] == ["running", "stopped", "stopped"]
    assert empty_queue(serving) == 0


def test_a_run_says_who_paused_it(serve):
    serving = serve(workers=1)
    trains, waits = serving.start(ENDLESS, "ada"), serving.start(ENDLESS, "ada")
    trained(serving, trains, 1)
    for run_id in (waits, trains):
        serving.pause(run_id, "ada", WHY["pause"])
        run = serving.wait(run_id, PATIENCE)
        assert (run.state, run.message) == ("paused", "Whoever is in charge of this server paused it.")
    serving.stop(waits, "ada")
    assert serving.store.get(waits).message == ""


def test_who_uses_what(serve):
    serving, paused, runs, _ = school(serve)
    serving.store.create(small(), EXAMPLE, state="finished")
    gone = serving.store.create(small(), "zoe", state="finished").id
    serving.delete(gone, "zoe")
    stop_all(serving)
    settled(serving)
    serving.start(ENDLESS, "eve")
    serving.start(ENDLESS, "zoe")
    until(lambda: shares(serving.store)[0].running == 1, "eve's run")
    found = {share.owner: share for share in shares(serving.store)}
    assert list(found) == ["eve", "zoe", "ada", "bob"]
    assert (found["eve"].running, found["eve"].queued, found["eve"].kept) == (1, 0, 2)
    assert found["zoe"] == Share("zoe", 0, 1, 0, 1, 0.0)
    ada = serving.store.get(paused).seconds + serving.store.get(runs[0]).seconds
    assert found["ada"] == Share("ada", 0, 0, 1, 2, ada)
    assert (found["bob"].kept, found["bob"].running) == (5, 0)


def test_a_service_that_does_well_and_one_that_does_not(serve):
    serving = serve(workers=1)
    assert (serving.vitals().alive, serving.vitals().silent_seconds) == (True, None)
    trains = serving.start(ENDLESS, "ada")
    serving.start(ENDLESS, "ada")
    trained(serving, trains, 1)
    vitals = serving.vitals()
    assert (vitals.alive, vitals.running, vitals.waiting, vitals.workers) == (True, 1, 1, 1)
    assert 0 <= vitals.silent_seconds < 30
    held, over = threading.Event(), threading.Event()

    def hold():
        with serving._changed:
            held.set()
            over.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(PATIENCE)
    assert not serving.vitals().alive
    over.set()
    thread.join()
    assert serving.vitals().alive
    serving.close()
    assert not serving.vitals().alive
