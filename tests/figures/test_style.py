"""An algorithm's colour: its own, the same everywhere, and visible on both backgrounds."""

import tomllib
from pathlib import Path

import pytest

from metalab.figures.style import ALGORITHM_COLOURS, colour_of

NAMES = [("maml", 2), ("maml", 1), ("reptile", 2), ("pretrained", 2), ("scratch", 2), ("anil", 2), ("imaml", 2)]
CONFIG = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text())


def luminance(colour):
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_the_five_algorithms_have_five_colours(dark):
    assert len({colour_of(*name, dark=dark) for name in NAMES[:5]}) == 5


def test_order_decides_between_maml_and_fomaml():
    assert colour_of("maml", 2) == ALGORITHM_COLOURS["maml"]
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
