"""Theta: what is it doing? The function that it computes, what each layer does, and the loss around it."""

from typing import Any

import streamlit as st

from metalab.ui import theta
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.background import few_words, first_words
from metalab.ui.fold import folded
from metalab.ui.gallery import draw_gallery
from metalab.ui.i18n import _
from metalab.ui.theta import STUDY


@st.fragment
def bench(state: dict[str, Any], entrants: list[Entrant]) -> None:
    """Everything below the menus of runs."""
    left, right = st.columns([3, 9], gap="medium")
    with left:
        view(state)
        with folded("controls"):
            controls(state, entrants)
    STUDY.write_link(state)
    with right:
        {"function": function_view, "layers": layers_view, "landscape": landscape_view}[state["view"]](state, entrants)
    explanation(state["view"], entrants)


def view(state: dict[str, Any]) -> None:
    """What is looked at."""
    names = {"function": _("Start"), "layers": _("Layers"), "landscape": _("Landscape")}
    state["view"] = st.segmented_control(
        _("Look at"),
        list(names),
        format_func=names.__getitem__,
        required=True,
        key=STUDY.menu(state, "view", state["view"]),
        help=_("What θ predicts by itself, what each layer does in the inner loop, or the loss around θ."),
    )


def controls(state: dict[str, Any], entrants: list[Entrant]) -> None:
    """How far the inner loops go, on how many tasks, and what the view needs."""
    steps = st.slider(
        _("Inner steps"),
        1,
        theta.MOST_STEPS,
        key=STUDY.menu(state, f"steps.{state['family']}", theta.inner_steps(state, entrants)),
        help=_("How many gradient steps lead from θ to φ on the support set of each task."),
    )
    state["steps"] = steps if state["steps"] or steps != theta.own_steps(entrants) else 0
    if state["view"] == "landscape":
        plane_controls(state, entrants)
    else:
        tasks = st.select_slider(
            _("Held-out tasks"),
            theta.TASKS,
            key=STUDY.menu(state, f"tasks.{state['family']}", theta.n_tasks(state, entrants)),
            help=_("The same tasks for every run. More tasks make the bands narrower and take longer."),
        )
        state["tasks"] = tasks if state["tasks"] or tasks != theta.own_tasks(entrants) else 0
    if state["view"] == "layers":
        frozen_control(state, entrants)
    if st.button(
        _("Other tasks"),
        icon=":material/casino:",
        key="theta.again",
        help=_("Draws other tasks and computes everything on them, to see what chance does."),
    ):
        state["seed"] = (state["seed"] + 1) % 10_000


def frozen_control(state: dict[str, Any], entrants: list[Entrant]) -> None:
    """Which layers stay in the inner loop."""
    options = theta.layer_options(entrants)
    state["frozen"] = tuple(
        st.pills(
            _("Frozen layers"),
            list(options),
            format_func=options.__getitem__,
            selection_mode="multi",
            key=STUDY.menu(state, f"frozen.{'.'.join(options)}", [name for name in state["frozen"] if name in options]),
            help=_("These layers stay at θ in the inner loop; the others adapt with the run's own rates."),
        )
    )


def plane_controls(state: dict[str, Any], entrants: list[Entrant]) -> None:
    """Whose plane, how it lies, and which loss."""
    known = {entrant.id: entrant.contender.label for entrant in entrants}
    if state["run"] not in known:
        state["run"] = entrants[0].id
    state["run"] = st.radio(
        _("Run"),
        list(known),
        format_func=known.__getitem__,
        key=STUDY.menu(state, f"run.{','.join(known)}", state["run"]),
        help=_("Whose θ and inner loops are shown."),
    )
    planes = {"tasks": _("Two tasks"), "directions": _("Main directions")}
    state["plane"] = st.segmented_control(
        _("Plane through θ and"),
        list(planes),
        format_func=planes.__getitem__,
        required=True,
        key=STUDY.menu(state, "plane", state["plane"]),
        help=_("Through the adapted parameters of tasks 1 and 2, or along the two main directions of all tasks' ways."),
    )
    losses = {"support": _("Support"), "query": _("Query")}
    state["on"] = st.segmented_control(
        _("Loss on"),
        list(losses),
        format_func=losses.__getitem__,
        required=True,
        key=STUDY.menu(state, "on", state["on"]),
        help=_("The support loss is what the inner loop descends; the query loss is what it is meant to lower."),
    )


def function_view(state: dict[str, Any], entrants: list[Entrant]) -> None:
    """f_theta, and the metric before and after."""
    found = theta.begun(state, entrants)
    if found is not None:
        whole = theta.n_tasks(state, entrants)
        st.markdown(first_words(found.n_tasks, whole) or few_words(found.n_tasks) + theta.start_verdict(found))
    draw(state, entrants, theta.start_pictures(found) if found is not None else [])


def layers_view(state: dict[str, Any], entrants: list[Entrant]) -> None:
    """Freezing, movement, CKA."""
    found = theta.layered(state, entrants)
    if found is None:
        draw(state, entrants, [])
        return
    curves = theta.with_frozen(state, entrants)
    few = few_words(theta.n_tasks(state, entrants))
    st.markdown(few + theta.layer_verdict(found, entrants[0].config.family.metric))
    draw(state, entrants, theta.layer_pictures(state, entrants, found, curves))
    if any(each.similarity is None for each in found):
        st.caption(_("CKA is left out for a network whose layers are more than one non-linearity after another."))


def landscape_view(state: dict[str, Any], entrants: list[Entrant]) -> None:
    """The plane."""
    found = theta.mapped(state, entrants)
    if found is not None:
        st.markdown(theta.map_verdict(found))
    draw(state, entrants, theta.map_pictures(found, theta.whose(state, entrants)) if found is not None else [])


def draw(state: dict[str, Any], entrants: list[Entrant], pictures: list[Any]) -> None:
    """The pictures; while others are computed, those of the former settings."""
    about = (state["view"], tuple(entrant.id for entrant in entrants))
    if not pictures and state.get("shown", (None, []))[0] == about:
        pictures = state["shown"][1]
    if pictures:
        state["shown"] = (about, pictures)
        draw_gallery(pictures, key=f"theta.{state['view']}", revision=state["revision"])


def explanation(view: str, entrants: list[Entrant]) -> None:
    """Three sentences and one formula."""
    words = {
        "function": theta.start_words(entrants),
        "layers": _(
            "Freezing a layer means that the inner loop leaves it at θ; what it still reaches tells whether that layer "
            "has to learn. "
            "If the head alone suffices, the features of θ are reused; if not, the body learns rapidly (Raghu et al. "
            "2020). "
            "Movement and CKA (Kornblith et al. 2019) show the same from inside: how far a layer's parameters go, and "
            "whether what it computes changes, up to rotation and scale."
        ),
        "landscape": _(
            "All parameters but those on one plane through θ are left out: each point of the map is a whole network, "
            "coloured by its loss on a task. "
            "From θ the inner loop walks down each task's own valley; dots are its steps, laid on the plane where they "
            "lie beside it. "
            "Meta-training looks for a place from which the valleys of many tasks are near: the mean loss need not be "
            "lowest there."
        ),
    }
    STUDY.explanation(words[view], theta.formula(view, entrants))


STUDY.show(_("What is theta doing?"), bench, suits=theta.suits, check=theta.fit)
