"""Order: why second order? Exact, first-order and Reptile's directions on the same tasks, and what each costs."""

from typing import Any

import streamlit as st

from metalab.ui import order
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.background import first_words
from metalab.ui.fold import folded
from metalab.ui.gallery import draw_gallery
from metalab.ui.i18n import _
from metalab.ui.order import STUDY

FORMULA = r"""\begin{aligned}
g_{\mathrm{exact}} &= \textstyle\prod_{j=0}^{K-1} (I - \alpha H_j)\; g_{\mathrm{first}} \\
g_{\mathrm{first}} &= \nabla \mathcal{L}^{\mathrm{query}}(\phi_K) \\
g_{\mathrm{Reptile}} &= (\theta - \phi_K) / (\alpha K)
\end{aligned}"""


@st.fragment
def bench(state: dict[str, Any], entrant: Entrant) -> None:
    """Everything below the menus of runs."""
    left, right = st.columns([3, 9], gap="medium")
    with left, folded("controls"):
        controls(state, entrant)
    STUDY.write_link(state)
    with right:
        found = order.compared(state, entrant)
        price = order.priced(state, entrant) if found is not None else None
        practice = order.trained(state, entrant) if price is not None else None
        if found is not None:
            first = first_words(found.n_tasks, state["tasks"])
            st.markdown(first or order.verdict(found, price))
        if practice is not None:
            st.markdown(order.agreement(practice))
        shown = order.shown(state, entrant, found, price, practice)
        if not shown and state.get("shown", ("", []))[0] == entrant.id:
            shown = state["shown"][1]  # those of the former settings, until there are others
        if shown:
            state["shown"] = (entrant.id, shown)
            draw_gallery(shown, key="order.pictures", revision=state["revision"])


def controls(state: dict[str, Any], entrant: Entrant) -> None:
    """Alpha, K, which of them varies, and the tasks."""
    alpha, steps = order.settings(state, entrant)
    names = {"inner_lr": _("Rate α"), "inner_steps": _("Inner steps K")}
    state["over"] = st.segmented_control(
        _("Compare against"),
        list(names),
        format_func=names.__getitem__,
        required=True,
        key=STUDY.menu(state, "over", state["over"]),
        help=_("What varies from left to right in the pictures; the other one stays where its slider is."),
    )
    chosen = st.select_slider(
        _("Inner learning rate α"),
        order.alphas(entrant, state["inner_lr"]),
        format_func=lambda value: f"{value:g}",
        key=STUDY.menu(state, f"inner_lr.{entrant.id}", alpha),
        help=_("How far one inner step moves. It begins at the run's own."),
    )
    state["inner_lr"] = 0.0 if chosen == order.own_alpha(entrant) else chosen
    count = st.slider(
        _("Inner steps K"),
        1,
        order.MOST_STEPS,
        key=STUDY.menu(state, f"inner_steps.{entrant.id}", steps),
        help=_("How many inner steps the meta-gradient looks through. It begins at the run's own."),
    )
    state["inner_steps"] = 0 if count == order.own_steps(entrant) else count
    state["tasks"] = st.select_slider(
        _("Tasks"),
        order.TASKS,
        key=STUDY.menu(state, "tasks", state["tasks"]),
        help=_("Tasks of the meta-training split; more of them make the bands narrower and take longer."),
    )
    state["product"] = st.toggle(
        _("Inner products instead of cosines"),
        key=STUDY.menu(state, "product", state["product"]),
        help=_("The last picture then shows the inner product of two gradients itself, lengths and all."),
    )
    if st.button(
        _("Other tasks"),
        icon=":material/casino:",
        key="order.again",
        help=_("Draws other tasks and computes everything on them, to see what chance does."),
    ):
        state["seed"] = (state["seed"] + 1) % 10_000


def explanation() -> None:
    """Three sentences and one formula."""
    STUDY.explanation(
        _(
            "K inner steps lead from θ to φ on each task, and θ is to move so that the query loss at φ falls: the "
            "exact meta-gradient multiplies the query gradient by one factor I − αH for each inner step, with H the "
            "curvature of the support loss; first order leaves these factors out, and Reptile, which takes its inner "
            "steps on support and query examples together, simply moves towards φ. "
            "Where αH is small all of them agree and first order is a bargain; where α, the curvature or K is large, "
            "the exact direction is another one, and the memory that it needs grows with every inner step. "
            "Directions are compared on each task by itself: a curve is the median over tasks, its band the 95% "
            "interval between two tasks in order, which holds whatever the distribution."
        ),
        FORMULA,
    )


STUDY.show(_("Why second order?"), lambda state, entrants: bench(state, entrants[0]), suits=order.suits)
explanation()
