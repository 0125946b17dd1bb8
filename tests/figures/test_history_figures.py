"""The record's pictures hold its numbers, and their sentences are computed from them."""

from __future__ import annotations

import numpy as np
import pytest

from metalab.analysis.history import History, Look
from metalab.figures.history import adaptation, held_out, training_loss
from metalab.figures.style import colour_of

FIRST = Look(0, np.array([4.0, 3.5, 3.0]), np.array([0.4, 0.3, 0.2]), 50)
LAST = Look(200, np.array([3.9, 1.0, 0.5]), np.array([0.4, 0.2, 0.1]), 50)
RECORD = History("loss", "mse", np.array([100, 200]), np.array([2.0, 1.0]), (FIRST, LAST))
WHO = ("maml", 2)


def named(picture, name):
    return next(trace for trace in picture.figure["data"] if trace.get("name") == name)


def test_the_adaptation_curve_stands_beside_that_of_the_start():
    picture = adaptation(RECORD, WHO, "inner step", str)
    assert named(picture, "outer step 200")["y"] is LAST.mean
    assert named(picture, "outer step 200")["line"]["color"] == colour_of("maml")
    assert named(picture, "outer step 0")["y"] is FIRST.mean
    low, high = picture.figure["data"][3], picture.figure["data"][4]
    assert low["y"] == pytest.approx(LAST.mean - LAST.ci95)
    assert high["y"] == pytest.approx(LAST.mean + LAST.ci95)
    assert picture.alt == "Over 50 held-out tasks loss is 0.5 (±0.1, 95% interval) after 2 inner steps."
    alone = adaptation(History("loss", "mse", RECORD.steps, RECORD.loss, (LAST,)), WHO, "inner step", str)
    assert len(alone.figure["data"]) == 3


def test_the_held_out_tasks_are_drawn_before_and_after_adaptation():
    picture = held_out(RECORD, WHO, "inner step", str)
    assert named(picture, "before adaptation")["y"].tolist() == [4.0, 3.9]
    assert named(picture, "after adaptation")["y"].tolist() == [3.0, 0.5]
    assert "from 3.9 to 0.5 in 2 inner steps" in picture.alt


def test_names_of_lines_that_end_together_stand_apart_and_within_the_picture():
    close = Look(200, FIRST.mean - 0.01, FIRST.ci95, 50)
    record = History("loss", "mse", RECORD.steps, RECORD.loss, (FIRST, close))
    for picture in (adaptation(record, WHO, "inner step", str), held_out(record, WHO, "inner step", str)):
        first, last = sorted(note["y"] for note in picture.figure["layout"]["annotations"])
        assert last - first >= 0.08
        assert 0 <= first < last <= 1
        low, high = picture.figure["layout"]["yaxis"]["range"]
        assert low < 2.8
        assert high > 4.4


def test_accuracies_are_shares_of_one():
    looks = tuple(Look(look.step, look.mean / 10, look.ci95 / 10, look.tasks) for look in (FIRST, LAST))
    picture = held_out(History("accuracy", "nats", RECORD.steps, RECORD.loss, looks), WHO, "shot", str)
    assert picture.figure["layout"]["yaxis"]["range"] == [0, 1.04]
    assert "39.0% to 5.0% in 2 shots" in picture.alt


def test_a_loss_that_falls_below_zero_has_a_linear_axis():
    def scale(loss):
        record = History("loss", "mse", RECORD.steps, np.array(loss), ())
        return training_loss(record, WHO, str).figure["layout"]["yaxis"]["type"]

    assert scale([2.0, 1.0]) == "log"
    assert scale([2.0, np.nan]) == "log"
    assert scale([2.0, -1.0]) == "linear"
    assert "from 2 to 1" in training_loss(RECORD, WHO, str).alt
