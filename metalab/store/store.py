"""The store: every run, its metrics, evaluations, notes and checkpoints, for all processes of one home."""

from __future__ import annotations

import re
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metalab import places
from metalab.log import tell
from metalab.store import checkpoints as files
from metalab.store import unwritten
from metalab.store.database import Database, StoreError
from metalab.store.liveness import Process, burying
from metalab.store.runs import ACTIVE, Evaluation, Note, Run, RunNotFound, State

if TYPE_CHECKING:
    import pandas as pd

    from metalab.params import Params
    from metalab.training.config import RunConfig
    from metalab.training.events import Checkpoint, Evaluated

ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""Of run ids: no capitals (file systems may not tell them apart), nothing that is misread on a projector."""
ID_LENGTH = 8
NAME_LENGTH = 80
INTERRUPTED = "The program that trained it ended. Resume goes on from the last checkpoint."
STATUS = frozenset({"state", "step", "message", "seconds", "rate", "current"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
"""What is no part of one line of text: controls, line ends, marks that turn its direction, halves of characters."""


@dataclass
class News:
    """What is to be added to a run, all at once."""

    metrics: list[tuple[int, str, float]] = field(default_factory=list)
    """(outer step, name, value)."""
    evaluations: list[Evaluated] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    """New values of state, step, message, seconds, rate, current (a config as JSON)."""


class Store:
    """All runs under one home. Thread-safe, and safe beside other processes on the same home.

    Runs that this store creates or claims belong to this process until `close`.
    """

    def __init__(self, home: Path | None = None) -> None:
        """Opens `home`, by default `places.home()`. Raises StoreError, PlaceError."""
        self.home = home or places.home()
        self.database = Database(self.home / "metalab.db")
        self._locks = self.home / "locks"
        self._process: Process | None = None
        self._lock = threading.Lock()

    @property
    def process(self) -> str:
        """This process's name among those that train."""
        with self._lock:
            if self._process is None:
                self._process = Process(self._locks)
            return self._process.name

    def close(self) -> None:
        """Let go of the database and of this process's runs: those still active count as interrupted."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.close()
        self.database.close()

    # --- runs

    def create(self, config: RunConfig, owner: str, name: str = "", *, state: State = "queued") -> Run:
        """A new run that belongs to `owner` and to this process. Without a name it is called by what it is."""
        title = f"{config.algorithm.label} · {config.family.title or config.family.name}"
        text, now = config.model_dump_json(), time.time()
        values = (clean_name(name) or title, owner, text, text, state, now, now, self.process)
        while True:
            run_id = "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))
            try:
                with self.database.write() as db:
                    db.execute(
                        "INSERT INTO runs (id, name, owner, config, current, state, created, updated, process) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (run_id, *values),
                    )
            except sqlite3.IntegrityError:
                continue  # the id is taken
            return self.get(run_id)

    def get(self, run_id: str) -> Run:
        """The run. Raises RunNotFound."""
        run = self.find(run_id)
        if run is None:
            raise RunNotFound(run_id)
        return run

    def find(self, run_id: str) -> Run | None:
        """The run, or None where there is none of that id."""
        with self.database.read() as db:
            row = db.execute("SELECT * FROM runs WHERE id = ? AND deleted IS NULL", (run_id,)).fetchone()
        if row is None:
            return None
        run = unwritten.shown(self.home, Run.from_row(row))
        if run.active and self._bury([run.process]):
            return self.find(run_id)
        return run

    def runs(self, limit: int = 100, owner: str | None = None, family: str | None = None) -> list[Run]:
        """The newest runs first, of `owner` or of everybody, on one family of tasks or on any.

        Runs of dead processes become interrupted.
        """
        self.notice_interrupted()
        with self.database.read() as db:
            rows = db.execute(
                "SELECT * FROM runs WHERE deleted IS NULL AND (:owner IS NULL OR owner = :owner) "
                "AND (:family IS NULL OR json_extract(config, '$.family.name') = :family) "
                "ORDER BY number DESC LIMIT :limit",
                {"owner": owner, "family": family, "limit": limit},
            ).fetchall()
        return [unwritten.shown(self.home, Run.from_row(row)) for row in rows]

    def notice_interrupted(self) -> None:
        """Mark the active runs of processes that ended as interrupted."""
        with self.database.read() as db:
            found = db.execute(f"SELECT DISTINCT process FROM runs WHERE {among('state', ACTIVE)}", ACTIVE).fetchall()
        self._bury([row["process"] for row in found])

    def _bury(self, processes: Sequence[str]) -> bool:
        """Whether some of the processes were dead; their active runs are interrupted now."""
        some = False
        own = self._process.name if self._process else None
        for process in processes:
            if process == own:
                continue
            with burying(self._locks, process) as dead:
                if dead:
                    some = True
                    with self.database.write() as db:
                        db.execute(
                            "UPDATE runs SET state = 'interrupted', message = ?, rate = NULL, version = version + 1 "
                            f"WHERE process = ? AND {among('state', ACTIVE)}",
                            (INTERRUPTED, process, *ACTIVE),
                        )
        return some

    def claim(self, run_id: str, states: Sequence[State]) -> Run | None:
        """Queue a run in one of `states` as this process's, or None where its state is another by now."""
        with self.database.write() as db:
            done = db.execute(
                "UPDATE runs SET state = 'queued', message = '', rate = NULL, process = ?, updated = ?, "
                f"version = version + 1 WHERE id = ? AND deleted IS NULL AND {among('state', states)}",
                (self.process, time.time(), run_id, *states),
            )
        return self.get(run_id) if done.rowcount else None

    def settle(self, run_id: str, states: Sequence[State], state: State, message: str = "") -> bool:
        """Give a run that nobody trains, in one of `states`, the state `state`; False where it has another."""
        with self.database.write() as db:
            done = db.execute(
                "UPDATE runs SET state = ?, message = ?, version = version + 1 "
                f"WHERE id = ? AND {among('state', states)}",
                (state, message, run_id, *states),
            )
        return bool(done.rowcount)

    def revise(self, run_id: str, states: Sequence[State], current: str, notes: Sequence[Note]) -> bool:
        """Give a run that nobody trains another current config (JSON); False where its state is not in `states`."""
        with self.database.write() as db:
            row = db.execute(
                f"UPDATE runs SET current = ?, version = version + 1 WHERE id = ? AND {among('state', states)} "
                "RETURNING number",
                (current, run_id, *states),
            ).fetchone()
            if row is not None:
                _insert(db, "notes (run, step, text)", [(row["number"], note.step, note.text) for note in notes])
        return row is not None

    def rename(self, run_id: str, name: str, owner: str) -> None:
        """Raises RunNotFound, PermissionError for another's run, ValueError for an empty name."""
        cleaned = clean_name(name)
        if not cleaned:
            raise ValueError(f"name = {name!r}: expected 1 to {NAME_LENGTH} visible characters")
        self.owned(run_id, owner)
        with self.database.write() as db:
            db.execute("UPDATE runs SET name = ?, version = version + 1 WHERE id = ?", (cleaned, run_id))

    def delete(self, run_id: str, owner: str) -> None:
        """Remove a run and its files for good, past the bin.

        Raises RunNotFound, PermissionError, ValueError while it is in training.
        """
        run = self.owned(run_id, owner)
        with self.database.write() as db:
            done = db.execute(
                "UPDATE runs SET deleted = 0 WHERE id = ? AND state NOT IN ('queued', 'running')", (run_id,)
            )
        if not done.rowcount:
            raise ValueError(f"Run {run_id} is {run.state}: stop it before you delete it.")
        self.purge()

    def purge(self) -> int:
        """Remove the runs that are to be gone for good (`deleted` is 0), also what a killed program left of them.

        The files go first, so that none is ever without a run. Returns how many runs.
        """
        with self.database.read() as db:
            rows = db.execute("SELECT id FROM runs WHERE deleted = 0").fetchall()
        for row in rows:
            shutil.rmtree(self.folder(row["id"]), ignore_errors=True)
            with self.database.write() as db:
                db.execute("DELETE FROM runs WHERE id = ?", (row["id"],))
        return len(rows)

    def owned(self, run_id: str, owner: str) -> Run:
        """The run, if it is `owner`'s. Raises RunNotFound, PermissionError."""
        run = self.get(run_id)
        if run.owner != owner:
            tell("refused", person=owner, run=run_id, why="the run is another's")
            raise PermissionError(f"Run {run_id} ({run.name}) belongs to somebody else. Start a run of your own.")
        return run

    # --- what a run has made

    def append(self, run_id: str, news: News) -> None:
        """Add to a run of this process in one transaction. Raises RunNotFound where it is not, or no longer."""
        unknown = sorted(set(news.status) - STATUS)
        if unknown:
            raise ValueError(f"status {unknown[0]!r}: expected one of {', '.join(sorted(STATUS))}")
        seen = news.metrics or news.evaluations or news.notes or news.status
        status = {**news.status, "process": self.process} | ({"updated": time.time()} if seen else {})
        columns = ", ".join(f"{name} = ?" for name in status)
        payloads = [(e.step, _packed(e)) for e in news.evaluations]
        with self.database.write() as db:
            row = db.execute(
                f"UPDATE runs SET {columns}, version = version + ? WHERE id = ? AND process = ? RETURNING number",
                (*status.values(), bool(seen), run_id, self.process),
            ).fetchone()
            if row is None:
                raise RunNotFound(run_id)
            run = row["number"]
            _insert(db, "metrics (run, step, name, value)", [(run, *metric) for metric in news.metrics])
            _insert(db, "evaluations (run, step, payload)", [(run, *payload) for payload in payloads])
            _insert(db, "checkpoints (run, step)", [(run, step) for step in news.checkpoints])
            _insert(db, "notes (run, step, text)", [(run, note.step, note.text) for note in news.notes])

    def take_back(self, run_id: str, step: int) -> None:
        """Forget what a run of this process did after outer step `step` (-1: everything)."""
        with self.database.write() as db:
            number = self._number(db, run_id)
            gone = 0
            for table in ("metrics", "evaluations", "checkpoints", "notes"):
                # What was changed before the first outer step holds for a run that starts again, too.
                kept = max(step, 0) if table == "notes" else step
                gone += db.execute(f"DELETE FROM {table} WHERE run = ? AND step > ?", (number, kept)).rowcount
            db.execute(
                "UPDATE runs SET step = ?, epoch = epoch + ?, version = version + 1 WHERE number = ?",
                (max(step, 0), bool(gone), number),
            )
        files.sweep(self.folder(run_id))

    def metrics(self, run_id: str) -> pd.DataFrame:
        """Columns step, name, value in the order of recording. Raises RunNotFound."""
        import pandas as pd

        with self.database.read() as db:
            rows = db.execute(
                "SELECT step, name, value FROM metrics WHERE run = ? ORDER BY id", (self._number(db, run_id),)
            ).fetchall()
        return pd.DataFrame.from_records([tuple(row) for row in rows], columns=["step", "name", "value"])

    def evaluations(self, run_id: str) -> list[Evaluation]:
        """All evaluations in the order of recording. Raises RunNotFound."""
        with self.database.read() as db:
            rows = db.execute(
                "SELECT id, step, payload FROM evaluations WHERE run = ? ORDER BY id", (self._number(db, run_id),)
            ).fetchall()
        return [unpacked(row) for row in rows]

    def notes(self, run_id: str) -> list[Note]:
        """Raises RunNotFound."""
        with self.database.read() as db:
            number = self._number(db, run_id)
            rows = db.execute("SELECT step, text FROM notes WHERE run = ? ORDER BY id", (number,)).fetchall()
        return [Note(row["step"], row["text"]) for row in rows]

    def checkpoints(self, run_id: str) -> list[int]:
        """The outer steps of which theta is kept, ascending. Raises RunNotFound."""
        with self.database.read() as db:
            number = self._number(db, run_id)
            rows = db.execute("SELECT step FROM checkpoints WHERE run = ? ORDER BY step", (number,)).fetchall()
        return [row["step"] for row in rows]

    def load_theta(self, run_id: str, step: int | None = None) -> Params:
        """theta after `step` outer steps (None: the last that is kept), on the CPU.

        Raises RunNotFound, CheckpointError.
        """
        run, kept = self.get(run_id), self.checkpoints(run_id)
        if not kept or (step is not None and step not in kept):
            have = f"{len(kept)} from {kept[0]} to {kept[-1]}" if kept else "none yet"
            where = "" if step is None else f" at outer step {step}"
            raise files.CheckpointError(f"Run {run_id} has no checkpoint{where} (it has {have}).")
        return files.read_theta(files.theta_path(self.folder(run.id), kept[-1] if step is None else step), run.config)

    def save_checkpoint(self, run_id: str, checkpoint: Checkpoint) -> None:
        """Keep theta of this step, and let the run resume from here. Raises RunNotFound, OSError."""
        files.write(self.folder(self.get(run_id).id), checkpoint)
        self.append(run_id, News(checkpoints=[checkpoint.step]))

    def load_checkpoint(self, run_id: str) -> Checkpoint | None:
        """Where the run goes on, or None where it made no checkpoint yet. Raises RunNotFound, CheckpointError."""
        run = self.get(run_id)
        path = self.folder(run.id) / files.RESUME
        if not path.exists() and not self.checkpoints(run_id):
            return None
        return files.read_resume(path, run.config)

    @contextmanager
    def snapshot(self, run_id: str) -> Iterator[tuple[sqlite3.Connection, Run | None]]:
        """A read transaction and the run in it, for several queries that must agree."""
        with self.database.read() as db:
            row = db.execute("SELECT * FROM runs WHERE id = ? AND deleted IS NULL", (run_id,)).fetchone()
            yield db, unwritten.shown(self.home, Run.from_row(row)) if row else None

    def version(self, run_id: str) -> int | None:
        """`Run.version`; None where there is no such run."""
        with self.database.read() as db:
            row = db.execute("SELECT version FROM runs WHERE id = ? AND deleted IS NULL", (run_id,)).fetchone()
        return row["version"] if row else None

    def _number(self, db: sqlite3.Connection, run_id: str) -> int:
        row = db.execute("SELECT number FROM runs WHERE id = ? AND deleted IS NULL", (run_id,)).fetchone()
        if row is None:
            raise RunNotFound(run_id)
        return row["number"]

    def folder(self, run_id: str) -> Path:
        """Where a run's checkpoints lie."""
        return self.home / "checkpoints" / run_id


def clean_name(name: str, length: int = NAME_LENGTH) -> str:
    """One line of at most `length` characters."""
    return _CONTROL.sub(" ", name).strip()[:length].strip()


def unpacked(row: sqlite3.Row | Mapping[str, Any]) -> Evaluation:
    """An evaluation out of its row (id, step, payload). Raises StoreError where the payload is damaged."""
    import safetensors
    import safetensors.torch

    try:
        tensors = safetensors.torch.load(row["payload"])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as problem:
        raise StoreError(
            f"the evaluation after outer step {row['step']} cannot be read ({problem}): the database is damaged; "
            "train the run again, or delete it"
        ) from problem
    functions = tensors.pop("functions", None)
    curves = {name.removeprefix("curve/"): value for name, value in tensors.items()}
    return Evaluation(row["id"], row["step"], curves, functions)


def _packed(evaluated: Evaluated) -> bytes:
    import safetensors.torch

    tensors = {f"curve/{name}": value.contiguous() for name, value in evaluated.curves.items()}
    if evaluated.functions is not None:
        tensors["functions"] = evaluated.functions.contiguous()
    return safetensors.torch.save(tensors)


def _insert(db: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        db.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)


def among(column: str, values: Sequence[object]) -> str:
    return f"{column} IN ({', '.join('?' * len(values))})"
