"""What components send, forged: whatever arrives, what pages get is of the right type, within its range and short."""

from __future__ import annotations

import math

import hostile_values as hostile
import pytest
import streamlit as st
from hypothesis import given
from hypothesis import strategies as some

from metalab.analysis.quadratic_lab import BENDS
from metalab.figures.quadratic_lab import HALF
from metalab.ui import gallery, live, stage
from metalab.ui.canvas import bridge, points, strokes
from metalab.ui.canvas import lab as lab_canvas
from metalab.ui.dials import Dial, read_dials
from metalab.ui.live import Command, LiveRun

PAIRS = some.lists(hostile.numbers, min_size=2, max_size=2)
POINTS = some.lists(PAIRS | hostile.values, max_size=60)
DIALS = [Dial("rate", "Rate", (0.01, 0.1, 1.0), 0.1), Dial("steps", "Steps", (1.0, 2.0), 2.0)]
RUNS = [LiveRun("abcd2345", "Mine", "maml", 2), LiveRun("bcde3456", "Other", "reptile", 2)]


@pytest.fixture
def sent(monkeypatch):
    """Lets a component's state be this."""

    def arrive(key, name, value):
        monkeypatch.setattr(st, "session_state", {key: {name: value}})

    return arrive


@given(value=hostile.values | POINTS)
def test_points_lie_on_the_plot(value):
    found, problem = points.parse_points(value, (-5.0, 5.0), (-6.0, 6.0), 50)
    assert len(found) <= 50
    assert all(type(x) is float and type(y) is float and -5 <= x <= 5 and -6 <= y <= 6 for x, y in found)
    assert isinstance(problem, str)
    assert len(problem) < 300


STROKE = some.lists(PAIRS | hostile.scalars, max_size=6) | hostile.values
PADS = some.lists(some.lists(some.lists(STROKE, max_size=3) | hostile.values, max_size=6), max_size=6)
DRAWINGS = some.fixed_dictionaries({}, optional={"support": PADS | hostile.values, "query": some.lists(STROKE)})


@given(value=hostile.values | DRAWINGS, ways=some.integers(1, 5), shots=some.integers(1, 5))
def test_drawings_lie_in_their_pads_or_are_refused_in_a_sentence(value, ways, shots):
    found, said = hostile.attempt(lambda: strokes.parse_drawings(value, ways, shots), ValueError)
    if said is not None:
        assert hostile.in_one_sentence(said)
        assert said.endswith(".")
        return
    assert [len(row) for row in found.support] == [shots] * ways
    for drawing in [*sum(found.support, ()), found.query]:
        assert len(drawing) <= strokes.MAX_STROKES
        assert all(0 <= x <= 1 and 0 <= y <= 1 for stroke in drawing for x, y in stroke)
        picture = strokes.rasterise(drawing)
        assert picture.shape == (28, 28)
        assert 0 <= picture.min() <= picture.max() <= 1


BOWL = some.lists(hostile.numbers, min_size=5, max_size=5) | hostile.values


@given(bowls=some.lists(BOWL, max_size=4) | hostile.values, start=PAIRS | hostile.values)
def test_bowls_lie_on_the_map(bowls, start):
    place = lab_canvas.parse_place(start)
    assert place is None or all(-HALF <= part <= HALF for part in place)
    found = lab_canvas.parse_bowls(bowls, 3)
    for bowl in found or ():
        assert all(map(math.isfinite, (bowl.x, bowl.y, bowl.first, bowl.second, bowl.turn)))
        assert max(abs(bowl.x), abs(bowl.y)) <= HALF
        assert BENDS[0] <= min(bowl.first, bowl.second) <= max(bowl.first, bowl.second) <= BENDS[1]
        assert 0 <= bowl.turn <= 180


SAID = some.fixed_dictionaries(
    {"revision": some.just(3) | hostile.scalars},
    optional={
        "values": some.dictionaries(some.sampled_from(["rate", "steps", "x"]), hostile.values) | hostile.values,
        "moving": hostile.scalars,
        "seq": hostile.scalars,
        "step": hostile.scalars,
        "picture": hostile.values,
        "how": some.sampled_from(["click", "lasso"]) | hostile.values,
        "points": some.lists(some.fixed_dictionaries({"data": hostile.values}) | hostile.values) | hostile.values,
        "name": some.sampled_from(["stop", "delete"]) | hostile.values,
        "run": some.sampled_from(["abcd2345", "zzzz9999"]) | hostile.values,
    },
)


@given(value=SAID | hostile.values)
def test_dials_rest_on_their_stops(value, sent):
    sent("page.dials", "dials", value)
    reading = read_dials(DIALS, key="page.dials", revision=3)
    assert all(reading.values[dial.name] in dial.stops for dial in DIALS)
    assert type(reading.moving) is type(reading.moved) is bool


@given(value=SAID | hostile.values)
def test_picks_and_players_are_whole_numbers_in_their_range(value, sent):
    sent("page.gallery", "pick", value)
    pick = gallery.picked("page.gallery", 3)
    if pick is not None:
        assert len(pick.picture) <= 80
        assert pick.how in ("click", "lasso")
        assert all(type(n) is int and abs(n) < 2**53 for n in pick.data)
    sent("page.stage", "player", value)
    assert stage.player_step("page.stage", 3, 10) in range(11)
    number = bridge.sequence_number(value if isinstance(value, dict) else None)
    assert type(number) is int
    assert 0 <= number < 2**53


@given(value=SAID | hostile.values)
def test_only_the_live_panels_own_buttons_command_and_only_the_runs_that_it_shows(value):
    command = live._checked(value, RUNS)
    assert command is None or (command == Command("abcd2345", "stop") and value["name"] == "stop")
