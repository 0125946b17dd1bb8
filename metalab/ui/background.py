"""What a page shows while a result is computed: a bar, the time it will take, and Stop; then the result."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar, cast

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from metalab.ui.i18n import _
from metalab.ui.identity import current_user
from metalab.ui.links import escape

if TYPE_CHECKING:
    from metalab.analysis.background import Report, Work

T = TypeVar("T")
_PAGELESS: ContextVar[bool] = ContextVar("pageless", default=False)
LONGEST_SECONDS = 60.0
"""So long is waited for a result where no page asks for it."""
IN_LINE_SECONDS = 0.03
"""A result that is there within this time is shown without a bar: one that was kept, mostly."""
PATIENCE_SECONDS = 1.0
"""So long the page itself waits for what it begins with, which is there sooner than by drawing the page anew."""
LATER_SECONDS = 0.5
"""So long after it was asked for begins what comes later: the browser draws first."""
REFRESH_SECONDS = 0.4
TOO_FEW = 20
"""Of fewer tasks the bootstrap's intervals are too narrow to judge by."""


def computed(slot: str, key: Hashable, make: Callable[[Report], T], *, told: str, later: bool = False) -> T | None:
    """The result of `make(report)` for `key`; while it is computed None, and a bar with Stop on the page.

    `slot` is the place on the page: asking for another key there lets go of the former. `key` names everything that
    the result depends on. `told` says what is computed, e.g. "Adapting to 600 tasks". The page waits a little for it,
    and not for what comes `later`, after something that is there to be drawn; whoever touches a control ends the wait.
    """
    from metalab.analysis.background import background

    if _PAGELESS.get():
        return None if later else _whenever(slot, key, make)
    stopped: dict[str, Hashable] = st.session_state.setdefault("background.stopped", {})
    if stopped.get(slot) == key:
        _restart(slot, told)
        return None
    asker = (_session(), slot)
    after = LATER_SECONDS if later else 0.0
    work = background().ask((slot, key), make, asker, wait=IN_LINE_SECONDS, person=current_user(), after=after)
    if not later:
        _await(work, told)
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


@contextmanager
def without_page() -> Iterator[None]:
    """Inside, `computed` draws nothing, takes its time, and leaves what comes later."""
    before = _PAGELESS.set(True)
    try:
        yield
    finally:
        _PAGELESS.reset(before)


def _whenever(slot: str, key: Hashable, make: Callable[[Report], T]) -> T | None:
    from metalab.analysis.background import background

    work = background().ask((slot, key), make, ("ahead", slot), wait=LONGEST_SECONDS, person="ahead")
    return cast("T", work.result) if work.state == "done" else None


def leave_others() -> None:
    """The visitor opens a page: what other pages of theirs compute rests until these ask again."""
    from metalab.analysis.background import background

    background().rest(current_user())


def first_words(n_tasks: int, whole: int) -> str:
    """That a first look is too small to judge by: Markdown. Nothing where it is not, and where no more will follow."""
    if n_tasks >= min(TOO_FEW, whole):
        return ""
    told = _("**A first look:** {n} tasks, too few to judge by; {whole} follow.")
    return told.format(n=n_tasks, whole=whole)


def few_words(n_tasks: int) -> str:
    """That what follows rests on too few tasks, chosen so: Markdown with a space after it, or nothing."""
    if n_tasks >= TOO_FEW:
        return ""
    return _("**Only {n} tasks:** more of them may say otherwise.").format(n=n_tasks) + " "


def _await(work: Work, told: str) -> None:
    """Show how far it is, for PATIENCE_SECONDS at most. Each bar lets a newer run of the page take over."""
    import time

    end = time.monotonic() + PATIENCE_SECONDS
    bar = None
    while not work.ended.wait(REFRESH_SECONDS / 4) and time.monotonic() < end:
        work.asked = time.monotonic()
        bar = bar or st.empty()
        bar.progress(work.fraction, text=f"{told} …")
    if bar is not None:
        bar.empty()


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
