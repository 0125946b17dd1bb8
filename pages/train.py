"""Train: what does meta-training change? Choose a run, start it, watch it learn, change its rates."""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from metalab.store import Run
from metalab.training.config import ConfigError, RunConfig
from metalab.ui import draft as drafts
from metalab.ui import links, runs
from metalab.ui.algorithm_card import algorithm_card
from metalab.ui.downloads import missing, missing_data_card
from metalab.ui.draft import Draft
from metalab.ui.i18n import _
from metalab.ui.live import live_panel
from metalab.ui.preload import preload_charts
from metalab.ui.run_controls import all_settings, part_menus
from metalab.ui.run_tools import DELETED, live_rates, manage
from metalab.ui.stream import RUNS_PER_STREAM
from metalab.ui.take_home import take_home

STYLE = Path(__file__).resolve().parents[1] / "assets" / "train.css"
FOLLOW = "train.follow"  # session key of the menu of runs to follow
NEXT = "train.next"  # session key of the runs to follow from the next script run on
RUNS = links.Parameter("runs", (), kind=tuple, item=str, pattern=links.RUN_ID, most=RUNS_PER_STREAM)
LISTED = 50
INSTEAD = "glyphs"


def opened() -> tuple[Draft, str]:
    """Where the controls start, and a key that is new whenever they are to start anew: when a link was opened."""
    state, link = st.session_state, dict(st.query_params)
    news = links.is_news("train")
    if news or FOLLOW not in state:  # the menu is forgotten while another page is open
        if news or "train.draft" not in state:
            state["train.draft"], state[FOLLOW], state["train.warnings"] = described(link)
        else:  # back from another page: as it was left
            state[FOLLOW] = state.get("train.followed", [])
        state["train.begin"] = state["train.draft"]
        state["train.opened"] = state.get("train.opened", 0) + 1
        links.know("train", link)
    if NEXT in state:
        state[FOLLOW] = state.pop(NEXT)
    return state["train.begin"], f"train{state['train.opened']}"


def described(link: Mapping[str, str]) -> tuple[Draft, list[str], list[str]]:
    """What a link says: the draft, the ids of the runs to follow, and a sentence for each wrong value.

    A link that names runs and no setting describes its first run.
    """
    begin, warnings = drafts.from_link(link, ignore=(RUNS.name,))
    values, wrong = links.read_state([RUNS], {name: link[name] for name in link if name == RUNS.name})
    wanted = list(values[RUNS.name])
    if set(link) - links.NOT_OURS == {RUNS.name}:
        for first in runs.find(wanted)[:1]:
            try:
                begin = drafts.from_config(first.config)
            except ConfigError as problem:
                wrong.append(str(problem))
    return begin, wanted, warnings + wrong


def controls(begin: Draft, key: str) -> tuple[Draft, str]:
    """The left side: the three menus, Start, and every setting; the draft, and what data it lacks."""
    with st.container(key="train-title"):
        st.title(_("Train"), anchor=False)
    chosen = part_menus(begin, key)
    start_box = st.container()
    chosen = all_settings(chosen, key)
    lacking = missing(chosen.names["family"], chosen.of_part("family"))
    with start_box:
        start(chosen, lacking)
    return chosen, lacking


def start(chosen: Draft, lacking: str) -> None:
    """The Start button; what is wrong with the settings stands above it."""
    config: RunConfig | None = None
    if lacking:
        st.warning(_("Its data is not here yet: see the card."), icon=":material/folder_off:")
    try:
        config = chosen.config()
    except ConfigError as problem:
        st.error(links.escape(str(problem)), icon=":material/rule:")
    pressed = st.button(
        _("Start"),
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        disabled=config is None or bool(lacking),
        key="train.start",
        help=_("Trains with these settings from the initialisation that the seed gives."),
    )
    overlay = st.toggle(
        _("Compare with the runs shown"),
        key="train.overlay",
        help=_("Draw the new run over those that are shown instead of in their place."),
    )
    if pressed and config is not None:
        try:
            started = runs.start_all([config])
        except runs.Problem as problem:
            st.error(links.escape(str(problem)), icon=":material/error:")
        else:
            before = st.session_state.get(FOLLOW, []) if overlay else []
            st.session_state[FOLLOW] = [*before, *started][-RUNS_PER_STREAM:]


def offer(chosen: Draft, lacking: str) -> None:
    """The family's data is not here: fetch it, or take the invented characters by one's own choice."""
    if missing_data_card(chosen.names["family"], lacking, instead=INSTEAD, settings=chosen.of_part("family")):
        st.session_state["train.begin"] = drafts.start(INSTEAD, chosen.names["algorithm"])
        st.session_state["train.opened"] += 1
        st.rerun()


def followed() -> tuple[list[Run], list[str]]:
    """The menu of runs to follow: those chosen in it, and a sentence for each that is gone."""
    wanted = st.session_state.get(FOLLOW, [])
    known = {run.id: run for run in [*runs.find(wanted), *runs.recent(LISTED)]}
    gone = [run_id for run_id in wanted if run_id not in known]
    if gone:
        st.session_state[FOLLOW] = [run_id for run_id in wanted if run_id in known]
    unexpected = [run_id for run_id in gone if run_id not in st.session_state.get(DELETED, ())]
    said = [_("There is no run {run}. It may have been deleted.").format(run=run_id) for run_id in unexpected]
    shown_now = [known[run_id] for run_id in st.session_state.get(FOLLOW, [])]
    named = runs.numbered(list(known.values())) | runs.labels(shown_now)

    def label(run_id: str) -> str:
        whose = runs.foreign(known[run_id])
        return f"{named[run_id]} ({whose})" if whose else named[run_id]

    chosen = st.multiselect(
        _("Runs to follow"),
        list(known),
        format_func=label,
        max_selections=RUNS_PER_STREAM,
        placeholder=_("Choose runs to see or compare"),
        key=FOLLOW,
        help=_("Runs whose curves are drawn together."),
        label_visibility="collapsed",
    )
    return [known[run_id] for run_id in chosen], said


def watch(chosen: list[Run]) -> None:
    """The right side: the live panel of the chosen runs, or what to press."""
    if not chosen:
        st.info(
            _("Nothing to see yet. Press Start: the curves begin to move within a second or two."),
            icon=":material/arrow_back:",
        )
        preload_charts(key="preload")
        return
    live_rates(chosen)
    first = chosen[0].config.family
    command = live_panel(
        runs.live_runs(chosen),
        key="train-live",
        metric=first.metric,
        height=340,
        loss_label=_(first.loss_name),
    )
    if command is not None:
        try:
            now = runs.obey(command)
        except runs.Problem as problem:
            st.error(links.escape(str(problem)), icon=":material/error:")
        else:
            if now != command.run_id:
                st.session_state[NEXT] = [now if run.id == command.run_id else run.id for run in chosen]
                st.rerun()


st.html(STYLE)
begin, key = opened()
warnings_box = st.container()
left, right = st.columns([1, 3], gap="medium")
with left:
    chosen, lacking = controls(begin, key)
with right:
    menu, tools = st.columns([4, 6], vertical_alignment="bottom")
    with menu:
        shown, gone = followed()
    with warnings_box:
        links.show_warnings([*st.session_state.get("train.warnings", ()), *gone])
    with tools, st.container(horizontal=True):
        manage(shown)
        take_home([run.id for run in shown], "train-take-home")
        share_box = st.container()
    if lacking:
        offer(chosen, lacking)
    if shown or not lacking:
        watch(shown)
    algorithm_card(chosen.names["algorithm"])
values = {**chosen.values, **chosen.names, RUNS.name: tuple(run.id for run in shown)}
parameters = links.write_state([*drafts.schema(chosen.names), RUNS], values)
links.know("train", parameters)
st.session_state["train.draft"] = chosen
st.session_state["train.followed"] = [run.id for run in shown]
with share_box:
    links.share("train", parameters, key="train.share")
