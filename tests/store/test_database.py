"""A database that is newer, foreign, damaged, full or locked: told in one sentence, and left as it is."""

from __future__ import annotations

import sqlite3

import pytest
from stored import CONFIG

from metalab.store import News, Note, Store, StoreError
from metalab.store.database import VERSION


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
