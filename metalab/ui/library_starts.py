"""The best start for a task: what it is of, the checkpoints that are ranked, and the way to Adapt."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from metalab.analysis.adaptation import Contender, from_checkpoint
from metalab.analysis.background import Report
from metalab.analysis.challenge import changed
from metalab.analysis.starts import (
    DRAWN,
    FEWEST_POINTS,
    Candidate,
    Ranking,
    left_out,
    left_out_drawings,
    of_goal,
    rank,
    sampled,
)
from metalab.figures.library import starts
from metalab.store import Run, Store
from metalab.tasks.base import TaskBatch, TaskFamily
from metalab.training.config import ConfigError
from metalab.training.service import service
from metalab.ui import examples, own_task, runs
from metalab.ui.adapt_entrants import SCRATCH
from metalab.ui.background import computed
from metalab.ui.canvas.strokes import Drawings
from metalab.ui.cells import cell, formats
from metalab.ui.gallery import Placed
from metalab.ui.i18n import _, ngettext

ADAPT = Path(__file__).resolve().parents[2] / "pages" / "adapt.py"
WISH_SECONDS = 10.0
"""So long after it was asked for is the best start opened, where the ranking was not there at once."""
MOST_STARTS = 60
"""Checkpoints that are ranked at once: of each run the last few, as many as come to this."""


def starters(family: str) -> list[Run]:
    """The runs of a family that may be a start. Raises Problem where there is none."""
    chosen = [run for run in examples.candidates(family, lambda _run: True) if run.algorithm != SCRATCH]
    if not chosen:
        raise runs.Problem(_("No run of this family has a checkpoint yet."))
    return chosen


def own_points(family: TaskFamily, points: Sequence[tuple[float, float]]) -> TaskBatch | None:
    """The task of a person's points, or goal; None before there are enough of them."""
    if own_task.makes(family) == "goal":
        return of_goal(family, points[0]) if points else None
    return left_out(family, points) if len(points) >= FEWEST_POINTS else None


def own_drawings(family: TaskFamily, drawings: Drawings) -> TaskBatch | None:
    """The task of what was drawn; None before every pad has a drawing."""
    if not all(all(row) for row in drawings.support):
        return None
    return left_out_drawings(changed(family, shots=DRAWN - 1), own_task.images(drawings))


def ranking(state: Mapping[str, Any], chosen: Sequence[Run], own: TaskBatch | None) -> Ranking | None:
    """The starts among `chosen`, ranked on a person's task, or else the state's; None while they are computed.

    Raises Problem.
    """
    store, family = service().store, made_for(chosen)
    found = _candidates(store, chosen, state["checkpoints"], family)
    if own is not None and own_task.makes(family) == "drawings":
        family = changed(family, shots=DRAWN - 1)
    key = (
        str(store.home),
        family.model_dump_json(),
        tuple((candidate.run, candidate.step) for candidate in found),
        state["task"] if own is None else _digest(own),
        state["steps"],
    )

    def make(report: Report) -> Ranking:
        batch = sampled(family, state["task"]) if own is None else own
        title = family.describe(batch.info, 0) if own is None else ""
        return rank(found, family, batch, steps=state["steps"], title=title, report=report)

    told = ngettext("Adapting {n} start to the task", "Adapting {n} starts to the task", len(found))
    return computed("library.start", key, make, told=told.format(n=len(found)))


def _digest(batch: TaskBatch) -> str:
    """Equal only for equal tasks."""
    parts = (batch.support.x, batch.support.y, batch.query.x, batch.query.y)
    return hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in parts)).hexdigest()


def made_for(chosen: Sequence[Run]) -> TaskFamily:
    """The tasks that most of the runs are made for."""
    kinds: dict[str, list[Run]] = {}
    for run in chosen:
        ways = str(run.settings["family"].get("ways")) + str(run.settings["family"].get("dimension"))
        kinds.setdefault(ways, []).append(run)
    for run in max(kinds.values(), key=len):
        try:
            return run.current.family
        except ConfigError:
            continue
    raise runs.Problem(_("No run of this family can be read by this version."))


def _candidates(store: Store, chosen: Sequence[Run], each: int, family: TaskFamily) -> list[Candidate]:
    """Of each run the last checkpoint, or some spread over its training; at most MOST_STARTS altogether."""
    named, found = runs.numbered(chosen), list[Candidate]()
    for run in chosen:
        kept = store.checkpoints(run.id)
        places = sorted({round((len(kept) - 1) * (i + 1) / each) for i in range(each)}) if kept else []
        for place in places:
            step = kept[place]
            if step or len(kept) == 1:
                found.append(Candidate(run.id, named[run.id], step, partial(_loaded, store, run, step)))
    return found[:MOST_STARTS]


def _loaded(store: Store, run: Run, step: int) -> Contender:
    config = run.current
    return from_checkpoint("", config, store.load_theta(run.id, step), (str(store.home), run.id, step, run.epoch))


def start_pictures(found: Ranking) -> list[Placed]:
    """The way of each of the best starts."""
    return [Placed(starts(found, _), 90 + 46 * min(len(found.starts), 12), "whole")]


def start_rows(found: Ranking) -> dict[str, list[Any]]:
    """All starts as a table."""
    return {
        _("Place"): list(range(1, len(found.starts) + 1)),
        _("Run"): [start.label for start in found.starts],
        _("Outer step"): [start.step for start in found.starts],
        _("Before"): [cell(start.before, found.metric) for start in found.starts],
        _("After"): [cell(start.after, found.metric) for start in found.starts],
    }


def start_formats(found: Ranking) -> dict[str, Any] | None:
    """How the table writes them."""
    return formats({found.metric}, (_("Before"), _("After")))


def wish() -> None:
    """Somebody pressed for the best start; perhaps while the ranking, and with it the button, is made anew."""
    st.session_state["library.wished"] = time.monotonic()


def wished() -> bool:
    """Whether that was just now; asked once."""
    return time.monotonic() - st.session_state.pop("library.wished", -math.inf) < WISH_SECONDS


def opening(start_run: str, step: int, state: Mapping[str, Any], family: TaskFamily) -> None:
    """Open a start on Adapt, at the same task, which is one of `family`."""
    link = {"family": state["family"], "who": f"{start_run}@{step}"}
    if family.kind == "classification":
        link["ways"] = str(family.output_size)
    if not state["own"]:
        link["seed"] = str(state["task"])
    elif own_task.makes(family) == "drawings":
        link |= {"mode": "own", "shots": str(DRAWN)}
        own_task.hand_over(state["drawn"])
    else:
        link["mode"] = "own"
        link |= {axis: ",".join(f"{value:g}" for value in state[axis]) for axis in ("x", "y") if state[axis]}
    st.switch_page(ADAPT, query_params=link)
