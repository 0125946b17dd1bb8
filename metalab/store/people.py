"""Who uses what: each person's runs, counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from metalab.store import checkpoints as files
from metalab.store import unwritten
from metalab.store.runs import EXAMPLE
from metalab.store.store import Store, among

STEP_BYTES = 150
"""Of the database for one outer step: the rows of its two or three metrics, and their places in the index."""


@dataclass(frozen=True)
class Share:
    """What the runs of one owner come to."""

    owner: str
    running: int
    queued: int
    paused: int
    kept: int
    """Runs in all lists; the bin left out."""
    seconds: float
    """Of training, of these runs."""


def shares(store: Store) -> list[Share]:
    """Everybody's share, those first who train or wait now; the runs that came with MetaLab left out."""
    store.notice_interrupted()
    ended = unwritten.kept(store.home)
    going = f"NOT {among('id', ended)} AND state"
    with store.database.read() as db:
        rows = db.execute(
            f"SELECT owner, sum({going} = 'running') AS running, sum({going} = 'queued') AS queued, "
            "sum(state = 'paused') AS paused, count(*) AS kept, sum(seconds) AS seconds FROM runs "
            "WHERE deleted IS NULL AND owner != ? GROUP BY owner "
            "ORDER BY running DESC, queued DESC, paused DESC, seconds DESC, owner",
            (*ended, *ended, EXAMPLE),
        ).fetchall()
    return [Share(**dict(row)) for row in rows]


def disk_bytes(store: Store, owner: str) -> int:
    """What somebody's runs and sweeps take on the disk, those in the bin included: checkpoints, and about as much as
    the database holds of each."""
    with store.database.read() as db:
        rows = db.execute(
            "SELECT id, step, length(config) + length(current) AS words, "
            "(SELECT count(*) FROM checkpoints WHERE run = number) AS kept, "
            "(SELECT max(step) FROM checkpoints WHERE run = number) AS newest, "
            "(SELECT total(length(payload)) FROM evaluations WHERE run = number) AS looks "
            "FROM runs WHERE owner = ?",
            (owner,),
        ).fetchall()
        sweeps = db.execute(
            "SELECT total(length(plan)) FROM sweeps WHERE owner = :owner UNION ALL "
            "SELECT total(length(changes) + length(trials.message)) FROM trials JOIN sweeps ON sweep = number "
            "WHERE owner = :owner",
            {"owner": owner},
        ).fetchall()
    found = sum(row[0] for row in sweeps)
    for row in rows:
        folder = store.folder(row["id"])
        # The checkpoints of a run are all of one size: its network's.
        theta = _size(files.theta_path(folder, row["newest"])) if row["kept"] else 0
        found += row["kept"] * theta + _size(folder / files.RESUME)
        found += row["words"] + row["looks"] + row["step"] * STEP_BYTES
    return round(found)


def runs_kept(store: Store, owner: str) -> int:
    """How many runs somebody has, those in the bin included."""
    with store.database.read() as db:
        return db.execute("SELECT count(*) FROM runs WHERE owner = ?", (owner,)).fetchone()[0]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def has_runs(store: Store, owner: str) -> bool:
    """Whether somebody has runs or sweeps in this store, the bin included."""
    with store.database.read() as db:
        found = db.execute(
            "SELECT EXISTS (SELECT 1 FROM runs WHERE owner = :owner) "
            "OR EXISTS (SELECT 1 FROM sweeps WHERE owner = :owner)",
            {"owner": owner},
        ).fetchone()
    return bool(found[0])
