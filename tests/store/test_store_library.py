"""Tags, remarks, stars, the bin, and a database of before they were there."""

from __future__ import annotations

import sqlite3
import time

import pytest
import torch
from stored import CONFIG, checkpoint_of, resume_file

from metalab.store import News, RunNotFound, Store, library
from metalab.store.database import FIRST_SCHEMA
from metalab.training.events import Evaluated


@pytest.fixture
def run(store):
    return store.create(CONFIG, "ada", state="finished")


def test_the_owner_describes_and_everybody_reads(store, run):
    library.describe(store, run.id, "ada", ["best", "Class-7"], "  good\n\n\x00start ")
    found = library.marks(store, [run], {"eve"})[run.id]
    assert (found.tags, found.remark) == (("best", "class-7"), "good\nstart")
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        library.describe(store, run.id, "eve", [], "")
    library.describe(store, run.id, "ada", [], "")
    assert library.marks(store, [run], {"ada"})[run.id] == library.Marks()


@pytest.mark.parametrize(
    ("text", "found"),
    [("", ()), ("b, a;b", ("a", "b")), ("Ünï 7.5", ("7.5", "ünï")), (",  ,", ())],
)
def test_tags_are_words(text, found):
    assert library.clean_tags(text) == found


@pytest.mark.parametrize("text", ["<b>", "a" * 25, "-x", " ".join(map(str, range(9)))])
def test_other_tags_are_refused(text):
    with pytest.raises(ValueError, match="tag"):
        library.clean_tags(text)


def test_anyone_stars_once(store, run):
    other = store.create(CONFIG, "ada", state="finished")
    for person in ("eve", "eve", "bob"):
        library.star(store, run.id, person, True)
    found = library.marks(store, [run, other], {"eve"})
    assert (found[run.id].stars, found[run.id].starred) == (2, True)
    assert found[other.id] == library.Marks()
    library.star(store, run.id, "eve", False)
    found = library.marks(store, [run], {"eve"})[run.id]
    assert (found.stars, found.starred) == (1, False)


def test_the_bin_hides_a_run_until_its_owner_takes_it_back(store, run):
    store.append(run.id, News(metrics=[(1, "train/loss", 0.5)]))
    store.save_checkpoint(run.id, checkpoint_of())
    library.put_into_bin(store, run.id, "ada")
    assert store.find(run.id) is None
    assert store.runs() == []
    assert store.version(run.id) is None
    for ask in (store.metrics, store.load_theta, store.evaluations):
        with pytest.raises(RunNotFound):
            ask(run.id)
    assert [each.id for each in library.bin_of(store, {"ada"})] == [run.id]
    assert library.bin_of(store, {"eve"}) == []
    assert store.claim(run.id, ["finished"]) is None
    with pytest.raises(RunNotFound):
        library.restore(store, run.id, "eve")
    library.restore(store, run.id, "ada")
    assert store.checkpoints(run.id) == [2]
    assert len(store.metrics(run.id)) == 1
    with pytest.raises(RunNotFound):
        library.restore(store, run.id, "ada")


def test_only_the_owner_puts_a_run_that_rests_into_the_bin(store, run):
    with pytest.raises(PermissionError):
        library.put_into_bin(store, run.id, "eve")
    waiting = store.create(CONFIG, "ada")
    with pytest.raises(ValueError, match="is queued: stop it before you delete it"):
        library.put_into_bin(store, waiting.id, "ada")
    assert len(store.runs()) == 2


def test_what_was_long_in_the_bin_is_removed_with_its_files(store, run):
    kept = store.create(CONFIG, "ada", state="finished")
    for each in (run, kept):
        store.save_checkpoint(each.id, checkpoint_of())
        library.put_into_bin(store, each.id, "ada")
    with store.database.write() as db:
        db.execute("UPDATE runs SET deleted = ? WHERE id = ?", (time.time() - library.KEPT_SECONDS - 5, run.id))
    assert library.empty_bin(store) == 1
    assert [each.id for each in library.bin_of(store, {"ada"})] == [kept.id]
    assert not resume_file(store, run.id).exists()
    assert resume_file(store, kept.id).exists()


@pytest.mark.parametrize("files_gone", [False, True])
def test_what_a_killed_program_was_removing_is_nowhere_and_goes_with_its_files_later(store, run, files_gone):
    store.save_checkpoint(run.id, checkpoint_of())
    with store.database.write() as db:
        db.execute("UPDATE runs SET deleted = 0 WHERE id = ?", (run.id,))
    if files_gone:
        resume_file(store, run.id).unlink()
    assert library.bin_of(store, {"ada"}) == store.runs() == []
    with pytest.raises(RunNotFound):
        library.restore(store, run.id, "ada")
    assert library.empty_bin(store) == 1
    assert not store.folder(run.id).exists()
    assert library.empty_bin(store) == 0


def test_the_last_look_of_each_run_is_read_once(store, run):
    other = store.create(CONFIG, "ada", state="finished")
    for step in (0, 4):
        curves = {"loss": torch.full((2, 3), float(step))}
        store.append(run.id, News(evaluations=[Evaluated(step, curves, None)]))
    found = library.last_looks(store, [run, other])
    assert found.keys() == {run.id}
    assert found[run.id].step == 4
    assert found[run.id].curves["loss"].tolist() == [[4.0] * 3] * 2
    assert library.last_looks(store, [run])[run.id] is found[run.id]
    store.append(run.id, News(evaluations=[Evaluated(6, {"loss": torch.ones(2, 3)}, None)]))
    assert library.last_looks(store, [run])[run.id].step == 6


def test_a_database_of_the_first_version_is_brought_up_and_keeps_its_runs(tmp_path):
    store = Store(tmp_path)
    run = store.create(CONFIG, "ada", state="finished")
    row = [run.number, run.id, run.name, "ada", run.config_json, run.current_json, "finished", 1.0, 2.0, "gone"]
    store.close()
    for path in tmp_path.glob("metalab.db*"):
        path.unlink()
    with sqlite3.connect(tmp_path / "metalab.db") as db:
        db.executescript(f"{FIRST_SCHEMA} PRAGMA user_version = 1;")
        columns = "number, id, name, owner, config, current, state, created, updated, process"
        db.execute(f"INSERT INTO runs ({columns}) VALUES ({', '.join('?' * len(row))})", row)
    db.close()
    for _ in range(2):
        again = Store(tmp_path)
        assert [each.id for each in again.runs()] == [run.id]
        library.star(again, run.id, "ada", True)
        again.close()
