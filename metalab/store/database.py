"""The SQLite file: its schema, its connections, its transactions.

Write-ahead logging lets readers go on while one writer writes, and leaves a database that opens clean however
a process ended.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

BUSY_SECONDS = 30.0
IDLE_CONNECTIONS = 8

FIRST_SCHEMA = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    config TEXT NOT NULL,
    current TEXT NOT NULL,
    state TEXT NOT NULL,
    step INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    created REAL NOT NULL,
    updated REAL NOT NULL,
    seconds REAL NOT NULL DEFAULT 0,
    rate REAL,
    process TEXT NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX runs_by_state ON runs (state);
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    name TEXT NOT NULL,
    value REAL
);
CREATE INDEX metrics_by_run ON metrics (run);
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX evaluations_by_run ON evaluations (run);
CREATE TABLE checkpoints (
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    PRIMARY KEY (run, step)
) WITHOUT ROWID;
CREATE TABLE notes (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX notes_by_run ON notes (run);
"""
LIBRARY = """
ALTER TABLE runs ADD COLUMN deleted REAL;
CREATE TABLE tags (
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (run, tag)
) WITHOUT ROWID;
CREATE TABLE stars (
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    person TEXT NOT NULL,
    PRIMARY KEY (run, person)
) WITHOUT ROWID;
CREATE TABLE remarks (
    run INTEGER PRIMARY KEY REFERENCES runs (number) ON DELETE CASCADE,
    text TEXT NOT NULL
);
CREATE TABLE sweeps (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    plan TEXT NOT NULL,
    state TEXT NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    created REAL NOT NULL
);
CREATE TABLE trials (
    sweep INTEGER NOT NULL REFERENCES sweeps (number) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    changes TEXT NOT NULL,
    run TEXT,
    message TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (sweep, place)
) WITHOUT ROWID;
"""
STEPS = (FIRST_SCHEMA, LIBRARY)
"""What leads from each version of the schema to the next, the empty file first."""
VERSION = len(STEPS)


class StoreError(RuntimeError):
    """The database cannot be opened or written. The message says which file and what to do."""


class Database:
    """Short transactions on connections that are each used by one thread at a time.

    Threads of a web server come and go, so connections belong to a small pool and not to threads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._idle)
        try:
            # Two processes that make the file at the same time would get in each other's way.
            with FileLock(path.with_suffix(".lock")), self._connection() as db:
                self._prepare(db)
        except (sqlite3.DatabaseError, OSError) as problem:
            self.close()
            raise StoreError(
                f"{path} cannot be opened as MetaLab's database ({problem}): "
                "move it away, or set METALAB_HOME to another folder"
            ) from problem

    def _prepare(self, db: sqlite3.Connection) -> None:
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found > VERSION:
            raise StoreError(
                f"{self.path} was written by a newer MetaLab (schema {found}, this one knows {VERSION}): "
                "update MetaLab, or set METALAB_HOME to another folder"
            )
        if found == 0:
            db.execute("PRAGMA journal_mode = WAL")
        for version in range(found, VERSION):
            db.executescript(f"BEGIN IMMEDIATE; {STEPS[version]} PRAGMA user_version = {version + 1}; COMMIT;")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the database until the block ends. Raises StoreError."""
        with self._transaction("BEGIN") as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are all made at the block's end, or none where it raises. Raises StoreError."""
        with self._transaction("BEGIN IMMEDIATE") as db:
            yield db

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        try:
            with self._connection() as db:
                db.execute(begin)
                yield db
                db.execute("COMMIT")
        except sqlite3.DatabaseError as problem:
            # A full disk, a lock, a damaged file. The other kinds say that what was to be written is wrong.
            if type(problem) not in (sqlite3.DatabaseError, sqlite3.OperationalError):
                raise
            raise StoreError(
                f"{self.path} cannot be read or written now ({problem}): make room on the disk, see that you may write "
                "to the file and that no other program holds it, then try again"
            ) from problem

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            db = self._idle.pop() if self._idle else None
        if db is None:
            db = self._connect()
        try:
            yield db
        except BaseException:
            if db.in_transaction:
                db.rollback()
            raise
        finally:
            with self._lock:
                keep = len(self._idle) < IDLE_CONNECTIONS
                if keep:
                    self._idle.append(db)
            if not keep:
                db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        # With write-ahead logging NORMAL is safe against any end of the process; it syncs at log checkpoints only.
        db.execute("PRAGMA synchronous = NORMAL")
        return db

    def close(self) -> None:
        """Close the idle connections; the next transaction opens a new one."""
        with self._lock:
            _close(self._idle)


def _close(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()
