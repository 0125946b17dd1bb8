"""Getting the chart library into the browser before the first chart needs it."""

from functools import cache
from typing import Any

import streamlit as st

from metalab.ui.canvas.bridge import asset
from metalab.ui.live import plotly_address


def preload_charts(*, key: str, idle: bool = True) -> None:
    """Let the browser load plotly.js: when it is `idle`, or at once on a page with charts. Draws nothing."""
    _component()(key=key, data={"plotly": plotly_address(), "idle": idle})


@cache
def _component() -> Any:
    return st.components.v2.component(
        "metalab_preload", js=asset("chart_library.js", "preload.js"), isolate_styles=False
    )
