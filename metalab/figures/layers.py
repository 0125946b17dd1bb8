"""A network drawn as its layers, and how a function hangs on its support points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from metalab.analysis.influence import Floats, Influence
from metalab.analysis.layers import Layer
from metalab.figures.style import (
    CLEAR,
    FONT_SMALL,
    INK,
    SOFT,
    Picture,
    Say,
    axis,
    contender_colour,
    fixed,
    layout,
    line,
    number,
    plain,
)

LEAST = 0.06
"""Width of the narrowest box, where the widest has 1."""
BOXES = (0.2, 0.4)
"""From where to where boxes lie, as shares of the width; names to the left of them, figures to the right."""
ROW = 36
"""Pixels of a layer."""
WIDE, NARROW = (760.0, 240.0), (270.0, 240.0)
"""Pixels of the plot of pulls, across and down, on a wide screen and on a phone."""
LETTERING = np.array([42.0, 18.0])
"""Pixels of a pull's figure, across and down."""


def network(found: Sequence[Layer], label: str, colour_key: tuple[str, int, int], say: Say) -> Picture:
    """A box for each layer: as wide as its output is large, its colour the stronger the farther adaptation moves it."""
    sizes = [math.sqrt(math.prod(layer.shape)) if layer.shape else 0.0 for layer in found]
    most, far = max(sizes), max(layer.moved for layer in found) or 1.0
    middle, half = sum(BOXES) / 2, (BOXES[1] - BOXES[0]) / 2
    shapes, notes = [_link(i, middle) for i in range(1, len(found))], []
    for i, (layer, size) in enumerate(zip(found, sizes, strict=True)):
        reach = half * max(LEAST, size / most)
        place = {"type": "rect", "x0": middle - reach, "x1": middle + reach, "y0": i - 0.3, "y1": i + 0.3}
        shapes.append(place | {"fillcolor": "#FFFFFF", "line": {"width": 0}})
        strength = 0.06 + 0.9 * layer.moved / far
        shapes.append(place | {"fillcolor": contender_colour(colour_key), "opacity": strength, "line": {"width": 0}})
        shapes.append(place | {"line": {"color": INK if layer.parameters else SOFT, "width": 1.5}})
        notes.append(_note(f"<b>{plain(layer.name)}</b>", BOXES[0] - 0.02, i, INK, "right"))
        notes.append(_note(_figures(layer), BOXES[1] + 0.03, i, SOFT, "left"))
    notes.append(_note(say("output · parameters · moved"), BOXES[1] + 0.03, -1, INK, "left"))
    data = {
        "type": "scatter",
        "mode": "text",
        "x": [middle] * len(found),
        "y": list(range(len(found))),
        "text": [str(layer.parameters) for layer in found],
        "customdata": [layer.name for layer in found],
        "textfont": {"color": CLEAR},
        "hoverinfo": "skip",
    }
    total = sum(layer.parameters for layer in found)
    mover = max(found, key=lambda layer: layer.moved)
    look = layout(
        xaxis=axis("", range=[0, 1], visible=False, fixedrange=True),
        yaxis=axis("", range=[len(found) - 0.5, -1.5], visible=False, fixedrange=True),
        shapes=shapes,
        annotations=notes,
        margin={"l": 4, "r": 4, "t": 4, "b": 4},
    )
    told = say("{contender}'s network has {total} parameters in {n} layers; adaptation moves {layer} most, by {share}.")
    return Picture(
        "network",
        say("What does the answer pass through?"),
        told.format(
            contender=label, total=f"{total:,}", n=len(found) - 1, layer=mover.name, share=percent(mover.moved)
        ),
        {"data": [data], "layout": look},
        columns=("layer", "parameters"),
        key=(
            ("sign", say("as wide as the output is large; the stronger the colour, the farther adaptation moves it")),
        ),
    )


def height_of(found: Sequence[Layer]) -> int:
    """Pixels in height that the picture of a network needs."""
    return ROW * (len(found) + 1)


def _figures(layer: Layer) -> str:
    """What stands beside a box."""
    parts = [shaped(layer.shape)] if layer.shape else []
    if layer.parameters:
        parts += [f"{layer.parameters:,}", percent(layer.moved)]
    return " · ".join(parts)


def _link(i: int, middle: float) -> dict[str, Any]:
    return {"type": "line", "x0": middle, "x1": middle, "y0": i - 0.7, "y1": i - 0.3, "line": line(SOFT, 1.5)}


def shaped(shape: Sequence[int]) -> str:
    """14×14×64"""
    return "×".join(map(str, shape))


def percent(share: float) -> str:
    """A share of the layer's length."""
    if 0 < share < 0.001:
        return "< 0.1%"
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def _note(text: str, x: float, y: float, colour: str, side: str) -> dict[str, Any]:
    return {
        "text": text,
        "x": x,
        "y": y,
        "xanchor": side,
        "align": side,
        "showarrow": False,
        "font": {"size": FONT_SMALL, "color": colour},
    }


def pull(found: Influence, x: float, say: Say) -> Picture:
    """The adapted function, its support points as large as their pull at x, and the prediction there."""
    return replace(_pull(found, x, WIDE, say), narrow=_pull(found, x, NARROW, say))


def _pull(found: Influence, x: float, size: tuple[float, float], say: Say) -> Picture:
    at = int(np.abs(found.probe_x - x).argmin())
    here = found.pull[:, at]
    colour = contender_colour(found.colour_key)
    data: list[dict[str, Any]] = []
    if found.truth is not None:
        data.append(_curve(found.probe_x, found.truth, say("true function"), line(INK, 2, "dash")))
    data.append(_curve(found.probe_x, found.before, say("before adaptation"), line(colour, 1.8, "dot")))
    data.append(_curve(found.probe_x, found.after, say("after adaptation"), line(colour, 3.5)))
    values = [v for v in (found.after, found.before, found.support_y, found.truth) if v is not None]
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    room = 0.12 * (high - low + 0.5)
    spans = float(found.probe_x[-1] - found.probe_x[0]) + 0.8, high - low + 2 * room
    told = _readable(found, here, (size[0] / spans[0], size[1] / spans[1]))
    data += [_points(found, here, told, say), _mark(float(found.probe_x[at]), float(found.after[at]), say)]
    upright = {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line(SOFT, 1.2, "dot")}
    look = layout(
        xaxis=axis("x", range=[float(found.probe_x[0]) - 0.4, float(found.probe_x[-1]) + 0.4]),
        yaxis=axis("y", range=[low - room, high + room]),
        hovermode="closest",
        shapes=[upright],
    )
    return Picture(
        "pull",
        say("Which support point pulls the prediction?"),
        pulled(found, x, say),
        {"data": data, "layout": look},
        columns=("x", "y"),
        key=(
            ("dash", say("true function")),
            ("dot", say("before adaptation")),
            ("line", say("after adaptation")),
            ("point", say("support point; orange pulls the prediction along, blue the other way")),
        ),
    )


def _readable(found: Influence, here: Floats, scale: tuple[float, float]) -> list[bool]:
    """Which pulls can be written without lying on a stronger one's; `scale` is pixels for a unit of x and of y."""
    places = np.stack([found.support_x * scale[0], found.support_y * scale[1]], 1)
    shown: list[int] = []
    for i in np.abs(here).argsort()[::-1]:
        if all((np.abs(places[i] - places[j]) >= LETTERING).any() for j in shown):
            shown.append(int(i))
    return [i in shown for i in range(len(here))]


def _points(found: Influence, here: Floats, told: Sequence[bool], say: Say) -> dict[str, Any]:
    """The support points, as large as their pull; its figure is written where `told` says so, and else in the hover."""
    most = float(np.abs(here).max()) or 1.0
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": found.support_x,
        "y": found.support_y,
        "marker": {
            "size": 9 + 25 * np.abs(here) / most,
            "color": ["#D55E00" if value > 0 else "#0072B2" for value in here],
            "line": {"color": "#FFFFFF", "width": 1.5},
        },
        "text": [fixed(value, 2, sign=True) for value in here],
        "textposition": "top center",
        "cliponaxis": False,
        "textfont": {"size": FONT_SMALL, "color": [INK if one else CLEAR for one in told]},
        "name": say("pull of a support point"),
        "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
    }


def _mark(x: float, y: float, say: Say) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x],
        "y": [y],
        "marker": {"symbol": "x", "size": 14, "color": INK},
        "name": say("the prediction"),
        "hovertemplate": "%{y:.2f}<extra>%{fullData.name}</extra>",
    }


def pulled(found: Influence, x: float, say: Say) -> str:
    """In words."""
    at = int(np.abs(found.probe_x - x).argmin())
    here = found.pull[:, at]
    best = int(np.abs(here).argmax())
    return say(
        "At x = {x} {contender} predicts {y}; the support point at x = {point} pulls most: one unit up moves the "
        "prediction by {pull}."
    ).format(
        x=fixed(float(found.probe_x[at]), 1),
        contender=found.label,
        y=number(float(found.after[at])),
        point=fixed(float(found.support_x[best]), 1),
        pull=fixed(float(here[best]), 2, sign=True),
    )


def _curve(x: Any, y: Any, name: str, look: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": look,
        "name": name,
        "hovertemplate": "%{y:.3g}<extra>%{fullData.name}</extra>",
    }
