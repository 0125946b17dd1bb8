"""Who uses what: each person's runs, counted."""

from __future__ import annotations

from dataclasses import dataclass

from metalab.store import unwritten
from metalab.store.runs import EXAMPLE
from metalab.store.store import Store, among


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


def has_runs(store: Store, owner: str) -> bool:
    """Whether somebody has runs or sweeps in this store, the bin included."""
    with store.database.read() as db:
        found = db.execute(
            "SELECT EXISTS (SELECT 1 FROM runs WHERE owner = ?1) OR EXISTS (SELECT 1 FROM sweeps WHERE owner = ?1)",
            (owner,),
        ).fetchone()
    return bool(found[0])
