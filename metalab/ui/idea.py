"""The moving picture of Home: theta among its tasks, and what it predicts before and after adaptation."""

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from metalab.ui.i18n import _

_ASSETS = Path(__file__).resolve().parents[2] / "assets"


def moving_picture(*, key: str) -> None:
    """Draw it. Whoever asked for less motion sees its last frame, with a button to play it."""
    _component()(
        key=key,
        data={
            "alt": _(
                "Left, a map of all parameters: a black dot, θ, starts far from five coloured dots, the tasks. From θ "
                "a line of a few gradient steps leads towards each task; between rounds θ moves, until it lies where "
                "the lines reach every task. Right: three sine waves with a few known points each; the curve "
                "that starts at θ bends to the points, and does so better in every round."
            ),
            "caption": _(
                "Coloured lines are inner loops: a few gradient steps from θ towards one task. The outer loop moves θ "
                "to where such steps lead furthest. Dots are all that a learner sees; the dashed wave is the truth."
            ),
            "map": _("All parameters"),
            "waves": _("Three of the tasks"),
            "pause": _("Pause"),
            "play": _("Play"),
            "pause_help": _("Holds the picture still"),
            "play_help": _("Lets the picture move on"),
        },
    )


@cache
def _component() -> Any:
    return st.components.v2.component(
        "metalab_idea",
        css=(_ASSETS / "home.css").read_text(encoding="utf-8"),
        js=(_ASSETS / "home.js").read_text(encoding="utf-8"),
        isolate_styles=False,
    )
