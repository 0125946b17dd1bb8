"""No room on the disk, a home that may only be read, a clock that is set back: nothing recorded is lost."""

from __future__ import annotations

import sqlite3
import sys
import time

import pytest
from small_runs import checkpoints, outer_steps, recorded, same, small, trained, until

from metalab.store import StoreError, library
from metalab.training.trainer import train
from metalab.ui.runs import _ago

DAY = 86_400.0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_where_no_file_may_grow_the_run_fails_and_later_goes_on_exactly(serve):
    """A limit of the operating system in the place of a full disk: the same writes fail."""
    import resource

    config = small(outer_steps=150, evaluate_every=10)
    serving = serve()
    run_id = serving.start(config, "ada")
    trained(serving, run_id, 20)
    log = serving.store.home / "metalab.db-wal"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        until(lambda: run_id not in serving._jobs, "the end of the thread that cannot write")
        before = recorded(serving.store, run_id, "train/loss")
        with pytest.raises(StoreError, match="make room on the disk"):
            serving.start(config, "ben")
        assert serving.store.get(run_id).step == max(before)
        assert serving.store.load_checkpoint(run_id).step <= max(before)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 20 <= max(before) < 150
    serving.resume(run_id, "ada")
    assert serving.wait(run_id, 60).state == "finished"
    straight = list(train(config))
    losses = {step: metrics["loss"] for step, metrics in outer_steps(straight).items()}
    assert recorded(serving.store, run_id, "train/loss") == losses
    assert before.items() <= losses.items()
    assert same(serving.store.load_theta(run_id), checkpoints(straight)[150].theta)


def test_a_database_that_may_only_be_read_is_still_read_and_says_so(serve, monkeypatch):
    serving = serve()
    run_id = serving.start(small(), "ada")
    assert serving.wait(run_id, 60).state == "finished"
    store = serving.store
    before = recorded(store, run_id, "train/loss")
    store.database.close()

    def connect():
        db = sqlite3.connect(f"file:{store.database.path}?mode=ro", uri=True, isolation_level=None)
        db.row_factory = sqlite3.Row
        return db

    monkeypatch.setattr(store.database, "_connect", connect)
    assert recorded(store, run_id, "train/loss") == before
    assert store.load_theta(run_id)
    for write in (
        lambda: serving.start(small(), "ada"),
        lambda: store.rename(run_id, "new", "ada"),
        lambda: library.star(store, run_id, "eve", True),
        lambda: library.put_into_bin(store, run_id, "ada"),
    ):
        with pytest.raises(StoreError, match="see that you may write to the file"):
            write()
    monkeypatch.undo()
    store.database.close()


def test_a_clock_that_is_set_back_changes_no_order_and_no_length(serve, monkeypatch):
    now = [1.7e9]
    monkeypatch.setattr(time, "time", lambda: now[0])
    serving = serve()
    first = serving.start(small(outer_steps=60, evaluate_every=20), "ada")
    trained(serving, first, 1)
    now[0] -= 2 * DAY
    second = serving.start(small(), "ada")
    for run_id in (first, second):
        assert serving.wait(run_id, 60).state == "finished"
    assert [run.id for run in serving.store.runs()] == [second, first]
    assert 0 < serving.store.get(first).seconds < 60
    assert sorted(recorded(serving.store, first, "train/loss")) == list(range(1, 61))
    assert [evaluation.step for evaluation in serving.store.evaluations(first)] == [0, 20, 40, 60]
    # What was put into the bin tomorrow stays there, and comes back out.
    library.put_into_bin(serving.store, first, "ada")
    now[0] -= 2 * DAY
    assert library.empty_bin(serving.store) == 0
    library.restore(serving.store, first, "ada")
    assert _ago(time.time() - serving.store.get(first).created) == "just now"
