"""Checkpoint files: read back bit for bit; whatever was half-written or is foreign is refused."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from stored import CONFIG, checkpoint_of, resume_file

from metalab.store import CheckpointError
from metalab.training.config import parse_config


@pytest.mark.parametrize("over", [{}, {"outer_optimiser": "sgd"}], ids=["adam", "sgd"])
def test_a_checkpoint_comes_back_bit_for_bit(store, over):
    config = parse_config(CONFIG.model_dump(mode="json") | over)
    run = store.create(config, "ada")
    assert store.load_checkpoint(run.id) is None
    for step in (0, 2):
        before = checkpoint_of(config, step)
        store.save_checkpoint(run.id, before)
        after = store.load_checkpoint(run.id)
        assert (after.step, after.config) == (step, config)
        for one, other in ((before.theta, after.theta), (before.optimiser, after.optimiser)):
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one)
        assert torch.equal(before.rng, after.rng)
    assert store.checkpoints(run.id) == [0, 2]
    assert torch.equal(store.load_theta(run.id, 2)["head.bias"], before.theta["head.bias"])
    assert torch.equal(store.load_theta(run.id)["head.bias"], before.theta["head.bias"])


def test_a_checkpoint_that_is_not_there_is_named(store):
    run = store.create(CONFIG, "ada")
    with pytest.raises(CheckpointError, match=r"no checkpoint at outer step 5 \(it has none yet\)"):
        store.load_theta(run.id, 5)
    with pytest.raises(CheckpointError, match=r"has no checkpoint \(it has none yet\)"):
        store.load_theta(run.id)
    store.save_checkpoint(run.id, checkpoint_of())
    with pytest.raises(CheckpointError, match=r"at outer step 5 \(it has 1 from 2 to 2\)"):
        store.load_theta(run.id, 5)
    resume_file(store, run.id).unlink()
    with pytest.raises(CheckpointError, match=r"resume\.safetensors is missing"):
        store.load_checkpoint(run.id)


def test_a_half_written_checkpoint_is_refused(store):
    run = store.create(CONFIG, "ada")
    store.save_checkpoint(run.id, checkpoint_of())
    path = resume_file(store, run.id)
    whole = path.read_bytes()
    for size in (0, 7, 8, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="cannot be read"):
            store.load_checkpoint(run.id)
    path.write_bytes(whole)
    assert store.load_checkpoint(run.id).step == 2


def test_a_pickle_is_never_opened(store):
    run = store.create(CONFIG, "ada")
    store.save_checkpoint(run.id, checkpoint_of())
    torch.save({"theta": torch.zeros(2)}, resume_file(store, run.id))
    with pytest.raises(CheckpointError, match="cannot be read"):
        store.load_checkpoint(run.id)


def changed_file(store, run_id, change, metadata=()):
    """The run's resume file with tensors and metadata changed by hand."""
    path = resume_file(store, run_id)
    good = store.load_checkpoint(run_id)
    tensors = load_file(path)
    change(tensors)
    facts = {"step": str(good.step), "config": good.config.model_dump_json()} | dict(metadata)
    save_file(tensors, path, facts)


@pytest.mark.parametrize(
    ("change", "metadata", "message"),
    [
        (lambda t: t.pop("theta/head.bias"), {}, "lacks 'head.bias'"),
        (lambda t: t.update({"theta/extra": torch.zeros(1)}), {}, "holds 'extra'"),
        (lambda t: t.update({"os.system": torch.zeros(1)}), {}, "holds 'os.system'"),
        (lambda t: t.update({"theta/head.bias": torch.zeros(2)}), {}, r"head.bias is torch.float32 \(2,\), expected"),
        (lambda t: t.update({"theta/head.bias": torch.zeros(1).double()}), {}, "is torch.float64"),
        (lambda t: t["theta/head.bias"].fill_(torch.nan), {}, "head.bias holds numbers that are not finite"),
        (lambda t: t.pop("optimiser/exp_avg/head.bias"), {}, "lacks 'exp_avg/head.bias'"),
        (lambda t: t["optimiser/exp_avg_sq/head.bias"].fill_(torch.nan), {}, "numbers that are not numbers"),
        (lambda t: t.pop("rng"), {}, "holds no valid random state"),
        (lambda t: t.update({"rng": torch.zeros(9, dtype=torch.uint8)}), {}, "holds no valid random state"),
        (lambda t: None, {"step": "many"}, "does not tell its step and config"),
        (lambda t: None, {"step": "99"}, "says step 99, expected 0 to 4"),
        (lambda t: None, {"config": "{}x"}, "does not tell its step and config"),
        (lambda t: None, {"config": json.dumps({"seed": 5})}, "belongs to a run with another config"),
    ],
)
def test_a_foreign_checkpoint_is_refused(store, change, metadata, message):
    run = store.create(CONFIG, "ada")
    store.save_checkpoint(run.id, checkpoint_of())
    changed_file(store, run.id, change, metadata)
    with pytest.raises(CheckpointError, match=message):
        store.load_checkpoint(run.id)


def test_a_checkpoint_may_have_other_learning_rates_than_the_run_was_started_with(store):
    run = store.create(CONFIG, "ada")
    current = CONFIG.changed({"outer_lr": 0.5, "algorithm.inner_lr": 0.2})
    store.save_checkpoint(run.id, dataclasses.replace(checkpoint_of(), config=current))
    assert store.load_checkpoint(run.id).config == current


def test_a_write_that_fails_leaves_the_file_before(store, monkeypatch):
    run = store.create(CONFIG, "ada")
    store.save_checkpoint(run.id, checkpoint_of(step=0))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.save_checkpoint(run.id, checkpoint_of(step=2))
    assert store.load_checkpoint(run.id).step == 0
    assert store.checkpoints(run.id) == [0]
    assert not list(store.home.rglob("*.part"))
