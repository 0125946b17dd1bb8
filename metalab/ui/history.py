"""One entry of the browser's history for each page visited, however often its link changes (assets/history.js)."""

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_SCRIPT = Path(__file__).resolve().parents[2] / "assets" / "history.js"


def one_entry_a_page() -> None:
    """Let Back lead to the page before. Draws nothing; style.css takes it out of the page's layout."""
    _component()(key="history")


@cache
def _component() -> Any:
    return st.components.v2.component("metalab_history", js=_SCRIPT.read_text(encoding="utf-8"), isolate_styles=False)
