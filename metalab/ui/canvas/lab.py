"""The map of the exact lab: a figure over which people drag optima, bowls and the start (assets/lab.js)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import streamlit as st

from metalab.analysis.quadratic_lab import BENDS, Bowl
from metalab.figures.quadratic_lab import HALF, MARGIN, RIM
from metalab.figures.style import DARK, Picture
from metalab.ui.canvas.bridge import asset, sequence_number, stored
from metalab.ui.i18n import _
from metalab.ui.live import plotly_address
from metalab.ui.stage import pack

Place = tuple[float, float]

_mount = st.components.v2.component(
    "metalab_lab",
    html='<div class="ml-lab"></div>',
    css=asset("lab.css"),
    js=asset("chart_library.js", "canvas.js", "saved_key.js", "stage_figures.js", "lab_handles.js", "lab.js"),
    isolate_styles=False,  # plotly puts its own rules into the page's head
)


@dataclass(frozen=True)
class Arrangement:
    """What lies on the map."""

    bowls: tuple[Bowl, ...]
    start: Place
    moving: bool = False
    """Whether something is being dragged right now."""


def read_lab(begin: Arrangement, *, key: str, revision: int) -> Arrangement:
    """What lies on the map `key` now; `begin` before the first drag of this revision, and for what cannot be read."""
    value = stored(key, "lab", revision)
    if value is None:
        return begin
    bowls, start = parse_bowls(value.get("bowls"), len(begin.bowls)), parse_place(value.get("start"))
    if bowls is None or start is None:
        return begin
    return Arrangement(bowls, start, value.get("moving") is True)


def draw_lab(begin: Arrangement, picture: Picture, diverging: Sequence[int], *, key: str, revision: int) -> None:
    """Draw the map; the tasks `diverging` are marked.

    Another `revision` puts everything to where it is in `begin`; within one the browser's places hold.
    """
    value = stored(key, "lab", revision)
    _mount(
        key=key,
        data={
            "revision": revision,
            "seq": sequence_number(value),
            "bowls": [list(astuple(bowl)) for bowl in begin.bowls],
            "start": list(begin.start),
            "diverging": list(diverging),
            "half": HALF,
            "rim": RIM,
            "bends": list(BENDS),
            "margin": MARGIN,
            "title": picture.title,
            "alt": picture.alt,
            "key": [{"look": look, "text": text} for look, text in picture.key],
            "columns": list(picture.columns),
            "figure": pack(picture.figure),
            "dark": dict(DARK),
            "plotly": plotly_address(),
            "text": _texts(),
        },
        on_lab_change=lambda: None,
    )


def parse_place(value: Any) -> Place | None:
    """A browser's pair of numbers, brought into the map; None where it is none."""
    if not (isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))):
        return None
    x, y = (min(max(float(part), -HALF), HALF) for part in value)
    return x, y


def parse_bowls(value: Any, n: int) -> tuple[Bowl, ...] | None:
    """A browser's `n` bowls, each [x, y, first, second, turn], brought into their ranges; None where they are none."""
    if not isinstance(value, list | tuple) or len(value) != n:
        return None
    bowls = []
    for each in value:
        if not (isinstance(each, list | tuple) and len(each) == 5 and all(map(_is_number, each))):
            return None
        place = parse_place(each[:2])
        assert place is not None
        first, second = (min(max(float(bend), BENDS[0]), BENDS[1]) for bend in each[2:4])
        bowls.append(Bowl(*place, first, second, round(float(each[4]) % 180, 1)))
    return tuple(bowls)


def _is_number(value: Any) -> bool:
    # The bound keeps an int with thousands of digits away from float(), which it would overflow.
    return type(value) in (int, float) and -1e9 < value < 1e9


def _texts() -> Mapping[str, str]:
    return {
        "map": _("Map of both parameters. Every handle can be reached with the Tab key and moved with the arrow keys."),
        "optimum": _("Optimum of task {task}: ({x}, {y})"),
        "optimum_help": _("Drag it, or use the arrow keys (with Shift: ten times as far)."),
        "start": _("Start of the outer loops, θ: ({x}, {y})"),
        "bowl": _("Task {task}, curvature {bend} along this axis, at {turn}°"),
        "bowl_help": _("Drag it, or stretch with up and down and turn with left and right."),
        "told": _("Task {task}: optimum ({x}, {y}), curvatures {first} and {second}, turned by {turn}°"),
        "told_start": _("θ starts at ({x}, {y})"),
        "hint": _("Drag a number, a round handle of its bowl, or the diamond θ."),
        "png": _("Download as a picture"),
        "svg": _("Download as a drawing that can be enlarged"),
        "csv": _("Download the numbers"),
        "no_plotly": _("The chart library could not be loaded from this server. Reload the page."),
    }
