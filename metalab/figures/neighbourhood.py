"""How well an embedding's neighbours know what is known of a task, stage by stage, and the answer in words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.embedding import Embedding
from metalab.figures.style import (
    FONT_SMALL,
    SOFT,
    Picture,
    Say,
    axis,
    contender_colour,
    layout,
    line,
    plain,
    static,
)


def neighbourhood(found: Embedding, which: int, say: Say) -> Picture:
    """The neighbourhood score of one attribute against the stages, with its 95% band; the raw inputs' beside it."""
    agreement = found.agreements[which]
    kept = [(stage, each) for stage, each in zip(found.stages, agreement.stages, strict=True) if each is not None]
    colour = contender_colour(found.colour_key)
    x = np.array([stage for stage, _each in kept], np.int32)
    value, low, high = (
        np.array([getattr(each, part) for _stage, each in kept], np.float32) for part in ("value", "low", "high")
    )
    data = _band_and_line(x, value, np.concatenate([high, low[::-1]]), colour, found.label)
    lowest = min([0.0, float(low.min(initial=0.0))])
    marks = [_level(0.0, say("guessing"), "dot", right=True)]
    if agreement.raw is not None:
        marks.append(_level(agreement.raw.value, say("raw inputs"), "dash", right=False))
        lowest = min(lowest, agreement.raw.value)
    look = layout(
        xaxis=axis(say("inner step"), tickformat="d", **({"dtick": 1} if len(x) <= 12 else {"nticks": 8}))
        if found.axis == "inner step"
        else axis(say("outer step"), nticks=8, tickformat="d"),
        yaxis=axis(
            say("score of {attribute} (1 = perfect)").format(attribute=agreement.attribute), range=[lowest - 0.1, 1.05]
        ),
        shapes=[shape for shape, _text in marks],
        annotations=[text for _shape, text in marks],
    )
    return Picture(
        "neighbourhood",
        say("Do a task's neighbours know it?"),
        sentence(found, which, say),
        {"data": data, "layout": look},
        columns=("stage", "score"),
        key=(("band", say("95% interval over tasks")),),
    )


def _band_and_line(x: NDArray, value: NDArray, band: NDArray, colour: str, label: str) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": np.concatenate([x, x[::-1]]),
            "y": band,
            "fill": "toself",
            "line": {"width": 0, "color": colour},
            "opacity": 0.22,
            "hoverinfo": "skip",
            **static(),
        },
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": x,
            "y": value,
            "line": line(colour, 3),
            "marker": {"size": 7, "color": colour},
            "name": plain(label),
            "hovertemplate": "%{y:.2f}<extra></extra>",
        },
    ]


def sentence(found: Embedding, which: int, say: Say) -> str:
    """The answer in words: how well neighbours know the attribute, and whether better than the raw inputs do."""
    agreement = found.agreements[which]
    last = agreement.stages[found.fitted]
    if last is None:
        return say("All tasks lie in one point.")
    words = say("Guessed from the 5 nearest tasks, {attribute} scores {score} (95% interval {low} to {high})").format(
        attribute=agreement.attribute, score=f"{last.value:.2f}", low=f"{last.low:.2f}", high=f"{last.high:.2f}"
    )
    if agreement.raw is None or agreement.gain is None:
        return words + "."
    gain = agreement.gain
    if gain.low > 0:
        verdict = say("better than the raw inputs' {raw}: the difference is real ({low} to {high})")
    elif gain.high < 0:
        verdict = say("worse than the raw inputs' {raw}: the difference is real ({low} to {high})")
    else:
        verdict = say("and the raw inputs {raw}: no difference can be told ({low} to {high})")
    told = verdict.format(raw=f"{agreement.raw.value:.2f}", low=f"{gain.low:.2f}", high=f"{gain.high:.2f}")
    return f"{words}, {told}."


def _level(height: float, text: str, dash: str, *, right: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    shape = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": height,
        "y1": height,
        "line": line(SOFT, 1.6, dash),
    }
    note = {
        "text": text,
        "xref": "paper",
        "x": 0.99 if right else 0.01,
        "xanchor": "right" if right else "left",
        "y": height,
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": FONT_SMALL, "color": SOFT},
    }
    return shape, note
