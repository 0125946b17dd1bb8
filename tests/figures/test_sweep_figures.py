"""A sweep's pictures hold its numbers: lines through the values, cells in their place, the best on top."""

from __future__ import annotations

import math

import pytest

from metalab.analysis.sweep import Table, Tried
from metalab.figures.sweep import heatmap, parallel, scattered

SETTINGS = ("algorithm.inner_lr", "algorithm.order")
NAMES = ["α", "Order"]
RESULTS = {(0.01, 2): 1.0, (0.1, 2): 0.1, (1.0, 1): 10.0, (0.1, 1): math.nan}


def table(results=RESULTS, metric="loss"):
    rows = tuple(Tried(n, values, str(n), "finished", r, 0.05) for n, (values, r) in enumerate(results.items()))
    return Table(metric, SETTINGS, (True, False), len(rows), rows)


def test_every_trial_with_a_result_is_a_line_through_its_values():
    picture = parallel(table(), NAMES, "mean squared error", str)
    lines = {trace["customdata"][0]: trace for trace in picture.figure["data"]}
    assert lines.keys() == {0, 1, 2}
    assert [lines[n]["y"][0] for n in (0, 1, 2)] == pytest.approx([0, 0.5, 1])
    assert [lines[n]["y"][-1] for n in (0, 1, 2)] == pytest.approx([0.5, 1, 0])
    assert picture.figure["data"][-1]["customdata"][0] == 1
    assert lines[1]["line"]["width"] > lines[0]["line"]["width"]
    assert (lines[1]["line"]["color"], lines[2]["line"]["color"]) == ("#0072B2", "#D55E00")
    assert picture.alt == "Over 3 trials loss goes from 0.1 at best to 10 at worst."


def test_where_more_is_better_the_highest_is_the_best():
    results = {(0.01, 2): 0.9, (0.1, 2): 0.5, (1.0, 1): 0.2, (0.1, 1): 0.3}
    picture = parallel(table(results, "accuracy"), NAMES, "cross-entropy, nats", str)
    assert picture.figure["data"][-1]["customdata"][0] == 0
    assert "from 90.0% at best to 20.0% at worst" in picture.alt
    assert "alone explains" in picture.alt


def test_words_stand_evenly_on_their_axis():
    results = {("relu", 1): 1.0, ("tanh", 1): 2.0}
    lines = parallel(table(results), NAMES, "", str).figure["data"]
    assert sorted(trace["y"][0] for trace in lines) == [0.25, 0.75]


def test_the_heatmap_has_its_results_in_words_and_holes_where_there_are_none():
    picture = heatmap(table(), *SETTINGS, dict(zip(SETTINGS, NAMES, strict=True)), "mean squared error", str)
    trace, gone = picture.figure["data"]
    assert [[math.isnan(z) for z in row] for row in gone["z"]] == [[False, False, True], [True, True, False]]
    assert gone["name"] == "no result"
    assert picture.key[0][0] == "lost"
    assert not any(picture.figure["layout"][name]["showgrid"] for name in ("xaxis", "yaxis"))
    assert picture.alt == "Best at α 0.1, Order 2: 0.1; worst at α 1, Order 1: 10."
    assert picture.alt != parallel(table(), NAMES, "mean squared error", str).alt
    assert (trace["x"], trace["y"]) == (["0.01", "0.1", "1"], ["1", "2"])
    assert trace["text"] == [["", "", "10"], ["1", "0.1", ""]]
    assert trace["z"][1][:2] == pytest.approx([0, -1])
    assert trace["colorscale"][0][1] == "rgba(0,114,178,0.55)"


def test_a_single_setting_is_drawn_with_its_intervals():
    picture = scattered(table(), SETTINGS[0], "α", "mean squared error", str)
    (trace,) = picture.figure["data"]
    assert (trace["x"], trace["y"]) == ([0.1, 0.01, 1.0], [0.1, 1.0, 10.0])
    assert trace["error_y"]["array"] == [0.05] * 3
    assert trace["customdata"] == [1, 0, 2]
    assert picture.figure["layout"]["xaxis"]["type"] == "log"
    assert picture.figure["layout"]["yaxis"]["type"] == "log"


@pytest.mark.parametrize(
    ("values", "log", "ticks"),
    [
        ((1, 2, 3), False, {"type": "linear", "dtick": 1}),
        ((1, 30), False, {"type": "linear"}),
        ((1, 2, 4, 16), True, {"type": "log", "tickmode": "array", "tickvals": [1, 2, 4, 16]}),
        ((0.5, 2.0), True, {"type": "log"}),
    ],
)
def test_whole_numbers_have_no_ticks_between_them(values, log, ticks):
    rows = tuple(Tried(n, (value,), str(n), "finished", 1.0 + n, 0.05) for n, value in enumerate(values))
    picture = scattered(Table("loss", ("inner_steps",), (log,), len(rows), rows), "inner_steps", "Steps", "", str)
    found = picture.figure["layout"]["xaxis"]
    assert {name: found.get(name) for name in ("type", "dtick", "tickmode", "tickvals") if name in found} == ticks


def test_of_many_whole_numbers_some_are_ticks():
    rows = tuple(Tried(n, (2**n,), str(n), "finished", 1.0 + n, 0.05) for n in range(20))
    picture = scattered(Table("loss", ("steps",), (True,), 20, rows), "steps", "Steps", "", str)
    ticks = picture.figure["layout"]["xaxis"]["tickvals"]
    assert len(ticks) == 8
    assert (ticks[0], ticks[-1]) == (1, 2**19)


def test_nothing_is_said_in_words():
    assert parallel(table({}), NAMES, "", str).alt == "No trial has a result yet."


def test_one_result_is_not_told_as_a_span():
    assert parallel(table({(0.1, 2): 0.5}), NAMES, "", str).alt == "One trial has a result: loss 0.5."
