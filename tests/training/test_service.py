"""Runs in threads: commands, the queue, failures, owners, and that resuming is exact."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch
from small_runs import CHARACTERS, REPTILE, SINE, checkpoints, outer_steps, same, small

from metalab.store import CheckpointError, RunNotFound, Store, StoreError
from metalab.tasks.base import DataMissing
from metalab.tasks.sinusoid import Sinusoid
from metalab.training import service as module
from metalab.training.config import ConfigError
from metalab.training.events import Finished
from metalab.training.jobs import COURTESY_SECONDS, Courtesy, Foreground
from metalab.training.service import CommandError, close_all, service, worker_count
from metalab.training.trainer import initialise, train

PATIENCE = 60.0
ENDLESS = small(outer_steps=1_000_000, evaluate_every=50)


def recorded(store: Store, run_id: str, name: str) -> dict[int, float]:
    frame = store.metrics(run_id)
    frame = frame[frame["name"] == name]
    assert frame["step"].is_unique
    return dict(zip(frame["step"], frame["value"], strict=True))


def until(condition, what: str):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.005)


def trained(serving, run_id: str, steps: int):
    """Wait until so many outer steps were recorded."""
    until(lambda: serving.store.get(run_id).step >= steps, f"outer step {steps}")


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


# --- queue


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
    for _ in range(module.RUNS_PER_OWNER):
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
    monkeypatch.setattr(module, "cores", lambda: 8)
    assert worker_count() == 7
    monkeypatch.setattr(module, "cores", lambda: 1)
    assert worker_count() == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert worker_count() == 3
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("METALAB_WORKERS", wrong)
        with pytest.raises(ConfigError, match=r"METALAB_WORKERS = .* expected a whole number"):
            worker_count()


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


# --- failures


def test_divergence_fails_with_a_message_and_leaves_a_good_checkpoint(serve):
    algorithm = {"name": "maml", "inner_lr": 2.0, "inner_steps": 5, "inner_steps_eval": 2}
    config = small(algorithm=algorithm, outer_optimiser="sgd", outer_lr=1.0, outer_steps=200, evaluate_every=1)
    serving = serve()
    run = serving.wait(serving.start(config, "ada"), PATIENCE)
    assert run.state == "failed"
    assert run.message.startswith("Diverged at outer step")
    assert all(bool(v.isfinite().all()) for v in serving.store.load_checkpoint(run.id).theta.values())
    assert list(recorded(serving.store, run.id, "train/loss")) == list(range(1, run.step + 1))


def test_an_error_in_the_trainer_is_told_in_one_sentence_and_logged_whole(serve, monkeypatch, caplog):
    def explode(*_, **__):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(module, "train", explode)
    serving = serve()
    run = serving.wait(serving.start(small(), "ada"), PATIENCE)
    assert run.state == "failed"
    assert "internal error (ZeroDivisionError)" in run.message
    assert "secret" not in run.message
    assert "secret detail" in caplog.text


def test_a_full_disk_fails_the_run_and_it_goes_on_later(serve, monkeypatch):
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    trained(serving, run_id, 1)

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        run = serving.wait(run_id, PATIENCE)
        assert run.state == "failed"
        assert "No space left on device" in run.message
    serving.resume(run_id, "ada")
    trained(serving, run_id, run.step + 1)


@pytest.mark.parametrize("then", ["resume", "delete"])
def test_a_run_whose_end_could_not_be_written_obeys_again(serve, monkeypatch, then):
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    trained(serving, run_id, 1)

    def full(*_):
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(serving.store, "append", full)
        until(lambda: not serving._jobs, "the end of the thread")
    assert serving.store.get(run_id).state == "running"
    if then == "delete":
        serving.delete(run_id, "ada")
        assert serving.store.find(run_id) is None
        return
    serving.resume(run_id, "ada")
    step = serving.store.get(run_id).step
    trained(serving, run_id, step + 1)


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


def test_a_damaged_checkpoint_fails_the_run_that_resumes(serve, tmp_path):
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    trained(serving, run_id, 1)
    serving.stop(run_id, "ada")
    serving.wait(run_id, PATIENCE)
    path = tmp_path / "checkpoints" / run_id / "resume.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError):
        serving.store.load_checkpoint(run_id)
    serving.resume(run_id, "ada")
    run = serving.wait(run_id, PATIENCE)
    assert run.state == "failed"
    assert "cannot be read" in run.message


def test_deleting_a_running_run_stops_it(serve, tmp_path):
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    trained(serving, run_id, 1)
    serving.delete(run_id, "ada")
    assert serving.store.find(run_id) is None
    assert not (tmp_path / "checkpoints" / run_id).exists()


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


# --- courtesy


def test_a_trainer_waits_for_the_foreground_but_not_for_long():
    foreground = Foreground()
    courtesy = Courtesy(foreground)
    start = time.monotonic()
    courtesy.wait()
    assert time.monotonic() - start < COURTESY_SECONDS / 2
    with foreground():
        start = time.monotonic()
        courtesy.wait()
        waited = time.monotonic() - start
        assert waited >= COURTESY_SECONDS * 0.9
        courtesy.wait()  # it has not worked as long as it waited
        assert time.monotonic() - start < waited + COURTESY_SECONDS / 2


def test_a_waiting_trainer_goes_on_as_soon_as_the_foreground_is_free(monkeypatch):
    monkeypatch.setattr("metalab.training.jobs.COURTESY_SECONDS", PATIENCE)
    foreground, entered = Foreground(), threading.Event()
    courtesy = Courtesy(foreground)

    def wait():
        entered.set()
        courtesy.wait()

    with foreground():
        thread = threading.Thread(target=wait)
        thread.start()
        entered.wait()
    thread.join(PATIENCE / 2)
    assert not thread.is_alive()
