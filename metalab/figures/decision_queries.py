"""Why this answer: all queries with their answers, to choose one from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from metalab.analysis.decision import Decision
from metalab.figures.decision import GAP, frame, ink
from metalab.figures.images import RIGHT, WRONG, class_name
from metalab.figures.style import CLEAR, FONT_SMALL, INK, Picture, Say, axis, layout, static

MARK = 48
"""Side of what can be clicked, in pixels of the screen: at most an image's, on every screen."""
LINE = 9
"""Height of a line of text, in pixels of an image."""
ERROR = "#D1495B"
"""A wrong answer, which is also crossed, framed and set in bold."""
PER_ROW, PER_NARROW_ROW = 10, 5


def queries(found: Decision, say: Say) -> Picture:
    """All query images with their answers, to choose one from; the explained one is framed."""
    narrow = _queries(found, PER_NARROW_ROW, say)
    return replace(_queries(found, PER_ROW, say), narrow=narrow)


def _queries(found: Decision, per_row: int, say: Say) -> Picture:
    n, side = len(found.query_x), found.query_x.shape[-1]
    columns = min(n, per_row)
    rows = -(-n // columns)
    across, down = side + GAP, side + LINE
    board = np.zeros((rows * down, columns * across), np.float32)
    places = [(i % columns * across, i // columns * down) for i in range(n)]
    for image, (left, top) in zip(found.query_x, places, strict=True):
        board[top : top + side, left : left + side] = image
    right = found.answers == found.query_y
    left, top = places[found.query]
    chosen = frame(left - 1, side + 2, side + 1) | {"y0": top - 1, "y1": top + side + 1}
    look = layout(
        xaxis=axis("", range=[-2, columns * across], visible=False, fixedrange=True, constrain="domain"),
        yaxis=axis("", range=[rows * down, -2], visible=False, fixedrange=True, scaleanchor="x", constrain="domain"),
        margin={"l": 4, "r": 4, "t": 4, "b": 4},
        hovermode="closest",
        shapes=[
            chosen | {"line": {"color": INK, "width": 3}},
            *(_wrong_frame(places[i], side) for i in np.flatnonzero(~right)),
        ],
        dragmode=False,
    )
    told = say("{right} of {all} query images are recognised by {contender}; image {number} is explained.")
    return Picture(
        "queries",
        say("Which query image?"),
        told.format(right=int(right.sum()), all=n, contender=found.label, number=found.query + 1),
        {"data": [ink(board) | {"x0": 0.5, "y0": 0.5}, *_marks(found, places)], "layout": look},
        columns=("query_image", "answer"),
        key=(("frame dots", say("with a cross: taken for another class")),) if not right.all() else (),
        aspect=(rows * down + 2) / (columns * across + 2),
    )


def _marks(found: Decision, places: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """What can be clicked, one square on each query image, and the answers below."""
    right = found.answers == found.query_y
    said = [f"{RIGHT if ok else WRONG} {class_name(int(a))}" for ok, a in zip(right, found.answers, strict=True)]
    side = found.query_x.shape[-1]
    middles = [left + side / 2 for left, _top in places]
    here = {"customdata": np.arange(len(places), dtype=np.int32), "text": said}
    marks = {
        "type": "scatter",
        "mode": "markers",
        "x": middles,
        "y": [top + side / 2 for _left, top in places],
        "marker": {"symbol": "square", "size": MARK, "color": CLEAR},
        "hovertemplate": "%{text}<extra></extra>",
        **here,
        **static(),
    }
    below = {
        "type": "scatter",
        "mode": "text",
        "x": middles,
        "y": [top + side + LINE / 2 for _left, top in places],
        "textfont": {"size": FONT_SMALL, "color": [INK if ok else ERROR for ok in right]},
        "hoverinfo": "skip",
        **here | {"text": [text if ok else f"<b>{text}</b>" for ok, text in zip(right, said, strict=True)]},
    }
    return [marks, below]


def _wrong_frame(place: tuple[int, int], side: int) -> dict[str, Any]:
    left, top = place
    return frame(left, side, side) | {
        "y0": top,
        "y1": top + side,
        "line": {"color": ERROR, "width": 2.5, "dash": "dot"},
    }
