"""Theta's pictures: functions, before and after, layers, freezing, and maps of the loss."""

import math
from dataclasses import replace

import numpy as np
import pytest

from metalab.analysis.bootstrap import Band
from metalab.analysis.landscape import Landscape
from metalab.analysis.theta import Best, Start, Starts
from metalab.analysis.theta_layers import Layers, Spread
from metalab.figures import landscape, theta
from metalab.figures.style import contender_colour

MAML, PRETRAINED = ("maml", 2, 0), ("pretrained", 2, 0)
X = np.linspace(-5, 5, 11)


def said(text):
    return text


def band(*values, half=0.05):
    middle = np.array(values, float) if len(values) > 1 else np.array(float(values[0]))
    return Band(middle, middle - half, middle + half)


def starts_of(*, best=True, metric="loss", chance=None):
    known = Best(X, -1.6 * np.cos(X), 3.0) if best else None
    rows = [("MAML", MAML, np.zeros_like(X), 1.13), ("Pre-trained <b>", PRETRAINED, -1.6 * np.cos(X), 0.0)]
    made = [
        Start(label, key, f if best else None, d if best else None, band(0.25), band(0.75)) for label, key, f, d in rows
    ]
    return Starts(tuple(made), known, metric, "mean squared error", chance, 5, 16)


def layers_of(label="MAML", key=MAML, names=("1", "2", "head"), similar=True):
    count = len(names)
    part = np.linspace(0.1, 0.3, count)
    spread = Spread(part, part - 0.05, part + 0.1)
    return Layers(
        label,
        key,
        names,
        spread,
        spread if similar else None,
        band(*np.linspace(0.9, 0.2, count + 1)),
        band(0.2, 0.6, 0.9),
    )


def test_f_theta_of_each_in_its_colour_and_the_best_predictor_dashed():
    picture = theta.functions(starts_of(), said)
    maml, pretrained, best = picture.figure["data"]
    assert maml["line"]["color"] == contender_colour(MAML)
    assert best["line"]["dash"] == "dash"
    np.testing.assert_allclose(pretrained["y"], best["y"])
    assert "MAML 1.13, Pre-trained &lt;b&gt; 0" in picture.alt


def test_before_and_after_stand_below_each_other_with_what_is_possible_without_adapting():
    picture = theta.before_and_after(starts_of(), said)
    assert picture.figure["layout"]["shapes"][0]["x0"] == 3.0
    low, high = picture.figure["layout"]["xaxis"]["range"]
    assert low < 0.25
    assert high > 3.0
    assert len(picture.figure["data"]) == 4
    assert "MAML from 0.25 to 0.75" in picture.alt
    letters = theta.before_and_after(starts_of(best=False, metric="accuracy", chance=0.2), said)
    assert letters.figure["layout"]["shapes"][0]["x0"] == 0.2
    assert letters.key[1:] == (("dash", "chance, 1/N: 20%"),)
    assert letters.key[0][1].endswith("held-out tasks, in its 95% interval")
    assert "MAML from 25% to 75%" in letters.alt


def test_an_accuracy_stands_beside_its_dot_and_no_axis_passes_a_hundred_percent():
    found = starts_of(best=False, metric="accuracy", chance=0.2)
    found = replace(found, starts=tuple(replace(start, after=band(0.97, half=0.06)) for start in found.starts))
    look = theta.before_and_after(found, said).figure["layout"]
    low, high = look["xaxis"]["range"]
    assert low < 0.2
    assert 1.0 <= high < 1.05
    before, after = look["annotations"][:2]
    assert (before["y"], after["y"]) == (0, 1)
    assert (before["x"], before["xanchor"]) == (pytest.approx(0.3), "left")
    assert (after["x"], after["xanchor"]) == (pytest.approx(0.91), "right")


def test_layers_are_places_and_contenders_stand_beside_each_other():
    found = [layers_of(), layers_of("Pre-trained", PRETRAINED)]
    picture = theta.movement(found, said)
    first, second = picture.figure["data"]
    np.testing.assert_allclose(second["x"] - first["x"], theta.BESIDE, rtol=1e-5)
    np.testing.assert_allclose(first["error_y"]["array"], 0.1, rtol=1e-5)
    assert picture.figure["layout"]["xaxis"]["ticktext"] == ["layer 1", "layer 2", "head"]
    assert "MAML: 10.0% in layer 1, 30.0% in the head" in picture.alt


def test_whoever_has_no_features_is_left_out_of_cka():
    picture = theta.similarity([layers_of(similar=False), layers_of("Pre-trained", PRETRAINED)], said)
    assert [trace["name"] for trace in picture.figure["data"]] == ["Pre-trained"]


def test_freezing_counts_layers_from_the_first_on():
    picture = theta.frozen([layers_of()], "accuracy", "", said)
    assert picture.figure["layout"]["xaxis"]["ticktext"] == ["none", "1", "1–2", "all"]
    assert picture.figure["layout"]["yaxis"]["range"] == [0.0, 1.04]
    assert "90% with none frozen, 43% with the head alone, 20% with all" in picture.alt


@pytest.mark.parametrize("which", [(), ("1", "head")])
def test_chosen_layers_are_held_against_nothing_frozen(which):
    picture = theta.chosen([layers_of()], [band(0.2, 0.3, 0.4)], which, "loss", "mean squared error", said)
    dotted = [trace for trace in picture.figure["data"] if trace["line"].get("dash") == "dot"]
    assert len(dotted) == len(picture.key) // 2 == bool(which)
    assert ("Frozen: layer 1, head" if which else "Frozen: nothing") in picture.alt
    assert "MAML from 0.2 to 0.4" in picture.alt


def landscape_of(losses=None, plane="tasks"):
    x, y = np.linspace(-1, 3, 9), np.linspace(-2, 2, 5)
    grid = 0.5 + (x - 1) ** 2 + y[:, None] ** 2
    losses = np.stack([grid, grid * 2, grid * 3, grid]) if losses is None else losses
    paths = np.linspace(0, 1, 4)[None, :, None] * np.array([[1.0, 0], [0.5, 1], [1, 1], [2, 0], [0, 1]])[:, None]
    described = ("amplitude 1", "amplitude 2", "amplitude 3")
    return Landscape(plane, "support", x, y, losses, paths, np.array([0.0, 0, 0.4, 0.5, 0.6]), described, "loss", 0.7)


def test_each_task_has_its_map_with_its_own_path_on_top():
    found = landscape_of()
    drawn = landscape.pictures(found, "MAML", MAML, said)
    assert [picture.name for picture in drawn] == ["landscape_1", "landscape_2", "landscape_3", "landscape_mean"]
    contour = drawn[0].figure["data"][0]
    inside = found.losses[0] < landscape.HIGHEST * 1.5
    np.testing.assert_allclose(contour["z"][inside], np.log10(found.losses[0])[inside], rtol=1e-5)
    assert contour["z"].max() == pytest.approx(math.log10(landscape.HIGHEST * 1.5), rel=1e-5)
    own = [trace for trace in drawn[0].figure["data"] if trace.get("mode") == "lines+markers"]
    assert len(own) == 1
    np.testing.assert_allclose(own[0]["x"], found.paths[0, :, 0], rtol=1e-6)
    assert own[0]["line"]["color"] == contender_colour(MAML)
    assert "falls from 1.5 to 0.5; the plane leaves out 0% of the way" in drawn[0].alt
    assert "leaves out 40%" in drawn[2].alt
    assert "is 1.5 at θ and least, 0.5, " in drawn[3].alt
    assert "out of the picture" not in drawn[3].alt
    found.paths[4, 2, 1] = -9
    assert landscape.pictures(found, "MAML", MAML, said)[3].alt.endswith("lead out of the picture: 1 of 5.")


def test_axes_say_which_plane_it_is():
    texts = [
        landscape.pictures(landscape_of(plane=plane), "M", MAML, said)[0].figure["layout"]["xaxis"]["title"]["text"]
        for plane in ("tasks", "directions")
    ]
    assert texts == ["towards φ of task 1", "first main direction of φ − θ"]


def test_losses_that_overflow_are_as_high_as_anything():
    found = landscape_of()
    losses = found.losses.copy()
    losses[:, 0, 0], losses[:, 0, 1] = np.inf, np.nan
    for picture in landscape.pictures(landscape_of(losses), "MAML", MAML, said):
        z = picture.figure["data"][0]["z"]
        assert np.isfinite(z).all()
        assert z[0, 0] == z[0, 1] == z.max()


def test_what_a_landscape_leaves_uncoloured_is_named():
    for picture in landscape.pictures(landscape_of(), "MAML", MAML, said):
        assert ("blank", "not coloured: more than 1.6 times the loss at θ") in picture.key
