"""Why this answer: which support examples a query resembles, what in it counts, and how sure the answer is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.decision import Decision
from metalab.figures.decision_words import counts, named, resembles
from metalab.figures.style import (
    CLEAR,
    FONT_SMALL,
    GRID,
    INK,
    SOFT,
    Picture,
    Say,
    axis,
    contender_colour,
    layout,
    plain,
    static,
)
from metalab.tasks.cldr import decode

AGAINST, FOR = "#0072B2", "#D55E00"
"""What speaks against the answer, and for it."""
GAP = 3
"""Pixels between two images in a strip."""
SMALLEST = {"size": FONT_SMALL - 2, "color": SOFT}
FEW = 10
"""Support images up to which they fit into half the page's width."""
SCALE = 12
"""Height of the scale below a map, in pixels of an image."""
OTHER = "#9AA4AE"
"""Bars that are not in the contender's colour."""


def similarities(found: Decision, say: Say) -> Picture:
    """The cosine between the query's features and each support example's, before and after adaptation."""
    n = len(found.support_y)
    x = np.arange(n, dtype=np.int16)
    data = _cosines(found, say)
    low = min(0.0, float(found.after.similarity.min()), float(found.before.similarity.min()))
    look = layout(
        xaxis=axis(
            say("support example, by class"),
            tickvals=x if found.tokens else [],
            ticktext=[plain(decode(row)) for row in found.support_x] if found.tokens else [],
            # Otherwise plotly leaves out the long names of the last ones.
            tickangle=-35,
            ticklabeloverflow="allow",
            range=[-0.6, n - 0.4],
            showgrid=False,
        ),
        yaxis=axis(say("similarity of features (cosine)"), range=[low - 0.02, 1.12]),
        hovermode="closest",
        annotations=_headings(found),
    )
    if not found.tokens:
        strip = 0.26 if n <= FEW else 0.12
        look["yaxis"]["domain"] = [strip + 0.04, 1]
        look["yaxis2"] = axis("", domain=[0.0, strip], visible=False, range=[found.support_x.shape[-2] + 1, -1])
        look["xaxis"]["anchor"] = "y2"
        data.append(_strip(found.support_x))
    return Picture(
        "similarities",
        say("Which support example does it resemble?"),
        resembles(found, say),
        {"data": data, "layout": look},
        columns=("support_example", "cosine"),
        key=(("sign", say("bars: after adaptation, the answer's class in colour")), ("line", say("before adaptation"))),
    )


def _cosines(found: Decision, say: Say) -> list[dict[str, Any]]:
    n = len(found.support_y)
    x = np.arange(n, dtype=np.int16)
    colour = contender_colour(found.colour_key)
    names = [plain(named(found, int(label))) for label in found.support_y]
    mine = [colour if label == found.said else OTHER for label in found.support_y]
    return [
        {
            "type": "bar",
            "x": x,
            "y": found.after.similarity,
            "marker": {"color": mine},
            "width": 0.6,
            "name": say("after adaptation"),
            "customdata": names,
            "hovertemplate": "%{customdata}: %{y:.2f}<extra>%{fullData.name}</extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": x,
            "y": found.before.similarity,
            "marker": {
                "symbol": "line-ew",
                "size": 26 if n <= 10 else 14,
                "line": {"color": INK, "width": 2.5},
                "color": INK,
            },
            "name": say("before adaptation"),
            "hovertemplate": "%{y:.2f}<extra>%{fullData.name}</extra>",
        },
    ]


def _headings(found: Decision) -> list[dict[str, Any]]:
    """Each class's name above its support examples."""
    notes = []
    for label in range(found.ways):
        mine = np.flatnonzero(found.support_y == label)
        colour = contender_colour(found.colour_key) if label == found.said else SOFT
        text = f"<b>{plain(named(found, label))}</b>"
        font = {"size": FONT_SMALL, "color": colour}
        notes.append({"text": text, "x": float(mine.mean()), "y": 1.08, "showarrow": False, "font": font})
    return notes


def _strip(images: NDArray) -> dict[str, Any]:
    """Images side by side, number i around x = i, on the second y axis."""
    _n, height, width = images.shape
    pad = round(width * 0.12)
    row = np.pad(images, ((0, 0), (0, 0), (pad, pad))).transpose(1, 0, 2).reshape(height, -1)
    step = 1 / (width + 2 * pad)
    return ink(row) | {"x0": -0.5 + step / 2, "dx": step, "y0": 0.5, "dy": 1, "yaxis": "y2"}


def pixels(found: Decision, say: Say) -> Picture:
    """Occlusion and input gradient over the query's ink, before adaptation and after it."""
    columns = [
        (say("occlusion,<br>before"), found.before.occlusion),
        (say("occlusion,<br>after"), found.after.occlusion),
        (say("gradient,<br>before"), found.before.gradient),
        (say("gradient,<br>after"), found.after.gradient),
    ]
    image = found.query_x[found.query]
    height, width = image.shape
    step = width + GAP
    data: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    for i, (name, values) in enumerate(columns):
        assert values is not None
        # A sure answer has hardly any gradient left: on one scale with the one before it would not be seen.
        compared = (found.before.occlusion, found.after.occlusion) if i < 2 else (values,)
        most = max(float(np.abs(each).max()) for each in compared) or 1.0
        unit = say("nats") if i < 2 else say("nats per unit of ink")
        data.append(_map(values, most, f"{name.replace('<br>', ' ')}, {unit}", i * step))
        data.append(ink(image, opacity=0.62) | {"x0": i * step + 0.5, "dx": 1, "y0": 0.5, "dy": 1})
        data.append(_scale(most, i * step, width, height))
        ends += _ends(most, i * step, width, height)
    look = layout(
        xaxis=axis("", range=[-1, 4 * step - GAP + 1], visible=False, fixedrange=True, constrain="domain"),
        yaxis=axis("", range=[height + SCALE, -9], visible=False, fixedrange=True, scaleanchor="x", constrain="domain"),
        margin={"l": 4, "r": 4, "t": 4, "b": 4},
        hovermode="closest",
        annotations=[*(_heading(name, i * step + width / 2) for i, (name, _values) in enumerate(columns)), *ends],
        shapes=[frame(i * step, width, height) for i in range(4)],
    )
    return Picture(
        "pixels",
        say("Which of its pixels count?"),
        counts(found, say),
        {"data": data, "layout": look},
        columns=("row", "column", "nats"),
        key=(
            ("sign", say("orange speaks for the answer, blue against it; scales in nats of log-probability")),
            ("sign", say("occlusion: lost where covered; gradient: gained for each unit of ink")),
        ),
        aspect=(height + 9 + SCALE) / (4 * step),
    )


def _scale(most: float, left: int, width: int, height: int) -> dict[str, Any]:
    """A strip of all colours below a map."""
    shades = np.linspace(-most, most, width, dtype=np.float32)[None]
    strip = _map(shades, most, "", left)
    return strip | {"y": [height + 3.0, height + 5.5], "hoverinfo": "skip", "hovertemplate": "", **static()}


def _ends(most: float, left: int, width: int, height: int) -> list[dict[str, Any]]:
    """What the ends and the middle of the strip stand for."""
    end = f"{most:.2g}"
    places = ((f"−{end}", 0.0, "left"), ("0", width / 2, "center"), (end, float(width), "right"))
    return [
        _heading(text, left + x) | {"y": height + 6, "yanchor": "top", "xanchor": anchor, "font": SMALLEST}
        for text, x, anchor in places
    ]


def _map(values: NDArray, most: float, name: str, left: int) -> dict[str, Any]:
    height, width = values.shape
    return {
        "type": "heatmap",
        "z": values.astype(np.float32),
        "x": left + np.arange(width, dtype=np.float32) + 0.5,
        "y": np.arange(height, dtype=np.float32) + 0.5,
        "zmin": -most,
        "zmax": most,
        "colorscale": [[0, AGAINST], [0.5, CLEAR], [1, FOR]],
        "showscale": False,
        "name": name,
        "hovertemplate": "%{z:.2g}<extra>%{fullData.name}</extra>",
    }


def ink(board: NDArray, opacity: float = 1.0) -> dict[str, Any]:
    """An image (H, W), dark on the page."""
    return {
        "type": "heatmap",
        "z": (np.clip(board, 0, 1) * 255).astype(np.uint8),
        "zmin": 0,
        "zmax": 255,
        "colorscale": [[0, CLEAR], [1, INK]],
        "opacity": opacity,
        "showscale": False,
        "hoverinfo": "skip",
        **static(),
    }


def _heading(text: str, x: float) -> dict[str, Any]:
    return {
        "text": text,
        "x": x,
        "y": -0.5,
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": FONT_SMALL, "color": INK},
    }


def frame(left: float, width: float, height: float) -> dict[str, Any]:
    """A thin line around an image whose upper left corner is (left, 0)."""
    return {
        "type": "rect",
        "x0": left,
        "x1": left + width,
        "y0": 0,
        "y1": height,
        "line": {"color": GRID, "width": 1.5},
    }


def letters(found: Decision, say: Say) -> Picture:
    """Of a name: how much log-probability is lost without each of its letters, before adaptation and after it."""
    name = decode(found.query_x[found.query])
    n = len(name)
    x = np.arange(n, dtype=np.int16)
    after = found.after.occlusion[:n]
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "x": x,
            "y": after,
            "marker": {"color": [FOR if value > 0 else AGAINST for value in after]},
            "name": say("after adaptation"),
            "hovertemplate": "%{y:.2f}<extra>%{fullData.name}</extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": x,
            "y": found.before.occlusion[:n],
            "marker": {
                "symbol": "line-ew",
                "size": 24 if n <= 8 else 12,
                "line": {"color": INK, "width": 2.5},
                "color": INK,
            },
            "name": say("before adaptation"),
            "hovertemplate": "%{y:.2f}<extra>%{fullData.name}</extra>",
        },
    ]
    look = layout(
        xaxis=axis(say("letter that is left out"), tickvals=x, ticktext=list(name), showgrid=False),
        yaxis=axis(say("log-probability lost (nats)"), zeroline=True, zerolinecolor=SOFT),
        hovermode="closest",
    )
    return Picture(
        "letters",
        say("Which of its letters count?"),
        counts(found, say),
        {"data": data, "layout": look},
        columns=("letter", "nats"),
        key=(("sign", say("orange speaks for the answer, blue against it")), ("line", say("before adaptation"))),
    )


def probabilities(found: Decision, say: Say) -> Picture:
    """What each class is given, before adaptation and after it."""
    names = [plain(named(found, label)) for label in range(found.ways)]
    truth = int(found.query_y[found.query])
    colour = contender_colour(found.colour_key)
    data = [
        _bars(names, found.before.probabilities, OTHER, say("before adaptation")),
        _bars(names, found.after.probabilities, colour, say("after adaptation")),
    ]
    look = layout(
        xaxis=axis(say("class; the true one is {name}").format(name=names[truth]), type="category", showgrid=False),
        yaxis=axis(say("probability"), range=[0, 1.12], tickformat=".0%"),
        bargap=0.25,
        hovermode="closest",
    )
    return Picture(
        "probabilities",
        say("How sure is it?"),
        say(
            "{contender} gives {name} {before} before adaptation and {after} after it; the true class is {truth}."
        ).format(
            contender=found.label,
            name=named(found, found.said),
            before=f"{found.before.probabilities[found.said]:.0%}",
            after=f"{found.after.probabilities[found.said]:.0%}",
            truth=named(found, truth),
        ),
        {"data": data, "layout": look},
        columns=("class", "probability"),
        key=(("sign", say("grey before adaptation, in colour after it")),),
    )


def _bars(names: Sequence[str], values: NDArray, colour: str, name: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "x": list(names),
        "y": values,
        "text": [f"{value:.0%}" for value in values],
        "textposition": "outside",
        "constraintext": "none",
        "textfont": {"size": 12},
        "cliponaxis": False,
        "marker": {"color": colour},
        "name": name,
        "hovertemplate": "%{y:.1%}<extra>%{fullData.name}</extra>",
    }
