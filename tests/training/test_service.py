"""Runs in threads: commands, changes, owners, the end of the program, and that resuming is exact."""

from __future__ import annotations

import threading

import pytest
from small_runs import (
    CHARACTERS,
    ENDLESS,
    PATIENCE,
    REPTILE,
    SINE,
    checkpoints,
    outer_steps,
    recorded,
    same,
    small,
    trained,
    until,
)

from metalab.store import RunNotFound, library
from metalab.tasks.base import DataMissing
from metalab.tasks.sinusoid import Sinusoid
from metalab.training.config import ConfigError
from metalab.training.recorder import Recorder
from metalab.training.service import CommandError, close_all, service
from metalab.training.start import initialise
from metalab.training.trainer import train

# --- a whole run


@pytest.mark.parametrize("base", [SINE, SINE | REPTILE], ids=["maml", "reptile"])
def test_a_run_is_recorded_as_the_trainer_tells_it(serve, base):
    serving, config = serve(), small(base)
    events = list(train(config))
    run_id = serving.start(config, "ada", "first")
    run = serving.wait(run_id, PATIENCE)
    assert (run.state, run.step, run.name, run.message, run.rate) == ("finished", 12, "first", "", None)
    assert run.seconds > 0
    for name in ("loss", "gradient_norm"):
        expected = {step: metrics[name] for step, metrics in outer_steps(events).items()}
        assert recorded(serving.store, run_id, f"train/{name}") == expected
    assert serving.store.checkpoints(run_id) == [0, 5, 10, 12]
    for step, checkpoint in checkpoints(events).items():
        assert same(serving.store.load_theta(run_id, step), checkpoint.theta)
    seen = serving.store.evaluations(run_id)
    assert [evaluation.step for evaluation in seen] == [0, 5, 10, 12]
    after = recorded(serving.store, run_id, "validation/loss_after")
    assert after[12] == pytest.approx(float(seen[-1].curves["loss"].double().mean(0)[-1]))


@pytest.mark.parametrize("base", [SINE | {"outer_steps": 150}, SINE | REPTILE | {"outer_steps": 150}, CHARACTERS])
def test_pausing_and_resuming_changes_no_bit(serve, base):
    serving, config = serve(), small(base)
    whole = checkpoints(train(config))[config.outer_steps]
    run_id = serving.start(config, "ada")
    for after in (1, config.outer_steps // 2):
        trained(serving, run_id, after)
        if serving.store.get(run_id).state == "running":
            try:
                serving.pause(run_id, "ada")
            except CommandError:  # it was quicker
                break
        run = serving.wait(run_id, PATIENCE)
        if run.state == "finished":
            break
        assert run.state == "paused"
        assert serving.store.load_checkpoint(run_id).step == run.step
        serving.resume(run_id, "ada")
    assert serving.wait(run_id, PATIENCE).state == "finished"
    end = serving.store.load_checkpoint(run_id)
    assert same(end.theta, whole.theta)
    assert same(end.optimiser, whole.optimiser)
    expected = {step: metrics["loss"] for step, metrics in outer_steps(train(config)).items()}
    assert recorded(serving.store, run_id, "train/loss") == expected


def test_single_steps_are_evaluated_and_lead_to_the_same_end(serve):
    serving, config = serve(), small(outer_steps=4, evaluate_every=3)
    run_id = serving.store.create(config, "ada", state="stopped").id
    for step in range(1, 4):
        serving.step(run_id, "ada")
        run = serving.wait(run_id, PATIENCE)
        assert (run.state, run.step) == ("paused", step)
        assert [e.step for e in serving.store.evaluations(run_id)] == list(range(step + 1))
    serving.step(run_id, "ada")
    assert serving.wait(run_id, PATIENCE).state == "finished"
    assert same(serving.store.load_theta(run_id), checkpoints(train(config))[4].theta)
    assert serving.store.get(run_id).epoch == 0


def test_a_single_step_does_not_wait_for_the_workers(serve):
    serving = serve(workers=1)
    long, other = serving.start(ENDLESS, "ada"), serving.store.create(small(), "bob", state="stopped").id
    trained(serving, long, 1)
    serving.step(other, "bob")
    assert serving.wait(other, PATIENCE).state == "paused"
    assert serving.store.get(long).state == "running"
    serving.resume(other, "bob")
    assert serving.place(other) == 1


def test_stopping_keeps_what_was_learned_and_resuming_goes_on_from_there(serve):
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    trained(serving, run_id, 3)
    serving.stop(run_id, "ada")
    run = serving.wait(run_id, PATIENCE)
    assert run.state == "stopped"
    assert serving.store.checkpoints(run_id)[-1] == run.step >= 3
    serving.resume(run_id, "ada")
    trained(serving, run_id, run.step + 1)
    steps = recorded(serving.store, run_id, "train/loss")
    assert list(steps) == list(range(1, len(steps) + 1))


def test_a_pause_can_be_taken_back(serve):
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    trained(serving, run_id, 1)
    serving.pause(run_id, "ada")
    serving.resume(run_id, "ada")
    step = serving.store.get(run_id).step
    trained(serving, run_id, step + 5)
    assert serving.store.get(run_id).state == "running"


def test_resetting_starts_anew_from_the_same_initialisation(serve):
    serving = serve(workers=2)
    old = serving.start(ENDLESS, "ada", "mine")
    trained(serving, old, 3)
    serving.change(old, {"outer_lr": 0.01}, "ada")
    new = serving.reset(old, "ada")
    assert serving.wait(old, PATIENCE).state == "stopped"
    trained(serving, new, 1)
    first, second = serving.store.get(old), serving.store.get(new)
    assert first.id != second.id
    assert (second.config, second.name) == (first.config, "mine")
    assert same(serving.store.load_theta(new, 0), initialise(ENDLESS))
    assert same(serving.store.load_theta(old, 0), serving.store.load_theta(new, 0))
    assert recorded(serving.store, old, "train/loss")[1] == recorded(serving.store, new, "train/loss")[1]


# --- changes


def test_a_change_while_running_is_noted_and_survives(serve):
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    trained(serving, run_id, 2)
    serving.change(run_id, {"algorithm.inner_lr": 0.02, "outer_lr": 0.001}, "ada")
    until(lambda: serving.store.notes(run_id), "the note")
    (note,) = serving.store.notes(run_id)
    assert note.text == "inner_lr changed from 0.01 to 0.02"
    serving.stop(run_id, "ada")
    run = serving.wait(run_id, PATIENCE)
    assert run.config == ENDLESS
    assert run.current == ENDLESS.changed({"algorithm.inner_lr": 0.02})
    assert note.step in serving.store.checkpoints(run_id)
    assert serving.store.load_checkpoint(run_id).config == run.current


def test_a_change_while_paused_holds_for_the_next_step(serve):
    serving, config = serve(), small(outer_optimiser="sgd", outer_lr=0.01)
    run_id = serving.store.create(config, "ada", state="stopped").id
    serving.change(run_id, {"outer_lr": 0.02}, "ada")
    serving.step(run_id, "ada")
    serving.wait(run_id, PATIENCE)
    serving.change(run_id, {"outer_lr": 0.03}, "ada")
    serving.step(run_id, "ada")
    serving.wait(run_id, PATIENCE)
    theta = [serving.store.load_theta(run_id, step) for step in range(3)]
    norms = recorded(serving.store, run_id, "train/gradient_norm")
    for step, rate in ((1, 0.02), (2, 0.03)):
        parts = [(theta[step][name] - theta[step - 1][name]).double().square().sum() for name in theta[0]]
        assert float(sum(parts)) ** 0.5 == pytest.approx(rate * norms[step], rel=1e-3)
    texts = ["outer_lr changed from 0.01 to 0.02", "outer_lr changed from 0.02 to 0.03"]
    assert [note.text for note in serving.store.notes(run_id)] == texts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"meta_batch_size": 3}, "meta_batch_size cannot change while a run goes on"),
        ({"outer_lr": 7}, "outer_lr = 7"),
        ({"algorithm.inner_lr": float("nan")}, r"algorithm\.inner_lr = nan"),
    ],
)
def test_a_bad_change_is_refused_and_harms_nothing(serve, changes, message):
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    with pytest.raises(ConfigError, match=message):
        serving.change(run_id, changes, "ada")
    trained(serving, run_id, 2)
    assert serving.store.get(run_id).current == ENDLESS


# --- what is refused


def test_others_cannot_command_a_run(serve):
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    commands = (serving.pause, serving.resume, serving.step, serving.stop, serving.reset, serving.delete)
    for command in (*commands, lambda run_id, owner: serving.change(run_id, {"outer_lr": 0.1}, owner)):
        with pytest.raises(PermissionError, match="belongs to somebody else"):
            command(run_id, "eve")
        with pytest.raises(RunNotFound, match="There is no run 'nothing'"):
            command("nothing", "ada")
    assert serving.controllable(serving.store.get(run_id), "ada")
    assert not serving.controllable(serving.store.get(run_id), "eve")


def test_commands_that_make_no_sense_say_why(serve):
    serving = serve()
    run_id = serving.start(small(outer_steps=1), "ada")
    serving.wait(run_id, PATIENCE)
    for command in (serving.pause, serving.resume, serving.step, serving.stop):
        with pytest.raises(CommandError, match=f"Run {run_id} is finished"):
            command(run_id, "ada")
    with pytest.raises(CommandError, match="settings cannot change now"):
        serving.change(run_id, {"outer_lr": 0.1}, "ada")


def test_a_run_of_another_process_is_left_to_it(serve):
    one, other = serve(), serve()
    run_id = one.start(ENDLESS, "ada")
    trained(one, run_id, 1)
    for command in (other.pause, other.stop, other.resume, other.reset):
        with pytest.raises(CommandError, match="Another program on this computer trains it"):
            command(run_id, "ada")
    assert not other.controllable(other.store.get(run_id), "ada")
    one.pause(run_id, "ada")
    one.wait(run_id, PATIENCE)
    step = other.store.get(run_id).step
    other.resume(run_id, "ada")
    trained(other, run_id, step + 1)


def test_missing_data_reaches_who_starts(serve, monkeypatch):
    def missing(_):
        raise DataMissing("put the waves into the sea")

    monkeypatch.setattr(Sinusoid, "require", missing)
    serving = serve()
    with pytest.raises(DataMissing, match="put the waves into the sea"):
        serving.start(small(), "ada")
    assert serving.store.runs() == []


def test_deleting_a_running_run_stops_it_and_puts_it_into_the_bin(serve):
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    trained(serving, run_id, 1)
    serving.delete(run_id, "ada")
    until(lambda: serving.store.find(run_id) is None, "the end of its outer step")
    assert [run.state for run in library.bin_of(serving.store, {"ada"})] == ["stopped"]
    library.restore(serving.store, run_id, "ada")
    assert serving.store.load_checkpoint(run_id).step == serving.store.get(run_id).step


def test_deleting_does_not_wait_for_an_outer_step(serve, monkeypatch):
    serving, hold = serve(), threading.Event()
    run_id = serving.start(ENDLESS, "ada")
    trained(serving, run_id, 1)
    take = Recorder.take
    monkeypatch.setattr(Recorder, "take", lambda *given: hold.wait(PATIENCE) and take(*given))
    serving.delete(run_id, "ada")  # returns although the outer step cannot end
    assert serving.store.find(run_id).state == "running"
    with pytest.raises(PermissionError):
        serving.delete(run_id, "eve")
    hold.set()
    until(lambda: serving.store.find(run_id) is None, "the end of its outer step")


def test_the_bin_is_emptied_while_the_service_runs(serve, monkeypatch):
    monkeypatch.setattr("metalab.training.bin.LOOK_SECONDS", -1.0)
    serving = serve()
    old, new = (serving.start(small(), "ada") for _ in range(2))
    for run_id in (old, new):
        serving.wait(run_id, PATIENCE)
    serving.delete(old, "ada")
    with serving.store.database.write() as db:
        db.execute("UPDATE runs SET deleted = deleted - ? WHERE id = ?", (library.KEPT_SECONDS + 60, old))
    assert [run.id for run in library.bin_of(serving.store, {"ada"})] == [old]
    serving.delete(new, "ada")
    assert [run.id for run in library.bin_of(serving.store, {"ada"})] == [new]
    assert not (serving.store.home / "checkpoints" / old).exists()


# --- the end of the program


def test_closing_interrupts_with_a_checkpoint_of_now(serve):
    serving = serve(workers=1)
    running, waiting = serving.start(ENDLESS, "ada"), serving.start(small(), "ada")
    trained(serving, running, 3)
    serving.close()
    later = serve()
    assert later.store.get(waiting).state == "interrupted"
    run = later.store.get(running)
    assert run.state == "interrupted"
    assert later.store.load_checkpoint(running).step == run.step
    later.resume(waiting, "ada")
    assert later.wait(waiting, PATIENCE).state == "finished"


def test_one_service_for_each_home(tmp_path, monkeypatch):
    monkeypatch.setenv("METALAB_HOME", str(tmp_path / "one"))
    made = []
    threads = [threading.Thread(target=lambda: made.append(service())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len(set(map(id, made))) == 1
        monkeypatch.setenv("METALAB_HOME", str(tmp_path / "other"))
        assert service() is not made[0]
    finally:
        close_all()
