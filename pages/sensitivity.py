"""Sensitivity: from one theta, what changes when rates, steps, shots, statistics or the tasks themselves do?"""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from metalab.ui import links, runs, sensitivity, sensitivity_words
from metalab.ui import sensitivity_verdicts as verdicts
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.fold import folded
from metalab.ui.gallery import Placed, draw_gallery, picked
from metalab.ui.i18n import _
from metalab.ui.sensitivity import STUDY

MAP = "sensitivity.away"


@st.fragment
def bench(state: dict[str, Any], entrant: Entrant) -> None:
    """Everything below the menus of family and run."""
    names = sensitivity_words.names()
    state["view"] = st.segmented_control(
        _("Turn"),
        list(names),
        format_func=names.__getitem__,
        required=True,
        key=STUDY.menu(state, "view", state["view"]),
        help=_("What is turned at test, while θ stays the same."),
    )
    view = state["view"]
    reason = sensitivity.misfit(view, entrant)
    if reason:
        st.info(reason, icon=":material/info:")
    else:
        left, right = st.columns([3, 9], gap="medium")
        views = {"away": away, "ambiguous": ambiguous, "trained": trained, "norm": norm, "labels": labels}
        try:
            views.get(view, grid)(state, entrant, left, right)
        except runs.Problem as problem:
            st.warning(links.escape(str(problem)), icon=":material/info:")
    STUDY.write_link(state)
    STUDY.explanation(sensitivity_words.questions()[view], sensitivity_words.FORMULAS[view])


def how_many(state: dict[str, Any], entrant: Entrant, *, steps: bool = True) -> None:
    """Over how many tasks, and how far."""
    usual = sensitivity.n_tasks(state, entrant)
    tasks = st.select_slider(
        _("Held-out tasks"),
        sensitivity.TASKS,
        key=STUDY.menu(state, f"tasks.{state['family']}.{state['view']}", usual),
        help=_("The same tasks for every cell. More of them are surer and take longer."),
    )
    state["tasks"] = tasks if state["tasks"] or tasks != usual else 0
    if steps:
        far = sensitivity.inner_steps(state, entrant)
        chosen = st.slider(
            _("Inner steps"),
            1,
            sensitivity.MOST_STEPS,
            key=STUDY.menu(state, f"steps.{entrant.id}", far),
            help=_("How far the inner loop goes at test."),
        )
        state["steps"] = chosen if state["steps"] or chosen != far else 0


def show(words: str, pictures: Sequence[Placed], state: dict[str, Any], view: str, **more: Any) -> None:
    """A verdict and its pictures."""
    st.markdown(words)
    draw_gallery(pictures, key=f"sensitivity.{view}", revision=state["revision"], **more)


def grid(state: dict[str, Any], entrant: Entrant, left: Any, right: Any) -> None:
    """Rates and steps, or shots and steps."""
    with left, folded("controls"):
        how_many(state, entrant)
    whole = sensitivity.n_tasks(state, entrant)
    with right:
        if state["view"] == "rates":
            found = sensitivity.rates(state, entrant)
            if found is not None:
                show(verdicts.rates_verdict(found, whole), sensitivity.rates_pictures(found), state, "rates")
        else:
            found = sensitivity.shots(state, entrant)
            if found is not None:
                show(verdicts.shots_verdict(found, whole), sensitivity.shots_pictures(found), state, "shots")


def norm(state: dict[str, Any], entrant: Entrant, left: Any, right: Any) -> None:
    """The ways of normalising query images."""
    with left, folded("controls"):
        how_many(state, entrant, steps=False)
    with right:
        found = sensitivity.modes(state, entrant)
        if found is not None:
            show(
                verdicts.modes_verdict(found, sensitivity.n_tasks(state, entrant)),
                sensitivity.modes_pictures(found),
                state,
                "norm",
            )


def labels(state: dict[str, Any], entrant: Entrant, left: Any, right: Any) -> None:
    """Labels that stay, and shuffled ones."""
    with left:
        st.caption(
            _(
                "The run above is not used: two small MAMLs are trained here, on this family's characters, once; the "
                "bar says how long it takes."
            )
        )
    with right:
        found = sensitivity.labels(entrant)
        if found is not None:
            show(verdicts.labels_verdict(found), sensitivity.labels_pictures(found), state, "labels")


def away(state: dict[str, Any], entrant: Entrant, left: Any, right: Any) -> None:
    """Waves unlike those of training: a map, and the wave of the place that was clicked."""
    sensitivity.take_place(state, picked(MAP, state["revision"]))
    with left, folded("controls"):
        state["amplitude"] = st.slider(
            _("Amplitude"),
            0.1,
            10.0,
            step=0.1,
            key=STUDY.menu(state, "amplitude", state["amplitude"]),
            help=_("How high the wave below is. A click on the map sets it, too."),
        )
        state["phase"] = st.slider(
            _("Phase"),
            0.0,
            6.28,
            step=0.01,
            key=STUDY.menu(state, "phase", min(state["phase"], 6.28)),
            help=_("How far the wave below is moved to the right, in radians."),
        )
        task_number(state)
    with right:
        found = sensitivity.waves(entrant)
        if found is None:
            return
        show(verdicts.away_verdict(found), sensitivity.away_pictures(found, state), state, "away", pickable=True)
        race = sensitivity.wave(state, entrant)
        draw_gallery(
            sensitivity.wave_pictures(race), key="sensitivity.wave", revision=state["revision"], steps=race.steps
        )


def task_number(state: dict[str, Any]) -> None:
    """Which points are drawn."""
    state["task"] = st.number_input(
        _("Task number"),
        0,
        2**31 - 1,
        key=STUDY.menu(state, "task", state["task"]),
        help=_("The same number is always the same task."),
    )


def ambiguous(state: dict[str, Any], entrant: Entrant, left: Any, right: Any) -> None:
    """Support sets that leave half of the wave open."""
    halves = {"left": _("Left"), "right": _("Right")}
    with left, folded("controls"):
        state["half"] = st.segmented_control(
            _("Half with points"),
            list(halves),
            format_func=halves.__getitem__,
            required=True,
            key=STUDY.menu(state, "half", state["half"]),
            help=_("In the second picture all support points lie in this half of x."),
        )
        state["points"] = st.slider(
            _("Points"),
            1,
            40,
            key=STUDY.menu(state, "points", state["points"]),
            help=_("How many points each support set has."),
        )
        task_number(state)
    with right:
        found = sensitivity.spreads(state, entrant)
        if found is not None:
            show(verdicts.spread_verdict(found), sensitivity.spread_pictures(found), state, "ambiguous")


def trained(state: dict[str, Any], entrant: Entrant, left: Any, right: Any) -> None:
    """Runs that differ in the inner steps of training, tested with any number of them."""
    found = sensitivity.siblings(entrant)
    lacking = [steps for steps in sensitivity.TRAINED if steps not in found]
    with left:
        with folded("controls"):
            how_many(state, entrant)
        if lacking:
            told = _("Queues a run with the same settings for each of k = {steps}.")
            steps = ", ".join(map(str, lacking))
            if st.button(
                _("Train the missing runs"),
                icon=":material/play_arrow:",
                key="sensitivity.start",
                help=told.format(steps=steps),
            ):
                started = sensitivity.start_missing(entrant, lacking)
                st.toast(_("{n} runs are queued: their rows appear as they train.").format(n=started))
                st.rerun(scope="fragment")
        if any(run.active for run in found.values()):
            st.button(
                _("Look again"),
                icon=":material/refresh:",
                key="sensitivity.again",
                help=_("Runs are in training: takes up their newest checkpoints."),
            )
    with right:
        ready = sensitivity.loaded(found, entrant)
        st.markdown(verdicts.ready_words(ready, lacking))
        speed = sensitivity.tested(state, ready) if ready else None
        if speed is not None:
            pictures = sensitivity.matrix_pictures(speed, list(ready))
            draw_gallery(pictures, key="sensitivity.trained", revision=state["revision"])


STUDY.show(_("How sensitive is it?"), lambda state, entrants: bench(state, entrants[0]), label=_("Run"))
