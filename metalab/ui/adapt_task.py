"""The three ways to a task on the Adapt page: sampled, points clicked on a canvas, characters drawn on pads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from metalab.analysis.adaptation import Race
from metalab.analysis.challenge import drawings_challenge, goal_challenge, makeable, points_challenge, sample_challenge
from metalab.figures.style import contender_colour
from metalab.tasks.navigation import HALF
from metalab.ui import adapt, runs
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.adapt_race import STAGE, run_race
from metalab.ui.adapt_text import own_names, own_words, writing
from metalab.ui.canvas.characters import character_canvas, current_drawings
from metalab.ui.canvas.points import Curve, current_points, points_canvas
from metalab.ui.canvas.strokes import MAX_WAYS, Drawings, rasterise
from metalab.ui.i18n import _
from metalab.ui.own_task import MOST_POINTS, X_RANGE, Y_RANGE
from metalab.ui.stage import player_step

SAMPLED_QUERIES = {"regression": 50, "classification": 5, "reinforcement": 20, "generation": 20}
"""Query examples (of each class) of a sampled task: more for a smooth figure, few for images that take long."""

FIRST_GOAL = (0.3, 0.2)


@dataclass(frozen=True)
class Task:
    """A task that was raced on; no race while there is nothing to adapt to yet."""

    race: Race | None


def sampled(state: dict[str, Any], found: Sequence[Entrant]) -> Task:
    """A task of the meta-test split, by its number. Raises Problem."""
    with runs.friendly():
        family = found[0].config.family
        try:
            challenge = sample_challenge(
                family, state["seed"], shots=adapt.shots(state, found), queries=SAMPLED_QUERIES[family.kind]
            )
        except ValueError as problem:
            raise runs.Problem(str(problem)) from None
    st.caption(_("Task {number}: {title}").format(number=state["seed"], title=challenge.title))
    challenge = writing(state, challenge)
    return Task(run_race(found, challenge, adapt.inner_steps(state, found), _rates(state, found)))


def own(state: dict[str, Any], found: Sequence[Entrant]) -> Task:
    """A task made by hand, of what its family is made of. Raises Problem where nobody could make one."""
    family = found[0].config.family
    made_of = makeable(family)
    if made_of == "points":
        return own_points(state, found)
    if made_of == "drawings":
        return own_characters(state, found)
    if made_of == "goal":
        return own_goal(state, found)
    if made_of == "names":
        challenge = own_names(state, family) if family.kind == "generation" else own_words(state, family)
        return Task(run_race(found, challenge, adapt.inner_steps(state, found), _rates(state, found)))
    sentence = _("{family}: these tasks are made neither of points of a curve nor of drawings. Sample a task instead.")
    raise runs.Problem(sentence.format(family=_(family.title)))


def own_points(state: dict[str, Any], found: Sequence[Entrant]) -> Task:
    """The points on the canvas, with every contender's function behind them."""
    key, revision, family = "adapt.points", state["revision"], found[0].config.family
    begin = state["points"]
    points = current_points(key, begin, revision=revision, x_range=X_RANGE, y_range=Y_RANGE, max_points=MOST_POINTS)
    # Two digits, so that the link says exactly what is shown.
    state["points"] = [(round(x, 2), round(y, 2)) for x, y in points]
    if points:
        challenge = points_challenge(family, state["points"])
        result = run_race(found, challenge, adapt.inner_steps(state, found), _rates(state, found))
        k = player_step(STAGE, revision, result.steps)
    else:
        # Before the first point there is only f_theta, which no support set can change.
        result, k = run_race(found, points_challenge(family, [(0.0, 0.0)]), 0, {}), 0
    points_canvas(
        begin,
        key=key,
        revision=revision,
        x_range=X_RANGE,
        y_range=Y_RANGE,
        max_points=MOST_POINTS,
        curves=_curves(result, k),
        height=420,
    )
    if not points:
        st.info(_("Click or tap on the plot to place points of a function; drag them, and watch the fits follow."))
        return Task(None)
    notes = [_("Dashed: f with θ, before adaptation. Solid: f with φ, at the step below.")]
    if any(lane.spread is not None for lane in result.lanes):
        notes.append(_("Shaded: ± 2σ, how sure a contender is that says so."))
    st.caption(" ".join(notes))
    return Task(result)


def own_goal(state: dict[str, Any], found: Sequence[Entrant]) -> Task:
    """A goal that is dragged about the square; the policies race for it."""
    key, revision, family = "adapt.goal", state["revision"], found[0].config.family
    # A link's first point is the goal, if goals lie there: a function's points may lie elsewhere.
    begin = [point for point in state["points"][:1] if max(map(abs, point)) <= HALF] or [FIRST_GOAL]
    ends = (-HALF, HALF)
    points = current_points(key, begin, revision=revision, x_range=ends, y_range=ends, max_points=1)
    goal = [(round(x, 2), round(y, 2)) for x, y in points] or [FIRST_GOAL]
    state["points"] = goal
    challenge = goal_challenge(family, goal[0], shots=adapt.shots(state, found))
    result = run_race(found, challenge, adapt.inner_steps(state, found), _rates(state, found))
    board, _beside = st.columns([2, 3])
    with board:
        points_canvas(begin, key=key, revision=revision, x_range=ends, y_range=ends, max_points=1, height=320)
    st.caption(_("Drag the point: it is the goal, and the policies learn of it from their rewards alone."))
    return Task(result)


def own_characters(state: dict[str, Any], found: Sequence[Entrant]) -> Task:
    """The pads, the query pad, and what the contenders say of the query. Raises Problem."""
    family, shots = found[0].config.family, adapt.shots(state, found)
    ways = family.output_size
    if ways > MAX_WAYS:
        raise runs.Problem(
            _(
                "These networks tell {ways} classes apart, and {ways} characters are too many to draw: choose runs "
                "with at most {most} ways, or sample a task."
            ).format(ways=ways, most=MAX_WAYS)
        )
    key, revision = "adapt.pads", state["revision"]
    begin = state["drawn"]
    drawings = state["drawn"] = current_drawings(key, ways, shots, revision=revision, begin=begin)
    seen, query = _seen(drawings)
    result = None
    if drawings.ready:
        challenge = drawings_challenge(family, [[image for image in row if image is not None] for row in seen], query)
        result = run_race(found, challenge, adapt.inner_steps(state, found), _rates(state, found), one_by_one=True)
    spoken = _spokesman([entrant.contender.label for entrant in found])
    character_canvas(
        ways,
        shots,
        key=key,
        revision=revision,
        begin=begin,
        support_previews=[[_preview(image) for image in row] for row in seen],
        query_preview=_preview(query),
        probabilities=_probabilities(result, spoken, revision),
    )
    _footnote(result)
    return Task(result)


def _footnote(result: Race | None) -> None:
    notes = [_("Drawings are too large for a link: they stay on this page until it is reloaded.")]
    if result is not None and result.one_by_one:
        notes.append(
            _(
                "A single query image has no batch statistics of its own, so it is normalised together with the "
                "support set."
            )
        )
    st.caption(" ".join(notes))


def _spokesman(labels: Sequence[str]) -> int:
    """Whose probabilities the canvas shows; there from the start, so that no pad moves under the pen."""
    if len(labels) < 2:
        return 0
    chosen = st.segmented_control(
        _("Whose answer"),
        range(len(labels)),
        format_func=labels.__getitem__,
        required=True,
        default=0,
        key=f"adapt.spokesman.{len(labels)}",
        help=_("The contender whose probabilities stand beside the query."),
    )
    return int(chosen or 0)


def _probabilities(result: Race | None, lane: int, revision: int) -> list[float] | None:
    if result is None or result.query_x is None:
        return None
    found = result.lanes[lane].probabilities
    if found is None:
        return None
    row = found[result.index(result.lanes[lane], player_step(STAGE, revision, result.steps)), 0]
    return [float(p) for p in row] if np.isfinite(row).all() else None


def _seen(drawings: Drawings) -> tuple[list[list[np.ndarray | None]], np.ndarray | None]:
    """Every drawing as the network sees it; None for a blank pad."""
    support = [[rasterise(drawing) if drawing else None for drawing in row] for row in drawings.support]
    return support, rasterise(drawings.query) if drawings.query else None


def _preview(image: np.ndarray | None) -> np.ndarray | None:
    return None if image is None else image * 255


def _curves(result: Race, k: int) -> list[Curve]:
    """f_theta dotted and f_phi_k solid, of every contender, on the canvas's even grid."""
    dark = adapt.is_dark()
    curves: list[Curve] = []
    for lane in result.lanes:
        assert lane.functions is not None
        colour = contender_colour(lane.colour_key, dark=dark)
        if k:
            curves.append({"y": lane.functions[0], "colour": colour, "width": 1.8, "dash": True, "opacity": 0.6})
    for lane in result.lanes:
        assert lane.functions is not None
        colour = contender_colour(lane.colour_key, dark=dark)
        at = result.index(lane, k)
        now: Curve = {"y": lane.functions[at], "label": lane.label, "colour": colour, "width": 3.5, "dash": k == 0}
        if lane.spread is not None:
            now["half"] = 2 * lane.spread[at]
        curves.append(now)
    return curves


def _rates(state: Mapping[str, Any], found: Sequence[Entrant]) -> dict[str, float]:
    """The inner learning rates that were moved, by the contenders' labels."""
    return {entrant.contender.label: state["alpha"][entrant.id] for entrant in found if entrant.id in state["alpha"]}
