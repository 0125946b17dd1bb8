"""What a browser sends of the lab's map is checked and brought into its ranges."""

import math

import pytest

from metalab.analysis.quadratic_lab import Bowl
from metalab.ui.canvas.lab import parse_bowls, parse_place

GOOD = [[1, -2.5, 0.5, 2, 30], [0.0, 0.0, 4.0, 0.2, 0]]


def test_good_bowls_come_back_unchanged():
    assert parse_bowls(GOOD, 2) == (Bowl(1, -2.5, 0.5, 2, 30), Bowl(0, 0, 4, 0.2, 0))
    assert parse_place([1, -4.0]) == (1.0, -4.0)


def test_what_lies_outside_is_brought_to_the_edge_and_turns_go_round():
    assert parse_bowls([[9, -9, 99, 0, 190.04]], 1) == (Bowl(4, -4, 4, 0.2, 10.0),)
    assert parse_bowls([[0, 0, 1, 1, -30]], 1) == (Bowl(0, 0, 1, 1, 150.0),)
    assert parse_place([5, -5]) == (4.0, -4.0)


@pytest.mark.parametrize(
    "value",
    [None, 42, "bowls", {}, [], GOOD[:1], [*GOOD, GOOD[0]], [GOOD[0], [1, 2, 3, 4]], [GOOD[0], "abcde"]]
    + [[GOOD[0], [0, 0, 1, 1, odd]] for odd in (math.nan, math.inf, True, None, "1", [1], 10**400)],
)
def test_nonsense_is_no_arrangement(value):
    assert parse_bowls(value, 2) is None


@pytest.mark.parametrize("value", [None, 1, "ab", [1], [1, 2, 3], [1, math.nan], [True, 1], [10**400, 1], [[1], 2]])
def test_nonsense_is_no_place(value):
    assert parse_place(value) is None
