"""Sweeps: which settings work best? Many runs that differ in a few settings, trained one after another and compared."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from metalab.algorithms import ALGORITHMS
from metalab.analysis.sweep import Table
from metalab.store.sweeps import Sweep
from metalab.tasks import FAMILIES
from metalab.training.sweeps import MOST_AXES, MOST_TRIALS, Plan, optuna_there
from metalab.ui import links, runs, sweeps
from metalab.ui.cells import formats
from metalab.ui.downloads import missing, missing_data_card
from metalab.ui.fold import fold_button, folded
from metalab.ui.gallery import draw_gallery, picked
from metalab.ui.i18n import _, ngettext
from metalab.ui.sweeps import METHODS, ROOT, STUDY

REFRESH_SECONDS = 2.0
PICTURES = "sweeps.pictures"
FORMULA = r"""\hat{s} = \arg\min_{s} \; \tfrac{1}{T}\textstyle\sum_i
\mathcal{L}^{\mathrm{query}}_i\big(\phi_K(\theta_s)\big)"""


def controls(state: dict[str, Any]) -> None:
    """What is trained, what varies, how many trials; and Start."""
    family = STUDY.family_menu(state)
    state["algorithm"] = st.selectbox(
        _("Algorithm"),
        list(ALGORITHMS),
        format_func=lambda name: _(ALGORITHMS[name].title),
        key=STUDY.menu(state, "algorithm", state["algorithm"]),
        help=_("Whose settings are varied. What does not vary takes its recommended value."),
    )
    lacking = missing(family)
    if lacking:
        if missing_data_card(family, lacking, instead="glyphs"):
            STUDY.restart(state, family="glyphs")
            st.rerun()
        return
    axes = what_varies(state)
    how(state)
    try:
        plan = sweeps.plan_of(state, axes)
    except runs.Problem as problem:
        st.error(links.escape(str(problem)), icon=":material/rule:")
        plan = None
    start(state, plan)


def what_varies(state: dict[str, Any]) -> dict[str, str]:
    """The settings that vary, and over what."""
    known = sweeps.declared(state)
    axes = sweeps.varied(state, known)
    turn = f"{state['family']}.{state['algorithm']}"
    chosen = st.multiselect(
        _("Settings that vary"),
        list(known),
        format_func=lambda name: _(known[name].label),
        max_selections=MOST_AXES,
        key=STUDY.menu(state, f"axes.{turn}", list(axes)),
        help=_("Up to four. Each gets a box below for its values."),
    )
    found = {}
    for name in chosen:
        found[name] = st.text_input(
            _(known[name].label),
            key=STUDY.menu(
                state, f"values.{turn}.{name}", axes.get(name) or sweeps.suggestion(state, name, known[name])
            ),
            max_chars=60,
            help=_("Values parted by commas, such as 0.01, 0.03; or a range for random search, such as 0.001 to 0.1.")
            + " "
            + _(known[name].help),
        )
    state["vary"] = sweeps.as_text(found)
    return found


def how(state: dict[str, Any]) -> None:
    """Grid, random or Optuna; how long each run is."""
    names = {"grid": _("Grid"), "random": _("Random"), "optuna": _("Optuna")}
    state["method"] = st.segmented_control(
        _("Search"),
        METHODS,
        format_func=names.__getitem__,
        required=True,
        key=STUDY.menu(state, "method", state["method"]),
        help=_("Every combination; drawn at random; or each trial chosen by what the finished ones found (Optuna)."),
    )
    if state["method"] == "optuna" and not optuna_there():
        st.caption(_("Optuna is not installed here: `python -m pip install optuna`, then start MetaLab again."))
    if state["method"] != "grid":
        state["trials"] = st.slider(
            _("Trials"),
            2,
            MOST_TRIALS,
            key=STUDY.menu(state, "trials", state["trials"]),
            help=_("How many runs are trained."),
        )
    state["outer_steps"] = st.number_input(
        _("Outer steps of each run"),
        1,
        100_000,
        step=100,
        key=STUDY.menu(state, "outer_steps", state["outer_steps"]),
        help=_("How long each run trains. A short sweep finds the region; train the best one longer afterwards."),
    )
    state["seed"] = st.number_input(
        _("Seed"),
        0,
        2**31 - 1,
        key=STUDY.menu(state, "seed", state["seed"]),
        help=_("The same for all runs: the same initialisation, the same tasks in the same order."),
    )


def start(state: dict[str, Any], plan: Plan | None) -> None:
    """The button, and how much it asks for."""
    ready = plan is not None and (plan.method != "optuna" or optuna_there())
    name = ngettext("Start {n} run", "Start {n} runs", plan.size).format(n=plan.size) if plan else _("Start")
    told = _("They train a few at a time, also while you look at other pages.")
    pressed = st.button(
        name,
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        key="sweeps.start",
        disabled=not ready,
        help=told,
    )
    if pressed and plan is not None:
        try:
            state["sweep"] = sweeps.start(plan)
        except runs.Problem as problem:
            st.error(links.escape(str(problem)), icon=":material/error:")
        else:
            STUDY.restart(state)
            STUDY.write_link(state)
            st.rerun()


def shown(state: dict[str, Any], wrong: list[str]) -> None:
    """The sweep that is looked at; the example where there is none yet."""
    there = sweeps.everybody()
    wrong += sweeps.unknown(state, there)
    if not there:
        example(state)
        return
    ids = [sweep.id for sweep in there]
    names = {sweep.id: f"{sweep.name} #{sweep.number}" for sweep in there}
    state["sweep"] = st.selectbox(
        _("Sweep"),
        ids,
        format_func=names.__getitem__,
        key=STUDY.menu(state, f"sweep.{len(ids)}", state["sweep"]),
        help=_("Everybody's sweeps, the newest first."),
    )
    found = sweeps.look(state["sweep"])
    going = found is not None and sweeps.state_of(found[0]) == "running"
    st.fragment(watch, run_every=REFRESH_SECONDS if going else None)(state, going)


def watch(state: dict[str, Any], going: bool) -> None:
    """Progress, verdict, pictures, table; looked at again while runs are trained."""
    found = sweeps.look(state["sweep"])
    if found is None:
        st.info(_("This sweep was deleted."), icon=":material/delete:")
        return
    sweep, table = found
    now = sweeps.state_of(sweep)
    if going and now != "running":
        st.rerun()
    progress(state, sweep, table, now)
    results(table, sweep.plan, state)


def progress(state: dict[str, Any], sweep: Sweep, table: Table, now: str) -> None:
    """How far it is, and Stop or Resume."""
    words = {
        "running": _("Running"),
        "interrupted": _("Interrupted"),
        "stopped": _("Stopped"),
        "finished": _("Finished"),
    }
    bar, buttons = st.columns([3, 2], vertical_alignment="center")
    text = _("{state}: {done} of {n} trials are over").format(state=words[now], done=table.done, n=table.size)
    bar.progress(min(1.0, table.done / table.size), text=text)
    if sweep.message:
        st.warning(links.escape(_(sweep.message)), icon=":material/info:")
    if not sweeps.mine(sweep):
        return
    with buttons, st.container(horizontal=True):
        if now == "running":
            told = _("Starts no more runs, and stops those that train. Resume goes on.")
            button(state, sweep, "stop", _("Stop"), ":material/stop:", told)
        elif now != "finished":
            told = _("Goes on where it was, unfinished runs first.")
            button(state, sweep, "resume", _("Resume"), ":material/play_arrow:", told)
        told = _("Takes the sweep off this list; its runs stay.")
        button(state, sweep, "delete", _("Forget"), ":material/delete:", told)


def button(state: dict[str, Any], sweep: Sweep, name: str, label: str, icon: str, told: str) -> None:
    """A command to the sweep."""
    if st.button(label, icon=icon, key=f"sweeps.{name}", help=told):
        try:
            sweeps.command(sweep, name)
        except runs.Problem as problem:
            st.error(links.escape(str(problem)), icon=":material/error:")
        else:
            if name == "delete":
                state["sweep"] = ""
            st.rerun()


def results(table: Table, plan: Mapping[str, Any], state: dict[str, Any] | None) -> None:
    """What was found; `state` is None for the example, whose runs are not here."""
    names = sweeps.labels(table.settings, plan["base"])
    st.markdown(sweeps.verdict(table, names))
    ranked = table.ranked
    if state is not None:
        state["who"] = [row.run for row in ranked[:1] if row.run]
    if state is not None and ranked:
        opening(table, state)
    revision = state["revision"] if state else 0
    pictures = sweeps.pictures(table, names, plan["base"], grid=plan.get("method", "grid") == "grid")
    if pictures:
        draw_gallery(pictures, key=PICTURES, revision=revision, pickable=state is not None)
    listing(table, names)


def opening(table: Table, state: dict[str, Any]) -> None:
    """The best run, and the one that was clicked, on Train."""
    by_place = {row.place: row for row in table.rows}
    pick = picked(PICTURES, state["revision"])
    clicked = next((by_place[n] for n in pick.data if n in by_place and by_place[n].run), None) if pick else None
    with st.container(horizontal=True):
        for row, label, key in (
            (table.ranked[0], _("Open the best on Train"), "best"),
            (clicked, _("Open trial {n} on Train").format(n=clicked.place + 1) if clicked else "", "clicked"),
        ):
            told = _("Shows its curves, with its settings to start from.")
            if (
                row is not None
                and row.run
                and st.button(label, icon=":material/model_training:", key=f"sweeps.open.{key}", help=told)
            ):
                st.switch_page(ROOT / "pages" / "train.py", query_params={"runs": row.run})
    if clicked is None:
        st.caption(_("Click a line or a dot in a picture to open that trial."))


def listing(table: Table, names: Sequence[str]) -> None:
    """All trials, sortable."""
    st.dataframe(
        sweeps.rows(table, names),
        hide_index=True,
        height=min(36 * (len(table.rows) + 1) + 3, 400),
        column_config=formats({table.metric}, (_("Result"), _("± 95%"))),
    )


def example(state: Mapping[str, Any]) -> None:
    """What a sweep looks like, before there is one."""
    table, plan = sweeps.example()
    told = _("No sweep yet. This one comes with MetaLab: {n} short runs of MAML on sine waves.").format(n=table.size)
    if state["family"] != "sinusoid":
        family = _(FAMILIES[state["family"]].title)
        told += " " + _("It says nothing of {family}: press Start for a sweep of your own.").format(family=family)
    st.info(told, icon=":material/science:")
    results(table, plan, None)


def page() -> None:
    """Question, controls, what was found, explanation."""
    state, wrong = STUDY.begin()
    STUDY.question(_("Which settings work best?"), state)
    box = st.container()
    left, right = st.columns([3, 9], gap="medium")
    with left:
        opener = st.container()
        with folded("controls"):
            controls(state)
        if not missing(state["family"]):
            with opener:
                fold_button(_("A new sweep"))
    with right:
        shown(state, wrong)
    with box:
        STUDY.show_warnings(state, wrong)
    STUDY.write_link(state)
    STUDY.explanation(
        _(
            "A sweep trains one run for each trial $s$, alike in everything but the settings that vary, with the same "
            "seed, so that all see the same tasks. "
            "Each run is judged once trained, by its loss or accuracy on the same held-out tasks after adaptation, and "
            "the best of many is partly luck: two trials whose difference has zero in its 95% interval cannot be "
            "told apart. "
            "A grid tries every combination, a random search covers each single setting more finely with as many runs, "
            "and Optuna looks longest where earlier trials did well."
        ),
        FORMULA,
    )


page()
