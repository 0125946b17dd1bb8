"""What the two canvases share on the Python side: their assets, the stored value, checks of what pages pass.

A canvas keeps its state in the browser and sends it as {"revision", "seq", ...}. A value whose revision is not the
one Python asks for belongs to a canvas that has since been reset, and counts as absent.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import streamlit as st

_ASSETS = Path(__file__).resolve().parents[3] / "assets"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def asset(*names: str) -> str:
    """The text of files in assets/, one after the other."""
    return "\n".join((_ASSETS / name).read_text(encoding="utf-8") for name in names)


def stored(key: str, name: str, revision: int) -> dict[str, Any] | None:
    """What the browser last sent for the canvas `key`, or None if nothing belongs to this revision."""
    state = st.session_state.get(key)
    value = state.get(name) if isinstance(state, dict) else None
    if not isinstance(value, dict) or value.get("revision") != revision:
        return None
    return dict(value)


def sequence_number(value: dict[str, Any] | None) -> int:
    """The number of the browser's message, echoed so that it knows when the next one may follow."""
    number = value.get("seq") if value else None
    return number if type(number) is int and 0 <= number < 2**53 else 0


def checked_colour(value: str) -> str:
    """`value` if it is a colour such as '#0072B2'; else a ValueError."""
    if not isinstance(value, str) or not _COLOUR.fullmatch(value):
        raise ValueError(f"colour {value!r}: expected six hexadecimal digits, such as '#0072B2'.")
    return value
