"""How well an embedding's neighbours know what is known of a task, stage by stage, and the answer in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.embedding import Embedding
from metalab.figures.bands import LABEL_GAP, shortened
from metalab.figures.style import (
    FONT,
    SOFT,
    Picture,
    Say,
    axis,
    contender_colour,
    fixed,
    layout,
    line,
    plain,
    spread,
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
    levels = [(0.0, say("guessing"), "dot")]
    if agreement.raw is not None:
        levels.append((agreement.raw.value, say("raw inputs"), "dash"))
        lowest = min(lowest, agreement.raw.value)
    bounds = [lowest - 0.1, 1.05]
    ends = [(height, text, SOFT, f"end {dash}") for height, text, dash in levels]
    if len(value):
        ends.append((float(value[-1]), plain(shortened(found.label)), colour, "end"))
    look = layout(
        xaxis=axis(say("inner step"), tickformat="d", **({"dtick": 1} if len(x) <= 12 else {"nticks": 8}))
        if found.axis == "inner step"
        else axis(say("outer step"), nticks=8, tickformat=",d"),
        yaxis=axis(say("score of {attribute} (1 = perfect)").format(attribute=agreement.attribute), range=bounds),
        shapes=[_level(height, dash) for height, _text, dash in levels],
        annotations=_end_names(ends, bounds),
    )
    look["margin"] = look["margin"] | {"r": 18 + round(max(len(text) for _height, text, *_look in ends) * FONT * 0.56)}
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
    if last.low > 0:
        words = say("Guessed from the 5 nearest tasks, {attribute} scores {score} (95% interval {low} to {high})")
    else:
        words = say(
            "The 5 nearest tasks do not tell {attribute}: guessed from them it scores {score} (95% interval {low} to "
            "{high}), and 0 is as good as guessing"
        )
    words = words.format(
        attribute=agreement.attribute, score=fixed(last.value, 2), low=fixed(last.low, 2), high=fixed(last.high, 2)
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
    told = verdict.format(raw=fixed(agreement.raw.value, 2), low=fixed(gain.low, 2), high=fixed(gain.high, 2))
    return f"{words}, {told}."


def _level(height: float, dash: str) -> dict[str, Any]:
    ends = {"xref": "paper", "x0": 0, "x1": 1, "y0": height, "y1": height}
    return {"type": "line", **ends, "line": line(SOFT, 1.6, dash)}


def _end_names(ends: Sequence[tuple[float, str, str, str]], bounds: Sequence[float]) -> list[dict[str, Any]]:
    """The lines' names (height, text, colour, kind of end) at their right ends, moved apart."""
    heights = [(height - bounds[0]) / (bounds[1] - bounds[0]) for height, *_look in ends]
    place = {"x": 1.0, "xref": "paper", "xshift": 8, "xanchor": "left", "yref": "paper"}
    return [
        {
            "name": kind,
            "text": text,
            "y": y,
            "yanchor": "middle",
            "showarrow": False,
            "font": {"size": FONT, "color": hue},
            **place,
        }
        for (_height, text, hue, kind), y in zip(ends, spread(heights, LABEL_GAP), strict=True)
    ]
