"""Sweeps on disk: a plan, and the runs that were started for it. What plans are `training.sweeps` knows."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from metalab.log import tell
from metalab.store.store import ALPHABET, ID_LENGTH, Store, clean_name

SweepState = Literal["running", "stopped", "finished"]


class SweepNotFound(LookupError):
    """There is no sweep of that id (any more)."""

    def __init__(self, sweep_id: str) -> None:
        super().__init__(f"There is no sweep {sweep_id[:64]!r}. It may have been deleted.")


@dataclass(frozen=True)
class Trial:
    """One point of a sweep."""

    place: int
    changes: Mapping[str, Any]
    """Dotted names of settings to their values."""
    run: str
    """The id of its run, or empty where none could be started."""
    message: str
    """Why not, in one sentence."""


@dataclass(frozen=True)
class Sweep:
    """A sweep as it was when it was read."""

    number: int
    id: str
    name: str
    owner: str
    plan: Mapping[str, Any]
    state: SweepState
    message: str
    created: float
    trials: tuple[Trial, ...]
    """Those that were begun, in the order of their places."""


def create(store: Store, plan: Mapping[str, Any], owner: str, name: str) -> Sweep:
    """A new sweep in the state "running"."""
    while True:
        sweep_id = "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))
        values = (sweep_id, clean_name(name), owner, json.dumps(plan), time.time())
        try:
            with store.database.write() as db:
                db.execute(
                    "INSERT INTO sweeps (id, name, owner, plan, state, created) VALUES (?, ?, ?, ?, 'running', ?)",
                    values,
                )
        except sqlite3.IntegrityError:
            continue  # the id is taken
        return get(store, sweep_id)


def get(store: Store, sweep_id: str) -> Sweep:
    """Raises SweepNotFound."""
    with store.database.read() as db:
        row = db.execute("SELECT * FROM sweeps WHERE id = ?", (sweep_id,)).fetchone()
        if row is None:
            raise SweepNotFound(sweep_id)
        return _from_row(db, row)


def listed(store: Store, limit: int = 50) -> list[Sweep]:
    """The newest sweeps of everybody, newest first."""
    with store.database.read() as db:
        rows = db.execute("SELECT * FROM sweeps ORDER BY number DESC LIMIT ?", (limit,)).fetchall()
        return [_from_row(db, row) for row in rows]


def owned(store: Store, sweep_id: str, owner: str) -> Sweep:
    """The sweep, if it is `owner`'s. Raises SweepNotFound, PermissionError."""
    found = get(store, sweep_id)
    if found.owner != owner:
        tell("refused", person=owner, sweep=sweep_id, why="the sweep is another's")
        raise PermissionError(f"Sweep {found.name} belongs to somebody else. Start one of your own.")
    return found


def add_trial(store: Store, sweep_id: str, trial: Trial) -> None:
    """Raises SweepNotFound."""
    number = get(store, sweep_id).number
    with store.database.write() as db:
        db.execute(
            "INSERT OR REPLACE INTO trials (sweep, place, changes, run, message) VALUES (?, ?, ?, ?, ?)",
            (number, trial.place, json.dumps(dict(trial.changes)), trial.run, trial.message),
        )


def settle(store: Store, sweep_id: str, state: SweepState, message: str = "") -> None:
    """Give a sweep this state."""
    with store.database.write() as db:
        db.execute("UPDATE sweeps SET state = ?, message = ? WHERE id = ?", (state, message, sweep_id))


def delete(store: Store, sweep_id: str, owner: str) -> None:
    """Forget a sweep; its runs stay. Raises SweepNotFound, PermissionError."""
    owned(store, sweep_id, owner)
    with store.database.write() as db:
        db.execute("DELETE FROM sweeps WHERE id = ?", (sweep_id,))


def _from_row(db: sqlite3.Connection, row: sqlite3.Row) -> Sweep:
    found = db.execute("SELECT * FROM trials WHERE sweep = ? ORDER BY place", (row["number"],)).fetchall()
    trials = (Trial(each["place"], json.loads(each["changes"]), each["run"], each["message"]) for each in found)
    return Sweep(**{**dict(row), "plan": json.loads(row["plan"]), "trials": tuple(trials)})
