"""Sweeps: what they draw, how they feed the queue, and that they go on after the program ended."""

from __future__ import annotations

import pytest
from small_runs import PATIENCE, SINE, until

from metalab.store import Store
from metalab.store import sweeps as disk
from metalab.store.sweeps import Trial
from metalab.training import sweeps as module
from metalab.training.config import ConfigError, parse_config
from metalab.training.quotas import Limits
from metalab.training.service import CommandError, Service
from metalab.training.sweeps import Sweeps, drawn, is_over, parse_plan

RATES = {"name": "algorithm.inner_lr", "values": [0.01, 0.03, 0.1]}
STEPS = {"name": "algorithm.inner_steps", "values": [1, 2]}
VAST = {"name": "algorithm.inner_steps", "low": -1e308, "high": 1e308, "whole": True}
TINY = SINE | {"outer_steps": 2, "evaluate_every": 2}


def plan_of(*axes, **more):
    return parse_plan({"base": TINY, "axes": list(axes), **more})


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)


@pytest.fixture
def serve(tmp_path):
    made = []

    def start(**options):
        made.append(Service(Store(tmp_path), workers=1, threads=1, **options))
        return made[-1]

    yield start
    for each in made:
        each.close()


def over(serving, sweep_id):
    until(lambda: disk.get(serving.store, sweep_id).state != "running", "the end of the sweep")
    return disk.get(serving.store, sweep_id)


def test_a_grid_takes_every_combination_once():
    found = drawn(plan_of(RATES, STEPS))
    assert len(found) == 6
    assert {(each["algorithm.inner_lr"], each["algorithm.inner_steps"]) for each in found} == {
        (rate, steps) for rate in RATES["values"] for steps in STEPS["values"]
    }


def test_a_random_sweep_draws_within_its_ranges_evenly_in_the_logarithm():
    axes = (
        {"name": "algorithm.inner_lr", "low": 0.001, "high": 1.0, "log": True},
        {"name": "algorithm.inner_steps", "low": 1, "high": 3, "whole": True},
    )
    plan = plan_of(*axes, method="random", trials=60)
    found = drawn(plan)
    assert found == drawn(plan)
    assert found != drawn(plan.model_copy(update={"seed": 1}))
    rates = [each["algorithm.inner_lr"] for each in found]
    assert all(0.001 <= rate <= 1 for rate in rates)
    assert 20 <= sum(rate < 0.0316 for rate in rates) <= 40
    assert {each["algorithm.inner_steps"] for each in found} == {1, 2, 3}


@pytest.mark.parametrize(
    ("axes", "more", "said"),
    [
        ([RATES, RATES], {}, "a setting varies twice"),
        ([{"name": "outer_lr", "low": 0.1, "high": 1}], {}, "is a range: a grid needs single values"),
        ([{"name": "outer_lr", "low": 1, "high": 0.1}], {"method": "random"}, "from a smaller number to a larger one"),
        ([{"name": "outer_lr"}], {}, "expected values, or a lowest and a highest one"),
        ([{"name": "seed", "values": list(range(12))}, {"name": "clip_norm", "values": list(range(6))}], {}, "72 comb"),
        ([{"name": "algorithm.inner_rate", "values": [1, 2]}], {}, "no setting of that name"),
        ([VAST], {"method": "random"}, "inner_steps = -1"),
        ([{"name": "algorithm.inner_lr", "values": [99, 0.1]}], {}, "99"),
    ],
)
def test_what_cannot_be_is_told_before_it_starts(axes, more, said):
    with pytest.raises(ConfigError, match=said):
        plan_of(*axes, **more)


def test_a_sweep_trains_all_its_runs_and_finishes(serve):
    serving = serve()
    feeder = Sweeps(serving)
    started = feeder.start(plan_of(RATES, STEPS), "ada", "mine")
    sweep = over(serving, started.id)
    assert sweep.state == "finished"
    assert not feeder.feeds(sweep.id)
    runs = [serving.store.get(trial.run) for trial in sweep.trials]
    assert [run.state for run in runs] == ["finished"] * 6
    assert [run.name for run in runs][:2] == ["mine, trial 1", "mine, trial 2"]
    for trial, run in zip(sweep.trials, runs, strict=True):
        assert run.config.algorithm.inner_lr == trial.changes["algorithm.inner_lr"]
        assert run.config.algorithm.inner_steps == trial.changes["algorithm.inner_steps"]


def test_it_waits_for_room_and_never_takes_all_of_it(serve, monkeypatch):
    serving = serve()
    serving.quotas.limits = Limits(runs=2)
    most = []
    begin = serving.start

    def counted(*args):
        found = begin(*args)
        most.append(sum(run.active for run in serving.store.runs()))
        return found

    monkeypatch.setattr(serving, "start", counted)
    sweep = over(serving, Sweeps(serving).start(plan_of(RATES, STEPS), "ada").id)
    assert sweep.state == "finished"
    assert len(sweep.trials) == 6
    assert max(most) <= 2


def test_a_combination_that_cannot_be_is_noted_and_the_others_go_on(serve):
    serving = serve()
    base = {"family": {"name": "glyphs", "ways": 2}, "model": {"name": "mlp", "widths": [2]}, "algorithm": "scratch"}
    axes = [{"name": "family.shots", "values": [1, 10]}, {"name": "family.queries", "values": [9, 15]}]
    sweep = over(
        serving, Sweeps(serving).start(parse_plan({"base": base | {"evaluation_tasks": 2}, "axes": axes}), "a").id
    )
    assert sweep.state == "finished"
    assert [bool(trial.run) for trial in sweep.trials] == [True, True, True, False]
    assert "shots + queries = 10 + 15" in sweep.trials[3].message


def test_stopped_by_its_owner_alone_and_resumed_to_its_end(serve):
    serving = serve()
    feeder = Sweeps(serving)
    plan = parse_plan({"base": TINY | {"outer_steps": 100_000, "evaluate_every": 5_000}, "axes": [RATES]})
    sweep_id = feeder.start(plan, "ada").id
    until(lambda: any(run.state == "running" for run in serving.store.runs()), "a run that trains")
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        feeder.stop(sweep_id, "eve")
    feeder.stop(sweep_id, "ada")
    until(lambda: not any(run.active for run in serving.store.runs()), "an end of all runs")
    assert disk.get(serving.store, sweep_id).state == "stopped"
    assert not feeder.feeds(sweep_id)
    feeder.resume(sweep_id, "ada")
    until(lambda: any(run.state == "running" for run in serving.store.runs()), "a run that trains again")
    assert feeder.feeds(sweep_id)
    feeder.stop(sweep_id, "ada")


def test_what_resume_takes_up_was_not_over(serve):
    serving = serve()
    feeder = Sweeps(serving)
    sweep = disk.create(serving.store, plan_of(STEPS).model_dump(mode="json"), "ada", "mine")
    states = {}
    for place, state in enumerate(("stopped", "failed")):
        run = serving.store.create(parse_config(TINY), "ada", state=state)
        disk.add_trial(serving.store, sweep.id, Trial(place, {"algorithm.inner_steps": place + 1}, run.id, ""))
        states[run.id] = state
    disk.settle(serving.store, sweep.id, "stopped")
    before = {run_id: is_over(disk.get(serving.store, sweep.id), state) for run_id, state in states.items()}
    feeder.resume(sweep.id, "ada")
    ended = over(serving, sweep.id)
    after = {run_id: serving.store.get(run_id).state for run_id in states}
    assert list(after.values()) == ["finished", "failed"]
    assert before == {run_id: after[run_id] == states[run_id] for run_id in states}
    assert is_over(ended, "stopped"), "a finished sweep takes nothing up"


def test_after_the_program_ended_a_sweep_is_resumed_and_starts_no_run_twice(serve):
    serving = serve()
    feeder = Sweeps(serving)
    sweep_id = feeder.start(plan_of(RATES, STEPS), "ada").id
    until(lambda: len(disk.get(serving.store, sweep_id).trials) >= 2, "two trials")
    serving.close()
    later = serve()
    again = Sweeps(later)
    assert disk.get(later.store, sweep_id).state == "running"
    assert not again.feeds(sweep_id)
    again.resume(sweep_id, "ada")
    sweep = over(later, sweep_id)
    assert sweep.state == "finished"
    assert [trial.place for trial in sweep.trials] == list(range(6))
    assert {later.wait(trial.run, PATIENCE).state for trial in sweep.trials} == {"finished"}
    assert len(later.store.runs()) == 6


def test_another_program_of_the_same_home_neither_resumes_nor_stops_what_is_fed_here(serve):
    here, there = serve(), serve()
    feeder, other = Sweeps(here), Sweeps(there)
    plan = parse_plan({"base": TINY | {"outer_steps": 100_000, "evaluate_every": 5_000}, "axes": [RATES]})
    sweep_id = feeder.start(plan, "ada").id
    until(lambda: disk.get(here.store, sweep_id).trials, "a first trial")
    assert other.elsewhere(disk.get(there.store, sweep_id))
    assert not feeder.elsewhere(disk.get(here.store, sweep_id))
    for command in (other.resume, other.stop):
        with pytest.raises(CommandError, match="Another program on this computer trains this sweep"):
            command(sweep_id, "ada")
    assert disk.get(here.store, sweep_id).state == "running"
    feeder.stop(sweep_id, "ada")
    assert not other.elsewhere(disk.get(there.store, sweep_id))


def test_an_owner_has_a_few_sweeps_at_once_and_others_theirs(serve):
    serving = serve()
    serving.quotas.limits = Limits(sweeps=1)
    feeder = Sweeps(serving)
    plan = parse_plan({"base": TINY | {"outer_steps": 100_000, "evaluate_every": 5_000}, "axes": [RATES]})
    first = feeder.start(plan, "ada").id
    with pytest.raises(CommandError, match="1 of your sweeps already runs, 1 allowed here"):
        feeder.start(plan, "ada")
    assert feeder.feeds(feeder.start(plan, "eve").id)
    feeder.resume(first, "ada")  # it runs: nothing is added
    feeder.stop(first, "ada")
    second = feeder.start(plan, "ada").id
    with pytest.raises(CommandError):
        feeder.resume(first, "ada")
    assert feeder.feeds(second)
    assert not feeder.feeds(first)


def test_without_optuna_its_choice_says_how_to_get_it(serve, monkeypatch):
    monkeypatch.setattr(module, "optuna_there", lambda: False)
    serving = serve()
    with pytest.raises(ConfigError, match="pip install optuna"):
        Sweeps(serving).start(plan_of(RATES, method="optuna", trials=3), "ada")
    assert disk.listed(serving.store) == []


def test_optuna_drives_a_sweep_towards_what_was_better():
    pytest.importorskip("optuna", reason="optuna is not installed (an optional extra)")
    axes = ({"name": "algorithm.inner_lr", "low": 0.0001, "high": 1.0, "log": True}, STEPS)
    plan = plan_of(*axes, method="optuna", trials=40)
    done = []
    for place in range(40):
        changes = module.suggested(plan, done, False, place)
        assert 0.0001 <= changes["algorithm.inner_lr"] <= 1
        assert changes["algorithm.inner_steps"] in STEPS["values"]
        done.append((changes, abs(changes["algorithm.inner_lr"] - 0.01) + changes["algorithm.inner_steps"]))
    late = [changes for changes, _value in done[25:]]
    assert sum(changes["algorithm.inner_steps"] == 1 for changes in late) >= 12
    assert sum(0.0005 < changes["algorithm.inner_lr"] < 0.1 for changes in late) >= 12


def test_a_deleted_sweep_leaves_its_runs(serve):
    serving = serve()
    sweep = over(serving, Sweeps(serving).start(plan_of(STEPS), "ada").id)
    with pytest.raises(PermissionError):
        disk.delete(serving.store, sweep.id, "eve")
    disk.delete(serving.store, sweep.id, "ada")
    with pytest.raises(disk.SweepNotFound):
        disk.get(serving.store, sweep.id)
    assert len(serving.store.runs()) == 2
