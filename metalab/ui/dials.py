"""Sliders whose values reach Python while they are moved, not only when they are let go (assets/dials.js)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import streamlit as st

from metalab.ui.canvas.bridge import asset, checked_colour, sequence_number, stored

PER_DECADE = 24
"""Stops of a logarithmic dial in each power of ten."""

_mount = st.components.v2.component(
    "metalab_dials",
    html='<div class="dials"></div>',
    css=asset("canvas.css", "dials.css"),
    js=asset("canvas.js", "dials.js"),
)


@dataclass(frozen=True)
class Dial:
    """One slider: the values at which it stops, ascending, and where it stands at first."""

    name: str
    label: str
    stops: tuple[float, ...]
    value: float
    help: str = ""
    colour: str | None = None
    """'#rrggbb' of the contender that it belongs to."""
    note: str = ""
    """A line below it."""


@dataclass(frozen=True)
class Reading:
    """Where the dials stand, and whether one of them is being moved right now."""

    values: dict[str, float]
    moving: bool
    moved: bool
    """Whether any was touched since this revision began."""


@lru_cache(maxsize=256)
def log_stops(low: float, high: float, *extra: float) -> tuple[float, ...]:
    """Values of two significant digits, evenly spread on a logarithmic scale, with both ends and `extra`."""
    first, last = round(math.log10(low) * PER_DECADE), round(math.log10(high) * PER_DECADE)
    stops = {float(f"{10 ** (n / PER_DECADE):.2g}") for n in range(first, last + 1)}
    return tuple(sorted({v for v in stops if low < v < high} | {low, high, *(v for v in extra if low <= v <= high)}))


@lru_cache(maxsize=256)
def whole_stops(low: int, high: int) -> tuple[float, ...]:
    """All whole numbers from low to high."""
    return tuple(float(n) for n in range(low, high + 1))


def read_dials(dials: Sequence[Dial], *, key: str, revision: int) -> Reading:
    """Where the dials stand before they are drawn. What a browser sent is brought to the nearest stop."""
    value = stored(key, "dials", revision)
    sent = value.get("values") if value else None
    sent = sent if isinstance(sent, dict) else {}
    values = {dial.name: _checked(dial, sent.get(dial.name)) for dial in dials}
    return Reading(values, bool(value and value.get("moving") is True), bool(sent))


def draw_dials(dials: Sequence[Dial], *, key: str, revision: int) -> None:
    """Draw them. Another `revision` puts every dial back to its `value`."""
    value = stored(key, "dials", revision)
    _mount(
        key=key,
        data={
            "revision": revision,
            "seq": sequence_number(value),
            "dials": [
                {
                    "name": dial.name,
                    "label": dial.label,
                    "help": dial.help,
                    "stops": list(dial.stops),
                    "value": dial.value,
                    "colour": checked_colour(dial.colour) if dial.colour else None,
                    "note": dial.note,
                }
                for dial in dials
            ],
        },
        on_dials_change=lambda: None,
    )


def _checked(dial: Dial, sent: object) -> float:
    value = dial.value
    # The bound keeps an int with thousands of digits away from float arithmetic, which it would overflow.
    if type(sent) in (int, float) and -1e9 < sent < 1e9:  # type: ignore[operator]
        value = float(sent)  # type: ignore[arg-type]
    return min(dial.stops, key=lambda stop: abs(stop - value))
