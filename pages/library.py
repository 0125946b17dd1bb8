"""Library: what have we learned so far? Every stored run: searched, compared, starred, and taken as a start."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from metalab.algorithms import ALGORITHMS
from metalab.analysis.catalogue import Entry
from metalab.analysis.starts import DRAWN, Ranking
from metalab.tasks import FAMILIES
from metalab.tasks.base import TaskBatch, TaskFamily
from metalab.ui import library, library_starts, library_words, links, own_task, runs
from metalab.ui.downloads import missing, missing_data_card
from metalab.ui.fold import fold_button, folded
from metalab.ui.gallery import draw_gallery
from metalab.ui.i18n import _, ngettext
from metalab.ui.library import ALL, MOST, PAGES, STUDY
from metalab.ui.library_bin import delete, in_bin, just_deleted, the_bin

POINTS, PADS = "library.points", "library.pads"
FORMULA = r"""\hat\theta = \arg\min_{\theta \,\in\, \text{checkpoints}}
\mathcal{L}^{\mathrm{query}}\big(\phi_k(\theta)\big)"""


def filters(state: dict[str, Any]) -> None:
    """What is listed."""
    state["q"] = st.text_input(
        _("Search"),
        key=STUDY.menu(state, "q", state["q"]),
        max_chars=120,
        placeholder=_("e.g. reptile inner_lr<0.05"),
        help=_(
            "Words of names, tags and remarks, and conditions on settings or results, such as shots=5, inner_lr<0.05, "
            "loss<0.5, tag=best: all must fit."
        ),
    )
    state["of"] = one_of(state, "of", _("Task family"), FAMILIES, _("Only runs that practised on this family."))
    state["algorithm"] = one_of(state, "algorithm", _("Algorithm"), ALGORITHMS, _("Only runs of this algorithm."))
    state["mine"] = st.toggle(
        _("Only mine"), key=STUDY.menu(state, "mine", state["mine"]), help=_("Only runs that this browser started.")
    )
    state["starred"] = st.toggle(
        _("Only starred"),
        key=STUDY.menu(state, "starred", state["starred"]),
        help=_("Only runs that somebody starred."),
    )


def one_of(state: dict[str, Any], name: str, label: str, known: Mapping[str, Any], told: str) -> str:
    """A menu of all, or one of `known`."""
    return st.selectbox(
        label,
        [ALL, *known],
        format_func=lambda each: _("All") if each == ALL else _(known[each].title),
        key=STUDY.menu(state, name, state[name]),
        help=told,
    )


def listed(state: dict[str, Any], wrong: list[str]) -> list[Entry]:
    """The sentence and the table; the runs that are chosen in it."""
    everything, left, problem = library.found_runs(state)
    wrong += library.unknown(state, everything)
    if problem:
        st.warning(links.escape(problem), icon=":material/search_off:")
    st.markdown(library.verdict(everything, left, state["of"]))
    if not left:
        st.info(_("No run fits. Ask for less, or start one on Train."), icon=":material/search_off:")
        in_bin(state)
        return []
    ids = [entry.run.id for entry in left]
    chosen = [ids.index(run_id) for run_id in state["who"] if run_id in ids]
    event = st.dataframe(
        library.rows(left),
        hide_index=True,
        column_config=library.table_formats(left),
        height=min(38 * (len(left) + 1), 420),
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": chosen}},
        key=f"library.table.{state['revision']}.{hash(tuple(ids))}",
    )
    places = [place for place in event["selection"]["rows"] if place < len(left)]
    if len(places) > MOST:
        st.caption(_("The first {n} of the chosen runs are compared.").format(n=MOST))
    state["who"] = [ids[place] for place in places[:MOST]]
    just_deleted()
    if not state["who"]:
        st.caption(
            _(
                "Click a column's title to sort by it. Tick a run at the left to star, describe or open it; two to "
                "four are compared."
            )
        )
    return [left[place] for place in places[:MOST]]


def chosen_runs(chosen: Sequence[Entry]) -> None:
    """What is done with the chosen runs."""
    if len(chosen) == 1:
        one_run(chosen[0])
    elif chosen:
        side_by_side(chosen)


def one_run(entry: Entry) -> None:
    """A run's marks, and where it opens."""
    run, marks = entry.run, entry.marks
    with st.container(border=True, key="library-run"):
        st.markdown(f"#### {links.escape(runs.numbered([run])[run.id])}")
        st.caption(runs.subtitle(run))
        if marks.tags or marks.remark:
            tags = " ".join(f":blue-badge[{links.escape(tag)}]" for tag in marks.tags)
            st.markdown(f"{tags} {links.escape(marks.remark)}")
        with st.container(horizontal=True):
            actions(entry)
        draw_gallery(library.comparison([entry]), key="library.one", revision=run.number)
        if runs.mine(run):
            describe(entry)
        else:
            st.caption(_("Its owner gives it tags and a remark; everybody may star it."))


def actions(entry: Entry) -> None:
    """Star, open, delete."""
    run, marks = entry.run, entry.marks
    told = _("Tells everybody that this run is worth a look; each person counts once.")
    name = _("Take my star back ({n})") if marks.starred else _("Star ({n})")
    if st.button(name.format(n=marks.stars), icon=":material/star:", key="library.star", help=told):
        runs.act(lambda: library.star(run.id, not marks.starred))
    if st.button(
        _("Open on Train"), icon=":material/model_training:", key="library.train", help=_("Shows its curves.")
    ):
        st.switch_page(PAGES / "train.py", query_params={"runs": run.id})
    told = _("Lets it adapt to a task.")
    if st.button(_("Open on Adapt"), icon=":material/gesture:", key="library.adapt", help=told, disabled=not run.step):
        st.switch_page(PAGES / "adapt.py", query_params={"family": run.family, "who": run.id})
    told = _("Puts the run into your bin, from where you can take it back.")
    if runs.mine(run) and st.button(_("Delete"), icon=":material/delete:", key="library.delete", help=told):
        runs.act(lambda: delete(run.id))


def describe(entry: Entry) -> None:
    """Tags and a remark, of one's own run."""
    with st.form(f"library.describe.{entry.run.id}", border=False):
        tags = st.text_input(
            _("Tags"),
            " ".join(entry.marks.tags),
            max_chars=200,
            help=_("Words by which you find the run again, parted by blanks."),
        )
        remark = st.text_area(
            _("Remark"), entry.marks.remark, max_chars=500, height=80, help=_("What is worth knowing of this run.")
        )
        if st.form_submit_button(_("Save"), icon=":material/save:", help=_("Everybody can read tags and remark.")):
            runs.act(lambda: library.describe(entry.run, tags, remark))


def side_by_side(chosen: Sequence[Entry]) -> None:
    """How the chosen runs differ."""
    with st.container(border=True, key="library-compared"):
        st.markdown(f"#### {_('How do they differ?')}")
        st.dataframe(library.difference_table(chosen), hide_index=True)
        st.caption(library.alike(chosen))
        pictures = library.comparison(chosen)
        if pictures:
            revision = sum(entry.run.number * 31**n for n, entry in enumerate(chosen)) % 2**31
            draw_gallery(pictures, key="library.compared", revision=revision)
        else:
            st.caption(_("Their curves have no axis in common: they are measured differently, or have none yet."))


def best_start(state: dict[str, Any]) -> None:
    """Checkpoints ranked on one task."""
    left, right = st.columns([3, 9], gap="medium")
    with left:
        opener = st.container()
        settings, canvas = folded("task"), st.container()
        with settings:
            STUDY.family_menu(state)
        with canvas:
            whose_task(state)
        with settings:
            task_controls(state)
    with right:
        lacking = missing(state["family"])
        if lacking:
            if missing_data_card(state["family"], lacking, instead="glyphs"):
                STUDY.restart(state, family="glyphs")
                st.rerun()
            return
        with opener:
            fold_button(_("Task and controls"))
        try:
            chosen = library_starts.starters(state["family"])
            family = library_starts.made_for(chosen)
            own = own_batch(state, family, canvas) if state["own"] else None
            if state["own"] and own is None:
                return
            found = library_starts.ranking(state, chosen, own)
        except runs.Problem as problem:
            st.warning(links.escape(str(problem)), icon=":material/info:")
            return
        if found is not None:
            ranked(state, found, family)


def own_batch(state: dict[str, Any], family: TaskFamily, canvas: Any) -> TaskBatch | None:
    """What a person placed on `canvas`, or draws here; None, with what is to be done, before that is a task."""
    made_of = own_task.makes(family)
    if made_of == "drawings":
        if own_task.too_many(family):
            raise runs.Problem(own_task.too_many(family))
        own_task.pads(
            state,
            family,
            DRAWN,
            _(
                "Draw two examples of each class: a start learns from one of them and is asked the other, and the "
                "other way round. Drawings stay in this tab, and go along to Adapt."
            ),
            key=PADS,
        )
        own = library_starts.own_drawings(family, own_task.drawn(state, family, DRAWN, key=PADS))
        told = _("The starts are ranked once every pad has a drawing.")
    else:
        with canvas:
            points = own_task.placed(state, family, key=POINTS)
        own = library_starts.own_points(family, points)
        told = _("Click or tap on the plot to place two or more points of a function.")
        if made_of == "goal":
            told = _("Click or tap on the plot to place the goal.")
    if own is None:
        st.info(told, icon=":material/gesture:")
    return own


def ranked(state: dict[str, Any], found: Ranking, family: TaskFamily) -> None:
    """The starts, the best first."""
    if found.title:
        st.caption(_("Task {number}: {title}").format(number=state["task"], title=links.escape(found.title)))
    st.markdown(library_words.start_verdict(found))
    if not found.starts:
        return
    draw_gallery(library_starts.start_pictures(found), key="library.starts", revision=state["revision"])
    first = found.starts[0]
    told = _("Opens Adapt with this run, checkpoint and task.")
    icon = ":material/gesture:"
    st.button(_("Open the best on Adapt"), icon=icon, key="library.best", help=told, on_click=library_starts.wish)
    if library_starts.wished():
        library_starts.opening(first.run, first.step, state, family)
    n = len(found.starts)
    with st.expander(ngettext("The only start", "All {n} starts", n).format(n=n)):
        st.dataframe(
            library_starts.start_rows(found), hide_index=True, column_config=library_starts.start_formats(found)
        )


def whose_task(state: dict[str, Any]) -> None:
    """A sampled task or a person's own."""
    makeable = bool(own_task.makes(FAMILIES[state["family"]](name=state["family"])))
    if makeable:
        state["own"] = st.toggle(
            _("A task of my own"),
            key=STUDY.menu(state, "own", state["own"]),
            help=_("Place points of a function or a goal, or draw characters. Off: a sampled task."),
        )
    state["own"] = state["own"] and makeable


def task_controls(state: dict[str, Any]) -> None:
    """Which task, how far, and how many checkpoints of each run."""
    state["task"] = st.number_input(
        _("Task number"),
        0,
        9_999,
        key=STUDY.menu(state, "task", state["task"]),
        disabled=state["own"],
        help=_("A held-out task, the same number for the same task on Adapt."),
    )
    state["steps"] = st.slider(
        _("Inner steps k"),
        1,
        50,
        key=STUDY.menu(state, "steps", state["steps"]),
        help=_("After how many gradient steps a start is judged. Who reads shots at once is judged after all of them."),
    )
    state["checkpoints"] = st.segmented_control(
        _("Checkpoints of each run"),
        [1, 3, 10],
        required=True,
        key=STUDY.menu(state, "checkpoints", state["checkpoints"]),
        help=_("Only the last one, or some spread over its training."),
    )


def runs_view(state: dict[str, Any], wrong: list[str]) -> None:
    """The list, and what is done with the runs chosen in it."""
    left, right = st.columns([3, 9], gap="medium")
    with left:
        fold_button(_("Search"))
        with folded("filters"):
            filters(state)
    with right:
        try:
            chosen = listed(state, wrong)
        except runs.Problem as problem:
            st.error(links.escape(str(problem)), icon=":material/error:")
            return
        chosen_runs(chosen)


def page() -> None:
    """Question, views, explanation."""
    state, wrong = STUDY.begin()
    STUDY.question(_("What have we learned so far?"), state)
    box = st.container()
    views = {"runs": _("All runs"), "start": _("Best start for a task"), "bin": _("Bin")}
    state["view"] = st.segmented_control(
        _("Look at"),
        list(views),
        format_func=views.__getitem__,
        required=True,
        key=STUDY.menu(state, "view", state["view"]),
        help=_("The list of stored runs, the checkpoints ranked on one task, or what you have deleted."),
    )
    if state["view"] == "start":
        best_start(state)
    elif state["view"] == "bin":
        the_bin()
    else:
        runs_view(state, wrong)
    with box:
        STUDY.show_warnings(state, wrong)
    STUDY.write_link(state)
    STUDY.explanation(
        _(
            "Every run that was trained here is kept with its settings, its checkpoints and its last look at held-out "
            "tasks, whoever started it. "
            "Before and after are means over those tasks, each run's own, so that runs with different seeds or shots "
            "were asked different things. "
            "A fair choice of a start asks them the same: every checkpoint θ adapts to one task for k inner steps, and "
            "the one with the smallest query loss, or the best accuracy, wins; of your own points, or drawings of "
            "each class, one is left out in turn and predicted from the others."
        ),
        FORMULA,
    )


page()
