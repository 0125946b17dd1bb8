"""Pictures of stored runs hold their numbers, and their sentences are computed from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metalab.analysis.catalogue import Entry, Result
from metalab.analysis.starts import Ranking, Start
from metalab.figures.library import SHOWN, compared, starts
from metalab.figures.style import colour_of, spare_colour
from metalab.store import Run
from metalab.store.library import Marks
from metalab.training.config import parse_config


def entry(algorithm, *means):
    text = parse_config({"algorithm": algorithm}).model_dump_json()
    run = Run(**dict.fromkeys(Run.__dataclass_fields__, 0) | {"config_json": text})
    return Entry(run, Marks(), Result("loss", np.array(means), np.full(len(means), 0.1), 50, 100))


def start(label, *curve, who=("maml", 2, 0)):
    return Start(label, label, 100, who, np.array(curve))


def ranking(*found, metric="loss"):
    return Ranking(metric, "mean squared error", "", 2, found, 0)


def test_curves_stand_side_by_side_and_a_second_of_an_algorithm_has_another_colour():
    entries = [entry("maml", 3.0, 1.0), entry("reptile", 2.0, 0.5), entry("maml", 4.0, 2.0)]
    picture = compared(entries, ["A", "B", "<C>"], "mean squared error", "inner step", str)
    drawn = {t["name"]: t for t in picture.figure["data"] if t["line"]["width"] == 3}
    assert drawn["A"]["y"].tolist() == [3.0, 1.0]
    assert drawn["A"]["line"]["color"] == colour_of("maml")
    assert drawn["&lt;C&gt;"]["line"]["color"] == spare_colour(0)
    assert "A from 3 to 1 (±0.1); B from 2 to 0.5 (±0.1)" in picture.alt


def test_the_axis_holds_the_bands_too():
    high = entry("maml", 3.0, 2.9)
    picture = compared([replace(high, result=replace(high.result, ci95=np.full(2, 1.5)))], ["A"], "", "inner step", str)
    low, top = picture.figure["layout"]["yaxis"]["range"]
    assert low <= 1.4
    assert top >= 4.5


def test_runs_without_a_result_are_left_out():
    entries = [Entry(entry("maml", 1.0).run, Marks(), None), entry("reptile", 2.0, 0.5)]
    picture = compared(entries, ["A", "B"], "mean squared error", "inner step", str)
    assert "A from" not in picture.alt
    assert picture.figure["data"][0]["name"] == "B"


def test_each_start_is_a_way_from_before_to_after_the_best_on_top():
    picture = starts(ranking(start("A", 3.0, 1.0, 0.25), start("B", 2.0, 0.5), start("C", 1.0, np.nan)), str)
    ways = [trace for trace in picture.figure["data"] if trace["mode"] == "lines+markers"]
    assert [(way["x"], way["y"]) for way in ways] == [([3.0, 0.25], [0, 0]), ([2.0, 0.5], [1, 1])]
    names = picture.figure["layout"]["annotations"]
    assert [(name["text"], name["y"]) for name in names] == [("A · 100", 0), ("B · 100", 1)]
    assert picture.figure["layout"]["yaxis"]["range"] == [1.5, -0.75]
    assert "The best of 3 starts, by loss: A at outer step 100 from 3 to 0.25; B" in picture.alt


def test_only_the_first_few_are_drawn_and_none_is_said_in_words():
    many = starts(ranking(*(start(str(n), 1.0, n / 100) for n in range(40))), str)
    assert len(many.figure["layout"]["annotations"]) == SHOWN
    (name,) = starts(ranking(start("<b>" * 27, 1.0, 0.5)), str).figure["layout"]["annotations"]
    assert name["text"] == "&lt;b&gt;" * 13 + "&lt;b… · 100"
    assert "No start leads anywhere" in starts(ranking(start("A", 1.0, np.inf)), str).alt
    percent = starts(ranking(start("A", 0.2, 0.9), metric="accuracy"), str)
    assert percent.figure["layout"]["xaxis"]["tickformat"] == ".0%"
    assert "from 20.0% to 90.0%" in percent.alt
