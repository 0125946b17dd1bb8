"""The store: what is written is read back, whatever was half-written is refused, and owners are respected."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from metalab.store import CheckpointError, News, Note, RunNotFound, Store, StoreError
from metalab.store.database import VERSION
from metalab.training.config import RunConfig, parse_config
from metalab.training.events import Checkpoint, Checkpointed, Evaluated
from metalab.training.trainer import train

CONFIG = parse_config(
    {
        "model": {"name": "mlp", "widths": [4]},
        "algorithm": {"name": "maml", "inner_steps_eval": 2},
        "meta_batch_size": 2,
        "evaluation_tasks": 2,
        "outer_steps": 4,
        "evaluate_every": 2,
        "device": "cpu",
    }
)


@pytest.fixture
def store(tmp_path: Path):
    made = Store(tmp_path)
    yield made
    made.close()


def checkpoint_of(config: RunConfig = CONFIG, step: int = 2) -> Checkpoint:
    return next(e.checkpoint for e in train(config) if isinstance(e, Checkpointed) and e.step == step)


def resume_file(store: Store, run_id: str) -> Path:
    return store.home / "checkpoints" / run_id / "resume.safetensors"


def test_importing_the_store_does_not_load_torch():
    done = subprocess.run(
        [sys.executable, "-c", "import metalab.store, sys; sys.exit('torch' in sys.modules)"],
        cwd=Path(__file__).parent.parent,
        timeout=60,
    )
    assert done.returncode == 0


def test_a_run_comes_back_as_it_was_made(store):
    run = store.create(CONFIG, "ada", "  my\nrun ")
    assert run.id.isalnum()
    assert run.id == run.id.lower()
    found = store.get(run.id)
    assert found == run
    assert (found.name, found.owner, found.state, found.step) == ("my run", "ada", "queued", 0)
    assert found.config == CONFIG == found.current
    assert (found.family, found.model, found.algorithm, found.outer_steps) == ("sinusoid", "mlp", "maml", 4)
    assert store.create(CONFIG, "ada").name == "MAML · Sine waves"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("日本語 \U0001f40d", "日本語 \U0001f40d"),
        ("up\u2028down\x85left", "up down left"),
        ("a\u202eb", "a b"),
        ("half \udcff", "half"),
        ("é" * 200, "é" * 80),
        (" \u2069\x00 ", "MAML · Sine waves"),
    ],
)
def test_a_name_is_one_line_of_whole_characters(store, given, kept):
    assert store.get(store.create(CONFIG, "ada", given).id).name == kept


def test_metrics_and_notes_come_back_in_order(store):
    run = store.create(CONFIG, "ada")
    store.append(run.id, News(metrics=[(1, "train/loss", 2.5), (1, "train/gradient_norm", float("inf"))]))
    store.append(run.id, News(metrics=[(2, "train/loss", float("nan"))], notes=[Note(2, "a"), Note(2, "b")]))
    frame = store.metrics(run.id)
    assert frame["step"].tolist() == [1, 1, 2]
    assert frame["name"].tolist() == ["train/loss", "train/gradient_norm", "train/loss"]
    assert frame["value"].tolist()[:2] == [2.5, float("inf")]
    assert frame["value"].isna().tolist() == [False, False, True]
    assert store.notes(run.id) == [Note(2, "a"), Note(2, "b")]


def test_evaluations_come_back_bit_for_bit(store):
    run = store.create(CONFIG, "ada")
    curves = {"loss": torch.randn(5, 3), "accuracy": torch.randn(5, 3).t().contiguous().t()}
    store.append(run.id, News(evaluations=[Evaluated(7, curves, torch.randn(3, 3, 11))]))
    store.append(run.id, News(evaluations=[Evaluated(8, {"loss": torch.zeros(2, 3)}, None)]))
    first, second = store.evaluations(run.id)
    assert (first.step, second.step) == (7, 8)
    assert first.curves.keys() == curves.keys()
    assert all(torch.equal(first.curves[name], curves[name]) for name in curves)
    assert first.functions.shape == (3, 3, 11)
    assert second.functions is None


def test_news_is_written_whole_or_not_at_all(store):
    run = store.create(CONFIG, "ada")
    with pytest.raises(sqlite3.Error):
        store.append(run.id, News(metrics=[(1, "train/loss", 1.0)], notes=[Note(1, None)], status={"step": 1}))
    assert store.metrics(run.id).empty
    assert store.get(run.id) == run
    with pytest.raises(ValueError, match="status 'owner': expected one of"):
        store.append(run.id, News(status={"owner": "eve"}))


def test_runs_are_listed_newest_first(store):
    made = [store.create(CONFIG, owner).id for owner in ("ada", "bob", "ada")]
    assert [run.id for run in store.runs()] == made[::-1]
    assert [run.id for run in store.runs(owner="ada")] == [made[2], made[0]]
    assert [run.id for run in store.runs(2)] == made[:0:-1]


def test_an_unknown_run_is_named(store):
    for ask in (store.get, store.metrics, store.evaluations, store.checkpoints, store.notes, store.load_checkpoint):
        with pytest.raises(RunNotFound, match=r"There is no run '\.\./x'"):
            ask("../x")
    with pytest.raises(RunNotFound):
        store.append("gone", News())
    assert store.find("gone") is None


def test_only_the_owner_renames_and_deletes(store):
    run = store.create(CONFIG, "ada", state="stopped")
    for act in (lambda: store.rename(run.id, "x", "eve"), lambda: store.delete(run.id, "eve")):
        with pytest.raises(PermissionError, match="belongs to somebody else"):
            act()
    store.rename(run.id, "better", "ada")
    assert store.get(run.id).name == "better"
    with pytest.raises(ValueError, match="expected 1 to 80 visible characters"):
        store.rename(run.id, " \t", "ada")


def test_deleting_removes_everything_of_this_run_alone(store):
    run, other = store.create(CONFIG, "ada"), store.create(CONFIG, "ada")
    for each in (run, other):
        store.append(each.id, News(metrics=[(1, "train/loss", 1.0)], notes=[Note(1, "a")]))
        store.save_checkpoint(each.id, checkpoint_of())
    with pytest.raises(ValueError, match="is queued: stop it before you delete it"):
        store.delete(run.id, "ada")
    store.append(run.id, News(status={"state": "finished"}))
    store.delete(run.id, "ada")
    assert store.find(run.id) is None
    assert not resume_file(store, run.id).parent.exists()
    with store.database.read() as db:
        for table in ("metrics", "checkpoints", "notes"):
            assert db.execute(f"SELECT count(DISTINCT run) FROM {table}").fetchone()[0] == 1
    assert store.checkpoints(other.id) == [2]


def test_taking_back_forgets_later_steps(store):
    run = store.create(CONFIG, "ada")
    store.append(run.id, News(metrics=[(s, "train/loss", 1.0) for s in (1, 2, 3)], notes=[Note(0, "a"), Note(3, "b")]))
    store.append(run.id, News(status={"step": 3}, checkpoints=[2, 3]))
    store.take_back(run.id, 3)
    assert store.get(run.id).epoch == 0
    store.take_back(run.id, 2)
    assert store.metrics(run.id)["step"].tolist() == [1, 2]
    assert store.checkpoints(run.id) == [2]
    assert (store.get(run.id).epoch, store.get(run.id).step) == (1, 2)
    store.take_back(run.id, -1)
    assert store.metrics(run.id).empty
    assert store.notes(run.id) == [Note(0, "a")]


# --- checkpoints


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


# --- processes


def test_another_process_may_read_and_list_but_not_write_a_run(store, tmp_path):
    run = store.create(CONFIG, "ada")
    other = Store(tmp_path)
    assert other.get(run.id).state == "queued"
    with pytest.raises(RunNotFound):
        other.append(run.id, News(status={"state": "failed"}))
    assert store.get(run.id).state == "queued"
    other.close()


def test_active_runs_of_a_process_that_ended_are_interrupted(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    made = {state: first.create(CONFIG, "ada", state=state).id for state in ("queued", "paused", "finished")}
    assert {run.state for run in second.runs()} == set(made)
    first.close()
    assert second.get(made["paused"]).state == "interrupted"
    assert "Resume" in second.get(made["queued"]).message
    assert second.get(made["finished"]).state == "finished"
    second.close()


def test_only_one_of_two_processes_gets_an_interrupted_run(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    run = first.create(CONFIG, "ada", state="interrupted")
    assert second.claim(run.id, ["interrupted"]).process == second.process
    assert first.claim(run.id, ["interrupted"]) is None
    first.close()
    assert second.get(run.id).state == "queued"
    second.close()


WRITER = """
import sys, threading
from pathlib import Path
from metalab.store import News, Store
from metalab.training.config import parse_config

def write(store, count):
    run = store.create(parse_config({}), "ada", state="finished")
    for step in range(count):
        store.append(run.id, News(metrics=[(step, "train/loss", step)], status={"step": step}))

store = Store(Path(sys.argv[1]))
threads = [threading.Thread(target=write, args=(store, 40)) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
store.close()
"""


def test_two_processes_with_two_threads_each_lose_nothing(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=Path(__file__).parent.parent) for _ in range(2)]
    store = Store(tmp_path)
    stop = threading.Event()

    def read():
        while not stop.wait(0.05):
            for run in store.runs():
                steps = store.metrics(run.id)["step"].tolist()
                assert steps == list(range(len(steps)))

    reader = threading.Thread(target=read)
    reader.start()
    assert [process.wait(60) for process in both] == [0, 0]
    stop.set()
    reader.join()
    runs = store.runs()
    assert len(runs) == 4
    for run in runs:
        assert store.metrics(run.id)["step"].tolist() == list(range(40))
    store.close()


def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "metalab.db") as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    with pytest.raises(StoreError, match="was written by a newer MetaLab"):
        Store(tmp_path)


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "metalab.db").write_text("hello " * 500)
    with pytest.raises(StoreError, match=r"metalab\.db cannot be opened as MetaLab's database"):
        Store(tmp_path)


def test_a_lock_that_cannot_be_taken_is_told(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied", str(tmp_path / "metalab.lock"))

    monkeypatch.setattr("metalab.store.database.FileLock.__enter__", refuse)
    with pytest.raises(StoreError, match=r"cannot be opened as MetaLab's database \(.*Permission denied.*METALAB_HOME"):
        Store(tmp_path)


def test_a_disk_that_is_full_is_told_and_harms_nothing(tmp_path):
    store = Store(tmp_path)
    run = store.create(CONFIG, "ada")
    with store.database.read() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    store.database.close()
    # The next transaction gets this connection: no page more may be added to the file.
    with store.database.read() as db:
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match=r"metalab\.db cannot be read or written now \(.*full\): make room"):
        store.append(run.id, News(notes=[Note(1, "x" * 100_000)]))
    store.database.close()
    assert store.notes(run.id) == []
    store.append(run.id, News(notes=[Note(1, "x" * 100_000)]))
    assert len(store.notes(run.id)) == 1
    store.close()


def test_a_damaged_database_is_told(tmp_path):
    store = Store(tmp_path)
    for _ in range(50):
        store.create(CONFIG, "ada", state="stopped")
    store.close()
    path = tmp_path / "metalab.db"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    store = Store(tmp_path)
    with pytest.raises(StoreError, match=r"metalab\.db cannot be read or written now"):
        store.runs()
    store.close()
