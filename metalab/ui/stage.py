"""The stage of a race: the score, one player for all figures, and the figures (assets/stage.js).

st.plotly_chart mounts a figure anew whenever its data changes, which flickers under a moving slider; this
component keeps its figures and lets plotly update them. Stepping through the inner loop needs no rerun.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import streamlit as st

from metalab.figures.adaptation import STEP
from metalab.figures.style import DARK, Picture, contender_colour
from metalab.ui.canvas.bridge import asset, stored
from metalab.ui.i18n import _
from metalab.ui.live import plotly_address, whole_plotly_address

_PLAIN = frozenset({str, int, bool, type(None)})
_DTYPES = {
    np.dtype(name): code
    for name, code in {
        "float32": "f4", "float64": "f4", "uint8": "u1", "int16": "i2", "int32": "i4", "int64": "i4",
    }.items()
}  # fmt: skip

_mount = st.components.v2.component(
    "metalab_stage",
    html='<div class="ml-stage"></div>',
    css=asset("stage.css"),
    js=asset("chart_library.js", "saved_key.js", "stage_figures.js", "stage.js"),
    isolate_styles=False,  # plotly puts its own rules into the page's head
)


@dataclass(frozen=True)
class Score:
    """A contender's figure in the score: one value for each step 0 .. K."""

    label: str
    colour_key: tuple[str, int, int]
    values: Sequence[float]


@dataclass(frozen=True)
class Metric:
    """What the score counts."""

    label: str
    high_is_good: bool = False
    percent: bool = False


@dataclass(frozen=True)
class Placed:
    """A picture, how tall it is in pixels, and where it goes: whole, half or third of a row, or tall."""

    picture: Picture
    height: int = 300
    place: str = "half"


def player_step(key: str, revision: int, steps: int) -> int:
    """The inner step, 0 .. steps, on which the player rests; the last one before anybody touched it."""
    value = stored(key, "player", revision)
    step = value.get("step") if value else None
    return min(step, steps) if type(step) is int and step >= 0 else steps


def draw_stage(
    pictures: Sequence[Placed],
    scores: Sequence[Score],
    metric: Metric,
    steps: int,
    axis: Literal["inner step", "shot"] = "inner step",
    *,
    key: str,
    revision: int,
    begin: int | None = None,
    follow: bool = False,
    trouble: str = "",
    settle: bool = False,
) -> None:
    """Draw the stage; its player counts `steps` of `axis`.

    A new `revision` puts the player to inner step `begin`, None for the last. With `follow` Python hears of
    each step while the player runs, for what is drawn outside the stage; otherwise only where it rests.
    `trouble` is shown between the player and the pictures. With `settle` the browser causes one more rerun when
    nothing has moved for a while.
    """
    lanes = [
        {
            "label": score.label,
            "colour": contender_colour(score.colour_key),
            "values": [float(v) if math.isfinite(v) else None for v in score.values],
        }
        for score in scores
    ]
    best = "high" if metric.high_is_good else "low"
    said = {"follow": follow, "trouble": trouble, "settle": settle, "lanes": lanes}
    said["metric"] = {"label": metric.label, "best": best, "percent": metric.percent}
    mount(
        pictures,
        {"step": begin, "steps": steps, "column": STEP[axis], "prefix": "adapt", **said},
        inner_step_texts() if axis == "inner step" else _shot_texts(),
        key=key,
        revision=revision,
    )


def mount(
    pictures: Sequence[Placed], said: Mapping[str, Any], texts: Mapping[str, str], *, key: str, revision: int
) -> None:
    """Mount assets/stage.js with these pictures; `said` takes the place of what it is told by default."""
    default: dict[str, Any] = {
        "step": None,
        "steps": 0,
        "counts": [],
        "follow": False,
        "trouble": "",
        "settle": False,
        "pickable": False,
    }
    metric = {"label": "", "best": "low", "percent": False}
    data = {
        **default,
        "lanes": [],
        "metric": metric,
        "revision": revision,
        "pictures": [_packed(placed) for placed in pictures],
        "dark": dict(DARK),
        "plotly": plotly_address(),
        "whole_plotly": whole_plotly_address(),
        "text": {**_texts(), **texts},
        **said,
    }
    _mount(key=key, data=data, on_player_change=lambda: None, on_pick_change=lambda: None)


def _packed(placed: Placed) -> dict[str, Any]:
    picture = placed.picture
    return {
        "name": picture.name,
        "title": picture.title,
        "alt": picture.alt,
        "figure": pack(picture.figure),
        "narrow": picture.narrow and {"figure": pack(picture.narrow.figure), "aspect": picture.narrow.aspect},
        "columns": list(picture.columns),
        "key": [{"look": look, "text": text} for look, text in picture.key],
        "aspect": picture.aspect,
        "height": placed.height,
        "place": placed.place,
    }


def pack(value: Any) -> Any:
    """A figure as JSON can carry it: arrays become {dtype, bdata (base64), shape}, a third of their length as text."""
    kind = type(value)
    if kind in _PLAIN:  # most of a figure: asked first
        return value
    if kind is dict or isinstance(value, Mapping):
        return {name: pack(inner) for name, inner in value.items()}
    if kind is list or isinstance(value, list | tuple):
        return [pack(inner) for inner in value]
    if isinstance(value, np.ndarray):
        code = _DTYPES[value.dtype]
        array = np.ascontiguousarray(value, dtype=f"<{code}")
        return {"dtype": code, "bdata": base64.b64encode(array.tobytes()).decode("ascii"), "shape": list(array.shape)}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _texts() -> dict[str, str]:
    return {
        "pause": _("Pause"),
        "best": _("best"),
        "png": _("Download as a picture"),
        "svg": _("Download as a drawing that can be enlarged"),
        "csv": _("Download the numbers"),
        "no_plotly": _("The chart library could not be loaded from this server. Reload the page."),
    }


def inner_step_texts() -> dict[str, str]:
    """What the player says where it counts inner steps."""
    return {
        "player": _("Player of the inner loop"),
        "step": _("Inner step to show"),
        "where": _("inner step {step} of {steps}"),
        "play": _("Play the inner steps in order"),
        "back": _("One inner step back"),
        "forward": _("One inner step on"),
    }


def training_texts() -> dict[str, str]:
    """What the player says where it counts the checkpoints of a run."""
    return {
        "player": _("Player of the training"),
        "step": _("Checkpoint to show"),
        "where": _("outer step {step} of {steps}"),
        "play": _("Play the checkpoints in order"),
        "back": _("One checkpoint back"),
        "forward": _("One checkpoint on"),
    }


def _shot_texts() -> dict[str, str]:
    return {
        "player": _("Player of the shots"),
        "step": _("Number of shots to show"),
        "where": _("{step} of {steps} shots"),
        "play": _("Play with more shots, one after another"),
        "back": _("One shot less"),
        "forward": _("One shot more"),
    }
