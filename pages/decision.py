"""Decision: why this answer? One query taken apart: what it resembles, which of its pixels count, which layers."""

from typing import Any

import streamlit as st

from metalab.ui import decision, links
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.decision import STUDY
from metalab.ui.fold import folded
from metalab.ui.gallery import draw_gallery, picked
from metalab.ui.i18n import _

QUERIES = "decision.queries"
FORMULA = r"""\begin{aligned}
\text{similar:}\quad & \cos\big(f_{\phi}(x),\, f_{\phi}(x_j)\big) \\
\text{occlusion:}\quad & \log \tfrac{p_{\phi}(c \,\mid\, x)}{p_{\phi}(c \,\mid\, \text{covered})} \\
\text{gradient:}\quad & \partial \log p_{\phi}(c \mid x) / \partial x
\end{aligned}"""
LETTERS = r"""\begin{aligned}
\text{similar:}\quad & \cos\big(f_{\phi}(x),\, f_{\phi}(x_j)\big) \\
\text{letter } i \text{:}\quad & \log \tfrac{p_{\phi}(c \,\mid\, x)}{p_{\phi}(c \,\mid\, x \text{ without letter } i)}
\end{aligned}"""
PULL = r"\text{pull of point } j \text{ at } x: \quad \frac{\partial f_{\phi_K(y_1, \ldots, y_n)}(x)}{\partial y_j}"


@st.fragment
def bench(state: dict[str, Any], entrant: Entrant) -> None:
    """Everything below the menus of runs."""
    left, right = st.columns([3, 9], gap="medium")
    with left:
        new_task(state)
        with folded("controls"):
            controls(state, entrant)
    with right:
        reason = decision.unsuitable(entrant)
        if reason:
            st.info(reason, icon=":material/info:")
        elif decision.is_function(entrant):
            function(state, entrant, left)
        else:
            classes(state, entrant, left)
        if not reason:
            layers(state, entrant)
    STUDY.write_link(state)


def new_task(state: dict[str, Any]) -> None:
    """Which task."""
    key = STUDY.menu(state, "seed", state["seed"])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        told = _("Draws another held-out task, that of the next number.")
        if st.button(_("New task"), icon=":material/casino:", type="primary", key="decision.new", help=told):
            st.session_state[key] += 1
        number = _("The same number is always the same task, here and on Adapt.")
        state["seed"] = st.number_input(_("Task number"), 0, 2**31 - 1, key=key, width="stretch", help=number)


def controls(state: dict[str, Any], entrant: Entrant) -> None:
    """How far it is adapted to."""
    if decision.has_steps(entrant):
        state["steps"] = st.slider(
            _("Inner steps"),
            1,
            decision.MOST_STEPS,
            key=STUDY.menu(state, f"steps.{entrant.id}", decision.steps(state, entrant)),
            help=_("How many gradient steps are taken on the support set before the answer."),
        )


def classes(state: dict[str, Any], entrant: Entrant, left: Any) -> None:
    """A character or a name, and why it is taken for what it is taken for."""
    key = STUDY.menu(state, f"query.{entrant.id}", min(state["query"], decision.count(entrant) - 1))
    if decision.take_pick(state, picked(QUERIES, state["revision"])):
        st.session_state[key] = min(state["query"], decision.count(entrant) - 1)
    state["query"] = st.session_state[key]
    found = decision.explained(state, entrant)
    if found is None:
        return
    with left, folded("query"):
        names = decision.query_names(found)
        st.selectbox(
            _("Query"),
            range(len(names)),
            format_func=names.__getitem__,
            key=key,
            help=_("Which example of the query set is explained; images can also be clicked."),
        )
    st.markdown(links.escape(decision.answer(found)))
    if not found.tokens:
        draw_gallery([decision.queries(found)], key=QUERIES, revision=state["revision"], pickable=True)
    draw_gallery(decision.pictures(found), key="decision.pictures", revision=state["revision"])
    if found.alone:
        st.caption(
            _("Each query is normalised together with the support set alone, so that no other query has a part in it.")
        )


def function(state: dict[str, Any], entrant: Entrant, left: Any) -> None:
    """A function's prediction at one input, and the support points that pull it."""
    with left:
        state["at_x"] = st.slider(
            _("Input x"),
            -decision.EDGE,
            decision.EDGE,
            step=0.1,
            key=STUDY.menu(state, "at_x", state["at_x"]),
            help=_("Where the prediction is explained."),
        )
    st.caption(
        _(
            "The answer here is a number and the input has no pixels: so it is each support point that is nudged, and "
            "the prediction that is watched."
        )
    )
    found = decision.influenced(state, entrant)
    if found is not None:
        st.markdown(links.escape(decision.pulled(found, state["at_x"])))
        draw_gallery([decision.pull_picture(found, state["at_x"])], key="decision.pull", revision=state["revision"])


def layers(state: dict[str, Any], entrant: Entrant) -> None:
    """The network, drawn."""
    found = decision.layered(state, entrant)
    if found is not None:
        draw_gallery([decision.network(found, entrant)], key="decision.layers", revision=state["revision"])


def explanation(family: str) -> None:
    """Three sentences and one formula."""
    if family in decision.FUNCTIONS:
        STUDY.explanation(
            _(
                "Every support point is moved a little up and down, the network adapts anew, and the prediction at x "
                "is watched. "
                "A pull of 1 means that the prediction moves as far as the point does, 0 that the point plays no part. "
                "Few points pull alike: what meta-training has put into θ decides which points speak for x."
            ),
            PULL,
        )
        return
    if family == "languages":
        STUDY.explanation(
            _(
                "A name is compared with each support name by the angle between what the body makes of them, before "
                "and after adaptation. "
                "A letter counts for as much log-probability as the answer c loses when it is left out and the rest "
                "moves up. "
                "All of it describes this one network: a picture of what it uses, not of what a language is."
            ),
            LETTERS,
        )
        return
    STUDY.explanation(
        _(
            "A query is compared with each support example by the angle between what the body makes of them, before "
            "and after adaptation. "
            "Occlusion takes the ink of one patch away and asks how much log-probability the answer c loses, and the "
            "gradient asks how it changes with each pixel's ink. "
            "All of it describes this one network: a picture of what it uses, not of what a character is."
        ),
        FORMULA,
    )


state = STUDY.show(
    _("Why this answer?"),
    lambda state, entrants: bench(state, entrants[0]),
    suits=decision.suits,
    check=decision.fit,
)
explanation(state["family"])
