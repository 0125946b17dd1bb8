"""What stands before a page's first picture: on a phone one button opens it (assets/style.css; no script)."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Literal

import streamlit as st

from metalab.ui.i18n import _

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator


def fold_button(label: str = "") -> None:
    """On a narrow screen: the button that opens the page's folded parts, and closes them; elsewhere nothing.

    Without it on the page they are open. `label` says what they are, by default runs and controls.
    """
    label = html.escape(label or _("Runs and controls"))
    st.html(f'<details class="ml-fold"><summary>{label}</summary></details>')


def folded(name: str, *, width: int | Literal["stretch", "content"] = "stretch") -> DeltaGenerator:
    """A container that a narrow screen shows when the page's fold is open; `name` is its own on the page."""
    return st.container(key=f"fold-{name}", width=width)
