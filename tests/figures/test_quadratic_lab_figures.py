"""The lab's map: what is drawn, what is told, what only a saved picture needs."""

import dataclasses

import numpy as np
import pytest

from metalab.analysis.quadratic_lab import Bowl, Setup, lab
from metalab.figures.quadratic_lab import COLOURS, HALF, RIM, View, ellipse, quadratic_lab
from metalab.figures.style import DARK

TASKS = (Bowl(-2.2, -1.2, 3.0, 0.6, 25), Bowl(2.3, -1.6, 0.5, 2.0, 60), Bowl(0.6, 2.4, 1.2, 0.3, 100))
SETUP = Setup(TASKS, inner_lr=0.3, inner_steps=3, proximal=1.0)
VIEW = View(np.array([-3.0, 3.0]), 0.5, "maml", inner=False)


def said(text):
    return text


def drawn(setup=SETUP, **view):
    found = lab(setup)
    return found, quadratic_lab(found, dataclasses.replace(VIEW, **view), said)


def named(picture, part):
    return [trace for trace in picture.figure["data"] if part in f" {trace.get('name', '')}"]


def texts(picture):
    return [note["text"] for note in picture.figure["layout"]["annotations"]]


def test_formula_and_engine_are_drawn_on_top_of_each_other_in_the_algorithms_colour():
    found, picture = drawn()
    for rule in found.rules.values():
        (ring,), (dot,) = named(picture, f" {rule.label}, formula"), named(picture, f" {rule.label}, engine")
        assert [ring["x"][0], ring["y"][0]] == rule.formula.tolist()
        assert [dot["x"][0], dot["y"][0]] == rule.engine.tolist()
        assert ring["marker"]["color"] == dot["marker"]["color"] == COLOURS[rule.name]
        assert ring["marker"]["symbol"] == "circle-open"
    assert texts(picture) == ["Joint", "MAML", "FOMAML", "Reptile", "iMAML"]
    assert "FOMAML (0.923, 0.598)" in picture.alt
    assert set(COLOURS.values()) <= set(DARK)


def test_arrows_point_down_the_chosen_algorithms_meta_gradient():
    found, picture = drawn(algorithm="reptile")
    (field,) = named(picture, "meta-gradient of Reptile")
    strokes = np.stack([field["x"], field["y"]], 1).reshape(-1, 6, 2)
    tail, tip = strokes[:, 0], strokes[:, 1]
    along, downhill = tip - tail, -found.rules["reptile"].gradient((tip + tail) / 2)
    cosine = (along * downhill).sum(1) / np.linalg.norm(along, axis=1) / np.linalg.norm(downhill, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-9)
    assert np.abs(strokes[:, :5]).max() <= HALF + 0.1


def test_the_chosen_path_stands_out_and_starts_at_the_start():
    _found, picture = drawn(algorithm="imaml")
    paths = named(picture, ", outer loop")
    assert len(paths) == 5
    assert paths[-1]["name"].startswith("iMAML")
    assert paths[-1]["line"]["width"] > max(path["line"]["width"] for path in paths[:-1])
    assert all((path["x"][0], path["y"][0]) == (-3.0, 3.0) for path in paths)


def test_rims_lie_where_the_loss_is_the_same_everywhere_and_only_a_saved_picture_needs_them():
    for bowl in TASKS:
        off = ellipse(bowl) - bowl.optimum
        np.testing.assert_allclose(0.5 * np.einsum("ni,ij,nj->n", off, bowl.curvature, off), RIM**2 / 2)
    _found, picture = drawn()
    overlay = [trace for trace in picture.figure["data"] if (trace.get("meta") or {}).get("overlay")]
    assert len(overlay) == len(TASKS) + 2
    assert all(trace["meta"]["csv"] is False for trace in overlay)


def test_inner_loops_are_drawn_on_request_and_always_where_they_diverge():
    assert named(drawn()[1], "inner loop") == []
    assert len(named(drawn(inner=True)[1], "inner loop")) == 3
    _found, picture = drawn(dataclasses.replace(SETUP, inner_lr=0.8, inner_steps=20))
    (away,) = named(picture, "inner loop")
    assert away["name"].startswith("task 1")
    assert "task 1 diverges" in texts(picture)
    assert np.abs(away["x"]).max() <= 1e4


def test_a_fixed_point_beyond_the_map_is_said():
    found, picture = drawn(dataclasses.replace(SETUP, inner_lr=0.8))
    beyond = [rule for rule in found.rules.values() if np.abs(rule.engine).max() > HALF]
    assert beyond
    for rule in beyond:
        assert f"{rule.label} (beyond)" in texts(picture)


@pytest.mark.parametrize("alpha", [0.01, 0.3, 2.0])
def test_all_numbers_are_finite_or_gaps(alpha):
    _found, picture = drawn(Setup(TASKS, alpha, 20, 100.0), inner=True, outer_lr=2.0)
    for trace in picture.figure["data"]:
        values = np.asarray(trace["x"], dtype=float)
        gaps = np.isnan(values)
        assert np.isfinite(values[~gaps]).all()
        assert gaps.sum() == 0 or "meta-gradient" in trace["name"]


def test_without_any_fixed_point_the_sentence_says_so():
    """One task solved in one step, twice: nothing is left to optimise but by joint training and iMAML."""
    round_bowls = (Bowl(-1, 0, 2.0, 2.0, 0), Bowl(1, 0, 2.0, 2.0, 0))
    _found, picture = drawn(Setup(round_bowls, 0.5, 1, 1.0))
    assert "MAML" not in texts(picture)
    assert "Joint" in texts(picture)
    assert "FOMAML" not in picture.alt
