"""The exact lab as a map of the two parameters: tasks, fixed points, outer and inner loops, the field of one rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metalab.analysis.quadratic_lab import Bowl, Floats, Lab, Rule
from metalab.figures.style import (
    FONT_SMALL,
    INK,
    SOFT,
    Figure,
    Picture,
    Say,
    axis,
    colour_of,
    layout,
    line,
    number,
    spread,
    static,
)

HALF = 4.0
"""The map shows both parameters from -HALF to HALF."""
RIM = 0.9
"""A bowl is drawn where its loss is RIM^2 / 2: at this distance from the optimum along an axis of curvature 1."""
ARROWS = 15
"""Arrows of the field along each side."""
WARNING = "#D1495B"
"""An inner loop that diverges; it stands out from a light and from a dark page."""
OVERLAY = {"meta": {"csv": False, "overlay": True}}
"""Marks what the browser draws by itself over the figure, as it is dragged: only a saved picture needs it."""
ARRIVED = HALF / 400
"""An outer step that is nearer than this to the path's end lies on it: less than a pixel."""
MARGIN = {"l": 46, "r": 10, "t": 8, "b": 52}
COLOURS = {
    "joint": colour_of("pretrained"),
    "maml": colour_of("maml"),
    "fomaml": colour_of("maml", order=1),
    "reptile": colour_of("reptile"),
    "imaml": colour_of("imaml"),
}


@dataclass(frozen=True, eq=False)
class View:
    """What of the lab is looked at."""

    start: Floats
    """Where the outer loops begin, and the inner loops that are shown: (2,)."""
    outer_lr: float
    algorithm: str
    """Whose field is drawn, and whose path stands out."""
    inner: bool
    """Whether the inner loops from the start are drawn; one that diverges always is."""


def quadratic_lab(found: Lab, view: View, say: Say) -> Picture:
    """The map. Formula and engine lie on top of each other: a ring and a dot."""
    rules = list(found.rules.values())
    chosen = found.rules[view.algorithm]
    data = [_field(chosen, say)]
    data += [_rim(bowl) for bowl in found.setup.bowls]
    data += _inner_loops(found, view, say)
    paths = {rule.name: _kept(rule.path(view.start, view.outer_lr)) for rule in rules}
    last = sorted(rules, key=lambda rule: rule is chosen)
    data += [_path(rule, paths[rule.name], rule is chosen, say) for rule in last]
    data.append(_outer_steps(chosen, paths[chosen.name]))
    data += [trace for rule in rules if rule.determined for trace in _fixed_points(rule, say)]
    data += [_optima(found.setup.bowls), _start(view.start)]
    # No number in the corner, where those of both axes would lie on each other.
    scale = {"range": [-HALF, HALF], "automargin": False, "fixedrange": True, "tickvals": list(range(-3, 4))}
    look = layout(
        xaxis=axis("θ₁", **scale),
        yaxis=axis("θ₂", **scale),
        margin=MARGIN,
        hovermode="closest",
        annotations=[*_labels(rules, view, say), *_warnings(found, say)],
    )
    return Picture(
        "quadratic_lab",
        say("Where does each algorithm come to rest?"),
        sentence(found, say),
        {"data": data, "layout": look},
        columns=("theta_1", "theta_2"),
        key=_key(found, view, say),
        aspect=1.0,
    )


def sentence(found: Lab, say: Say) -> str:
    """What the map shows, as one sentence of data."""
    told = [rule for rule in found.rules.values() if rule.determined]
    places = ", ".join(f"{rule.label} ({_coordinates(rule.engine)})" for rule in told)
    if not told:
        return say("None of the algorithms has a fixed point that 64-bit numbers can tell.")
    return say("{n} tasks; fixed points: {places}; formula and engine differ by at most {gap}.").format(
        n=len(found.setup.bowls), places=places, gap=number(max(rule.difference for rule in told))
    )


# --- the rules


def _field(rule: Rule, say: Say) -> dict[str, Any]:
    """Where the outer loop goes from everywhere: arrows, longer where the meta-gradient is larger."""
    cell = 2 * HALF / ARROWS
    middle = -HALF + cell * (np.arange(ARROWS) + 0.5)
    places = np.stack(np.meshgrid(middle, middle), -1).reshape(-1, 2)
    down = -rule.gradient(places)
    size = np.linalg.norm(down, axis=1, keepdims=True)
    # The fourth root: meta-gradients of a picture differ too much for arrows of their own length.
    largest = max(float(size.max()), 1e-300)
    arrow = 0.85 * cell * down / np.maximum(size, 1e-300) * (size / largest) ** 0.25
    tip, tail = places + arrow / 2, places - arrow / 2
    side = 0.16 * np.stack([-arrow[:, 1], arrow[:, 0]], 1)
    back = tip - 0.32 * arrow
    gap = np.full_like(tip, np.nan)
    strokes = np.stack([tail, tip, back + side, tip, back - side, gap], 1).reshape(-1, 2)
    name = say("meta-gradient of {algorithm}, downhill").format(algorithm=rule.label)
    look = line(COLOURS[rule.name], 1.3)
    return _line(strokes, name, look, opacity=0.42, hoverinfo="skip") | static()


def _path(rule: Rule, path: Floats, stands_out: bool, say: Say) -> dict[str, Any]:
    """The outer loop from the start."""
    look = line(COLOURS[rule.name], 3.0 if stands_out else 1.8)
    name = say("{algorithm}, outer loop").format(algorithm=rule.label)
    return _line(path, name, look, opacity=1.0 if stands_out else 0.7)


def _outer_steps(rule: Rule, path: Floats) -> dict[str, Any]:
    """A dot for each outer step until the path has arrived: hundreds on one spot would only take time to draw."""
    on_the_way = np.flatnonzero(np.abs(path - path[-1]).max(1) > ARRIVED)
    places = path[: on_the_way[-1] + 2] if len(on_the_way) else path[:1]
    marker = {"size": 5, "color": COLOURS[rule.name]}
    return _line(places, "", line(COLOURS[rule.name], 0), mode="markers", marker=marker, hoverinfo="skip") | static()


def _fixed_points(rule: Rule, say: Say) -> list[dict[str, Any]]:
    """A ring for the formula's, a dot for the engine's."""
    colour = COLOURS[rule.name]
    ring = {"symbol": "circle-open", "size": 20, "color": colour, "line": {"width": 3}}
    dot = {"symbol": "circle", "size": 10, "color": colour}
    named = ((say("{algorithm}, formula"), rule.formula, ring), (say("{algorithm}, engine"), rule.engine, dot))
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [float(place[0])],
            "y": [float(place[1])],
            "marker": marker,
            "name": name.format(algorithm=rule.label),
            "hovertemplate": "%{fullData.name}<br>(%{x:.6f}, %{y:.6f})<extra></extra>",
        }
        for name, place, marker in named
    ]


def _labels(rules: Sequence[Rule], view: View, say: Say) -> list[dict[str, Any]]:
    """Names in a column beside the fixed points, tied to them; of one beyond the map, at the edge it lies behind."""
    told = [rule for rule in rules if rule.determined]
    if not told:
        return []
    places = np.stack([np.clip(rule.engine, -0.96 * HALF, 0.96 * HALF) for rule in told])
    # On the side that the paths do not come from.
    right = float(view.start[0]) <= float(np.median(places[:, 0]))
    near = [float(rule.engine[0]) for rule in told if not _beyond(rule)] or [0.0]
    beside = min(max(near) + 0.55, 2.3) if right else max(min(near) - 0.55, -2.3)
    heights = spread([float(y) for y in places[:, 1]], 0.46, -0.92 * HALF, 0.92 * HALF)
    return [
        {
            "text": _label(rule, view, say),
            "x": float(place[0]),
            "y": float(place[1]),
            "ax": beside,
            "ay": height,
            "axref": "x",
            "ayref": "y",
            "xanchor": "left" if right else "right",
            "showarrow": True,
            "arrowhead": 3 if _beyond(rule) else 0,
            "arrowwidth": 1.2,
            "arrowcolor": COLOURS[rule.name],
            "standoff": 0 if _beyond(rule) else 10,
            "bgcolor": "#FFFFFF",
            "borderpad": 1,
            "font": {"size": FONT_SMALL, "color": COLOURS[rule.name], "weight": 700},
        }
        for rule, place, height in zip(told, places, heights, strict=True)
    ]


def _label(rule: Rule, view: View, say: Say) -> str:
    name = say("Joint") if rule.name == "joint" else rule.label
    if _beyond(rule):
        return say("{algorithm} (beyond)").format(algorithm=name)
    return name if rule.arrives(view.outer_lr) else say("{algorithm} (repels)").format(algorithm=name)


def _beyond(rule: Rule) -> bool:
    return bool(np.abs(rule.engine).max() > HALF)


# --- the tasks


def ellipse(bowl: Bowl, corners: int = 72) -> Floats:
    """The closed line on which the bowl's loss is RIM^2 / 2: (corners + 1, 2)."""
    angle = np.linspace(0, 2 * math.pi, corners + 1)
    radii = RIM / np.sqrt([bowl.first, bowl.second])
    return bowl.optimum + np.stack([np.cos(angle), np.sin(angle)], 1) * radii @ bowl.axes.T


def _rim(bowl: Bowl) -> dict[str, Any]:
    return _line(ellipse(bowl), "", line(SOFT, 2.0), hoverinfo="skip") | OVERLAY


def _optima(bowls: Sequence[Bowl]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [bowl.x for bowl in bowls],
        "y": [bowl.y for bowl in bowls],
        "text": [str(i + 1) for i in range(len(bowls))],
        "textfont": {"color": "#FFFFFF", "size": FONT_SMALL},
        "marker": {"size": 22, "color": INK},
        "name": "",
    } | OVERLAY


def _start(place: Floats) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [float(place[0])],
        "y": [float(place[1])],
        "marker": {"symbol": "diamond", "size": 16, "color": INK, "line": {"color": "#FFFFFF", "width": 2}},
        "name": "",
    } | OVERLAY


def _inner_loops(found: Lab, view: View, say: Say) -> list[dict[str, Any]]:
    """phi_0 .. phi_k of each task from the start."""
    diverging = found.setup.diverging
    if not (view.inner or diverging):
        return []
    traces = []
    for i, path in enumerate(found.inner_paths(view.start)):
        if i not in diverging and not view.inner:
            continue
        colour, width = (WARNING, 2.4) if i in diverging else (SOFT, 1.6)
        name = say("task {number}, inner loop").format(number=i + 1)
        marker = {"size": 6, "color": colour}
        traces.append(_line(_kept(path), name, line(colour, width, "dot"), mode="lines+markers", marker=marker))
    return traces


def _warnings(found: Lab, say: Say) -> list[dict[str, Any]]:
    """Below each task on which the inner loop diverges."""
    return [
        {
            "text": say("task {number} diverges").format(number=i + 1),
            "x": float(np.clip(found.setup.bowls[i].x, -0.75 * HALF, 0.75 * HALF)),
            "y": max(found.setup.bowls[i].y - 0.42, -0.95 * HALF),
            "showarrow": False,
            "bgcolor": "#FFFFFF",
            "borderpad": 1,
            "font": {"size": FONT_SMALL, "color": WARNING, "weight": 700},
        }
        for i in found.setup.diverging
    ]


def _key(found: Lab, view: View, say: Say) -> tuple[tuple[str, str], ...]:
    """What is not named in the map itself."""
    key = [
        ("ring", say("fixed point by formula")),
        ("point", say("by the engine")),
        ("line", say("outer loop")),
    ]
    if view.inner or found.setup.diverging:
        key.append(("dot", say("inner loop of a task")))
    return tuple(key)


# --- lines


def _kept(path: Floats) -> Floats:
    """The path up to where it leaves the map by far: plotly's lines are no place for 1e30."""
    far = np.flatnonzero(~(np.abs(path).max(1) < 25 * HALF))
    if not len(far):
        return path
    return np.clip(np.nan_to_num(path[: far[0] + 1], posinf=1e9, neginf=-1e9), -1e4, 1e4)


def _line(path: Floats, name: str, look: dict[str, Any], **more: Any) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": path[:, 0],
        "y": path[:, 1],
        "line": look,
        "name": name,
        "hovertemplate": "%{fullData.name}, %{pointNumber}<br>(%{x:.3f}, %{y:.3f})<extra></extra>",
    } | more


def _coordinates(place: Floats) -> str:
    return ", ".join(number(float(part)) for part in place)
