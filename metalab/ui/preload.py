"""Getting the chart library into the browser before the first chart needs it."""

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from metalab.ui.live import plotly_address

_SCRIPT = Path(__file__).resolve().parents[2] / "assets" / "preload.js"


def preload_charts(*, key: str, idle: bool = True) -> None:
    """Let the browser load plotly.js: when it is `idle`, or at once on a page with charts. Draws nothing."""
    _component()(key=key, data={"plotly": plotly_address(), "idle": idle})


@cache
def _component() -> Any:
    return st.components.v2.component("metalab_preload", js=_SCRIPT.read_text(encoding="utf-8"), isolate_styles=False)
