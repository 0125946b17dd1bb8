"""Runs whose end could not be written yet, because the disk was full: in this process they are shown as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from metalab.store.runs import Run

SHOWN = ("state", "step", "message", "seconds", "rate")
_ends: dict[tuple[Path, str], dict[str, Any]] = {}
"""What is to be written of a run, by its home and id."""


def keep(home: Path, run_id: str, status: Mapping[str, Any]) -> None:
    """From now on every store of this home in this process shows the run with this status."""
    _ends[home, run_id] = {name: status[name] for name in SHOWN if name in status}


def forget(home: Path, run_id: str) -> None:
    """It is written, or given up."""
    _ends.pop((home, run_id), None)


def kept(home: Path) -> list[str]:
    """The ids of the runs of this home whose end is not written yet."""
    return [run_id for place, run_id in list(_ends) if place == home]


def shown(home: Path, run: Run) -> Run:
    """The run as it is: with the end that could not be written, where there is one."""
    end = _ends.get((home, run.id))
    return replace(run, **end) if end else run
