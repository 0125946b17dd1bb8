"""The store: what is written is read back, owners are respected, processes do not get in each other's way."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading

import pytest
import torch
from stored import CONFIG, ROOT, checkpoint_of, resume_file

from metalab.store import News, Note, RunNotFound, Store
from metalab.training.events import Evaluated


def test_importing_the_store_does_not_load_torch():
    done = subprocess.run(
        [sys.executable, "-c", "import metalab.store, sys; sys.exit('torch' in sys.modules)"],
        cwd=ROOT,
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


def test_a_checkpoint_is_kept_and_is_no_news_for_viewers(store):
    run = store.create(CONFIG, "ada")
    store.append(run.id, News(status={"step": 2}))
    before = store.get(run.id)
    store.append(run.id, News(checkpoints=[2]))
    after = store.get(run.id)
    assert store.checkpoints(run.id) == [2]
    assert (after.version, after.updated) == (before.version, before.updated)
    store.append(run.id, News(metrics=[(3, "train/loss", 1.0)]))
    assert store.get(run.id).version == before.version + 1


def test_runs_are_listed_newest_first(store):
    made = [store.create(CONFIG, owner).id for owner in ("ada", "bob", "ada")]
    assert [run.id for run in store.runs()] == made[::-1]
    assert [run.id for run in store.runs(owner="ada")] == [made[2], made[0]]
    assert [run.id for run in store.runs(2)] == made[:0:-1]
    assert [run.id for run in store.runs(1, family=CONFIG.family.name)] == made[:1:-1]
    assert store.runs(family="glyphs") == []


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
    both = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
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
