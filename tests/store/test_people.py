"""What somebody's runs take on the disk, against the files themselves and the pages of the database."""

from __future__ import annotations

import pytest
import torch
from stored import CONFIG, checkpoint_of

from metalab.store import News, library, people, sweeps
from metalab.store.sweeps import Trial
from metalab.training.events import Evaluated


def files_of(store, run_id):
    return sum(path.stat().st_size for path in store.folder(run_id).iterdir())


def database_bytes(store):
    with store.database.read() as db:
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def test_checkpoints_count_as_they_are_and_each_persons_for_themselves(store):
    run = store.create(CONFIG, "ada", state="stopped")
    before = people.disk_bytes(store, "ada")
    assert before == 2 * len(CONFIG.model_dump_json())
    for step in (0, 2, 4):
        store.save_checkpoint(run.id, checkpoint_of(step=step))
    assert people.disk_bytes(store, "ada") - before == files_of(store, run.id)
    library.put_into_bin(store, run.id, "ada")
    assert people.disk_bytes(store, "ada") - before == files_of(store, run.id)
    assert people.disk_bytes(store, "eve") == 0
    assert library.empty_bin_of(store, {"eve"}) == 0
    assert library.empty_bin_of(store, {"ada", "eve"}) == 1
    assert people.disk_bytes(store, "ada") == 0
    assert not store.folder(run.id).exists()


def test_what_the_database_holds_is_about_what_is_counted(store):
    run = store.create(CONFIG, "ada", state="running")
    before, counted = database_bytes(store), people.disk_bytes(store, "ada")
    for first in range(1, 10_001, 1000):
        steps = range(first, first + 1000)
        rows = [(step, name, 0.5 / step) for step in steps for name in ("train/loss", "train/gradient_norm")]
        store.append(run.id, News(metrics=rows, status={"step": first + 999}))
    looks = [Evaluated(step, {"loss": torch.rand(100, 6)}, torch.rand(4, 6, 50)) for step in range(100)]
    store.append(run.id, News(evaluations=looks))
    grown = database_bytes(store) - before
    assert people.disk_bytes(store, "ada") - counted == pytest.approx(grown, rel=0.35)


def test_sweeps_count_too(store):
    sweep = sweeps.create(store, {"axes": ["x" * 1000]}, "ada", "mine")
    sweeps.add_trial(store, sweep.id, Trial(0, {"outer_lr": 0.1}, "", "y" * 500))
    assert 1500 < people.disk_bytes(store, "ada") < 1600
    assert people.disk_bytes(store, "eve") == 0
