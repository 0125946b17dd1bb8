"""Trajectories in the plane: before adaptation and after each inner step, and the goal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.trajectories import Trails
from metalab.figures.style import FONT_SMALL, GRID, INK, Picture, Say, axis, layout, line, number, plain, static
from metalab.tasks.navigation import HALF

RAMP = ("#E69F00", "#D1495B", "#8E4FB3", "#3F6FC9")
"""From before adaptation to the last inner step; each of them stands out from a light and from a dark page."""
MOST_MEANS = 12
"""Mean paths of other inner steps that are shown at once, spread over all of them."""


def ramp(k: int, steps: int) -> str:
    """The colour of inner step k of 0 .. steps."""
    at = (len(RAMP) - 1) * (k / steps if steps else 1.0)
    i = min(int(at), len(RAMP) - 2)
    ends = [[int(colour[n : n + 2], 16) for n in (1, 3, 5)] for colour in RAMP[i : i + 2]]
    mixed = (round(a + (at - i) * (b - a)) for a, b in zip(*ends, strict=True))
    return "#" + "".join(f"{part:02X}" for part in mixed)


def trajectories(found: Trails, say: Say, name: str = "trajectories") -> Picture:
    """One contender: the mean path of each inner step's policy, single trajectories of the shown step's, the goal.

    `name` tells the pictures of one race apart.
    """
    steps = found.steps
    shown = sorted({round(k) for k in np.linspace(0, steps, min(steps + 1, MOST_MEANS))})
    data = [_path(found.mean[k], _name(k, say), line(ramp(k, steps), 2.0, "dot"), opacity=0.75) for k in shown]
    moving = [len(data), len(data) + 1]
    data += [
        _path(_joined(found.paths[steps]), say("single trajectories"), line(ramp(steps, steps), 1.3), opacity=0.55),
        _path(found.mean[steps], say("mean path"), line(ramp(steps, steps), 4.0)),
        _mark([0.0, 0.0], "circle-open", say("start"), 13),
        _mark(found.goal.tolist(), "star", say("goal"), 19),
    ]
    frames = [{"name": str(k), "traces": moving, "data": _frame(found, k)} for k in range(steps + 1)]
    ends = [-1.06 * found.reach, 1.06 * found.reach]
    look = layout(
        xaxis=axis(say("x (a time step moves at most 0.1)"), range=ends, constrain="domain"),
        yaxis=axis("y", range=ends, scaleanchor="x", scaleratio=1, constrain="domain"),
        hovermode="closest",
        shapes=[
            {"type": "rect", "x0": -HALF, "x1": HALF, "y0": -HALF, "y1": HALF, "line": {"color": GRID, "width": 2}}
        ],
        annotations=[_square_label(say)],
    )
    return Picture(
        name,
        say("Where does {contender} go?").format(contender=found.label),
        _sentence(found, say),
        {"data": data, "layout": look, "frames": frames},
        columns=("x", "y"),
        key=(
            ("dot", say("mean path at each inner step, from orange (before adaptation) to blue")),
            ("line", say("the inner step shown: its mean path and single trajectories")),
            ("point", say("goal")),
        ),
        aspect=1.0,
    )


def _frame(found: Trails, k: int) -> list[dict[str, Any]]:
    colour, single = ramp(k, found.steps), _joined(found.paths[k])
    return [
        {"x": single[:, 0], "y": single[:, 1], "line": line(colour, 1.3)},
        {"x": found.mean[k, :, 0], "y": found.mean[k, :, 1], "line": line(colour, 4.0)},
    ]


def _joined(paths: NDArray) -> NDArray:
    """Paths (n, H + 1, 2) as one line with gaps, (n (H + 2), 2)."""
    gap = np.full_like(paths[:, :1], np.nan)
    return np.concatenate([paths, gap], 1).reshape(-1, 2)


def _path(path: NDArray, name: str, look: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": path[:, 0],
        "y": path[:, 1],
        "line": look,
        "name": name,
        "hovertemplate": "(%{x:.2f}, %{y:.2f})<extra>%{fullData.name}</extra>",
    } | more


def _mark(place: list[float], symbol: str, name: str, size: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": place[:1],
        "y": place[1:],
        "marker": {"symbol": symbol, "size": size, "color": INK, "line": {"color": "#FFFFFF", "width": 1.5}},
        "name": name,
        "hovertemplate": "%{fullData.name} (%{x:.2f}, %{y:.2f})<extra></extra>",
    } | static()


def _square_label(say: Say) -> dict[str, Any]:
    return {
        "text": plain(say("goals lie in this square")),
        "x": -HALF,
        "y": HALF,
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": FONT_SMALL},
        "opacity": 0.7,
    }


def _name(k: int, say: Say) -> str:
    return say("before adaptation") if k == 0 else say("after inner step {k}").format(k=k)


def _sentence(found: Trails, say: Say) -> str:
    return say(
        "In {steps} inner steps the return of {contender} goes from {before} to {after}, where {best} is possible; at "
        "the end the point is {start} from the goal before and {end} after."
    ).format(
        steps=found.steps,
        contender=found.label,
        before=number(float(found.returns[0])),
        after=number(float(found.returns[-1])),
        best=number(found.best),
        start=number(float(found.distance[0])),
        end=number(float(found.distance[-1])),
    )
