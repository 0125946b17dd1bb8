"""Lab: what exactly do the algorithms optimise? Two parameters, a few quadratic tasks, and every fixed point."""

from typing import Any

import streamlit as st

from metalab.analysis.quadratic_lab import LABELS, Lab
from metalab.figures.quadratic_lab import quadratic_lab
from metalab.ui import lab, links
from metalab.ui.canvas.lab import draw_lab, read_lab
from metalab.ui.dials import draw_dials, read_dials
from metalab.ui.fold import fold_button, folded
from metalab.ui.i18n import _
from metalab.ui.take_home import take_home_files

MAP = "lab.map"
DIALS = "lab.dials"
FORMULA = r"""\begin{gathered}
\theta^* = \Big(\sum_i W_i\Big)^{-1} \sum_i W_i\, c_i \\[0.4em]
\begin{aligned}
\text{joint:}\quad W_i &= A_i \\
\text{MAML:}\quad W_i &= A_i M_i^2 \\
\text{FOMAML:}\quad W_i &= A_i M_i \\
\text{Reptile:}\quad W_i &= I - M_i \\
\text{iMAML:}\quad W_i &= A_i (I + A_i/\lambda)^{-2}
\end{aligned} \\[0.4em]
M_i = (I - \alpha A_i)^k
\end{gathered}"""


@st.fragment
def bench(state: dict[str, Any]) -> None:
    """The whole page: everything on it moves with a handle or a slider."""
    placed = read_lab(lab.arrangement(state), key=MAP, revision=state["revision"])
    reading = read_dials(lab.dials(state), key=DIALS, revision=state["revision"])
    lab.take(state, placed, reading)
    question(state)
    left, middle, right = st.columns([3, 6.3, 3.5], gap="medium")
    with left:
        fold_button(_("More controls"))
        found = settings(state)
        with folded("shown"):
            shown(state)
    with middle:
        show(state, found)
    with right:
        explanation()
    if not (placed.moving or reading.moving):
        lab.write_link(state)


def question(state: dict[str, Any]) -> None:
    """What the page is about."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title(_("What exactly do these algorithms optimise?"), width="content", anchor=False)
        with st.container(horizontal=True, width="content"):
            with st.container(width=180):
                take_home_files(lambda: lab.files(state), "lab-take-home")
            with st.container(width=160):
                links.share("lab", links.link_of(lab.schema(), lab.linked(state)), key="lab.share")


def settings(state: dict[str, Any]) -> Lab:
    """How many tasks, the dials, and what the inner loops do at this α."""
    with folded("count"):
        count = st.segmented_control(
            _("Tasks"),
            list(range(lab.FEWEST, lab.MOST + 1)),
            required=True,
            key=lab.menu(state, "count", len(state["bowls"])),
            help=_("How many quadratic tasks lie on the map."),
        )
    lab.choose_count(state, count)
    draw_dials(lab.dials(state), key=DIALS, revision=state["revision"])
    found = lab.computed(state)
    (st.error if found.setup.diverging else st.caption)(lab.convergence(found))
    return found


def shown(state: dict[str, Any]) -> None:
    """What is drawn beside the fixed points, and the tasks to begin with."""
    state["algorithm"] = st.radio(
        _("Arrows and thick path"),
        list(LABELS),
        format_func=lambda name: _("Joint") if name == "joint" else LABELS[name],
        horizontal=True,
        key=lab.menu(state, "algorithm", state["algorithm"]),
        help=_("Whose meta-gradient is drawn as arrows, downhill, and whose outer loop stands out, step by step."),
    )
    state["inner"] = st.toggle(
        _("Inner loops from θ"),
        key=lab.menu(state, "inner", state["inner"]),
        help=_("Draws the k inner steps on each task from where θ starts. One that diverges is always drawn."),
    )
    with st.container(horizontal=True):
        st.button(
            _("Equal curvatures"),
            icon=":material/equal:",
            key="lab.alike",
            on_click=lab.make_alike,
            args=(state,),
            help=_("Gives every task the first one's bowl: then all five algorithms agree on the mean of the optima."),
        )
        st.button(
            _("Reset"),
            icon=":material/restart_alt:",
            key="lab.reset",
            on_click=lab.reset,
            args=(state,),
            help=_("Puts everything back to where it was when the page was first opened."),
        )


def show(state: dict[str, Any], found: Lab) -> None:
    """The map, and the table below it."""
    picture = quadratic_lab(found, lab.view(state), _)
    draw_lab(
        lab.arrangement(state),
        picture,
        found.setup.diverging,
        key=MAP,
        revision=state["revision"],
    )
    with st.container(key="lab-table"):
        st.markdown(lab.table(found))
    for sentence in lab.remarks(found, state["outer_lr"]):
        st.caption(sentence)


def explanation() -> None:
    """Three sentences and one formula."""
    st.markdown(
        _(
            "Each task is a bowl: its loss is least at its optimum $c_i$ and rises with its curvature $A_i$. "
            "Every algorithm comes to rest at a weighted mean of the optima, and only the weights differ: joint "
            "training heeds steep bowls most, MAML those that $k$ inner steps leave unfinished, Reptile those along "
            "which the inner loop moves far. "
            "Rings are the formulas below; dots are where the meta-gradient of the real algorithms vanishes: drag an "
            "optimum, stretch a bowl, and watch both move together."
        )
    )
    st.latex(FORMULA)


remembered, wrong = lab.begin()
links.show_warnings(wrong)
bench(remembered)
