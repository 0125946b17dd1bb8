"""Speed: who learns fastest? Runs adapt to the same held-out tasks, and a level is dragged through their curves."""

from typing import Any

import streamlit as st

from metalab.analysis.speed import compare
from metalab.ui import speed
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.background import first_words
from metalab.ui.dials import draw_dials, read_dials
from metalab.ui.fold import folded
from metalab.ui.gallery import draw_gallery
from metalab.ui.i18n import _
from metalab.ui.speed import STUDY

DIALS = "speed.dials"
FORMULAS = {
    "steps": r"""k^*(\ell) = \min\{k : \tfrac{1}{T}\textstyle\sum_i
\mathcal{L}^{\mathrm{query}}_i(\phi_{i,k}) \le \ell\}""",
    "shots": r"""\bar{m}(n) = \tfrac{1}{T}\textstyle\sum_i
m^{\mathrm{query}}_i\big(\phi_{i,K}(\text{first } n \text{ shots})\big)""",
    "training": r"""\bar{m}(s, k) = \tfrac{1}{T}\textstyle\sum_i
m^{\mathrm{query}}_i\big(\phi_{i,k}(\theta_s)\big)""",
}


@st.fragment
def bench(state: dict[str, Any], entrants: list[Entrant]) -> None:
    """Everything below the menus of runs."""
    left, right = st.columns([3, 9], gap="medium")
    with left:
        view(state)
        with folded("controls"):
            controls(state, entrants)
    with right:
        {"steps": steps_view, "shots": shots_view, "training": training_view}[state["view"]](state, entrants, left)
    STUDY.explanation(*explanation(state["view"]))


def view(state: dict[str, Any]) -> None:
    """What is looked at."""
    names = {"steps": _("Inner steps"), "shots": _("Shots"), "training": _("As it trained")}
    state["view"] = st.segmented_control(
        _("Look at"),
        list(names),
        format_func=names.__getitem__,
        required=True,
        key=STUDY.menu(state, "view", state["view"]),
        help=_("The adaptation curve itself, what more examples bring, or how the curve came about in training."),
    )


def controls(state: dict[str, Any], entrants: list[Entrant]) -> None:
    """Over how many tasks, how far, against what."""
    if state["view"] == "training":
        return
    state["tasks"] = st.select_slider(
        _("Held-out tasks"),
        speed.TASKS,
        key=STUDY.menu(state, "tasks", state["tasks"]),
        help=_("The same tasks for every run. More tasks make the bands narrower and take longer."),
    )
    if any(entrant.contender.algorithm.axis == "inner step" for entrant in entrants):
        steps = st.slider(
            _("Inner steps"),
            1,
            speed.MOST_STEPS,
            key=STUDY.menu(state, f"steps.{state['family']}", speed.inner_steps(state, entrants)),
            help=_("How many gradient steps each run takes on the support set of a task."),
        )
        state["steps"] = steps if state["steps"] or steps != speed.inner_steps(state, entrants) else 0
    if state["view"] == "steps":
        costs = {"steps": _("Steps"), "gradients": _("Gradients"), "seconds": _("Time")}
        state["cost"] = st.segmented_control(
            _("Against"),
            list(costs),
            format_func=costs.__getitem__,
            required=True,
            key=STUDY.menu(state, "cost", state["cost"]),
            help=_(
                "What a step costs differs: one on a minibatch is a part of a gradient of the whole support loss, and "
                "on this server each takes its time. What MAML's second order and iMAML's conjugate gradients cost, "
                "they cost in meta-training: page Order."
            ),
        )
    if entrants[0].config.family.kind == "regression":
        state["log"] = st.toggle(
            _("Logarithmic losses"),
            key=STUDY.menu(state, "log", state["log"]),
            help=_("Small losses in more detail: equal distances are equal ratios."),
        )


def steps_view(state: dict[str, Any], entrants: list[Entrant], left: Any) -> None:
    """The curves, the level, and the verdict."""
    looks = speed.measured(state, entrants)
    if looks is None:
        return
    first, found = looks
    dial, revision = speed.level_dial(state, first)
    reading = read_dials([dial], key=DIALS, revision=revision)
    if reading.moved:
        state["level"] = speed.level_at(reading, first)
    with left:
        draw_dials([dial], key=DIALS, revision=revision)
    comparison = compare(found, speed.level_at(reading, first), state["cost"])
    said = first_words(found.n_tasks, state["tasks"]) or speed.verdict(found, comparison)
    st.markdown(" ".join(filter(None, [speed.beyond(state, first), said])))
    shown = speed.step_pictures(state, found, comparison)
    draw_gallery(shown, key="speed.steps", revision=state["revision"], trouble=speed.lost(found))
    if not reading.moving:
        STUDY.write_link(state)


def shots_view(state: dict[str, Any], entrants: list[Entrant], _left: Any) -> None:
    """What more examples bring."""
    STUDY.write_link(state)
    found = speed.shots(state, entrants)
    if found is not None:
        st.markdown(first_words(found.n_tasks, state["tasks"]) or speed.shots_verdict(found))
        draw_gallery(speed.shot_pictures(state, found), key="speed.shots", revision=state["revision"])


def training_view(state: dict[str, Any], entrants: list[Entrant], left: Any) -> None:
    """How one run's curve came about; a click on it opens Adapt there."""
    known = {entrant.id: entrant for entrant in entrants}
    if state["run"] not in known:
        state["run"] = entrants[0].id
    with left:
        state["run"] = st.radio(
            _("Run"),
            list(known),
            format_func=lambda name: known[name].contender.label,
            key=STUDY.menu(state, f"run.{','.join(known)}", state["run"]),
            help=_("Whose adaptation curve is shown, as it came about."),
        )
    STUDY.write_link(state)
    entrant = known[state["run"]]
    found = speed.practised(entrant)
    if found is None:
        return
    st.markdown(
        _(
            "Each cell is the mean over the {n} held-out tasks of the run itself. **Click a cell** to adapt from there."
        ).format(n=found.n_tasks)
    )
    pick = draw_gallery(
        speed.training_pictures(found, entrant),
        key="speed.training",
        revision=state["revision"],
        pickable=True,
    )
    link = speed.opened(pick, entrant, state)
    if link is not None:
        st.switch_page(speed.ADAPT, query_params=link)


def explanation(view: str) -> tuple[str, str]:
    """Three sentences and one formula."""
    words = {
        "steps": _(
            "Every run starts from its own θ and takes the same number of inner steps on the same held-out tasks, "
            "which none of them has seen; whoever takes no inner steps reads its shots at once. "
            "A curve is the mean over tasks, its band the 95% interval from 1,000 bootstrap resamples of the tasks, "
            "and k* is where it first comes to the level ℓ that you drag, straight lines joining its steps. "
            "Two runs are compared within each resample, so that a hard task counts for both: their difference is real "
            "where its interval leaves zero out."
        ),
        "shots": _(
            "Every run adapts to the same held-out tasks again and again, with more and more shots of each: fewer "
            "shots are the first of more, and the query sets stay as they are. "
            "A point is the mean over tasks after the last of the K inner steps, or once all shots are read, in its "
            "95% interval from 1,000 bootstrap resamples of the tasks. "
            "The dotted line is what the runs were trained with: right of it more examples may bring little, for θ "
            "was made for few."
        ),
        "training": _(
            "Now and then a run is evaluated as it trains: from the θ that it has by then, K inner steps on held-out "
            "tasks. "
            "A column is one such evaluation, a row one inner step, and the shade the mean over the tasks, which are "
            "the same in every column. "
            "From bottom to top the inner loop learns a task, from left to right the outer loop learns to learn: "
            "where it succeeds, fewer inner steps come as far."
        ),
    }
    return words[view], FORMULAS[view]


STUDY.show(_("Who learns fastest?"), bench, check=speed.fit)
