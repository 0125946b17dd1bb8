"""What happened to a run since a viewer last looked, as plain data for JSON.

A cursor is "epoch.version:metrics:evaluations:notes": the run's epoch and version and the last row ids that its
reader has. Rows are only ever added, except where a run goes back to a checkpoint; then its epoch moves on, and
whoever has an older one is sent everything anew.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sqlite3
import time
from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

from torch import Tensor

from metalab.algorithms import ALGORITHMS
from metalab.store import Evaluation, Run, Store
from metalab.store.store import unpacked
from metalab.tasks.base import DataMissing
from metalab.training.config import ConfigError, parse_config
from metalab.training.evaluation import PROBED_TASKS, summarise
from metalab.training.jobs import Vitals
from metalab.training.service import Service
from metalab.training.start import held_out

POINTS = 2_000
"""Of each metric in a first message."""
EVALUATIONS = 200
NUMBERS = 300_000
"""In the evaluations of a first message: those that carry functions are large."""
TASKS = 10
"""Single tasks' adaptation curves in an evaluation."""
DIGITS = 5
POLL_SECONDS = 0.25

_CURSOR = re.compile(r"(\d{1,15})\.(\d{1,15}):(\d{1,15}):(\d{1,15}):(\d{1,15})")


class Cursor(NamedTuple):
    """How far a reader has read."""

    epoch: int
    version: int
    metrics: int
    evaluations: int
    notes: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.version}:{self.metrics}:{self.evaluations}:{self.notes}"

    @classmethod
    def read(cls, text: str | None) -> Cursor | None:
        """None for no cursor and for what is none of ours."""
        match = _CURSOR.fullmatch(text or "")
        return cls(*map(int, match.groups())) if match else None


class Updates:
    """The `Source` of the live streams, for runs of this process and of others. Thread-safe."""

    def __init__(self, store: Store, service: Service) -> None:
        self._store = store
        self._service = service

    def updates(self, run_id: str, cursor: str | None, owners: Collection[str]) -> dict[str, Any] | None:
        """News after `cursor`, or everything (thinned) with `"full": True`; None where there is no such run."""
        if self._store.find(run_id) is None:  # which also notices that the run's process has ended
            return None
        place = Cursor.read(cursor)
        with self._store.snapshot(run_id) as (db, run):
            if run is None:
                return None
            full = place is None or place.epoch != run.epoch
            if place is None or full:
                place = Cursor(run.epoch, run.version, 0, 0, 0)
            metrics, last_metric = _metrics(db, run, place.metrics, full)
            evaluations, last_evaluation = _evaluations(db, run, place.evaluations, full)
            notes, last_note = _notes(db, run, place.notes)
        after = Cursor(run.epoch, run.version, last_metric, last_evaluation, last_note)
        return {
            "cursor": str(after),
            "full": full,
            "run": self._status(run, owners),
            "metrics": metrics,
            "evaluations": [_evaluation(unpacked(row)) for row in evaluations],
            "probe": probe_of(run.config_json) if full else None,
            "notes": notes,
        }

    def wait(self, run_id: str, cursor: str | None, timeout: float) -> None:
        """Return when the run has changed after `cursor`, at the latest after `timeout` seconds."""
        place, deadline = Cursor.read(cursor), time.monotonic() + timeout
        while True:
            seen = self._service.news(run_id)
            left = deadline - time.monotonic()
            if left <= 0 or place is None or self._store.version(run_id) != place.version:
                return
            # This process's writers wake us; what others write is found by looking.
            if self._service.wait_for_news(run_id, seen, min(left, POLL_SECONDS)):
                return

    def csv(self, run_id: str) -> str | None:
        """Columns metric, outer_step, value; None where there is no such run."""
        with self._store.snapshot(run_id) as (db, run):
            if run is None:
                return None
            text = io.StringIO()
            writer = csv.writer(text)
            writer.writerow(["metric", "outer_step", "value"])
            rows = db.execute("SELECT name, step, value FROM metrics WHERE run = ? ORDER BY id", (run.number,))
            writer.writerows(rows)
        return text.getvalue()

    def vitals(self) -> Vitals:
        """How the service does."""
        return self._service.vitals()

    def _status(self, run: Run, owners: Collection[str]) -> dict[str, Any]:
        mine = run.owner in owners
        trains = run.algorithm not in ALGORITHMS or ALGORITHMS[run.algorithm].trains
        return {
            "id": run.id,
            "name": run.name,
            "algorithm": run.algorithm,
            "family": run.family,
            "model": run.model,
            "state": run.state,
            "step": run.step,
            "outer_steps": run.outer_steps if trains else 0,
            "seconds": _rounded(run.seconds),
            "updated": run.updated,
            "steps_per_second": _rounded(run.rate),
            "eta_seconds": _rounded(run.eta_seconds),
            "message": run.message,
            "queue_place": self._service.place(run.id),
            "mine": mine,
            "controllable": mine and self._service.controllable(run, run.owner),
        }


def _metrics(
    db: sqlite3.Connection, run: Run, after: int, thinned: bool
) -> tuple[dict[str, dict[str, list[Any]]], int]:
    """Series by name, and the last row id; thinned ones keep their first and last point."""
    if thinned:
        last = db.execute("SELECT max(id) FROM metrics WHERE run = ?", (run.number,)).fetchone()[0] or 0
        # Every n-th point and not the extremes of each stretch: these would draw smoothed curves towards the spikes.
        rows = db.execute(
            "SELECT name, step, value FROM (SELECT id, name, step, value, "
            "row_number() OVER (PARTITION BY name ORDER BY id) - 1 AS place, count(*) OVER (PARTITION BY name) AS n "
            "FROM metrics WHERE run = :run) WHERE place % ((n + :points - 2) / (:points - 1)) = 0 OR place = n - 1 "
            "ORDER BY id",
            {"run": run.number, "points": POINTS},
        )
    else:
        last = after
        rows = db.execute(
            "SELECT name, step, value, id FROM metrics WHERE run = ? AND id > ? ORDER BY id", (run.number, after)
        )
    series: dict[str, dict[str, list[Any]]] = {}
    for row in rows:
        points = series.setdefault(row["name"], {"step": [], "value": []})
        points["step"].append(row["step"])
        points["value"].append(_rounded(row["value"]))
        if not thinned:
            last = row["id"]
    return series, last


def _evaluations(db: sqlite3.Connection, run: Run, after: int, thinned: bool) -> tuple[list[sqlite3.Row], int]:
    where = (run.number, after)
    ids = [row["id"] for row in db.execute("SELECT id FROM evaluations WHERE run = ? AND id > ? ORDER BY id", where)]
    last = ids[-1] if ids else after
    if thinned and ids:
        one = unpacked(db.execute("SELECT id, step, payload FROM evaluations WHERE id = ?", ids[:1]).fetchone())
        ids = _spread(ids, max(2, min(EVALUATIONS, NUMBERS // _size(one))))
    rows = [db.execute("SELECT id, step, payload FROM evaluations WHERE id = ?", (i,)).fetchone() for i in ids]
    return rows, last


def _spread(ids: list[int], most: int) -> list[int]:
    """At most `most` of the ids, evenly, the first and the last among them."""
    if len(ids) <= most:
        return ids
    return [ids[round(i * (len(ids) - 1) / (most - 1))] for i in range(most)]


def _size(evaluation: Evaluation) -> int:
    curves = sum((min(TASKS, curve.shape[0]) + 3) * curve.shape[1] for curve in evaluation.curves.values())
    return curves + (evaluation.functions.numel() if evaluation.functions is not None else 0)


def _notes(db: sqlite3.Connection, run: Run, after: int) -> tuple[list[dict[str, Any]], int]:
    rows = db.execute(
        "SELECT id, step, text FROM notes WHERE run = ? AND id > ? ORDER BY id", (run.number, after)
    ).fetchall()
    return [{"step": row["step"], "text": row["text"]} for row in rows], rows[-1]["id"] if rows else after


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    curves = {}
    for name, values in evaluation.curves.items():
        summary = summarise(values)
        curves[name] = {
            "mean": _numbers(summary.mean),
            "low": _numbers(summary.mean - summary.ci95),
            "high": _numbers(summary.mean + summary.ci95),
            "tasks": _numbers(values[:TASKS]),
        }
    functions = None if evaluation.functions is None else _numbers(evaluation.functions)
    return {"step": evaluation.step, "curves": curves, "functions": functions}


@lru_cache(maxsize=64)
def probe_of(config_json: str) -> dict[str, Any] | None:
    """The first held-out tasks with their true functions; None for a family that has no such picture."""
    try:
        config = parse_config(json.loads(config_json))
        x = config.family.probe_x
        if x is None:
            return None
        tasks = held_out(config).tasks(0, PROBED_TASKS)
    except (ConfigError, DataMissing):  # a run of another version or machine: its curves are shown all the same
        return None
    truth = config.family.truth(tasks.info, x)[..., 0]
    return {
        "x": _numbers(x.flatten()),
        "tasks": [
            {
                "label": config.family.describe(tasks.info, i),
                "support": {
                    "x": _numbers(tasks.support.x[i].flatten()),
                    "y": _numbers(tasks.support.y[i].flatten()),
                },
                "truth": _numbers(truth[i]),
            }
            for i in range(tasks.n_tasks)
        ],
    }


def _rounded(value: float | None) -> float | None:
    """To DIGITS significant digits; None for what JSON cannot say."""
    return float(f"{value:.{DIGITS}g}") if value is not None and math.isfinite(value) else None


def _numbers(values: Tensor) -> list[Any]:
    """As nested lists, to DIGITS significant digits of the largest; None for what JSON cannot say."""
    values = values.double()
    finite = values.isfinite()
    largest = float(values[finite].abs().max()) if bool(finite.any()) else 0.0
    decimals = min(15, DIGITS - 1 - math.floor(math.log10(largest))) if largest > 0 else 0
    rounded = values.round(decimals=decimals).tolist()
    return rounded if bool(finite.all()) else _without(rounded)


def _without(value: Any) -> Any:
    if isinstance(value, list):
        return [_without(item) for item in value]
    return value if math.isfinite(value) else None
