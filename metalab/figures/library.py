"""Stored runs as pictures: their last adaptation curves side by side, and where each start leads on one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metalab.analysis.catalogue import Entry
from metalab.analysis.starts import Ranking, Start
from metalab.figures.adaptation import value_range
from metalab.figures.bands import banded, name_ends
from metalab.figures.speed import metric_title, spelled
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
    plain,
    static,
    steps_axis,
)

SHOWN = 12
"""Starts that are drawn; the table has all."""
NAME_LETTERS = 42
"""What fits above a row on a phone."""


class _Curve:
    def __init__(self, label: str, colour_key: tuple[str, int, int]) -> None:
        self.label, self.colour_key = label, colour_key


def compared(entries: Sequence[Entry], labels: Sequence[str], loss_name: str, axis_name: str, say: Say) -> Picture:
    """The last adaptation curves of runs that have one, of one metric, with 95% bands."""
    results = [entry.result for entry in entries]
    drawn = [(entry, label, r) for entry, label, r in zip(entries, labels, results, strict=True) if r is not None]
    metric = drawn[0][2].metric
    percent = metric == "accuracy"
    data: list[dict[str, Any]] = []
    lines, seen = [], list[tuple[str, int]]()
    for entry, label, result in drawn:
        who = (entry.run.algorithm, int(entry.run.settings["algorithm"].get("order", 2)))
        key = (*who, seen.count(who))
        seen.append(who)
        lines.append(_Curve(label, key))
        ends = result.mean - result.ci95, result.mean + result.ci95
        form = ".1%" if percent else ".3g"
        data += banded(np.arange(len(result.mean)), result.mean, *ends, label, key, say, form)
    tops = [part for _entry, _label, result in drawn for part in (result.mean, result.mean + result.ci95)]
    bounds = [0.0, 1.04] if percent else value_range(tops, log=False)
    most = max(len(result.mean) - 1 for _entry, _label, result in drawn)
    look = layout(
        xaxis=steps_axis(say(axis_name), most),
        yaxis=axis(metric_title(metric, loss_name, say), range=bounds, tickformat=".0%" if percent else ""),
        hovermode="x unified",
    )
    name_ends(look, lines, [result.after for _entry, _label, result in drawn], bounds)
    parts = "; ".join(
        say("{run} from {before} to {after} (±{ci})").format(
            run=label,
            before=spelled(result.before, metric),
            after=spelled(result.after, metric),
            ci=spelled(float(result.ci95[-1]), metric),
        )
        for _entry, label, result in drawn
    )
    alt = say("On its own held-out tasks each run goes, with 95% intervals: {parts}.").format(parts=parts)
    figure = {"data": data, "layout": look}
    title = say("How do they adapt?") if len(drawn) > 1 else say("How does it adapt?")
    return Picture("compared", title, alt, figure, columns=(axis_name.replace(" ", "_"), metric))


def starts(ranking: Ranking, say: Say) -> Picture:
    """One row for each start, the best on top: from where it stands before adaptation to where it gets."""
    shown = [start for start in ranking.starts if np.isfinite(start.curve[[0, -1]]).all()][:SHOWN]
    percent = ranking.metric == "accuracy"
    form = ".1%" if percent else ".3g"
    data = [_way(start, row, form, say) for row, start in enumerate(shown)]
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "x": [start.before for start in shown],
            "y": list(range(len(shown))),
            "marker": {"size": 11, "color": "rgba(0,0,0,0)", "line": {"color": SOFT, "width": 2}},
            "name": say("before adaptation"),
            "hoverinfo": "skip",
            **static(),
        }
    )
    title = metric_title(ranking.metric, ranking.loss_name, say)
    look = layout(
        xaxis=axis(title, tickformat=".0%" if percent else "", rangemode="tozero"),
        yaxis=axis("", range=[len(shown) - 0.5, -0.75], showticklabels=False, showgrid=False, zeroline=False),
        hovermode="closest",
        annotations=[_name(start, row) for row, start in enumerate(shown)],
    )
    look["margin"] = look["margin"] | {"l": 16, "r": 30}
    return Picture(
        "starts",
        say("Where does each start lead?"),
        _ranked(ranking, shown, say),
        {"data": data, "layout": look},
        columns=(ranking.metric, "row"),
        key=(
            (
                "point",
                say("after {steps} inner steps, or all shots; the ring is where it stood before").format(
                    steps=ranking.steps
                ),
            ),
        ),
    )


def _name(start: Start, row: int) -> dict[str, Any]:
    """Above its row: beside it a name would leave a phone no room."""
    label = start.label if len(start.label) <= NAME_LETTERS else start.label[: NAME_LETTERS - 1] + "…"
    return {
        "text": f"{plain(label)} · {start.step:,}",
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": row,
        "yshift": 17,
        "showarrow": False,
        "font": {"color": INK, "size": FONT_SMALL},
    }


def _way(start: Start, row: int, form: str, say: Say) -> dict[str, Any]:
    colour = contender_colour(start.colour_key)
    name = f"{plain(start.label)}, {say('outer step {step}').format(step=f'{start.step:,}')}"
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [start.before, start.after],
        "y": [row, row],
        "customdata": [row, row],
        "line": line(colour, 4),
        "marker": {"size": [0, 15], "color": colour, "opacity": 1},
        "name": name,
        "hovertemplate": f"%{{x:{form}}}<extra>{name}</extra>",
    }


def _ranked(ranking: Ranking, shown: Sequence[Start], say: Say) -> str:
    if not shown:
        return say("No start leads anywhere on this task: all left the range of numbers.")
    parts = "; ".join(
        say("{run} at outer step {step} from {before} to {after}").format(
            run=start.label,
            step=f"{start.step:,}",
            before=spelled(start.before, ranking.metric),
            after=spelled(start.after, ranking.metric),
        )
        for start in shown[:3]
    )
    if len(ranking.starts) == 1:
        return say("The only start, by {metric}: {parts}.").format(metric=say(ranking.metric), parts=parts)
    return say("The best of {n} starts, by {metric}: {parts}.").format(
        n=len(ranking.starts), metric=say(ranking.metric), parts=parts
    )
