"""How every figure looks: colours, letters, axes. Figures are plain dictionaries that plotly draws.

A figure is built for a light page. `DARK` says which colour takes the place of each on a dark page, so that
a page can change sides without a new figure; backgrounds are transparent. Hues are those of the Okabe-Ito set,
which colour-blind people can tell apart (M. Okabe and K. Ito, "Color Universal Design", 2008).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figure = dict[str, Any]
Say = Callable[[str], str]
"""Translates a literal text into the reader's language."""

ALGORITHM_COLOURS: Mapping[str, tuple[str, str]] = {
    # The exact meta-gradient and its limits
    "maml": ("#0072B2", "#3D9BDC"),
    "fomaml": ("#2A93D0", "#56B4E9"),
    "imaml": ("#003A63", "#A9D3F5"),
    "reptile": ("#D55E00", "#F0803C"),
    # A part adapts
    "anil": ("#CC79A7", "#CC79A7"),
    "boil": ("#8F3F6B", "#E8B4D0"),
    "nil": ("#551B48", "#A8527F"),
    # Rates are learned
    "meta_sgd": ("#B87F00", "#E69F00"),
    "maml_plus_plus": ("#7A4A00", "#FFCE7A"),
    # The support set is read at once
    "prototypes": ("#9C9000", "#F0E442"),
    "cnp": ("#5C5600", "#FFF9C0"),
    "in_context": ("#5E8A00", "#B4DB4A"),
    "prompting": ("#34500A", "#84A63C"),
    # Transfer
    "pretrained": ("#009E73", "#26BF94"),
    "multi_task": ("#00593F", "#8CE8CC"),
    "linear_probe": ("#008C99", "#35B7C4"),
    "nearest_neighbour": ("#0A4A55", "#A6E6EC"),
    "scratch": ("#6E6E6E", "#999999"),
}
"""On a light page and on a dark one: a hue of the set for each kind of algorithm, a shade of it for each of the kind.

Seventeen hues could not be told apart; shades can, by the colour-blind too, and each line carries its name.
"""
SPARE_COLOURS = (("#8257C2", "#B394EC"), ("#A0522D", "#D39A78"), ("#C2185B", "#F4719F"))
"""For further runs of an algorithm that is on the picture already, and for algorithms to come."""

INK = "#16202B"
"""Text, and what belongs to the task rather than to an algorithm."""
SOFT = "#51606E"
"""Text that stands back."""
GRID = "rgba(127,139,151,0.22)"
CLEAR = "rgba(0,0,0,0)"
FONT = 15
FONT_SMALL = 14


def colour_of(name: str, order: int = 2, *, dark: bool = False) -> str:
    """The hex colour of an algorithm, adjusted where the page's background would swallow it.

    `name` is the algorithm's name in a config; MAML with `order` 1 is FOMAML. An algorithm that is not in the
    table gets one of the remaining colours, always the same one.
    """
    key = "fomaml" if name == "maml" and order == 1 else name
    pair = ALGORITHM_COLOURS.get(key) or SPARE_COLOURS[sum(key.encode()) % len(SPARE_COLOURS)]
    return pair[dark]


def spare_colour(n: int, *, dark: bool = False) -> str:
    """The colour of an algorithm's second run on one picture (n = 0), of its third (1), and so on."""
    return SPARE_COLOURS[n % len(SPARE_COLOURS)][dark]


def contender_colour(key: tuple[str, int, int], *, dark: bool = False) -> str:
    """The colour of a contender by its algorithm's name and order, and its number among those seen before (0: none)."""
    name, order, twin = key
    return spare_colour(twin - 1, dark=dark) if twin else colour_of(name, order, dark=dark)


DARK: Mapping[str, str] = {
    light: dark for light, dark in [*ALGORITHM_COLOURS.values(), *SPARE_COLOURS] if light != dark
} | {INK: "#EEF3F7", SOFT: "#B3BFCA"}
"""A light page's colour to a dark page's."""


@dataclass(frozen=True)
class Picture:
    """A figure with what surrounds it."""

    name: str
    title: str
    """The question that it answers."""
    alt: str
    """What it shows, as one sentence of data."""
    figure: Figure
    """data, layout, and frames, one for each inner step. A trace with `meta` {"csv": False} is only decoration."""
    columns: tuple[str, ...]
    """What a table of it has beside the series and the inner step, e.g. x and y."""
    key: tuple[tuple[str, str], ...] = ()
    """(a class of `.key i` in assets/stage.css, such as line or frame; what it stands for): what the figure does not
    name itself."""
    aspect: float | None = None
    """Height over width, where the content needs a fixed one."""
    narrow: Picture | None = None
    """The same for a narrow screen, which takes its figure and aspect."""


def layout(**more: Any) -> dict[str, Any]:
    """A layout without a background; `more` goes on top."""
    return {
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"size": FONT, "color": INK},
        "margin": {"l": 62, "r": 14, "t": 10, "b": 50},
        "showlegend": False,
        "hoverlabel": {"font": {"size": FONT}},
    } | more


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title, unit included; a logarithmic one of known range tells its ticks in full."""
    if more.get("type") == "log" and "range" in more and not more.get("tickformat"):
        low, high = more["range"]
        # plotly's own would write 0.2 and 0.5 as 2 and 5.
        more = {"dtick": 1 if high - low > 2 else "D2"} | more | {"tickformat": "~g"}
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": FONT_SMALL}},
        "gridcolor": GRID,
        "zeroline": False,
        "ticks": "",
        "automargin": True,
        "tickfont": {"size": FONT_SMALL},
    } | more


def steps_axis(title: str, steps: int) -> dict[str, Any]:
    """An axis of inner steps 0 .. steps."""
    room = max(0.15, 0.02 * steps)
    ticks: dict[str, Any] = {"dtick": 1} if steps <= 12 else {"nticks": 8}
    return axis(title, range=[-room, max(steps, 1) + room], tickformat="d", **ticks)


def line(colour: str, width: float = 3.0, dash: str = "solid") -> dict[str, Any]:
    """A line's look."""
    return {"color": colour, "width": width, "dash": dash}


def spread(heights: Sequence[float], gap: float, low: float = 0.0, high: float = 1.0) -> list[float]:
    """Heights of labels moved apart until `gap` lies between any two, as little as possible, within low .. high.

    Where they cannot all fit they are laid out evenly.
    """
    n = len(heights)
    if n == 0:
        return []
    gap = min(gap, (high - low) / max(n - 1, 1))
    order = sorted(range(n), key=heights.__getitem__)
    # Without their gaps they only have to ascend: neighbours that do not share a height, their mean.
    pools: list[list[float]] = []
    for j, i in enumerate(order):
        pools.append([min(max(heights[i], low), high) - j * gap])
        while len(pools) > 1 and sum(pools[-2]) * len(pools[-1]) > sum(pools[-1]) * len(pools[-2]):
            last = pools.pop()
            pools[-1] += last
    shared = [sum(pool) / len(pool) for pool in pools for _one in pool]
    out = [0.0] * n
    for j, i in enumerate(order):
        out[i] = min(max(shared[j], low), high - (n - 1) * gap) + j * gap
    return out


def static() -> dict[str, Any]:
    """Marks a trace as decoration: a table of the figure leaves it out."""
    return {"meta": {"csv": False}}


def plain(text: str) -> str:
    """Text from outside as plotly shows it: the few tags that plotly reads are taken literally."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """A figure in a sentence: three significant digits."""
    if value != value or value in (float("inf"), float("-inf")):
        return "∞"
    if abs(value) >= 1e4:
        return _power(f"{value:.1e}")
    return _power(f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}")


def fixed(value: float, digits: int, *, sign: bool = False) -> str:
    """A figure with so many digits after the point; with `sign` a positive one shows it too. Never "-0.00"."""
    return _minus(f"{value:{'+' if sign else ''}z.{digits}f}")


def _power(text: str) -> str:
    """A number with its power of ten as people write it: 1.2·10⁵ for 1.2e+05."""
    mantissa, _e, power = text.partition("e")
    return _minus(mantissa) + (f"·10{str(int(power)).translate(_RAISED)}" if power else "")


def _minus(text: str) -> str:
    """With a minus in place of the keyboard's hyphen, and none before a bare zero."""
    return "0" if text == "-0" else text.replace("-", "−")
