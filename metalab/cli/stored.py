"""Runs as the command line names them, out of the store that the app uses too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from metalab.cli.parsing import BadInput
from metalab.store import Run, Store

if TYPE_CHECKING:
    from metalab.store import Evaluation

LATEST = "latest"
ALL = 1_000_000
RUN_HELP = f"a run's id or the beginning of it, or '{LATEST}'"


@contextmanager
def opened() -> Iterator[Store]:
    """The store under METALAB_HOME, closed at the end. Raises StoreError, PlaceError."""
    store = Store()
    try:
        yield store
    finally:
        store.close()


def find_run(store: Store, text: str) -> Run:
    """The run of this id, the only one whose id begins so, or the latest. Raises BadInput."""
    runs = store.runs(ALL)
    if not runs:
        raise BadInput(f"run = {text!r}: there are no runs in {store.home} yet; 'train' makes one")
    if text == LATEST:
        return runs[0]
    found = [run for run in runs if text and run.id.startswith(text)]
    exact = [run for run in found if run.id == text]
    if len(exact or found) != 1:
        what = (
            f"{len(found)} runs begin with that ({', '.join(run.id for run in found[:5])})" if found else "no such run"
        )
        raise BadInput(f"run = {text!r}: {what}; expected an id that 'runs' lists, a unique beginning, or '{LATEST}'")
    return (exact or found)[0]


def last_evaluation(store: Store, run: Run) -> Evaluation | None:
    """What the run's newest look at the held-out tasks found, or None where there was none yet."""
    from metalab.store.store import unpacked

    with store.snapshot(run.id) as (db, _):
        row = db.execute(
            "SELECT id, step, payload FROM evaluations WHERE run = ? ORDER BY id DESC LIMIT 1", (run.number,)
        ).fetchone()
    return unpacked(row) if row else None


def axis_of(run: Run) -> str:
    """What the run's adaptation counts: "inner step" or "shot"."""
    from metalab.algorithms import ALGORITHMS

    known = ALGORITHMS.get(run.algorithm)
    return known.axis if known else "inner step"


def metric_of(run: Run) -> str:
    """The metric that says best how the run's tasks are solved; of a run of another version the loss."""
    from metalab.training.config import ConfigError

    try:
        return run.config.family.metric
    except ConfigError:
        return "loss"
