"""Home: what meta-learning is, runs to start with one press, and what runs already."""

from pathlib import Path

import streamlit as st

from metalab.store import Run
from metalab.training.presets import PRESETS, Preset
from metalab.ui import classroom, links, runs, teacher
from metalab.ui.i18n import _
from metalab.ui.idea import moving_picture
from metalab.ui.identity import current_user, in_charge
from metalab.ui.preload import preload_charts

TRAIN = Path(__file__).with_name("train.py")
CLASSROOM = Path(__file__).with_name("classroom.py")
RECENT = 8
REFRESH_SECONDS = 4


def introduction() -> None:
    """Three sentences and the picture."""
    words, picture = st.columns([5, 6], gap="large", vertical_alignment="center")
    with words:
        st.title(_("Watch machines learn to learn"), anchor=False)
        st.markdown(
            _(
                "Ordinary learning fits one task from many examples. Meta-learning practises on thousands of small "
                "tasks, until a new one takes only a handful of examples and a few gradient steps. "
                "Here you see it happen: start a run, move a slider, then hand it a task of your own."
            )
        )
    with picture:
        moving_picture(key="idea")


def presets() -> None:
    """One card a preset; a press starts its runs and follows them on Train."""
    st.subheader(_("Start with one press"), anchor=False)
    for (name, preset), column in zip(PRESETS.items(), st.columns(len(PRESETS)), strict=True):
        with column, st.container(border=True, height="stretch", key=f"preset-{name}"):
            st.markdown(f"#### {_(preset.title)}")
            st.markdown(_(preset.summary))
            st.space("stretch")
            key, told = f"start-{name}", _("Starts the training and shows it live on the Train page.")
            if st.button(_("Start"), type="primary", icon=":material/play_arrow:", width="stretch", key=key, help=told):
                start(preset)


def start(preset: Preset) -> None:
    """Start a preset's runs and go to Train."""
    try:
        started = runs.start_all(preset.configs)
    except runs.Problem as problem:
        st.error(links.escape(str(problem)), icon=":material/error:")
        return
    st.switch_page(TRAIN, query_params={"runs": ",".join(started)})


def recent() -> None:
    """The newest runs, everybody's; looked at again while one of them moves."""
    found = runs.recent(RECENT)
    moving = any(run.active for run in found)
    st.fragment(recent_list, run_every=REFRESH_SECONDS if moving else None)()


def recent_list() -> None:
    """The list itself."""
    st.subheader(_("Recent runs"), anchor=False)
    found = runs.recent(RECENT)
    if not found:
        st.info(_("No runs yet. Press Start on one of the cards above."), icon=":material/arrow_upward:")
    named = runs.numbered(found)
    for run in found:
        recent_run(run, named[run.id])


def recent_run(run: Run, name: str) -> None:
    """One run: its name and state, how far it is, and the way to it."""
    with st.container(border=True, key=f"run-{run.id}"):
        about, state, ways = st.columns([5, 4, 3], vertical_alignment="center")
        with about:
            st.markdown(f"**{links.escape(name)}**  \n:small[:gray[{runs.subtitle(run)}]]")
        with state:
            runs.show_state(run)
        with ways, st.container(horizontal=True):
            told = _("Shows this run on the Train page.")
            if st.button(_("Open"), icon=":material/open_in_full:", width="stretch", key=f"open-{run.id}", help=told):
                st.switch_page(TRAIN, query_params={"runs": run.id})
            links.share("train", {"runs": run.id}, key=f"share-{run.id}", label=_("Share"))


def the_class() -> None:
    """Who one is here, what one may ask for, and the way to be in charge."""
    told = _("Who you are on this server, what it lets you do, and where a teacher shows the token.")
    with st.popover(_("Class"), icon=":material/school:", help=told, key="class"):
        name = classroom.called(current_user())
        st.markdown(_("Here you are **{name}**: so whoever is in charge finds you.").format(name=links.escape(name)))
        warning = classroom.unguarded()
        if warning:
            st.caption(f":material/lock_open: {links.escape(warning)}")
        if in_charge():
            st.markdown(_("You are in charge of this server: no limits hold for you."))
            told = _("Who uses this server, and everybody's runs.")
            if st.button(_("Open the class"), icon=":material/school:", key="class.open", width="stretch", help=told):
                st.switch_page(CLASSROOM)
        else:
            st.markdown(" ".join(classroom.allowed()) or _("No limits are set here."))
            if teacher.desk().guarded:
                classroom.token_form("class.token")


introduction()
presets()
recent()
the_class()
preload_charts(key="preload")
