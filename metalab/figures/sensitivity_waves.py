"""Waves unlike those of training as a map, and the functions that one wave's support sets lead to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.sensitivity_waves import RESAMPLES, Away, Spread
from metalab.figures.bands import banded
from metalab.figures.maps import MARK, heat, lost, lost_key, mark
from metalab.figures.style import FONT_SMALL, GRID, INK, Picture, Say, axis, layout, line, number, plain

PER_ROW = 100
"""A place of the map is known by the place of its amplitude * PER_ROW + that of its phase."""

BELOW = 0.1
"""Room on the map under the training box, whose weakest waves are weaker than those of the lowest row."""


def away(found: Away, chosen: tuple[float, float], say: Say) -> Picture:
    """The error over amplitude and phase, the training box, and the place that is looked at (amplitude, phase)."""
    rows, columns = found.errors.shape
    cells = np.arange(rows)[:, None] * PER_ROW + np.arange(columns)
    hover = say("amplitude {a}, phase {p}: {value} of the wave's mean square is left").format(
        a="%{y:.1f}", p="%{x:.2f}", value="{value}"
    )
    trace = heat(
        found.phases, found.amplitudes, found.errors, say("error / mean square of the wave"), hover,
        log=True, higher=False, cells=cells,
    )  # fmt: skip
    across, up = _edges(found.phases), _edges(found.amplitudes)
    up[0] = min(up[0], found.box[0][0] - BELOW)
    box, words = _training_box(found, say)
    turns = {
        "tickvals": [0, math.pi / 2, math.pi, 1.5 * math.pi, 2 * math.pi],
        "ticktext": ["0", "π/2", "π", "3π/2", "2π"],
    }
    look = layout(
        xaxis=axis(say("phase (radians)"), range=across, showgrid=False, **turns),
        yaxis=axis(say("amplitude"), range=up, showgrid=False),
        hovermode="closest",
        shapes=[box],
        annotations=[words],
    )
    place = mark(chosen[1], chosen[0], say("looked at"), "circle")
    inside, outside = found.median(inside=True), found.median(inside=False)
    told = say(
        "After {steps} inner steps the median error is {inside} of the wave's mean square inside the training box and "
        "{outside} outside."
    )
    return Picture(
        "away",
        say("How far from its training does it still learn?"),
        told.format(steps=found.steps, inside=number(inside), outside=number(outside)),
        {
            "data": [
                trace | {"name": plain(found.label)},
                place,
                *lost(found.phases, found.amplitudes, found.errors, say),
            ],
            "layout": look,
        },
        columns=("phase", "amplitude", "log10_error"),
        key=(("ring", say("the wave below: click another")), *lost_key(found.errors, say)),
    )


def _training_box(found: Away, say: Say) -> tuple[dict[str, Any], dict[str, Any]]:
    """The box of the training tasks, and its name."""
    (low, high), (first, last) = found.box
    box = {"type": "rect", "x0": first, "x1": last, "y0": low, "y1": high, "line": line(MARK, 3, "dash")}
    words = {
        "text": say("trained on"),
        "x": first,
        "y": high,
        "xanchor": "left",
        "yanchor": "bottom",
        "xshift": 4,
        "yshift": 4,
        "showarrow": False,
        "font": {"color": MARK, "size": FONT_SMALL},
        "bgcolor": "rgba(255,255,255,0.85)",
        "borderpad": 3,
    }
    return box, words


def _edges(middles: NDArray[np.float64]) -> list[float]:
    """Where a row of equal cells begins and ends."""
    half = float(middles[1] - middles[0]) / 2
    return [float(middles[0]) - half, float(middles[-1]) + half]


def spread(found: Spread, reach: float, say: Say) -> Picture:
    """The truth, one support set, and the mean of f_phi with the middle 90% over the support sets.

    `reach` is how far the y axis goes to either side.
    """
    where = {
        "anywhere": say("Points anywhere"),
        "left": say("All points in the left half"),
        "right": say("All points in the right half"),
    }[found.where]
    data = banded(found.x, found.mean, found.low, found.high, found.label, found.colour_key, say)
    data[-1]["mode"] = "lines"
    data[-1]["hovertemplate"] = "%{y:.3g}<extra>%{fullData.name}</extra>"
    for end, name in zip(data[1:3], (say("5th percentile"), say("95th percentile")), strict=True):
        end["name"] = f"{plain(found.label)}, {name}"
    look = layout(
        xaxis=axis("x", range=[float(found.x[0]), float(found.x[-1])]),
        yaxis=axis("y", range=[-reach, reach]),
        hovermode="closest",
    )
    if found.where != "anywhere":
        look["shapes"] = [_zone(found)]
    told = say("Where its points lie the functions are {seen} wide apart, middle 90%").format(
        seen=number(found.width(seen=True))
    )
    if found.where != "anywhere":
        told += say("; where none lies, {unseen}").format(unseen=number(found.width(seen=False)))
    return Picture(
        f"spread_{found.where}",
        where,
        told + ".",
        {"data": [*data, *_known(found, say)], "layout": look},
        columns=("x", "y"),
        key=(
            ("dash", say("true function")),
            ("line", say("mean f with φ over {n} support sets, and the middle 90%").format(n=RESAMPLES)),
            ("point", say("one of them")),
        ),
    )


def _known(found: Spread, say: Say) -> list[dict[str, Any]]:
    """The true function, and one support set."""
    truth: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": found.x.astype(np.float32),
        "y": found.truth.astype(np.float32),
        "line": line(INK, 2.2, "dash"),
        "name": say("true function"),
        "hovertemplate": "%{y:.3g}<extra>%{fullData.name}</extra>",
    }
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": found.support[:, 0].astype(np.float32),
        "y": found.support[:, 1].astype(np.float32),
        "marker": {"size": 10, "color": INK, "line": {"color": "#FFFFFF", "width": 1.5}},
        "name": say("one support set"),
        "hovertemplate": "(%{x:.3g}, %{y:.3g})<extra>%{fullData.name}</extra>",
    }
    return [truth, points]


def _zone(found: Spread) -> dict[str, Any]:
    """Where the points lie, as a shade."""
    return {
        "type": "rect",
        "yref": "paper",
        "x0": found.seen[0],
        "x1": found.seen[1],
        "y0": 0,
        "y1": 1,
        "fillcolor": GRID,
        "line": {"width": 0},
        "layer": "below",
    }


def reach_of(found: Spread) -> float:
    """A y axis that holds the truth and most of the functions."""
    tops = np.concatenate([np.abs(found.truth), np.abs(found.low), np.abs(found.high)])
    held = 2.5 * float(np.abs(found.truth).max()) + 1
    return 1.08 * min(float(np.nanmax(np.where(np.isfinite(tops), tops, 0))), held)
