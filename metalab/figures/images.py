"""A race between image classifiers as pictures: the support set, the query set with every answer, the certainty."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.adaptation import Lane, Race
from metalab.figures.adaptation import steps_in_words
from metalab.figures.style import CLEAR, FONT, GRID, INK, Picture, Say, axis, contender_colour, layout, plain, static

RIGHT, WRONG = "✓", "✗"
GAP = 6
"""Pixels of an image between two images."""
LINE = 8
"""Height of a line of text, in pixels of an image."""
CAPTION = 11
"""Height of a heading above images."""
FEWEST_SHOWN = 3
"""Query images of each class that are drawn at least, where there are so many."""
BESIDE = 1.0
"""How much taller, in widths of a picture, the answers may be than the certainty, below which other things stand."""
SHOWN_SHOTS = 3


def class_name(label: int) -> str:
    """A, B, .. for class 0, 1, .., and 27 for the 27th."""
    return chr(ord("A") + label) if label < 26 else str(label + 1)


def class_names(race: Race) -> list[str]:
    """What figures call the classes: by their names where people know them, else A, B, ..."""
    return [plain(name) for name in race.class_names] or [class_name(c) for c in range(race.ways)]


def answers(race: Race, say: Say) -> Picture:
    """A column for each class: its support images, then query images, with each contender's answer below them.

    Right is a check mark and wrong a cross, in the contender's colour. Needs query images with known classes.
    """
    board = _Board(race)
    data = [_ink(board.pixels), *(_marks(race, lane, n, board) for n, lane in enumerate(race.lanes))]
    frames = [
        {
            "name": str(k),
            "traces": list(range(1, len(data))),
            "data": [{"text": _verdicts(race, lane, board, k)} for lane in race.lanes],
        }
        for k in range(race.steps + 1)
    ]
    height, width = board.pixels.shape
    look = layout(
        margin={"l": 4, "r": 4, "t": 28, "b": 4},
        xaxis=axis(
            "",
            range=[0, width],
            tickvals=[c * board.pitch + board.pitch / 2 for c in range(race.ways)],
            ticktext=[f"<b>{class_name(c)}</b>" for c in range(race.ways)],
            side="top",
            showgrid=False,
            fixedrange=True,
            constrain="domain",
        ),
        yaxis=axis("", range=[height, 0], visible=False, scaleanchor="x", fixedrange=True, constrain="domain"),
        hovermode=False,
        shapes=board.boxes,
        annotations=[_caption(say("support set"), 0), _caption(say("query set"), board.top_query - CAPTION)],
    )
    return Picture(
        "answers",
        say("Which character is it?"),
        f"{_scores(race, say)}{_drawn(race, board.most, say)}",
        {"data": data, "layout": look, "frames": frames},
        columns=("true_class", "answer"),
        aspect=height / width,
    )


class _Board:
    """The images of a race in one picture, and where everything stands; units are pixels of an image."""

    def __init__(self, race: Race) -> None:
        assert race.query_x is not None
        assert race.query_y is not None
        self.side = race.query_x.shape[-1]
        self.pitch = self.side + GAP
        support = [_of_class(race.support_y, c)[:SHOWN_SHOTS] for c in range(race.ways)]
        row = self.side + LINE * len(race.lanes) + GAP
        self.top_query = CAPTION + max(map(len, support)) * self.pitch + CAPTION
        room = (_certainty_aspect(race) + BESIDE) * race.ways * self.pitch - self.top_query
        self.most = max(FEWEST_SHOWN, int(room / row))
        query = [_of_class(race.query_y, c)[: self.most] for c in range(race.ways)]
        self.pixels = np.zeros((self.top_query + max(map(len, query)) * row, race.ways * self.pitch), np.uint8)
        self.boxes: list[dict[str, Any]] = []
        self.shown: list[tuple[int, float, float]] = []
        """Of each query image its number, the middle of its lower edge."""
        for c in range(race.ways):
            left = c * self.pitch + GAP // 2
            for i, index in enumerate(support[c]):
                self._put(race.support_x[index], left, CAPTION + i * self.pitch, solid=True)
            for i, index in enumerate(query[c]):
                top = self.top_query + i * row
                self._put(race.query_x[index], left, top, solid=False)
                self.shown.append((index, left + self.side / 2, top + self.side))

    def _put(self, image: NDArray, left: int, top: int, *, solid: bool) -> None:
        side = self.side
        self.pixels[top : top + side, left : left + side] = np.clip(image[0] * 255, 0, 255).astype(np.uint8)
        self.boxes.append(
            {
                "type": "rect",
                "layer": "below",
                "x0": left - 1,
                "x1": left + side + 1,
                "y0": top - 1,
                "y1": top + side + 1,
                "line": {"color": INK if solid else GRID, "width": 2 if solid else 1},
                "fillcolor": GRID if solid else CLEAR,
            }
        )


def certainty(race: Race, say: Say) -> Picture:
    """The probability that each contender gives to each class, averaged over the query images of a true class."""
    rows, columns = _panels(race)
    data: list[dict[str, Any]] = []
    look = layout(margin={"l": 44, "r": 10, "t": 44, "b": 46}, annotations=[])
    for n, lane in enumerate(race.lanes):
        suffix = "" if n == 0 else str(n + 1)
        axes, name = _panel(race, lane, n, rows, columns, suffix, say)
        look |= axes
        look["annotations"].append(name)
        data.append(_matrix(race, lane, suffix))
    frames = [
        {
            "name": str(k),
            "traces": list(range(len(data))),
            "data": [{"z": mean_probabilities(race, lane, k)} for lane in race.lanes],
        }
        for k in range(race.steps + 1)
    ]
    sure = "; ".join(
        say("{contender} {probability}").format(
            contender=lane.label, probability=f"{np.diag(mean_probabilities(race, lane, race.steps)).mean():.0%}"
        )
        for lane in race.lanes
    )
    return Picture(
        "certainty",
        say("What does it mix up?"),
        say("Mean probability of the true class after {steps}: {parts}.").format(
            steps=steps_in_words(race, say), parts=sure
        ),
        {"data": data, "layout": look, "frames": frames},
        columns=("true_class", "class", "mean_probability"),
        aspect=_certainty_aspect(race),
    )


def _panels(race: Race) -> tuple[int, int]:
    """How many rows and columns of matrices the certainty has."""
    columns = len(race.lanes) if len(race.lanes) <= 3 else 2
    return -(-len(race.lanes) // columns), columns


def _certainty_aspect(race: Race) -> float:
    rows, columns = _panels(race)
    return rows / columns * 0.95 + 0.1 if columns > 1 else 0.6


def _panel(
    race: Race, lane: Lane, n: int, rows: int, columns: int, suffix: str, say: Say
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The axes of contender `n`'s matrix, and its name above."""
    row, column = divmod(n, columns)
    across = [column / columns + 0.03 * (column > 0), (column + 1) / columns - 0.03 * (column < columns - 1)]
    tall = (1 - (rows - 1) * (apart := 0.33 / rows)) / rows
    top = 1 - row * (tall + apart)
    down = [max(top - tall, 0.0), top]
    titled = n + columns >= len(race.lanes) and column == 0
    shared = {"type": "category", "showgrid": False, "fixedrange": True}
    x = axis(say("class that it says") if titled else "", domain=across, anchor=f"y{suffix}", **shared)
    y = axis(
        say("true class") if column == 0 else "",
        domain=down,
        anchor=f"x{suffix}",
        autorange="reversed",
        showticklabels=column == 0,
        **shared,
    )
    name = {
        "text": plain(lane.label).replace(" ", "<br>") if columns > 2 else plain(lane.label),
        "xanchor": "center",
        "x": sum(across) / 2,
        "y": down[1],
        "xref": "paper",
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": FONT, "color": contender_colour(lane.colour_key)},
    }
    return {f"xaxis{suffix}": x, f"yaxis{suffix}": y}, name


def _matrix(race: Race, lane: Lane, suffix: str) -> dict[str, Any]:
    names = class_names(race)
    return {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": mean_probabilities(race, lane, race.steps),
        "zmin": 0,
        "zmax": 1,
        "xgap": 2,
        "ygap": 2,
        "colorscale": [[0, GRID], [1, contender_colour(lane.colour_key)]],
        "showscale": False,
        "name": plain(lane.label),
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "hovertemplate": "%{y} → %{x}: %{z:.0%}<extra>%{fullData.name}</extra>",
    }


def answer(race: Race, say: Say) -> Picture:
    """The probability that each contender gives to each class of one query image. Needs exactly one query image."""
    names = class_names(race)
    data = [
        {
            "type": "bar",
            "x": names,
            **_bars(race, lane, race.steps),
            "textposition": "outside",
            "cliponaxis": False,
            "marker": {"color": contender_colour(lane.colour_key)},
            "name": plain(lane.label),
            "hovertemplate": "%{y:.1%}<extra>%{fullData.name}</extra>",
        }
        for lane in race.lanes
    ]
    frames = [
        {"name": str(k), "traces": list(range(len(data))), "data": [_bars(race, lane, k) for lane in race.lanes]}
        for k in range(race.steps + 1)
    ]
    look = layout(
        xaxis=axis(say("class"), type="category", showgrid=False),
        yaxis=axis(say("probability"), range=[0, 1.1], tickformat=".0%"),
        bargap=0.25,
        hovermode="closest",
    )
    parts = "; ".join(
        say("{contender} class {label} with {probability}").format(
            contender=lane.label,
            label=names[int(_probabilities(lane)[-1, 0].argmax())],
            probability=f"{_probabilities(lane)[-1, 0].max():.0%}",
        )
        for lane in race.lanes
    )
    return Picture(
        "answer",
        say("What does each contender take the query for?"),
        say("Most likely class of the query after {steps}: {parts}.").format(
            steps=steps_in_words(race, say), parts=parts
        ),
        {"data": data, "layout": look, "frames": frames},
        columns=("class", "probability"),
    )


def _bars(race: Race, lane: Lane, k: int) -> dict[str, Any]:
    probabilities = _probabilities(lane)[race.index(lane, k), 0]
    return {"y": probabilities, "text": [f"{p:.0%}" for p in probabilities]}


def mean_probabilities(race: Race, lane: Lane, k: int) -> NDArray[np.float32]:
    """(ways, ways): row the true class, column the class that the probability is given to, at step k."""
    assert race.query_y is not None
    probabilities = _probabilities(lane)[race.index(lane, k)]
    rows = [probabilities[race.query_y == c].mean(0) for c in range(race.ways)]
    return np.stack(rows).round(4).astype(np.float32)


def _of_class(labels: NDArray, c: int) -> list[int]:
    return [int(i) for i in np.flatnonzero(labels == c)]


def _probabilities(lane: Lane) -> NDArray:
    assert lane.probabilities is not None
    return lane.probabilities


def _ink(picture: NDArray[np.uint8]) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "z": picture,
        "x0": 0.5,
        "y0": 0.5,
        "zmin": 0,
        "zmax": 255,
        "colorscale": [[0, CLEAR], [1, INK]],
        "showscale": False,
        "hoverinfo": "skip",
        **static(),
    }


def _caption(text: str, y: float) -> dict[str, Any]:
    return {
        "text": text,
        "x": 0,
        "xref": "x",
        "xanchor": "left",
        "y": y + CAPTION / 2 - 1,
        "yref": "y",
        "yanchor": "middle",
        "showarrow": False,
        "font": {"size": FONT, "color": INK},
    }


def _marks(race: Race, lane: Lane, n: int, board: _Board) -> dict[str, Any]:
    assert race.query_y is not None
    return {
        "type": "scatter",
        "mode": "text",
        "x": [x for _, x, _ in board.shown],
        "y": [y + LINE * (n + 0.55) for _, _, y in board.shown],
        "text": _verdicts(race, lane, board, race.steps),
        "customdata": [class_name(int(race.query_y[index])) for index, _, _ in board.shown],
        "textposition": "middle center",
        "textfont": {"size": FONT, "color": contender_colour(lane.colour_key)},
        "hoverinfo": "skip",
        "cliponaxis": False,
        "name": plain(lane.label),
    }


def _verdicts(race: Race, lane: Lane, board: _Board, k: int) -> list[str]:
    assert race.query_y is not None
    said = _probabilities(lane)[race.index(lane, k)].argmax(1)
    return [
        f"{RIGHT if said[index] == race.query_y[index] else WRONG} {class_name(int(said[index]))}"
        for index, _, _ in board.shown
    ]


def _scores(race: Race, say: Say) -> str:
    assert race.query_y is not None
    parts = []
    for lane in race.lanes:
        right = int((_probabilities(lane)[-1].argmax(1) == race.query_y).sum())
        parts.append(
            say("{contender} {right} of {all}").format(contender=lane.label, right=right, all=len(race.query_y))
        )
    return say("Query images recognised after {steps}: {parts}.").format(
        steps=steps_in_words(race, say), parts="; ".join(parts)
    )


def _drawn(race: Race, most: int, say: Say) -> str:
    """How many of the query images the picture has room for; empty if that is all of them."""
    assert race.query_y is not None
    each = max(len(_of_class(race.query_y, c)) for c in range(race.ways))
    if each <= most:
        return ""
    sentence = say("{shown} of {all} query images of each class are drawn.")
    return " " + sentence.format(shown=most, all=each)
