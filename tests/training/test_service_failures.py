"""Runs that cannot go on: each says why, keeps what is good, and obeys again once it can."""

from __future__ import annotations

import os

import pytest
from small_runs import ENDLESS, PATIENCE, recorded, small, trained, until

from metalab.store import CheckpointError, StoreError
from metalab.training import service as module


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
