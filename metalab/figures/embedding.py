"""Tasks as points: the map of an embedding, how well neighbours know an attribute, and what a group of tasks learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.embedding import Embedding
from metalab.analysis.embedding_tasks import Attribute, Described, Floats
from metalab.figures.style import (
    CLEAR,
    FONT_SMALL,
    INK,
    Picture,
    Say,
    axis,
    fixed,
    layout,
    line,
    plain,
    static,
)

SCALE = ("#5B3FD0", "#9C2FA8", "#CC4778", "#ED7953", "#FDB42F")
"""From low to high: ordered for the colour-blind too, and each stands out from a light and from a dark page."""
BACK = ("#4FA36B", "#2E86A8", "#5B3FD0")
"""From high to low again, for angles."""
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B87F00", "#56B4E9", "#8257C2")
"""Of the labels that most tasks have; the rest are grey."""
OTHERS = "#8A949E"
EYE, EYE_OF_NARROW, BELOW = 1.35, 1.95, -0.12
"""How far along each axis the eye stands from the middle, and how far below that it looks: the box is seen whole."""
AROUND = 0.08
"""Room around the points, as a share of their extent."""
TITLE_LINE = 46
"""Letters of a line of a hover text."""
BRAILLE = 0x2800
"""The letter without a dot; each dot adds a power of two."""
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


@dataclass(frozen=True)
class View:
    """How the points are looked at."""

    attribute: int = 0
    """Which of the tasks' attributes colours them."""
    label: str = ""
    """Of an attribute with several labels a task: the one that is counted."""
    three: bool = False
    """Whether in three dimensions."""
    paths: bool = True
    """Whether the path of each point is drawn."""
    picked: int = -1
    """A task that stands out, as a place in the sample; -1 for none."""
    tsne: Floats | None = None
    """Places (T, 2 or 3) that replace the principal axes."""


def task_map(found: Embedding, view: View, say: Say) -> Picture:
    """The tasks as points, a frame for each stage; by t-SNE there is but one."""
    places = _places(found, view)
    kinds = _layers(found, places, view, say)
    last = len(places) - 1
    data = [{**layer.look, **_where(layer.at(last), view.three)} for layer in kinds]
    frames = [
        {
            "name": str(k),
            "traces": list(range(len(data))),
            "data": [_where(layer.at(k), view.three) for layer in kinds],
        }
        for k in _all(places)
    ]
    figure: dict[str, Any] = {"data": data, "layout": _look(found, places, view, say)}
    if view.tsne is None:
        figure["frames"] = frames
    picture = Picture(
        "task_map",
        say("How do tasks lie to each other?"),
        _told(found, view, say),
        figure,
        columns=("first_axis", "second_axis", "third_axis") if view.three else ("first_axis", "second_axis"),
        key=_key(found, view, say),
    )
    return replace(picture, narrow=replace(picture, figure=_from_afar(figure))) if view.three else picture


def _from_afar(figure: dict[str, Any]) -> dict[str, Any]:
    """The figure of three dimensions as a narrow screen holds it whole."""
    scene = figure["layout"]["scene"] | {"camera": _camera(EYE_OF_NARROW)}
    return figure | {"layout": figure["layout"] | {"scene": scene}}


def _camera(eye: float) -> dict[str, Any]:
    return {"eye": dict.fromkeys("xyz", eye), "center": {"x": 0, "y": 0, "z": BELOW}}


def _places(found: Embedding, view: View) -> Floats:
    """(S, T, 2 or 3)"""
    if view.tsne is not None:
        return view.tsne[None]
    return found.places[:, :, : 3 if view.three else 2]


@dataclass(frozen=True)
class _Layer:
    """One trace: its looks, and its points (n, 2 or 3) at each stage."""

    look: dict[str, Any]
    points: Sequence[NDArray]

    def at(self, stage: int) -> NDArray:
        return self.points[min(stage, len(self.points) - 1)]


def _layers(found: Embedding, places: Floats, view: View, say: Say) -> list[_Layer]:
    tasks, layers = found.about, []
    if view.paths and len(places) > 1:
        layers.append(
            _Layer(_trace("lines", line(OTHERS, 1.2), view, **static()), [_paths(places, k) for k in _all(places)])
        )
    attribute = tasks.attributes[view.attribute] if tasks.attributes else None
    size = 5 if view.three else 9
    for name, members, colour in _groups(attribute, view, tasks.n):
        marker = {"size": size, "line": {"color": "#FFFFFF", "width": 0.6}, **colour}
        hover = [_title(tasks, i) for i in members]
        look = _trace("markers", {}, view, marker=marker, name=name or say("tasks"), text=hover)
        look |= {"customdata": np.array(members, np.int32), "hovertemplate": "%{text}<extra></extra>"}
        layers.append(_Layer(look, list(places[:, members])))
        if name:
            at = [np.median(each[members], 0, keepdims=True) for each in places]
            font = {"size": FONT_SMALL, "color": colour["color"], "weight": 700}
            layers.append(_Layer(_text(plain(name), font, view), at))
    if found.new is not None:
        layers += _new(found, places, view, say)
    if view.picked >= 0:
        layers.append(_Layer(_ring(view, INK, size + 9), list(places[:, [view.picked]])))
    return layers


def _all(places: Floats) -> range:
    return range(len(places))


def _paths(places: Floats, stage: int) -> NDArray:
    """From the first stage to this one, task after task, with gaps between."""
    some = places[: stage + 1].transpose(1, 0, 2)
    gap = np.full_like(some[:, :1], np.nan)
    return np.concatenate([some, gap], 1).reshape(-1, places.shape[2])


def _new(found: Embedding, places: Floats, view: View, say: Say) -> list[_Layer]:
    """A person's task, and rings around the nearest."""
    assert found.new is not None
    nearest = list(found.new.nearest)
    if view.tsne is None:
        mine = [each[None, : places.shape[2]] for each in found.new.places]
    else:
        # t-SNE has no place for what it was not made with: amid its nearest.
        mine = [places[0, nearest].mean(0, keepdims=True)]
    size = 9 if view.three else 17
    marker = {
        "symbol": "diamond" if view.three else "star",
        "size": size,
        "color": INK,
        "line": {"color": "#FFFFFF", "width": 1.5},
    }
    look = _trace(
        "markers", {}, view, marker=marker, name=say("your task"), hovertemplate="%{fullData.name}<extra></extra>"
    )
    font = {"size": FONT_SMALL, "color": INK, "weight": 700}
    rings = _Layer(_ring(view, INK, 8 if view.three else 15, dotted=True), list(places[:, nearest]))
    return [rings, _Layer(look, mine), _Layer(_text(say("your task"), font, view), mine)]


def _ring(view: View, colour: str, size: int, *, dotted: bool = False) -> dict[str, Any]:
    marker = {
        "symbol": "circle-open",
        "size": size,
        "color": colour,
        "line": {"color": colour, "width": 1.5 if dotted else 3},
    }
    return _trace("markers", {}, view, marker=marker, hoverinfo="skip", **static())


def _text(text: str, font: dict[str, Any], view: View) -> dict[str, Any]:
    place = {"text": [text], "textfont": font, "textposition": "top center", "hoverinfo": "skip"}
    return _trace("text", {}, view, **place, customdata=[-1], **static())


def _trace(mode: str, look: dict[str, Any], view: View, **more: Any) -> dict[str, Any]:
    kind = "scatter3d" if view.three else "scatter"
    drawn = {"type": kind, "mode": mode} | ({"line": look, "hoverinfo": "skip", "opacity": 0.4} if look else {})
    return drawn | more


def _where(points: NDArray, three: bool) -> dict[str, Any]:
    named = ("x", "y", "z") if three else ("x", "y")
    return {name: np.ascontiguousarray(points[:, i], np.float32) for i, name in enumerate(named)}


def _groups(attribute: Attribute | None, view: View, n: int) -> list[tuple[str, list[int], dict[str, Any]]]:
    """Name (empty for all), members and colour of what is drawn in one go."""
    everyone = list(range(n))
    if attribute is None:
        return [("", everyone, {"color": OTHERS})]
    if attribute.kind != "class":
        values, title = _counted(attribute, view.label)
        words = {"text": title, "side": "right", "font": {"size": FONT_SMALL}}
        bar = {"title": words, "tickfont": {"size": FONT_SMALL}, "thickness": 14, "outlinewidth": 0, "len": 0.9}
        shades = (*SCALE, *BACK) if attribute.kind == "angle" else SCALE
        scale = [[i / (len(shades) - 1), colour] for i, colour in enumerate(shades)]
        return [("", everyone, {"color": values, "colorscale": scale, "colorbar": bar, "showscale": True})]
    main = attribute.main
    common = np.bincount(main, minlength=len(attribute.labels)).argsort(kind="stable")[::-1][: len(HUES)]
    groups = []
    rare = [i for i in everyone if main[i] not in common]
    if rare:
        groups.append(("", rare, {"color": OTHERS}))
    for hue, label in zip(HUES, common, strict=False):
        members = [i for i in everyone if main[i] == label]
        if members:
            groups.append((attribute.labels[label], members, {"color": hue}))
    return groups


def _counted(attribute: Attribute, label: str) -> tuple[Floats, str]:
    """What colours the points: a number, or how large a label's share of a task is, in percent."""
    if not attribute.labels:
        return attribute.values, titled(attribute)
    which = label if label in attribute.labels else commonest(attribute)
    return 100 * attribute.values[:, attribute.labels.index(which)], f"{plain(which)}, % of the task"


def commonest(attribute: Attribute) -> str:
    """The label with the largest share of all tasks."""
    return attribute.labels[int(attribute.values.sum(0).argmax())]


def titled(attribute: Attribute) -> str:
    """Its name with its unit."""
    return f"{attribute.name} ({attribute.unit})" if attribute.unit else attribute.name


def _title(tasks: Described, i: int) -> str:
    words, lines = f"{tasks.seeds[i]}: {plain(tasks.titles[i])}".split(" "), [""]
    for word in words:
        if len(lines[-1]) + len(word) > TITLE_LINE:
            lines.append("")
        lines[-1] += f"{word} "
    said = "<br>".join(each.strip() for each in lines)
    return said if tasks.pictures is None else f"{braille(tasks.pictures[i])}<br>{said}"


def braille(picture: NDArray[np.bool_]) -> str:
    """A picture as text of Braille letters, each of which is 4 dots high and 2 wide; plotly's line breaks."""
    height, width = picture.shape
    padded = np.pad(picture, ((0, -height % 4), (0, -width % 2)))
    cells = padded.reshape(padded.shape[0] // 4, 4, padded.shape[1] // 2, 2).transpose(0, 2, 1, 3)
    codes = BRAILLE + (cells * DOTS).sum((2, 3))
    return "<br>".join("".join(map(chr, row)) for row in codes)


def _look(found: Embedding, places: Floats, view: View, say: Say) -> dict[str, Any]:
    low, high = np.nanmin(places, (0, 1)).astype(float), np.nanmax(places, (0, 1)).astype(float)
    if found.new is not None and view.tsne is None:
        mine = found.new.places[:, : places.shape[2]]
        low, high = np.minimum(low, mine.min(0)), np.maximum(high, mine.max(0))
    room = AROUND * np.maximum(high - low, 1e-9)
    names = [_axis_title(found, view, i, say) for i in range(places.shape[2])]
    ends = [[float(a), float(b)] for a, b in zip(low - room, high + room, strict=True)]
    margin = {"l": 58, "r": 8, "t": 8, "b": 50}
    if not view.three:
        return layout(
            xaxis=axis(names[0], range=ends[0]),
            yaxis=axis(names[1], range=ends[1]),
            hovermode="closest",
            dragmode="pan",
            margin=margin,
        )
    bare = {"backgroundcolor": CLEAR, "gridcolor": OTHERS, "showspikes": False, "tickfont": {"size": 11}}
    scene = {
        f"{name}axis": bare | {"title": {"text": title, "font": {"size": FONT_SMALL - 2}}, "range": each}
        for name, title, each in zip("xyz", names, ends, strict=True)
    }
    return layout(scene=scene | {"aspectmode": "cube", "camera": _camera(EYE)}, margin={"l": 0, "r": 0, "t": 0, "b": 0})


def _axis_title(found: Embedding, view: View, i: int, say: Say) -> str:
    if view.tsne is not None:
        return say("t-SNE {number} (no unit)").format(number=i + 1)
    share = float(found.explained[i])
    if view.three:
        return say("axis {number} ({share})").format(number=i + 1, share=f"{share:.0%}")
    return say("principal axis {number} ({share} of the variance)").format(number=i + 1, share=f"{share:.0%}")


def _key(found: Embedding, view: View, say: Say) -> tuple[tuple[str, str], ...]:
    key = []
    if view.paths and view.tsne is None and len(found.stages) > 1:
        inner = say("path from before adaptation to the inner step shown")
        outer = say("path from the first checkpoint to the outer step shown")
        key.append(("line", inner if found.axis == "inner step" else outer))
    if found.new is not None:
        key.append(("diamond" if view.three else "star", say("your task; rings: the nearest to it")))
    return tuple(key)


def _told(found: Embedding, view: View, say: Say) -> str:
    """One sentence of data."""
    tasks = found.about
    if view.tsne is None:
        first = say("{n} tasks of {contender}; the axes hold {share} of their variance").format(
            n=tasks.n,
            contender=found.label,
            share=f"{float(found.explained[: 3 if view.three else 2].sum()):.0%}",
        )
    else:
        first = say("{n} tasks of {contender} by t-SNE").format(n=tasks.n, contender=found.label)
    if not tasks.attributes:
        return first + "."
    chosen = found.agreements[view.attribute].stages[found.fitted]
    if chosen is None:
        return first + "."
    second = say("guessed from the {k} nearest tasks, {attribute} scores {score} (1 is perfect, 0 guessing).")
    attribute = tasks.attributes[view.attribute].name
    return f"{first}; " + second.format(k=5, attribute=attribute, score=fixed(chosen.value, 2))
