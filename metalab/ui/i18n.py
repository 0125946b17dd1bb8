"""The language of the interface: gettext, with English as the source language.

`_` looks its text up at each call, in the language of the page that calls it. So it belongs inside
functions, never at a module's top level, where it would freeze the first visitor's language.
"""

import gettext
import re
import threading
from functools import cache
from pathlib import Path

LOCALE_DIR = Path(__file__).with_name("locale")
SOURCE_LANGUAGE = "en"
_LANGUAGE_SHAPE = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?")
_SESSION_KEY = "metalab_language"
_run = threading.local()
"""The script run that this thread is in, and its language: a page asks for it a hundred times."""


def _(text: str) -> str:
    """`text` in the language of the current page; `text` itself where there is no translation."""
    return _catalogue(language()).gettext(text)


def ngettext(singular: str, plural: str, n: int) -> str:
    """The form of a text that goes with the number `n`, in the language of the current page."""
    return _catalogue(language()).ngettext(singular, plural, n)


@cache
def languages() -> tuple[str, ...]:
    """The languages that can be chosen: English and every catalogue under metalab/ui/locale."""
    found = {path.parent.parent.name for path in LOCALE_DIR.glob("*/LC_MESSAGES/metalab.mo")}
    return tuple(sorted(found | {SOURCE_LANGUAGE}))


def language() -> str:
    """The current page's language; English outside a page (a thread, the command line)."""
    import streamlit as st
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        return SOURCE_LANGUAGE
    if getattr(_run, "context", None) is not context:
        _run.context, _run.language = context, st.session_state.get(_SESSION_KEY, SOURCE_LANGUAGE)
    return _run.language


def choose_language() -> None:
    """Take the language from the link's `?lang=` into the session; the main script calls it once a run.

    A language without a catalogue changes nothing: the link may be older or newer than this installation.
    """
    import streamlit as st

    wanted = st.query_params.get("lang", "")
    if _LANGUAGE_SHAPE.fullmatch(wanted) and wanted in languages():
        st.session_state[_SESSION_KEY] = wanted
    _run.context = None


@cache
def _catalogue(name: str) -> gettext.NullTranslations:
    return gettext.translation("metalab", LOCALE_DIR, languages=[name], fallback=True)
