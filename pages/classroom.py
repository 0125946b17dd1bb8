"""The class: who uses this server, and what whoever is in charge may do to everybody's runs."""

from collections.abc import Callable

import streamlit as st

from metalab.store import Run
from metalab.ui import classroom, links, runs, teacher
from metalab.ui.i18n import _, ngettext
from metalab.ui.identity import in_charge

REFRESH_SECONDS = 4
MOST_RUNS = 40


def closed() -> None:
    """What a visitor sees who is not in charge."""
    st.info(_("This page is for whoever is in charge of this server."), icon=":material/lock:")
    if teacher.desk().guarded:
        with st.container(width=420):
            classroom.token_form("classroom.token")
    else:
        st.markdown(_("No teacher's token is set here, so only a browser on the server's own machine is in charge."))


def overview() -> None:
    """Who uses what, and the runs that go on; looked at again while the page is open."""
    going = classroom.going()
    st.markdown(classroom.summary(going))
    people = classroom.people()
    if people:
        st.dataframe(people, hide_index=True, height=min(36 * (len(people) + 1) + 3, 320))
    st.caption(
        _("A person is a browser, known by the beginning of a number made from its cookie: Home tells each their own.")
    )
    st.subheader(_("Runs that go on"), anchor=False)
    if not going:
        st.caption(_("None. What is started appears here."))
    named = runs.numbered(going)
    for run in going[:MOST_RUNS]:
        one_run(run, named[run.id])
    if len(going) > MOST_RUNS:
        st.caption(_("{n} more are not shown.").format(n=len(going) - MOST_RUNS))


def one_run(run: Run, name: str) -> None:
    """A run, whose it is, and what can be done to it."""
    with st.container(border=True, key=f"classroom-{run.id}"):
        about, state, ways = st.columns([4, 4, 4], vertical_alignment="center")
        with about:
            parts = f"{classroom.called(run.owner)} · {run.family} · {run.model}"
            st.markdown(f"**{links.escape(name)}**  \n:small[:gray[{links.escape(parts)}]]")
        with state:
            runs.show_state(run)
        with ways, st.container(horizontal=True):
            if run.state != "paused":
                told = _("Holds the run after this outer step; its owner can let it go on.")
                action(run, "pause", _("Pause"), ":material/pause:", told)
            action(run, "stop", _("Stop"), ":material/stop:", _("Ends the run and keeps what was learned."))
            action(
                run, "delete", _("Delete"), ":material/delete:", _("Stops the run and puts it into its owner's bin.")
            )


def action(run: Run, name: str, label: str, icon: str, told: str) -> None:
    """A button for one run."""
    if st.button(label, icon=icon, key=f"classroom.{name}.{run.id}", help=told):
        runs.act(lambda: classroom.command(run, name))


def everybody() -> None:
    """What is done to all runs at once."""
    with st.container(horizontal=True):
        told = _("Stops every run that trains or waits, and every sweep, after a question.")
        if st.button(_("Stop all"), icon=":material/stop_circle:", key="classroom.stop", help=told):
            st.dialog(_("Stop everybody's runs?"))(sure)(
                _("Every run that trains or waits ends, and every sweep. What was learned is kept; owners can resume."),
                classroom.stop_all,
            )
        told = _("Stops every run that waits, and every sweep, after a question; those that train go on.")
        if st.button(_("Empty the queue"), icon=":material/playlist_remove:", key="classroom.empty", help=told):
            st.dialog(_("Empty the queue?"))(sure)(
                _("Every run that waits is stopped, and every sweep. Those that train go on; owners can resume."),
                classroom.empty_queue,
            )
        if teacher.desk().guarded:
            told = _("This browser is in charge no longer.")
            if st.button(_("Leave"), icon=":material/logout:", key="classroom.leave", help=told):
                classroom.leave()
                st.rerun()
    done = st.session_state.pop("classroom.done", None)
    if done is not None:
        st.success(ngettext("{n} run was stopped.", "{n} runs were stopped.", done).format(n=done))


def sure(said: str, do: Callable[[], int]) -> None:
    """The question before a command to all."""
    st.markdown(said)
    told = _("Cannot be taken back, but every owner can resume.")
    if st.button(_("Do it"), type="primary", key="classroom.sure", width="stretch", help=told):
        try:
            st.session_state["classroom.done"] = do()
        except runs.Problem as problem:
            st.error(links.escape(str(problem)), icon=":material/error:")
        else:
            st.rerun()


def announcement() -> None:
    """One line for everybody."""
    with st.form("classroom.notice", border=False):
        line, button = st.columns([9, 2], vertical_alignment="bottom")
        text = line.text_input(
            _("Say to everybody"),
            classroom.notice(),
            max_chars=classroom.LONGEST_NOTICE,
            placeholder=_("e.g. Five minutes left"),
            help=_("Stands on top of every page that is opened or used from now on, until you empty it."),
        )
        told = _("Shows it, or takes it away where the line is empty.")
        if button.form_submit_button(_("Show"), icon=":material/campaign:", width="stretch", help=told):
            runs.act(lambda: classroom.announce(text))


def page() -> None:
    """Question, commands, people, runs, limits."""
    st.title(_("Who uses this server?"), anchor=False)
    if not in_charge():
        closed()
        return
    warning = classroom.unguarded()
    if warning:
        st.warning(warning, icon=":material/lock_open:")
    everybody()
    announcement()
    st.fragment(overview, run_every=REFRESH_SECONDS)()
    with st.expander(_("What people may ask for"), icon=":material/rule:"):
        st.dataframe(classroom.limit_rows(), hide_index=True, height="content")
        st.caption(
            _("The variables are read when the server starts; whoever is in charge is held to none of the limits.")
        )


page()
