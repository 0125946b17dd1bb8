"""What people say of runs and how runs leave: tags, a remark, stars, and a bin from which a run can be taken back.

Tags, the remark and the bin belong to a run's owner. Anyone may star any run, once: stars say what others found
worth a look.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from metalab.store.runs import Evaluation, Run, RunNotFound
from metalab.store.store import Store, among, clean_name, unpacked

KEPT_SECONDS = 7 * 24 * 3600.0
"""How long a run stays in the bin."""
MOST_TAGS = 8
LONGEST_REMARK = 500
TAG = re.compile(r"[\w][\w.-]{0,23}")
_REMEMBERED = 2_000
_looks: OrderedDict[tuple[Path, int], Evaluation] = OrderedDict()
_lock = threading.Lock()
_AT_ONCE = 500
"""Runs that one query names: SQLite bounds how many."""


@dataclass(frozen=True)
class Marks:
    """What people said of a run."""

    tags: tuple[str, ...] = ()
    """In the order of the alphabet."""
    remark: str = ""
    stars: int = 0
    starred: bool = False
    """Whether the one who asks has starred it."""


def marks(store: Store, runs: Sequence[Run], people: Collection[str]) -> dict[str, Marks]:
    """Each run's marks by its id; `people` are the names of the one who asks."""
    ids = {run.number: run.id for run in runs}
    tags: dict[int, list[str]] = {}
    remarks: dict[int, str] = {}
    stars: dict[int, list[str]] = {}
    numbers = list(ids)
    with store.database.read() as db:
        for first in range(0, len(numbers), _AT_ONCE):
            some = numbers[first : first + _AT_ONCE]
            where = among("run", some)
            for row in db.execute(f"SELECT run, tag FROM tags WHERE {where} ORDER BY tag", some):
                tags.setdefault(row["run"], []).append(row["tag"])
            remarks |= {row["run"]: row["text"] for row in db.execute(f"SELECT * FROM remarks WHERE {where}", some)}
            for row in db.execute(f"SELECT run, person FROM stars WHERE {where}", some):
                stars.setdefault(row["run"], []).append(row["person"])
    return {
        run_id: Marks(
            tuple(tags.get(number, ())),
            remarks.get(number, ""),
            len(stars.get(number, ())),
            any(person in people for person in stars.get(number, ())),
        )
        for number, run_id in ids.items()
    }


def clean_tags(text: str) -> tuple[str, ...]:
    """Tags out of a line of text, parted by commas or blanks, small letters. Raises ValueError in one sentence."""
    found = tuple(sorted({word.lower() for word in re.split(r"[,;\s]+", text) if word}))
    wrong = next((tag for tag in found if not TAG.fullmatch(tag)), None)
    if wrong is not None:
        raise ValueError(f"tag {wrong[:40]!r}: expected up to 24 letters, digits, points and hyphens")
    if len(found) > MOST_TAGS:
        raise ValueError(f"{len(found)} tags: expected at most {MOST_TAGS}")
    return found


def describe(store: Store, run_id: str, owner: str, tags: Sequence[str], remark: str) -> None:
    """Give a run these tags and this remark, in place of those it had. Raises RunNotFound, PermissionError, ValueError.

    Tags as `clean_tags` gives them.
    """
    tags = clean_tags(" ".join(tags))
    lines = (clean_name(line, LONGEST_REMARK) for line in remark.splitlines())
    text = "\n".join(line for line in lines if line)[:LONGEST_REMARK]
    number = store.owned(run_id, owner).number
    with store.database.write() as db:
        db.execute("DELETE FROM tags WHERE run = ?", (number,))
        db.executemany("INSERT INTO tags (run, tag) VALUES (?, ?)", [(number, tag) for tag in tags])
        db.execute("DELETE FROM remarks WHERE run = ?", (number,))
        if text:
            db.execute("INSERT INTO remarks (run, text) VALUES (?, ?)", (number, text))


def star(store: Store, run_id: str, person: str, on: bool) -> None:
    """Star a run, or take the star back; doing it twice does nothing. Raises RunNotFound."""
    number = store.get(run_id).number
    with store.database.write() as db:
        if on:
            db.execute("INSERT OR IGNORE INTO stars (run, person) VALUES (?, ?)", (number, person))
        else:
            db.execute("DELETE FROM stars WHERE run = ? AND person = ?", (number, person))


# --- the bin


def put_into_bin(store: Store, run_id: str, owner: str) -> None:
    """From now on the run is nowhere but in its owner's bin.

    Raises RunNotFound, PermissionError, ValueError while it is in training.
    """
    run = store.owned(run_id, owner)
    with store.database.write() as db:
        done = db.execute(
            "UPDATE runs SET deleted = ?, version = version + 1 WHERE id = ? AND state NOT IN ('queued', 'running')",
            (time.time(), run_id),
        )
    if not done.rowcount:
        raise ValueError(f"Run {run_id} is {run.state}: stop it before you delete it.")


def restore(store: Store, run_id: str, owner: str) -> None:
    """Take a run back out of the bin of `owner`. Raises RunNotFound where it is not there (any more)."""
    with store.database.write() as db:
        done = db.execute(
            "UPDATE runs SET deleted = NULL, version = version + 1 WHERE id = ? AND owner = ? AND deleted > 0",
            (run_id, owner),
        )
    if not done.rowcount:
        raise RunNotFound(run_id)


def empty_bin_of(store: Store, people: Collection[str]) -> int:
    """Remove what somebody of these names has in the bin, with its files, for good; how many runs."""
    names = sorted(people)
    with store.database.write() as db:
        done = db.execute(f"UPDATE runs SET deleted = 0 WHERE deleted > 0 AND {among('owner', names)}", names)
    store.purge()
    return done.rowcount


def bin_of(store: Store, people: Collection[str]) -> list[Run]:
    """What somebody of these names has put into the bin, the latest first."""
    names = sorted(people)
    with store.database.read() as db:
        rows = db.execute(
            f"SELECT * FROM runs WHERE deleted > 0 AND {among('owner', names)} ORDER BY deleted DESC", names
        ).fetchall()
    return [Run.from_row(row) for row in rows]


def empty_bin(store: Store, kept_seconds: float = KEPT_SECONDS) -> int:
    """Remove the runs that have been in the bin for so long, with their files, for good; how many."""
    with store.database.write() as db:
        db.execute("UPDATE runs SET deleted = 0 WHERE deleted < ?", (time.time() - kept_seconds,))
    return store.purge()


# --- results


def last_looks(store: Store, runs: Sequence[Run]) -> dict[str, Evaluation]:
    """The newest evaluation of each run that has one, by the run's id. What was read once is remembered."""
    ids, found = {run.number: run.id for run in runs}, dict[str, Evaluation]()
    numbers = list(ids)
    with store.database.read() as db:
        for first in range(0, len(numbers), _AT_ONCE):
            some = numbers[first : first + _AT_ONCE]
            newest = db.execute(
                f"SELECT run, max(id) AS id FROM evaluations WHERE {among('run', some)} GROUP BY run", some
            ).fetchall()
            for run, seen in newest:
                found[ids[run]] = _look(store.home, db, seen)
    return found


def _look(home: Path, db: sqlite3.Connection, number: int) -> Evaluation:
    """The evaluation of this number; without its functions, which are large."""
    with _lock:
        known = _looks.get((home, number))
    if known is None:
        found = unpacked(db.execute("SELECT id, step, payload FROM evaluations WHERE id = ?", (number,)).fetchone())
        known = replace(found, functions=None)
        with _lock:
            _looks[home, number] = known
            while len(_looks) > _REMEMBERED:
                _looks.popitem(last=False)
    return known
