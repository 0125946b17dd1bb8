"""Limits: what is said beyond each, where they come from, and that the service holds to them."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pytest
from small_runs import ENDLESS, PATIENCE, SINE, small, trained

from metalab.settings import declarations
from metalab.store import COMMAND_LINE, library
from metalab.store import sweeps as disk
from metalab.store.people import disk_bytes
from metalab.training import quotas as module
from metalab.training import workshop
from metalab.training.config import ConfigError
from metalab.training.quotas import UNLIMITED, Limits, Quotas, from_environment
from metalab.training.recorder import Recorder
from metalab.training.service import CommandError, service
from metalab.training.sweeps import Sweeps, parse_plan


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Limits(runs=1).too_many_runs(1, 1), "1 of your runs already trains or waits, 1 allowed here. Stop one, or"),
        (Limits(runs=3).too_many_runs(3, 9), "3 of your runs already train or wait, 3 allowed here. Stop one, or"),
        (Limits(queue=9).too_many_runs(0, 9), "9 runs already train or wait on this server, 9 are allowed. Try again"),
        (Limits(sweeps=1).too_many_sweeps(1), "1 of your sweeps already runs, 1 allowed here. Stop one, or wait"),
        (Limits(outer_steps=1000).too_long(1001, 100), "asks for 1,001 outer steps, at most 1,000 are allowed here. T"),
        (Limits(checkpoints=10).too_long(91, 10), "would keep 11 checkpoints, at most 10 are allowed here. Take fewer"),
        (Limits(parameters=100).too_large(101), "has 101 parameters, at most 100 are allowed here. Choose a narrower"),
        (Limits(hours=1.5).out_of_time(5400), "trained for 1.5 hours, and 1.5 hours are allowed here. Its last checkp"),
        (
            Limits(disk=2).out_of_room(2_300_000_000),
            "Your runs take 2.3 GB on the disk, those in the bin included, and",
        ),
        (
            Limits(kept=1).too_many_kept(1),
            "You keep 1 run, those in the bin included, as many as are allowed here. Del",
        ),
        (
            Limits(kept=2).too_many_kept(2),
            "You keep 2 runs, those in the bin included, as many as are allowed here. De",
        ),
        (Limits(newcomers=9).too_many_newcomers(9), "9 new visitors came from your network within a minute, 9 are all"),
        (Limits(streams=2).too_many_streams(2, 2), "You already have 2 live views open. Close some of your tabs and"),
        (Limits(all_streams=5).too_many_streams(0, 5), "already sends 5 live views. Close one, or try again in a min"),
    ],
)
def test_each_limit_says_what_was_asked_what_is_allowed_and_what_to_do(said, expected):
    assert expected in said
    assert said.endswith(".")


def test_up_to_the_limit_nothing_is_said_and_without_limits_never():
    limits = Limits(
        **{"runs": 3, "queue": 9, "sweeps": 2, "outer_steps": 1000, "checkpoints": 11, "parameters": 100, "hours": 1},
        **{"streams": 2, "all_streams": 5, "disk": 2, "newcomers": 9, "kept": 9},
    )
    for said in (
        *(limits.too_many_runs(2, 8), limits.too_many_sweeps(1), limits.too_long(1000, 100), limits.too_large(100)),
        *(limits.out_of_time(3599.9), limits.too_many_streams(1, 4), limits.too_many_newcomers(8)),
        *(limits.too_many_kept(8), UNLIMITED.too_many_kept(10**6)),
        *(limits.out_of_room(1_999_999_999), UNLIMITED.out_of_room(10**15), UNLIMITED.too_many_newcomers(10**6)),
        *(UNLIMITED.too_many_runs(10**6, 10**6), UNLIMITED.too_many_sweeps(99), UNLIMITED.too_long(10**6, 1)),
        *(UNLIMITED.too_large(10**9), UNLIMITED.out_of_time(1e9), UNLIMITED.too_many_streams(10**6, 10**6)),
    ):
        assert said == ""


def test_the_readme_names_each_limit_with_its_default():
    told = " ".join((Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").split())
    for each in declarations(Limits):
        default = getattr(Limits(), each.name)
        begin = f"`METALAB_MAX_{each.name.upper()}` (" + ("" if default is None else f"{default:,.0f}")
        assert begin in told, begin
        assert told[told.index(begin) + len(begin)] in " )g", begin


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(30, "30 seconds"), (60, "1 minute"), (2700, "45 minutes"), (3600, "1 hour"), (5400, "1.5 hours")],
)
def test_times_are_said_as_people_say_them(seconds, words):
    assert module.in_words(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 MB"), (340_000, "0.3 MB"), (12_000_000, "12 MB"), (2e9, "2 GB"), (2.5e9, "2.5 GB")]
)
def test_sizes_are_said_as_people_say_them(count, words):
    assert module.size_in_words(count) == words


def test_limits_come_from_the_environment():
    assert from_environment({"PATH": "/bin", "METALAB_MAX_RUNS": " "}) == Limits()
    found = from_environment({"METALAB_MAX_RUNS": "5", "METALAB_MAX_HOURS": " None ", "METALAB_MAX_STREAMS": "7"})
    assert found == Limits(runs=5, hours=None, streams=7)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("RUNS", "0", "runs = '0': expected greater than or equal to 1, or \"none\" (from METALAB_MAX_RUNS)"),
        ("RUNS", "many", "runs = 'many': expected an integer, or \"none\" (from METALAB_MAX_RUNS)"),
        ("HOURS", "nan", "hours = 'nan': expected a finite number, or \"none\" (from METALAB_MAX_HOURS)"),
        ("STEPS", "9", "METALAB_MAX_STEPS is no limit of MetaLab: expected one of METALAB_MAX_RUNS, METALAB_MAX_QUEUE"),
    ],
)
def test_a_limit_that_cannot_be_read_is_refused_and_never_left_out(variable, text, said):
    with pytest.raises(ConfigError) as refused:
        from_environment({f"METALAB_MAX_{variable}": text})
    assert said in str(refused.value)


def test_who_is_free_of_the_limits():
    quotas = Quotas(Limits(runs=1))
    assert quotas.of("ada").runs == 1
    assert quotas.of(COMMAND_LINE) == UNLIMITED
    quotas.free("ada")
    assert (quotas.of("ada"), quotas.of("bob").runs) == (UNLIMITED, 1)
    quotas.free("ada", False)
    assert quotas.of("ada").runs == 1


# --- in the service


@pytest.mark.parametrize(
    ("limits", "config", "said"),
    [
        (Limits(outer_steps=11), small(), "12 outer steps, at most 11"),
        (Limits(checkpoints=3), small(), "4 checkpoints, at most 3"),
        (Limits(parameters=96), small(), "97 parameters, at most 96"),  # 8 + 8, 8 * 8 + 8 of two layers, 8 + 1
    ],
)
def test_a_run_beyond_a_limit_never_starts(serve, caplog, limits, config, said):
    serving = serve()
    serving.quotas.limits = limits
    config = config.changed({"model.widths": [8, 8]})
    with caplog.at_level(logging.INFO), pytest.raises(CommandError, match=said):
        serving.start(config, "ada")
    assert not serving.store.runs()
    event, _, facts = caplog.messages[-1].partition(" ")
    assert event == "quota"
    assert json.loads(facts)["person"] == "ada"
    assert said in json.loads(facts)["why"]
    serving.quotas.free("ada")
    serving.stop(serving.start(config.changed({"outer_steps": 1_000}), "ada"), "ada")


def test_an_algorithm_that_trains_nothing_takes_no_steps(serve):
    serving = serve()
    serving.quotas.limits = Limits(outer_steps=1, checkpoints=1)
    run = serving.start(small(SINE | {"algorithm": {"name": "scratch"}}), "ada")
    assert serving.wait(run, PATIENCE).state == "finished"


def test_a_full_queue_takes_nobodys_runs(serve):
    serving = serve()
    serving.quotas.limits = Limits(queue=2, outer_steps=None, checkpoints=None)
    for owner in ("ada", "bob"):
        serving.start(ENDLESS, owner)
    with pytest.raises(CommandError, match="2 runs already train or wait on this server, 2 are allowed"):
        serving.start(ENDLESS, "eve")


def test_resuming_is_held_to_the_limits_too(serve):
    serving = serve()
    run = serving.start(ENDLESS, "ada")
    trained(serving, run, 1)
    serving.pause(run, "ada")
    assert serving.wait(run, PATIENCE).state == "paused"
    for limits, said in (
        (Limits(outer_steps=100), "1,000,000 outer steps"),
        (Limits(outer_steps=None, checkpoints=None, queue=1, runs=1), "1 of your runs already trains or waits"),
    ):
        serving.quotas.limits = UNLIMITED
        other = serving.start(ENDLESS, "ada")
        serving.quotas.limits = limits
        for command in (serving.resume, serving.step):
            with pytest.raises(CommandError, match=said):
                command(run, "ada")
        serving.stop(other, "ada")
        assert serving.wait(other, PATIENCE).state == "stopped"
    assert serving.store.get(run).state == "paused"


def test_when_its_time_is_over_a_run_is_stopped_with_a_checkpoint_and_says_why(serve, monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr(Recorder, "seconds", property(lambda recorder: seconds[0]))
    serving = serve()
    serving.quotas.limits = Limits(hours=2, outer_steps=None, checkpoints=None)
    run = serving.start(ENDLESS, "ada")
    trained(serving, run, 3)
    seconds[0] = 7200.0
    done = serving.wait(run, PATIENCE)
    assert done.state == "stopped"
    assert done.message.startswith("It has trained for 2 hours, and 2 hours are allowed here. Its last checkpoint is")
    assert serving.store.load_checkpoint(run).step == done.step >= 3
    with pytest.raises(CommandError, match="It has trained for 2 hours"):
        serving.resume(run, "ada")
    serving.quotas.free("ada")
    serving.resume(run, "ada")
    trained(serving, run, done.step + 1)
    assert serving.store.get(run).message == ""


def test_whose_runs_fill_the_disk_is_stopped_and_starts_no_more_until_there_is_room(serve, monkeypatch):
    monkeypatch.setattr(workshop, "DISK_SECONDS", 0.0)
    serving = serve()
    full = small(outer_steps=1_000_000, evaluate_every=1)
    serving.quotas.limits = Limits(outer_steps=None, checkpoints=None).model_copy(update={"disk": 1e-4})
    done = serving.wait(serving.start(full, "ada"), PATIENCE)
    assert done.state == "stopped"
    assert done.message.startswith(
        "Your runs take 0.1 MB on the disk, those in the bin included, and 0.1 MB are allowed"
    )
    assert 100_000 <= disk_bytes(serving.store, "ada") < 200_000
    assert serving.store.load_checkpoint(done.id).step == done.step
    serving.wait(serving.start(small(), "eve"), PATIENCE)  # it is nobody else's matter
    for command in (lambda: serving.start(small(), "ada"), lambda: serving.resume(done.id, "ada")):
        with pytest.raises(CommandError, match="Delete some on Library and empty the bin there, or ask whoever"):
            command()
    serving.delete(done.id, "ada")
    with pytest.raises(CommandError, match="those in the bin included"):
        serving.start(small(), "ada")
    library.empty_bin_of(serving.store, {"ada"})
    assert serving.wait(serving.start(small(), "ada"), PATIENCE).state == "finished"


def test_a_run_that_may_not_start_anew_goes_on(serve):
    serving = serve()
    run = serving.start(small(outer_steps=100_000, evaluate_every=1000), "ada")
    serving.quotas.limits = Limits(kept=1)
    with pytest.raises(CommandError, match="You keep 1 run"):
        serving.reset(run, "ada")
    serving.quotas.limits = Limits(runs=1)
    with pytest.raises(CommandError):
        serving.reset(run, "ada")
    trained(serving, run, serving.store.get(run).step + 1)
    assert serving.store.get(run).state == "running"


def test_a_person_keeps_only_so_many_runs(serve):
    serving = serve()
    serving.quotas.limits = Limits(kept=2)
    first, _second = (serving.wait(serving.start(small(outer_steps=1), "ada"), PATIENCE).id for _ in range(2))
    with pytest.raises(CommandError, match="You keep 2 runs"):
        serving.start(small(), "ada")
    serving.delete(first, "ada")
    with pytest.raises(CommandError, match="those in the bin included"):
        serving.start(small(), "ada")
    serving.start(small(), "eve")
    library.empty_bin_of(serving.store, {"ada"})
    serving.start(small(), "ada")


def test_a_sweep_leaves_out_the_trials_that_are_too_much_and_finishes(serve, caplog):
    serving = serve()
    serving.quotas.limits = Limits(parameters=60)
    feeder = Sweeps(serving)
    axis = {"name": "model.widths", "values": [[4], [64]]}
    plan = parse_plan({"base": SINE | {"outer_steps": 2, "evaluate_every": 2}, "axes": [axis]})
    with caplog.at_level(logging.INFO):
        sweep = feeder.start(plan, "ada").id
        deadline = time.monotonic() + PATIENCE
        while feeder.feeds(sweep):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    good, large = disk.get(serving.store, sweep).trials
    assert serving.store.get(good.run).state == "finished"
    assert (large.run, large.message[:48]) == ("", "The network has 193 parameters, at most 60 are a")
    assert sum(message.startswith("quota") for message in caplog.messages) == 1
    serving.quotas.limits, plan = Limits(outer_steps=11), parse_plan({"base": SINE, "axes": [axis]})
    with pytest.raises(CommandError, match="12 outer steps"):
        feeder.start(plan, "ada")


def test_the_apps_service_takes_its_limits_from_the_environment(monkeypatch):
    monkeypatch.setenv("METALAB_MAX_RUNS", "two")
    with pytest.raises(ConfigError, match="METALAB_MAX_RUNS"):
        service()
    monkeypatch.setenv("METALAB_MAX_RUNS", "2")
    monkeypatch.setenv("METALAB_MAX_PARAMETERS", "none")
    try:
        assert service().quotas.of("ada") == Limits(runs=2, parameters=None)
    finally:
        from metalab.training.service import close_all

        close_all()


def test_every_log_line_of_a_runs_life(serve, caplog):
    serving = serve()
    with caplog.at_level(logging.INFO):
        run = serving.start(small(outer_steps=1), "ada", "a\nb")
        serving.wait(run, PATIENCE)
        trains = serving.start(ENDLESS, "ada")
        trained(serving, trains, 1)
        waits = serving.start(ENDLESS, "ada")
        for each in (waits, trains):
            serving.stop(each, "ada")
            serving.wait(each, PATIENCE)
        serving.close()  # until then a run's last line may be on its way
        with pytest.raises(PermissionError):
            serving.stop(run, "eve")
    told = [(message.split(" ", 1)[0], json.loads(message.split(" ", 1)[1])) for message in caplog.messages]
    assert [(event, facts["run"]) for event, facts in told] == [
        ("run_queued", run),
        ("run_started", run),
        ("run_ended", run),
        ("run_queued", trains),
        ("run_started", trains),
        ("run_queued", waits),
        ("run_ended", waits),
        ("run_ended", trains),
        ("refused", run),
    ]
    assert told[0][1]["name"] == "a b"
    assert (told[2][1]["state"], told[2][1]["step"]) == ("finished", 1)
    assert told[-1][1]["person"] == "eve"
