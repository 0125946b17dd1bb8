"""Runs that cannot go on: each says why, keeps what is good, and obeys again once it can."""

from __future__ import annotations

import os

import pytest
from small_runs import ENDLESS, PATIENCE, recorded, small, trained, until

from metalab.store import CheckpointError, Store, StoreError, library, unwritten
from metalab.store.people import shares
from metalab.training import endings
from metalab.training import workshop as module


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

    def no_room(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_room)
        run = serving.wait(run_id, PATIENCE)
        assert run.state == "failed"
        assert "No space left on device" in run.message
    serving.resume(run_id, "ada")
    trained(serving, run_id, run.step + 1)


def full(*_):
    raise StoreError("the disk is full")


def ends_unwritten(serving, patched, config, allowed=("running",)):
    """The id of Ada's run whose end cannot be written while the patch lasts; its thread has ended."""
    append = serving.store.append

    def only_going(run_id, news):
        return append(run_id, news) if news.status.get("state", "running") in allowed else full()

    patched.setattr(serving.store, "append", only_going)
    run_id = serving.start(config, "ada")
    until(lambda: not serving._jobs, "the end of the thread")
    return run_id


def written(serving, run_id):
    """The state in the file."""
    with serving.store.database.read() as db:
        return db.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).fetchone()["state"]


@pytest.mark.parametrize("then", ["resume", "delete"])
def test_a_run_whose_end_could_not_be_written_obeys_again(serve, monkeypatch, then):
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    trained(serving, run_id, 1)
    with monkeypatch.context() as patched:
        patched.setattr(serving.store, "append", full)
        until(lambda: not serving._jobs, "the end of the thread")
        assert written(serving, run_id) == "running"
        run = serving.wait(run_id, PATIENCE)
        assert (run.state, run.message) == ("failed", "the disk is full")
        with pytest.raises(StoreError, match="the disk is full"):
            serving.resume(run_id, "ada")
    if then == "delete":
        serving.delete(run_id, "ada")
        assert serving.store.find(run_id) is None
        return
    serving.resume(run_id, "ada")
    step = serving.store.get(run_id).step
    trained(serving, run_id, step + 1)


def test_an_end_is_shown_at_once_and_written_with_all_that_was_measured_when_there_is_room(serve, monkeypatch, caplog):
    monkeypatch.setattr(endings, "FIRST_PAUSE", 0.01)
    serving = serve()
    with monkeypatch.context() as patched:
        run_id = ends_unwritten(serving, patched, small())
        assert written(serving, run_id) == "running"
        for store in (serving.store, Store(serving.store.home)):
            run = store.get(run_id)
            assert (run.state, run.step, run.rate) == ("finished", 12, None)
            assert [run.state for run in store.runs()] == ["finished"]
            with store.snapshot(run_id) as (_db, run):
                assert run.state == "finished"
            assert [(share.running, share.kept) for share in shares(store)] == [(0, 1)]
        assert serving.vitals().alive
    until(lambda: written(serving, run_id) == "finished", "the next attempt")
    until(lambda: serving._endings._thread is None, "the end of the attempts")
    assert list(recorded(serving.store, run_id, "train/loss")) == list(range(1, 13))
    assert not unwritten.kept(serving.store.home)
    said = [record for record in caplog.records if "could not be written" in record.message]
    assert len(said) == 1


def test_a_waiting_run_that_was_stopped_on_a_full_disk_is_stopped(serve, monkeypatch):
    serving = serve()
    serving.start(ENDLESS, "ada")
    waiting = serving.start(ENDLESS, "ada")
    with monkeypatch.context() as patched:
        patched.setattr(serving.store, "append", full)
        serving.stop(waiting, "ada", "Enough.")
        assert (written(serving, waiting), serving.place(waiting)) == ("queued", None)
        run = serving.store.get(waiting)
        assert (run.state, run.message) == ("stopped", "Enough.")
    serving.resume(waiting, "ada")
    assert serving.store.get(waiting).state == "queued"


def test_a_run_that_was_deleted_while_it_trained_gets_into_the_bin_when_its_end_is_written(serve, monkeypatch):
    monkeypatch.setattr(endings, "FIRST_PAUSE", 0.01)
    serving = serve()
    run_id = serving.start(ENDLESS, "ada")
    trained(serving, run_id, 1)
    with monkeypatch.context() as patched:
        patched.setattr(serving.store, "append", full)
        serving.delete(run_id, "ada")
        until(lambda: not serving._jobs, "the end of the thread")
        assert written(serving, run_id) == "running"
    until(lambda: serving.store.find(run_id) is None, "the next attempt")
    assert [run.id for run in library.bin_of(serving.store, {"ada"})] == [run_id]


@pytest.mark.parametrize("room", [True, False])
def test_an_end_that_is_not_written_when_the_program_ends_is_an_interruption(serve, monkeypatch, room):
    serving = serve()
    with monkeypatch.context() as patched:
        run_id = ends_unwritten(serving, patched, small())
        if not room:
            serving.close()
    serving.close()
    later = serve()
    assert later.store.get(run_id).state == ("finished" if room else "interrupted")
    if not room:
        later.resume(run_id, "ada")
        assert later.wait(run_id, PATIENCE).state == "finished"
    assert list(recorded(later.store, run_id, "train/loss")) == list(range(1, 13))


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
