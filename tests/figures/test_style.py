"""An algorithm's colour: its own, the same everywhere, and visible on both backgrounds."""

import itertools
import math
import tomllib
from pathlib import Path

import pytest

from metalab.algorithms import ALGORITHMS
from metalab.figures.style import ALGORITHM_COLOURS, DARK, axis, colour_of, fixed, number, spare_colour

NAMES = [("maml", 1), *((name, 2) for name in ALGORITHMS), ("an algorithm to come", 2)]
CONFIG = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text())


def luminance(colour):
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def lab(colour):
    """CIE L*a*b* (D65)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("dark", [False, True])
def test_every_algorithm_has_a_colour_that_is_told_from_all_others(dark):
    """At least 10 apart, where 2.3 is just noticeable; so are the colours of second and third runs."""
    found = {name: colour_of(*name, dark=dark) for name in NAMES[:-1]}
    found |= {("spare", n): spare_colour(n, dark=dark) for n in range(3)}
    for (one, a), (other, b) in itertools.combinations(found.items(), 2):
        assert math.dist(lab(a), lab(b)) > 10, (one, other)


def test_every_registered_algorithm_is_in_the_table():
    assert set(ALGORITHMS) | {"fomaml"} == set(ALGORITHM_COLOURS)


def test_a_dark_page_takes_the_place_of_each_light_colour():
    for name in NAMES:
        assert DARK.get(colour_of(*name), colour_of(*name)) == colour_of(*name, dark=True)


def test_order_decides_between_maml_and_fomaml():
    assert colour_of("maml", 2) == ALGORITHM_COLOURS["maml"][0]
    assert colour_of("maml", 1) == colour_of("fomaml")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_lines_stand_out_from_the_background(name, mode):
    assert contrast(colour_of(*name, dark=mode == "dark"), CONFIG["theme"][mode]["backgroundColor"]) >= 3.0


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_links_meet_wcag_aaa_and_aa(mode):
    theme = CONFIG["theme"][mode]
    for background in (theme["backgroundColor"], theme["secondaryBackgroundColor"]):
        assert contrast(theme["textColor"], background) >= 7.0
        assert contrast(theme["linkColor"], background) >= 4.5


def test_ticks_of_a_logarithmic_axis_are_told_in_full():
    short, long = (axis("loss", type="log", range=[low, 0.5], tickformat="") for low in (-0.8, -3.0))
    assert (short["dtick"], short["tickformat"]) == ("D2", "~g")
    assert (long["dtick"], long["tickformat"]) == (1, "~g")
    assert "dtick" not in axis("loss", type="linear", range=[0, 1])


def test_numbers_have_a_minus_and_no_negative_zero():
    assert [fixed(v, 2) for v in (-0.004, -1.005, 0.0, 2.5)] == ["0.00", "−1.00", "0.00", "2.50"]
    assert [fixed(v, 1, sign=True) for v in (0.25, -0.25, -0.04)] == ["+0.2", "−0.2", "+0.0"]
    assert [number(v) for v in (-0.0, -3.14159, -1e-5)] == ["0", "−3.14", "−1·10⁻⁵"]
