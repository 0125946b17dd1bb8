"""The loss on a plane through theta as contours, one picture a task, with the inner loops' paths on them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metalab.analysis.landscape import SHOWN, Landscape
from metalab.figures.maps import scale_ticks
from metalab.figures.sensitivity import counted
from metalab.figures.style import (
    FONT_SMALL,
    INK,
    SOFT,
    Picture,
    Say,
    axis,
    contender_colour,
    layout,
    line,
    number,
    static,
)

VALLEY = [[0.0, "#009E73"], [1.0, "#FFFFFF"]]
"""Green where the loss is low; the page's own background where it is high."""
HIGHEST = 1.6
"""Of the loss at theta: what is higher is drawn as that high."""
LEVELS = 14


def pictures(found: Landscape, label: str, colour_key: tuple[str, int, int], say: Say) -> list[Picture]:
    """One for each shown task, and one of the mean over all."""
    colour = contender_colour(colour_key)
    return [_of_task(found, i, label, colour, say) for i in range(SHOWN)] + [_of_mean(found, say)]


def _of_task(found: Landscape, i: int, label: str, colour: str, say: Say) -> Picture:
    losses, path = found.losses[i], found.paths[i]
    others = [_path(found.paths[j], SOFT, say("task {n}").format(n=j + 1), thin=True) for j in range(SHOWN) if j != i]
    own = _path(path, colour, say("inner loop of {who}").format(who=label))
    figure = _figure(found, losses, [*others, own, _theta(), _end(path, colour, say)], say)
    first, last = (_nearest(found, losses, place) for place in (path[0], path[-1]))
    alt = say(
        "Task {n} ({what}): along {steps} the {on} loss on the plane falls from {first} to {last}; the "
        "plane leaves out {off} of the way."
    ).format(
        n=i + 1,
        what=found.described[i],
        steps=counted(len(path) - 1, say),
        on=_on(found, say),
        first=number(first),
        last=number(last),
        off=f"{100 * found.off[i]:.0f}%",
    )
    question = say("Where does task {n} lead?").format(n=i + 1)
    key = (("line", say("inner loop on this task; grey: on the others")), _blank(say))
    return Picture(f"landscape_{i + 1}", question, alt, figure, columns=_columns(found), key=key, aspect=0.9)


def _of_mean(found: Landscape, say: Say) -> Picture:
    losses, n = found.losses[-1], len(found.paths)
    paths = [_path(path, INK, say("task {n}").format(n=j + 1), thin=True) for j, path in enumerate(found.paths)]
    figure = _figure(found, losses, [*paths, _theta()], say)
    least = np.unravel_index(np.nanargmin(losses), losses.shape)
    lowest = (found.x[least[1]], found.y[least[0]])
    away = math.hypot(*lowest) / max(np.linalg.norm(found.paths[:, -1], axis=1).mean(), 1e-12)
    alt = say(
        "The mean {on} loss of {n} tasks is {here} at θ and least, {least}, {away} mean path lengths away from it: θ "
        "is where paths begin, and not where the mean loss is least."
    )
    if away < 0.25:
        alt = say("The mean {on} loss of {n} tasks is {here} at θ, close to its least on the plane, {least}.")
    alt = alt.format(
        on=_on(found, say),
        n=n,
        here=number(_nearest(found, losses, np.zeros(2))),
        least=number(float(losses[least])),
        away=number(away),
    )
    ends = np.array([[found.x[0], found.y[0]], [found.x[-1], found.y[-1]]])
    gone = int(((found.paths < ends[0]) | (found.paths > ends[1])).any((1, 2)).sum())
    if gone:
        alt += " " + say("Paths that lead out of the picture: {gone} of {n}.").format(gone=gone, n=n)
    question = say("And all {n} tasks together?").format(n=n)
    key = (("line", say("inner loop on each task")), _blank(say))
    return Picture("landscape_mean", question, alt, figure, columns=_columns(found), key=key, aspect=0.9)


def _blank(say: Say) -> tuple[str, str]:
    """What is not coloured."""
    return "blank", say("not coloured: more than {times} times the loss at θ").format(times=HIGHEST)


def _columns(found: Landscape) -> tuple[str, ...]:
    return "y", "x", "log10_loss"


def _on(found: Landscape, say: Say) -> str:
    return say("support") if found.on == "support" else say("query")


def _nearest(found: Landscape, losses: Any, place: Any) -> float:
    """The loss at the point of the grid that is nearest to a place."""
    return float(losses[np.abs(found.y - place[1]).argmin(), np.abs(found.x - place[0]).argmin()])


def _figure(found: Landscape, losses: Any, over: list[dict[str, Any]], say: Say) -> dict[str, Any]:
    here = _nearest(found, losses, np.zeros(2))
    kept = losses[np.isfinite(losses) & (losses > 1e-4 * here)]
    low = float(kept.min(initial=here))
    high = max(low * 1.5, HIGHEST * here)
    levels = np.log10(np.clip(np.nan_to_num(losses, nan=high, posinf=high), low, high))
    ticks, step = scale_ticks(low, high), (math.log10(high) - math.log10(low)) / LEVELS
    contour = {
        "type": "contour",
        "x": found.x.astype(np.float32),
        "y": found.y.astype(np.float32),
        "z": levels.astype(np.float32),
        "colorscale": VALLEY,
        # Half a step inside, since the edge of what is drawn as high as anything is jagged.
        "contours": {"start": math.log10(low) + step / 2, "end": math.log10(high) - step / 2, "size": step},
        "line": {"width": 0.6, "color": SOFT},
        "colorbar": {
            "thickness": 10,
            "outlinewidth": 0,
            "tickvals": [math.log10(value) for value in ticks],
            "ticktext": [number(value) for value in ticks],
            "tickfont": {"size": FONT_SMALL, "color": INK},
            "title": {"text": say("loss"), "font": {"size": FONT_SMALL, "color": INK}},
        },
        "text": [[number(float(value)) for value in row] for row in losses],
        "hovertemplate": "%{text}<extra></extra>",
        "name": say("{on} loss").format(on=_on(found, say)),
    }
    first, second = _axes(found, say)
    look = layout(
        xaxis=axis(first, range=[float(found.x[0]), float(found.x[-1])], showgrid=False),
        yaxis=axis(second, range=[float(found.y[0]), float(found.y[-1])], showgrid=False),
        hovermode="closest",
    )
    return {"data": [contour, *over], "layout": look}


def _axes(found: Landscape, say: Say) -> tuple[str, str]:
    if found.plane == "tasks":
        return say("towards φ of task 1"), say("and aside, towards φ of task 2")
    return say("first main direction of φ − θ"), say("second main direction")


def _path(path: Any, colour: str, name: str, *, thin: bool = False) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines" if thin else "lines+markers",
        "x": path[:, 0].astype(np.float32),
        "y": path[:, 1].astype(np.float32),
        "line": line(colour, 1.6 if thin else 3.2),
        "marker": {"size": 7, "color": colour, "line": {"color": "#FFFFFF", "width": 1}},
        "name": name,
        "hovertemplate": "%{fullData.name}, %{pointNumber}<extra></extra>",
        "opacity": 0.75 if thin else 1.0,
        **static(),
    }


def _theta() -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [0.0],
        "y": [0.0],
        "text": ["θ"],
        "textposition": "top left",
        "textfont": {"size": 18, "color": INK},
        "marker": {"symbol": "diamond", "size": 13, "color": INK, "line": {"color": "#FFFFFF", "width": 1.5}},
        "name": "θ",
        "hovertemplate": "θ<extra></extra>",
        **static(),
    }


def _end(path: Any, colour: str, say: Say) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [float(path[-1, 0])],
        "y": [float(path[-1, 1])],
        "text": ["φ"],
        "textposition": "top right",
        "textfont": {"size": 18, "color": INK},
        "marker": {"size": 12, "color": colour, "line": {"color": "#FFFFFF", "width": 1.5}},
        "name": "φ",
        "hovertemplate": "φ<extra></extra>",
        **static(),
    }
