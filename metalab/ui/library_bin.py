"""The Library's bin: into it, back out of it, and how to empty it."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from metalab.store.library import KEPT_SECONDS
from metalab.ui import library, links, runs
from metalab.ui.i18n import _, ngettext
from metalab.ui.library import STUDY

_DELETED = "library.deleted"


def delete(run_id: str) -> None:
    """Into the bin. Raises Problem."""
    runs.delete(run_id)
    st.session_state[_DELETED] = run_id


def just_deleted() -> None:
    """The run that was deleted last, and the way back while it is in the bin."""
    run = next((run for run in library.binned() if run.id == st.session_state.get(_DELETED)), None)
    if run is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(_("**{name}** is in your bin.").format(name=links.escape(run.name)), width="content")
        told = _("Puts the run back where it was.")
        if st.button(_("Take back"), icon=":material/undo:", key="library.undo", help=told):
            runs.act(lambda: library.restore(run))


def in_bin(state: dict[str, Any]) -> None:
    """Where one's deleted runs are, and the way there."""
    found = library.binned()
    if not found:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(library.bin_told(len(found)), width="content")
        told = _("Shows what you have deleted.")
        if st.button(_("To the bin"), icon=":material/delete:", key="library.to_bin", help=told):
            STUDY.restart(state, view="bin")
            st.rerun()


def the_bin() -> None:
    """One's deleted runs."""
    found = library.binned()
    days = round(KEPT_SECONDS / 86_400)
    said = _("What you delete stays here for {days} days; then it is removed for good.")
    st.markdown(f"{said.format(days=days)} {library.taken()}")
    if not found:
        st.info(_("Your bin is empty."), icon=":material/delete:")
    else:
        with st.popover(_("Empty the bin"), icon=":material/delete_forever:", help=_("Asks you first.")):
            _emptying(len(found))
    for run in found:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{links.escape(run.name)}** · {runs.subtitle(run)}")
            told = _("Puts the run back where it was.")
            if st.button(_("Take back"), icon=":material/undo:", key=f"library.restore.{run.id}", help=told):
                runs.act(partial(library.restore, run))


def _emptying(n: int) -> None:
    """The question before runs are gone."""
    said = ngettext(
        "{n} run is removed for good, with its checkpoints.",
        "{n} runs are removed for good, with their checkpoints.",
        n,
    )
    st.markdown(said.format(n=n))
    told = _("Cannot be taken back.")
    if st.button(_("Remove for good"), type="primary", key="library.empty", help=told):
        runs.act(library.empty_bin)
