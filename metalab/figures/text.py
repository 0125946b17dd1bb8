"""A race on texts as pictures: names and the languages they are taken for, and names that contenders write."""

from __future__ import annotations

from typing import Any

import numpy as np

from metalab.analysis.adaptation import Lane, Race
from metalab.analysis.text import Origin, names_read, origins, spelled
from metalab.figures.adaptation import steps_in_words
from metalab.figures.images import RIGHT, WRONG, class_names
from metalab.figures.style import (
    FONT,
    FONT_SMALL,
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

LINE, HEAD = 23, 50
"""Pixels of a line of text, and of what stands above and below."""
SHOWN_PER_CLASS = 3
MARKS: dict[Origin, str] = {"copied": "= ", "real": "✓ ", "new": ""}


def height_of(picture: Picture) -> int:
    """Pixels in height that a picture of this module needs."""
    low, high = picture.figure["layout"]["yaxis"]["range"]
    return round((low - high) * LINE) + HEAD


def examples(race: Race, say: Say) -> Picture:
    """The support set of a classification task: a column of names for each language."""
    names, columns = spelled(race.support_x), class_names(race)
    data = []
    most = 1
    for c, title in enumerate(columns):
        mine = [names[i] for i in np.flatnonzero(race.support_y == c)]
        most = max(most, len(mine))
        data.append(_column(c, mine, title, INK))
    return Picture(
        "examples",
        say("What does it learn from?"),
        say("The support set: {parts}.").format(
            parts="; ".join(
                f"{title}: {', '.join(names[i] for i in np.flatnonzero(race.support_y == c))}"
                for c, title in enumerate(columns)
            )
        ),
        {"data": data, "layout": _board(columns, most)},
        columns=("row", "name"),
    )


def answers(race: Race, say: Say) -> Picture:
    """Query names, line by line under their language, and beside each what every contender takes it for.

    Right is a check mark and wrong a cross with the language that was said, in the contender's colour. Needs query
    names whose languages are known.
    """
    assert race.query_x is not None
    assert race.query_y is not None
    names, languages = spelled(race.query_x), class_names(race)
    rows = [int(i) for c in range(race.ways) for i in np.flatnonzero(race.query_y == c)[:SHOWN_PER_CLASS]]
    # A line for each language's title before its names.
    height, places, titles = 0, [], []
    for n, i in enumerate(rows):
        if n == 0 or race.query_y[i] != race.query_y[rows[n - 1]]:
            titles.append((height, languages[int(race.query_y[i])]))
            height += 1
        places.append(height)
        height += 1
    data = [
        _texts(0, [y for y, _title in titles], [f"<b>{title}</b>" for _y, title in titles], INK) | static(),
        _texts(0, places, [plain(names[i]) for i in rows], INK) | static(),
    ]
    fixed = len(data)
    for n, lane in enumerate(race.lanes):
        trace = _texts(n + 1, places, _verdicts(race, lane, rows, languages, race.steps), _colour(lane))
        data.append(trace | {"customdata": [names[i] for i in rows], "name": plain(lane.label)})
    frames = [
        {
            "name": str(k),
            "traces": list(range(fixed, len(data))),
            "data": [{"text": _verdicts(race, lane, rows, languages, k)} for lane in race.lanes],
        }
        for k in range(race.steps + 1)
    ]
    look = _board([say("query set"), *(plain(lane.label) for lane in race.lanes)], height)
    return Picture(
        "answers",
        say("Which language is it?"),
        _recognised(race, say),
        {"data": data, "layout": look, "frames": frames},
        columns=("name", "answer"),
    )


def written(race: Race, say: Say) -> Picture:
    """The names that every contender writes after each step: a column each, drawn with the same chances."""
    read = names_read(race.support_x)
    most = max(len(lane.written[0]) for lane in race.lanes if lane.written is not None)
    given = spelled(read)
    data: list[dict[str, Any]] = [_column(0, given[:most], say("examples"), SOFT)]
    for n, lane in enumerate(race.lanes):
        y = list(range(len(_names(race, lane, race.steps))))
        trace = _texts(n + 1, y, _names(race, lane, race.steps), _colour(lane))
        data.append(trace | {"customdata": [i + 1 for i in y], "name": plain(lane.label)})
    frames = [
        {
            "name": str(k),
            "traces": list(range(1, len(data))),
            "data": [{"text": _names(race, lane, k)} for lane in race.lanes],
        }
        for k in range(race.steps + 1)
    ]
    heads = [say("examples"), *(plain(lane.label) for lane in race.lanes)]
    parts = "; ".join(f"{lane.label}: {', '.join(_names(race, lane, race.steps)[:3])}" for lane in race.lanes)
    return Picture(
        "written",
        say("What does it write?"),
        say("Names written after {steps}: {parts}.").format(steps=steps_in_words(race, say), parts=parts),
        {"data": data, "layout": _board(heads, most), "frames": frames},
        columns=("row", "name"),
        key=(
            ("sign", say("✓ a real name that it was not shown")),
            ("sign", say("= copied from the examples; all others are new")),
        ),
    )


def _names(race: Race, lane: Lane, k: int) -> list[str]:
    assert lane.written is not None
    found = origins(lane.written[race.index(lane, k)], names_read(race.support_x))
    return [MARKS[origin] + plain(name) for name, origin in found]


def _verdicts(race: Race, lane: Lane, rows: list[int], languages: list[str], k: int) -> list[str]:
    assert lane.probabilities is not None
    assert race.query_y is not None
    said = lane.probabilities[race.index(lane, k)].argmax(1)
    return [RIGHT if said[i] == race.query_y[i] else f"{WRONG} {languages[int(said[i])]}" for i in rows]


def _recognised(race: Race, say: Say) -> str:
    assert race.query_y is not None
    parts = []
    for lane in race.lanes:
        assert lane.probabilities is not None
        right = int((lane.probabilities[-1].argmax(1) == race.query_y).sum())
        parts.append(
            say("{contender} {right} of {all}").format(contender=lane.label, right=right, all=len(race.query_y))
        )
    return say("Query names recognised after {steps}: {parts}.").format(
        steps=steps_in_words(race, say), parts="; ".join(parts)
    )


def _column(place: int, names: list[str], title: str, colour: str) -> dict[str, Any]:
    y = list(range(len(names)))
    texts = _texts(place, y, [plain(name) for name in names], colour)
    return texts | {"customdata": [i + 1 for i in y], "name": title}


def _texts(place: int, y: list[int], texts: list[str], colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "text",
        "x": [place] * len(y),
        "y": y,
        "text": texts,
        "customdata": list(y),
        "textposition": "middle center",
        "textfont": {"size": FONT_SMALL, "color": colour},
        "hoverinfo": "skip",
        "cliponaxis": False,
    }


def _board(heads: list[str], rows: int) -> dict[str, Any]:
    """Columns with their heads above, lines from the top down."""
    return layout(
        margin={"l": 8, "r": 8, "t": 34, "b": 8},
        xaxis=axis(
            "",
            range=[-0.5, len(heads) - 0.5],
            tickvals=list(range(len(heads))),
            ticktext=[f"<b>{head}</b>" for head in heads],
            side="top",
            showgrid=False,
            fixedrange=True,
            tickfont={"size": FONT},
        ),
        yaxis=axis("", range=[rows - 0.4, -0.6], visible=False, fixedrange=True),
        hovermode=False,
    )


def _colour(lane: Lane) -> str:
    return contender_colour(lane.colour_key)
