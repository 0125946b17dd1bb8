"""Embeddings: how do tasks lie to each other? Each held-out task is a point, by what the inner loop makes of it."""

from pathlib import Path
from typing import Any

import streamlit as st

from metalab.ui import embeddings, links, own_task
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.embeddings import STUDY
from metalab.ui.fold import folded
from metalab.ui.gallery import draw_gallery, picked
from metalab.ui.i18n import _

ADAPT = Path(__file__).with_name("adapt.py")
MAP = "embeddings.map"
POINTS = "embeddings.points"
PADS = "embeddings.pads"
FORMULA = r"""\begin{aligned}
\Delta_i &= \phi_{i,K} - \theta, \quad z_i = V^{\top} (\Delta_i - \bar\Delta) \\
s &= 1 - \frac{\sum_i \mathrm{error}_i(\text{5 nearest})}{\sum_i \mathrm{error}_i(\text{all others})}
\end{aligned}"""


@st.fragment
def bench(state: dict[str, Any], entrant: Entrant) -> None:
    """Everything below the menus of runs."""
    embeddings.take_pick(state, picked(MAP, embeddings.map_revision(state)))
    left, right = st.columns([3, 9], gap="medium")
    with left:
        settings = folded("controls")
        with settings:
            controls(state, entrant)
        new = own(state, entrant)
    with right:
        reason = embeddings.unsuitable(state, entrant)
        if reason:
            st.info(reason, icon=":material/info:")
        else:
            show(state, entrant, new, settings)
    STUDY.write_link(state)


def controls(state: dict[str, Any], entrant: Entrant) -> None:
    """What a task is known by, how many there are, and how they are looked at."""
    names = embeddings.vector_names()
    state["view"] = st.selectbox(
        _("A task is known by"),
        list(names),
        format_func=names.__getitem__,
        key=STUDY.menu(state, "view", state["view"]),
        help=_(
            "Adapted parameters minus θ, the support loss's gradient at θ, what the head reads after adaptation, or "
            "how much each unit matters to the predictions."
        ),
    )
    with st.container(horizontal=True):
        ways = {"pca": _("PCA"), "tsne": _("t-SNE")}
        state["projection"] = st.segmented_control(
            _("Projection"),
            list(ways),
            format_func=ways.__getitem__,
            required=True,
            key=STUDY.menu(state, "projection", state["projection"]),
            help=_("PCA keeps its axes from step to step; t-SNE keeps neighbours together and draws the last step."),
        )
        state["three"] = (
            st.segmented_control(
                _("Dimensions"),
                [2, 3],
                required=True,
                key=STUDY.menu(state, "three", 3 if state["three"] else 2),
                help=_("Three can be turned with the mouse; in two a group can be encircled."),
            )
            == 3
        )
    if embeddings.has_steps(entrant):
        over(state, entrant)
    state["tasks"] = st.select_slider(
        _("Tasks"),
        embeddings.COUNTS,
        key=STUDY.menu(state, f"tasks.{entrant.id}", embeddings.count(state, entrant)),
        help=_("How many held-out tasks: those that Adapt samples from the numbers 0, 1, 2 and so on."),
    )


def over(state: dict[str, Any], entrant: Entrant) -> None:
    """Over what the tasks move."""
    if len(entrant.checkpoints) > 1:
        names = {"steps": _("Inner steps"), "training": _("Training")}
        state["over"] = st.segmented_control(
            _("Paths over"),
            list(names),
            format_func=names.__getitem__,
            required=True,
            key=STUDY.menu(state, "over", state["over"]),
            help=_("Each task's path from inner step to inner step, or from checkpoint to checkpoint of the run."),
        )
    state["steps"] = st.slider(
        _("Inner steps"),
        1,
        embeddings.MOST_STEPS,
        key=STUDY.menu(state, f"steps.{entrant.id}", embeddings.steps(state, entrant)),
        help=_("How many gradient steps are taken on the support set of a task."),
    )
    state["paths"] = st.toggle(
        _("Paths"),
        key=STUDY.menu(state, "paths", state["paths"]),
        help=_("Draws where each point has come from."),
    )


def own(state: dict[str, Any], entrant: Entrant) -> Any:
    """A person's task, to be put among the others; None where there is none."""
    family = entrant.config.family
    made_of = own_task.makes(family)
    if not made_of or state["over"] == "training":
        return None
    state["own"] = st.toggle(
        _("Put a task of my own among them"),
        key=STUDY.menu(state, "own", state["own"]),
        help=_("Click points of a function, place a goal, or draw characters: its nearest tasks are ringed."),
    )
    if not state["own"]:
        return None
    if made_of != "drawings":
        return embeddings.own_points(entrant, own_task.placed(state, family, key=POINTS))
    if own_task.too_many(family):
        st.caption(own_task.too_many(family))
        return None
    return embeddings.own_drawings(entrant, own_task.drawn(state, family, 1, key=PADS))


def pads(state: dict[str, Any], entrant: Entrant) -> None:
    """Where characters are drawn, one example of each class."""
    family = entrant.config.family
    drawable = own_task.makes(family) == "drawings" and not own_task.too_many(family)
    if state["own"] and state["over"] != "training" and drawable:
        told = _("Draw one example of each class; drawings stay in this tab.")
        own_task.pads(state, family, 1, told, key=PADS)


def show(state: dict[str, Any], entrant: Entrant, new: Any, settings: Any) -> None:
    """The map and what belongs to it; `settings` is where its controls stand."""
    pads(state, entrant)  # at the top, and there before anything is computed: a canvas that goes away loses its strokes
    found = embeddings.embedded(state, entrant, new)
    if found is None:
        return
    attributes = found.about.attributes
    with settings:
        colours(state, attributes)
    whole = embeddings.count(state, entrant)
    done = found.about.n >= whole
    places = embeddings.rearranged(state, entrant, found) if state["projection"] == "tsne" and done else None
    if state["projection"] == "tsne" and done and places is None:
        return
    if not done:
        st.markdown(embeddings.first_words(found, whole))
    elif attributes:
        which = embeddings.chosen_attribute(state, attributes)
        st.markdown(links.escape(embeddings.answer(found, which)))
    if found.new is not None:
        st.markdown(links.escape(embeddings.guessed(found)))
    moving = places is None and len(found.stages) > 1
    draw_gallery(
        embeddings.map_pictures(state, entrant, found, places),
        key=MAP,
        revision=embeddings.map_revision(state),
        steps=len(found.stages) - 1 if moving else 0,
        begin=found.fitted if found.fitted < len(found.stages) - 1 else None,
        outer_steps=found.stages if moving and found.axis == "outer step" else (),
        pickable=True,
    )
    st.caption(
        _(
            "Hover over a point to read its task, click it to see the task; in 2-D encircle a group with the lasso, "
            "one of the tools at the picture's top right."
        )
    )
    task(state, entrant, whole)
    encircled(state, entrant, whole)
    if attributes and done:
        comparison(state, entrant, attributes)


def comparison(state: dict[str, Any], entrant: Entrant, attributes: Any) -> None:
    """Which vector knows the attribute best; where that takes long, for who asks."""
    if embeddings.heavy(entrant) and not state["compare"]:
        st.button(
            _("Compare all embeddings"),
            icon=":material/compare:",
            key="embeddings.compare",
            on_click=state.update,
            kwargs={"compare": True},
            help=_("Embeds the tasks in every way; with a network as large as this one it takes a while."),
        )
        return
    found = embeddings.comparison(state, entrant)
    if found:
        picture = embeddings.comparison_picture(state, entrant, found, attributes)
        draw_gallery([picture], key="embeddings.compared", revision=state["revision"])


def colours(state: dict[str, Any], attributes: Any) -> None:
    """Which attribute colours the tasks."""
    if not attributes:
        return
    names = [attribute.name for attribute in attributes]
    chosen = attributes[embeddings.chosen_attribute(state, attributes)]
    state["colour"] = st.selectbox(
        _("Coloured by"),
        names,
        key=STUDY.menu(state, f"colour.{state['family']}.{','.join(names)}", chosen.name),
        help=_("Something that is known of each task and that no network was told."),
    )
    chosen = attributes[embeddings.chosen_attribute(state, attributes)]
    if chosen.kind == "set":
        begin = state["label"] if state["label"] in chosen.labels else embeddings.commonest(chosen)
        state["label"] = st.selectbox(
            _("Counting"),
            chosen.labels,
            key=STUDY.menu(state, f"label.{state['family']}.{chosen.name}", begin),
            help=_("A task here has several of them: the colour says how large a part this one is."),
        )


def task(state: dict[str, Any], entrant: Entrant, n: int) -> None:
    """The task that was clicked, and the way to it on Adapt."""
    if not 0 <= state["seed"] < n:
        return
    found = embeddings.raced(state, entrant)
    if found is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**{_('Task {number}').format(number=state['seed'])}** · {links.escape(found.title)}")
        told = _("Opens this very task on Adapt, with the same run.")
        if st.button(_("Open on Adapt"), icon=":material/gesture:", key="embeddings.adapt", help=told):
            st.switch_page(ADAPT, query_params=embeddings.on_adapt(state, entrant))
    draw_gallery(
        embeddings.task_pictures(found),
        key="embeddings.task",
        revision=state["revision"],
        steps=found.steps if found.axis == "inner step" else 0,
    )


def encircled(state: dict[str, Any], entrant: Entrant, n: int) -> None:
    """How the group that was encircled is learned."""
    members = embeddings.group(state, n)
    if not members or not embeddings.has_steps(entrant):
        return
    found = embeddings.learned(state, entrant)
    if found is not None:
        picture = embeddings.group_picture(found, members)
        draw_gallery([picture], key="embeddings.group", revision=state["revision"])


def explanation() -> None:
    """Three sentences and one formula."""
    STUDY.explanation(
        _(
            "Each point is a held-out task, placed by the vector that you choose: at first by how far K inner steps "
            "move θ for it. "
            "The axes are the main directions of these vectors, fitted once, at the last inner step, over training at "
            "the last checkpoint (for gradients at θ, where they have not vanished yet), so that a point that moves "
            "has moved, and not the axes. "
            "The score says whether near tasks are alike: what is known of a task is guessed from its 5 nearest, "
            "never from itself, and 1 is perfect, 0 as good as a guess from all the others."
        ),
        FORMULA,
    )


STUDY.show(
    _("How do tasks lie to each other?"), lambda state, entrants: bench(state, entrants[0]), check=embeddings.fit
)
explanation()
