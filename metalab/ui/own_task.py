"""Where people make a task of their own beside a study: points or a goal on a canvas, characters on pads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from metalab.analysis.challenge import makeable
from metalab.tasks.base import TaskFamily
from metalab.tasks.navigation import HALF
from metalab.ui.canvas.characters import character_canvas, current_drawings
from metalab.ui.canvas.points import Point, current_points, points_canvas
from metalab.ui.canvas.strokes import MAX_WAYS, Drawings, rasterise
from metalab.ui.i18n import _, ngettext
from metalab.ui.links import Parameter

MOST_POINTS = 30
"""As many as a link can carry."""
X_RANGE, Y_RANGE = (-5.0, 5.0), (-6.0, 6.0)
_HANDED = "own_task.handed"


def parameters() -> list[Parameter]:
    """What a page's link says of a person's task."""
    return [Parameter("own", False, bool), *points_parameters()]


def points_parameters() -> list[Parameter]:
    """What a link says of the points on a canvas."""
    return [
        Parameter("x", (), tuple, item=float, low=X_RANGE[0], high=X_RANGE[1], most=MOST_POINTS),
        Parameter("y", (), tuple, item=float, low=Y_RANGE[0], high=Y_RANGE[1], most=MOST_POINTS),
    ]


def pair_points(state: dict[str, Any]) -> list[str]:
    """Leave out of the link's x and y what has no partner; a sentence if there was any."""
    x, y = state["x"], state["y"]
    if len(x) == len(y):
        return []
    n = min(len(x), len(y))
    state |= {"x": x[:n], "y": y[:n]}
    told = ngettext(
        "x and y differ in length in the link, {x} and {y}: the first point is taken.",
        "x and y differ in length in the link, {x} and {y}: the first {n} points are taken.",
        n,
    )
    return [told.format(x=len(x), y=len(y), n=n) if n else _("The link has only one of x and y: that makes no point.")]


def makes(family: TaskFamily) -> str:
    """What a person can make a task of here: points, goal, drawings, or nothing."""
    made_of = makeable(family)
    return made_of if made_of != "names" else ""


def too_many(family: TaskFamily) -> str:
    """Why nobody draws so many classes, in a sentence; empty where they are few enough."""
    ways = family.output_size
    return _("{ways} characters are too many to draw.").format(ways=ways) if ways > MAX_WAYS else ""


def placed(state: dict[str, Any], family: TaskFamily, *, key: str) -> list[Point]:
    """The canvas and what stands on it: points of a function, or one goal. The state keeps them for the link."""
    goal = makes(family) == "goal"
    across, up = ((-HALF, HALF), (-HALF, HALF)) if goal else (X_RANGE, Y_RANGE)
    most = 1 if goal else MOST_POINTS
    begin = list(zip(state["x"], state["y"], strict=True))[:most]
    begin = [point for point in begin if abs(point[0]) <= across[1] and abs(point[1]) <= up[1]]
    revision = state["revision"]
    points = current_points(key, begin, revision=revision, x_range=across, y_range=up, max_points=most)
    # Two digits, so that the link says exactly what is shown.
    points = [(round(x, 2), round(y, 2)) for x, y in points]
    points_canvas(begin, key=key, revision=revision, x_range=across, y_range=up, max_points=most, height=260)
    state |= {"x": tuple(x for x, _y in points), "y": tuple(y for _x, y in points)}
    return points


def drawn(state: dict[str, Any], family: TaskFamily, shots: int, *, key: str) -> Drawings:
    """What stands on the pads `key` now. The state keeps it for who comes back from another page."""
    begin = state.get("drawn")
    state["drawn"] = current_drawings(key, family.output_size, shots, revision=state["revision"], begin=begin)
    return state["drawn"]


def pads(state: Mapping[str, Any], family: TaskFamily, shots: int, told: str, *, key: str) -> None:
    """Where characters are drawn, so many examples of each class."""
    st.caption(told)
    begin = state.get("drawn")
    character_canvas(family.output_size, shots, key=key, revision=state["revision"], begin=begin, asks=False)


def hand_over(drawings: Drawings) -> None:
    """Leave drawings, which do not fit a link, to the page that this visitor is sent to."""
    st.session_state[_HANDED] = drawings


def handed() -> Drawings | None:
    """The drawings that another page has left, once."""
    return st.session_state.pop(_HANDED, None)


def images(drawings: Drawings) -> list[list[Any]]:
    """Every drawing as networks see it, class by class; blank pads are left out."""
    return [[rasterise(each) for each in row if each] for row in drawings.support]
