"""The class on a server: who one is in it, what one may ask for, and what whoever is in charge does to others' runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from metalab.log import tell
from metalab.settings import declarations
from metalab.store import COMMAND_LINE, Run
from metalab.store.people import Share, disk_bytes, shares
from metalab.store.store import clean_name
from metalab.training.quotas import GIGABYTE, PREFIX, Limits, in_words, size_in_words
from metalab.ui import runs, teacher
from metalab.ui.i18n import _, ngettext
from metalab.ui.identity import current_user, in_charge, listens_beyond_loopback
from metalab.ui.links import escape
from metalab.ui.server import HUB

NAME = 6
"""Digits of a person's short id by which the class knows them."""
LONGEST_NOTICE = 200
WEIGHED_SECONDS = 60
_notice = ""


# --- everybody


def called(owner: str) -> str:
    """What a person is called: part of a short id, from which their cookie cannot be found."""
    return _("command line") if owner == COMMAND_LINE else owner[:NAME]


def allowed() -> list[str]:
    """What one visitor may ask for, a sentence each."""
    limits, found = HUB.limits, []
    if limits.runs is not None:
        said = ngettext("{n} run may train or wait at once.", "{n} runs may train or wait at once.", limits.runs)
        found.append(said.format(n=f"{limits.runs:,}"))
    if limits.outer_steps is not None:
        found.append(_("A run may take {n} outer steps.").format(n=f"{limits.outer_steps:,}"))
    if limits.hours is not None:
        found.append(_("It may train for {time}.").format(time=in_words(limits.hours * 3600)))
    if limits.parameters is not None:
        found.append(_("Its network may have {n} parameters.").format(n=f"{limits.parameters:,}"))
    if limits.kept is not None:
        said = ngettext("You may keep {n} run.", "You may keep {n} runs.", limits.kept)
        found.append(said.format(n=f"{limits.kept:,}"))
    if limits.disk is not None:
        size = size_in_words(limits.disk * GIGABYTE)
        found.append(_("Your runs may take {size} on the disk.").format(size=size))
    return found


def show_notice() -> None:
    """What whoever is in charge has to say to everybody, on top of the page."""
    if _notice:
        st.info(escape(_notice), icon=":material/campaign:")


def enter(token: str) -> None:
    """Show the teacher's token. Raises Problem."""
    try:
        teacher.desk().show(token, current_user(), st.context.ip_address or "localhost")
    except teacher.NotAdmitted as problem:
        raise runs.Problem(str(problem)) from None


def leave() -> None:
    """Be in charge no longer."""
    teacher.desk().leave(current_user())


def token_form(key: str) -> None:
    """The field for the teacher's token."""
    with st.form(key, border=False, clear_on_submit=True):
        told = _("Puts you in charge of everybody's runs, in this browser, for half a day or until you leave.")
        token = st.text_input(
            _("Teacher's token"), type="password", max_chars=teacher.LONGEST, help=told, autocomplete="off"
        )
        if st.form_submit_button(_("Enter"), icon=":material/key:", width="stretch", help=told):
            try:
                enter(token)
            except runs.Problem as problem:
                st.error(escape(_(str(problem))), icon=":material/error:")
            else:
                st.rerun()


def unguarded() -> str:
    """What is to be said where others can reach this server and nobody can be in charge of it; else empty."""
    if teacher.desk().guarded or not listens_beyond_loopback():
        return ""
    return _(teacher.NONE_SET)


# --- whoever is in charge


def going() -> list[Run]:
    """Everybody's runs that train, wait or are paused: those that train first."""
    order = ("running", "queued", "paused")
    return sorted((run for run in runs.recent(500) if run.state in order), key=lambda run: order.index(run.state))


def command(run: Run, name: str) -> None:
    """Pause, stop or delete anybody's run. Raises Problem."""
    from metalab.training.classroom import WHY

    def do(serving: Any) -> None:
        if name == "delete":
            serving.delete(run.id, run.owner)
        else:
            {"pause": serving.pause, "stop": serving.stop}[name](run.id, run.owner, WHY[name])

    _in_charge(f"{name} {run.id}", do)


def stop_all() -> int:
    """Stop everybody's runs and sweeps. Raises Problem."""
    from metalab.training import classroom

    return _in_charge("stop all", classroom.stop_all)


def empty_queue() -> int:
    """Stop the runs that wait, and the sweeps. Raises Problem."""
    from metalab.training import classroom

    return _in_charge("empty the queue", classroom.empty_queue)


def announce(text: str) -> None:
    """Say something to everybody; nothing takes back what was said. Raises Problem."""

    def do(_serving: Any) -> None:
        global _notice
        _notice = clean_name(text, LONGEST_NOTICE)

    _in_charge("announce", do)


def notice() -> str:
    """What is announced."""
    return _notice


def _in_charge(what: str, do: Callable[[Any], Any]) -> Any:
    """Do it with the service, if whoever asks is in charge now, whatever their page showed them. Raises Problem."""
    from metalab.training.service import service

    if not in_charge():
        tell("refused", person=current_user(), why="not in charge", what=what)
        raise runs.Problem(_("Only whoever is in charge of this server may do that. Show the teacher's token first."))
    tell("teacher", person=current_user(), what=what)
    with runs.friendly():
        return do(service())


def people() -> list[dict[str, Any]]:
    """A row for each person who has runs or live views here."""
    from metalab.training.service import service

    streams, store = HUB.streams_of(), service().store
    found = shares(store)
    known = {share.owner for share in found}
    found += [Share(user, 0, 0, 0, 0, 0.0) for user in streams if user not in known]
    return [
        {
            _("Person"): called(share.owner) + (f" ({_('you')})" if share.owner == current_user() else ""),
            _("Training"): share.running,
            _("Waiting"): share.queued,
            _("Paused"): share.paused,
            _("Live views"): streams.get(share.owner, 0),
            _("Runs kept"): share.kept,
            _("Hours trained"): round(share.seconds / 3600, 2),
            _("MB on disk"): _megabytes(str(store.home), share.owner),
        }
        for share in found
    ]


@st.cache_data(ttl=WEIGHED_SECONDS, max_entries=1000, show_spinner=False)
def _megabytes(home: str, owner: str) -> float:
    """What somebody's runs in `home` take on the disk; looked at now and then, since every file is."""
    from metalab.training.service import service

    return round(disk_bytes(service().store, owner) / 1e6, 1)


def summary(rows: Sequence[Run]) -> str:
    """The answer to the page's question."""
    from metalab.training.service import service

    vitals = service().vitals()
    owners = {run.owner for run in rows if run.state in ("running", "queued")}
    if not owners:
        return _("Nobody trains now.")
    who = ngettext("{n} person trains or waits", "{n} people train or wait", len(owners)).format(n=len(owners))
    busy = _("{running} of {workers} trainers busy").format(running=vitals.running, workers=vitals.workers)
    waiting = ngettext("{n} run in the queue", "{n} runs in the queue", vitals.waiting).format(n=vitals.waiting)
    return f"**{who}**: {busy}, {waiting}."


def limit_rows() -> list[dict[str, str]]:
    """The limits as they are, and the variables that set them."""
    limits = HUB.limits
    return [
        {
            _("What"): _(each.help),
            _("Allowed"): _("no limit") if getattr(limits, each.name) is None else f"{getattr(limits, each.name):,}",
            _("Set by"): PREFIX + each.name.upper(),
        }
        for each in declarations(Limits)
    ]
