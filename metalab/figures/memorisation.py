"""What a network knows of labels before adaptation, and what it can do after, with labels that stay and shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metalab.analysis.bootstrap import Band
from metalab.analysis.memorisation import Memorisation
from metalab.figures.bands import Key, banded, level_line, name_ends
from metalab.figures.style import Picture, Say, axis, layout

FIXED: Key = ("maml", 2, 3)
"""The colour of the training with labels that stay."""
SHUFFLED: Key = ("maml", 2, 0)


@dataclass(frozen=True)
class _Line:
    label: str
    colour_key: Key
    band: Band
    dash: str = "solid"


def before(found: Memorisation, say: Say) -> Picture:
    """The gauge: accuracy before adaptation against outer step, and 1/N."""
    lines = [
        _Line(say("stay, practised"), FIXED, found.fixed.known),
        _Line(say("stay, new"), FIXED, found.fixed.new, "dot"),
        _Line(say("shuffled, practised"), SHUFFLED, found.shuffled.known),
    ]
    chance = 1 / found.ways
    ends = ", ".join(f"{one.label} {100 * float(one.band.mean[-1]):.0f}%" for one in lines)
    told = say("Before adaptation, after {n} outer steps: {ends}; chance is {chance}%.")
    return _picture(
        found,
        lines,
        "before",
        say("What does it know before adaptation?"),
        told.format(n=int(found.outer_steps[-1]), ends=ends, chance=f"{100 * chance:.0f}"),
        say("accuracy before adaptation"),
        say,
        chance,
    )


def after(found: Memorisation, say: Say) -> Picture:
    """Accuracy on new characters after adaptation against outer step."""
    lines = [
        _Line(say("labels stay"), FIXED, found.fixed.new_after),
        _Line(say("shuffled"), SHUFFLED, found.shuffled.new_after),
    ]
    ends = ", ".join(f"{one.label} {100 * float(one.band.mean[-1]):.0f}%" for one in lines)
    told = say("After adaptation to new characters: {ends}.").format(ends=ends)
    question = say("And what can it do with new characters after it?")
    title = say("accuracy after adaptation")
    return _picture(found, lines, "after", question, told, title, say, 1 / found.ways)


def _picture(
    found: Memorisation,
    lines: Sequence[_Line],
    name: str,
    question: str,
    told: str,
    title: str,
    say: Say,
    chance: float,
) -> Picture:
    data = []
    for one in lines:
        band = one.band
        data += banded(
            found.outer_steps, band.mean, band.low, band.high, one.label, one.colour_key, say, ".0%", one.dash
        )
    bounds = [0.0, 1.04]
    shape, words = level_line(chance, say("1/N, chance"))
    look = layout(
        xaxis=axis(say("outer step")),
        yaxis=axis(title, range=bounds, tickformat=".0%"),
        hovermode="closest",
        shapes=[shape],
        annotations=[words],
    )
    ends, dashes = [float(one.band.mean[-1]) for one in lines], [one.dash for one in lines]
    name_ends(look, lines, ends, bounds, dashes=dashes)
    key = (("line", say("mean over 48 tasks, in its 95% band")),)
    return Picture(name, question, told, {"data": data, "layout": look}, columns=("outer_step", "accuracy"), key=key)
