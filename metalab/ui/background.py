"""What a page shows while a result is computed: a bar, the time it will take, and Stop; then the result."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, TypeVar, cast

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from metalab.ui.i18n import _
from metalab.ui.links import escape

if TYPE_CHECKING:
    from metalab.analysis.background import Report, Work

T = TypeVar("T")
IN_LINE_SECONDS = 0.15
"""A result that is there within this time is shown at once."""
REFRESH_SECONDS = 0.4


def computed(slot: str, key: Hashable, make: Callable[[Report], T], *, told: str) -> T | None:
    """The result of `make(report)` for `key`; while it is computed None, and a bar with Stop on the page.

    `slot` is the place on the page: asking for another key there lets go of the former. `key` names everything that
    the result depends on. `told` says what is computed, e.g. "Adapting to 600 tasks".
    """
    from metalab.analysis.background import background

    stopped: dict[str, Hashable] = st.session_state.setdefault("background.stopped", {})
    if stopped.get(slot) == key:
        _restart(slot, told)
        return None
    asker = (_session(), slot)
    work = background().ask((slot, key), make, asker, wait=IN_LINE_SECONDS)
    if work.state == "done":
        return cast("T", work.result)
    if work.state == "failed":
        st.error(escape(_(work.problem)), icon=":material/error:")
        pressed = st.button(_("Try again"), icon=":material/refresh:", key=f"{slot}.again", help=_("Computes it anew."))
        if pressed:
            background().again((slot, key))
            st.rerun()
        return None
    st.fragment(_bar, run_every=REFRESH_SECONDS)(work, slot, key, told)
    return None


def _bar(work: Work, slot: str, key: Hashable, told: str) -> None:
    """The bar, which looks again by itself, and has the page drawn anew when the result is there."""
    import time

    work.asked = time.monotonic()
    if work.over:
        st.rerun()
    left = work.seconds_left
    if work.state == "waiting":
        words = _("{what}: waits for another computation").format(what=told)
    elif left is None:
        words = f"{told} …"
    else:
        words = _("{what}: about {seconds} s left").format(what=told, seconds=max(1, round(left)))
    bar, button = st.columns([5, 1], vertical_alignment="center")
    bar.progress(work.fraction, text=words)
    help_ = _("Stops this computation. Nothing that is stored is lost.")
    if button.button(_("Stop"), icon=":material/stop:", key=f"{slot}.stop", help=help_, width="stretch"):
        from metalab.analysis.background import background

        st.session_state["background.stopped"][slot] = key
        background().cancel((_session(), slot))
        st.rerun()


def _restart(slot: str, told: str) -> None:
    st.info(_("Stopped: {what}.").format(what=told), icon=":material/stop_circle:")
    if st.button(_("Compute"), icon=":material/play_arrow:", key=f"{slot}.begin", help=_("Begins it anew.")):
        st.session_state["background.stopped"].pop(slot)
        st.rerun()


def _session() -> str:
    context = get_script_run_ctx(suppress_warning=True)
    return context.session_id if context else ""
