"""What a browser says was picked is believed only where it has the shape of a pick."""

import pytest
import streamlit as st

from metalab.ui import gallery
from metalab.ui.gallery import Pick, picked

GOOD = {"revision": 3, "seq": 1, "picture": "map", "how": "click", "points": [{"curve": 0, "data": 7}, {"data": [8]}]}


@pytest.fixture
def said(monkeypatch):
    state = {}
    monkeypatch.setattr(st, "session_state", state)
    return lambda value: state.update({"page.gallery": {"pick": value}})


def test_a_pick_tells_the_points_numbers(said):
    said(GOOD)
    assert picked("page.gallery", 3) == Pick("map", "click", (7, 8), 1)


def test_a_pick_of_an_earlier_revision_is_forgotten(said):
    said(GOOD)
    assert picked("page.gallery", 4) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"picture": 3}, {"how": "drag"}, {"points": "many"}, {"seq": 1e300}, {"seq": True}, {"seq": -1}, {"seq": None},
    ],
)  # fmt: skip
def test_what_has_another_shape_is_no_pick(said, wrong):
    said(GOOD | wrong)
    assert picked("page.gallery", 3) is None


@pytest.mark.parametrize("data", ["7", 7.5, float("nan"), float("inf"), None, True, [1, 2], {"a": 1}, 2**60])
def test_points_without_a_whole_number_are_left_out(said, data):
    said(GOOD | {"points": [{"data": data}, "no point", {"data": 9}]})
    assert picked("page.gallery", 3).data == (9,)


def test_a_million_points_are_cut_off(said):
    said(GOOD | {"points": [{"data": 1}] * 1_000_000})
    assert len(picked("page.gallery", 3).data) == 1000


def test_the_player_counts_inner_steps_or_the_outer_steps_of_checkpoints(said, monkeypatch):
    mounted = []
    monkeypatch.setattr(gallery, "mount", lambda pictures, data, texts, **more: mounted.append((data, texts)))
    gallery.draw_gallery([], key="page.gallery", steps=3)
    gallery.draw_gallery([], key="page.gallery", steps=2, outer_steps=(0, 50, 200))
    (inner, _texts), (outer, texts) = mounted
    assert inner["steps"] == 3
    assert "counts" not in inner
    assert (outer["steps"], outer["counts"], outer["column"]) == (2, [0, 50, 200], "outer_step")
    assert texts["where"] == "outer step {step} of {steps}"
