"""Maps of sensitivity: every cell in its place, marks where the numbers say, and blanks where there is none."""

import math

import numpy as np
import pytest

from metalab.analysis.best_cell import Best
from metalab.analysis.bootstrap import Band, resampled
from metalab.analysis.sensitivity import MODES, Grid, Modes
from metalab.analysis.sensitivity_waves import AMPLITUDES, PHASES, Away, Spread
from metalab.analysis.speed import Curve, Speed
from metalab.figures.maps import outline, row_outlines, scale_ticks
from metalab.figures.sensitivity import matrix, modes, rates, shots
from metalab.figures.sensitivity_waves import PER_ROW, away, reach_of, spread


def say(text):
    return text


LOSSES = np.array([[4.0, 3.5, 3.0], [4.0, 1.0, 0.1], [4.0, 40.0, np.inf]])
LEVEL = np.array([[False] * 3, [False, True, True], [False] * 3])
BEST = Best((1, 2), Band(*(np.array(v) for v in (0.1, 0.05, 0.2))), LEVEL, 15, 15)
GRID = Grid(
    "maml",
    "loss",
    "mean squared error",
    30,
    np.array([0.01, 0.1, 1.0]),
    LOSSES,
    (0.1, 1),
    BEST,
    np.array([0.2, 0.3, 0.4]),
)


def frames(picture):
    """Middle of every frame around a cell, by what it stands for."""
    shapes = picture.figure["layout"].get("shapes", [])
    return {
        shape["name"]: ((shape["x0"] + shape["x1"]) / 2, (shape["y0"] + shape["y1"]) / 2)
        for shape in shapes
        if shape["type"] == "rect" and shape["name"] in ("as trained", "the best")
    }


def test_rates_are_coloured_by_logarithms_with_the_training_the_best_and_the_line_in_their_places():
    picture = rates(GRID, say)
    cells, gone = picture.figure["data"]
    assert cells["z"].shape == (3, 3)
    assert cells["z"][1, 0] == pytest.approx(math.log10(3.5))
    assert np.isnan(cells["z"][2, 2])
    np.testing.assert_array_equal(np.isnan(gone["z"]), np.isfinite(LOSSES.T))
    assert "diverged" in gone["hovertemplate"]
    assert cells["text"][1] == ["3.5", "1", "40"]
    assert cells["zmax"] <= math.log10(8)
    assert cells["reversescale"]
    assert frames(picture) == {"as trained": (-1, 1), "the best": (-1, 2)}
    shapes = picture.figure["layout"]["shapes"]
    assert {shape["x0"] for shape in shapes if shape["name"] == "2/λ"} == {math.log10(0.3)}
    zone = next(shape for shape in shapes if shape["name"] == "80% of the tasks")
    assert (zone["x0"], zone["x1"]) == pytest.approx((math.log10(0.2), math.log10(0.4)))
    edge = [shape for shape in shapes if shape["name"] == "cannot be told from the best"]
    assert (min(e["x0"] for e in edge), max(e["x1"] for e in edge)) == (-1.5, -0.5)
    assert (min(e["y0"] for e in edge), max(e["y1"] for e in edge)) == (0.5, 2.5)
    assert "α = 0.1 after 2 inner steps: 0.1; as trained, α = 0.1 and 1 inner step: 1 (" in picture.alt
    assert ("lost", "diverged on some task: no mean") in picture.key


def test_no_line_crosses_a_figure_that_is_written_in_its_cell():
    shapes = rates(GRID, say).figure["layout"]["shapes"]
    for shape in shapes:
        if shape["name"] == "2/λ":
            assert not any(shape["y0"] < k < shape["y1"] for k in range(3))


def test_an_outline_goes_once_around_what_it_holds():
    inside = np.array([[0, 1, 1], [0, 1, 0]], bool)
    edges = {(s["x0"], s["y0"], s["x1"], s["y1"]) for s in outline(inside, "level")}
    assert edges == {
        (0.5, -0.5, 2.5, -0.5),
        (1.5, 0.5, 2.5, 0.5),
        (0.5, 1.5, 1.5, 1.5),
        (0.5, -0.5, 0.5, 1.5),
        (1.5, 0.5, 1.5, 1.5),
        (2.5, -0.5, 2.5, 0.5),
    }
    assert outline(np.zeros((2, 2), bool), "level") == []


def test_outlines_of_adjacent_rows_stay_apart():
    shapes = row_outlines(np.array([[1, 1, 0, 1], [0, 1, 0, 0]], bool), "level")
    assert [(s["x0"], s["x1"]) for s in shapes] == [(-0.5, 1.5), (2.5, 3.5), (0.5, 1.5)]
    lower, upper = shapes[0], shapes[2]
    assert -0.5 < lower["y0"] < lower["y1"] < 0.5 < upper["y0"] < upper["y1"] < 1.5


@pytest.mark.parametrize(("low", "high"), [(1.1, 1.9), (1.5, 3.2), (0.93, 1.04), (3.1, 3.2), (0.0021, 0.0068)])
def test_a_colour_scale_has_at_least_three_round_ticks(low, high):
    ticks = scale_ticks(low, high)
    assert len(ticks) >= 3
    assert all(low - 1e-12 <= tick <= high + 1e-12 for tick in ticks)
    assert all(len(f"{tick:.10g}".replace(".", "").strip("0")) <= 3 for tick in ticks)


def test_over_decades_a_colour_scale_is_told_by_ones_twos_and_fives():
    assert scale_ticks(0.3, 12) == pytest.approx([0.5, 1, 2, 5, 10])


def test_accuracies_keep_their_scale_and_without_limits_there_is_no_line():
    grid = Grid("maml", "accuracy", "nats", 30, np.array([0.1, 0.2]), np.array([[0.2, 0.9], [0.2, 0.5]]), (0.1, None))
    picture = rates(grid, say)
    cells = picture.figure["data"][0]
    assert cells["z"][1, 0] == pytest.approx(0.9)
    assert not cells["reversescale"]
    assert cells["text"][1][0] == "90%"
    assert "shapes" not in picture.figure["layout"]
    assert len(picture.figure["data"]) == 1
    assert picture.alt == "means over 30 held-out tasks."


def test_shots_are_columns_and_the_training_is_marked():
    grid = Grid(
        "maml", "loss", "nats", 30, np.array([1.0, 5.0, 10.0]), np.where(LOSSES < 30, LOSSES, 2.0), (5.0, 2), BEST
    )
    picture = shots(grid, say)
    assert picture.figure["data"][0]["x"] == ["1", "5", "10"]
    assert frames(picture) == {"as trained": (1, 2), "the best": (1, 2)}
    assert "5 shots and 2 inner steps: 0.1" in picture.alt


def test_the_matrix_frames_what_half_of_the_tasks_choose_of_every_row():
    def curve(mean):
        values = np.tile(np.asarray(mean, np.float32), (8, 1))
        n = len(mean)
        return Curve("maml", ("maml", 2, 0), "inner step", values, resampled(values), np.arange(n), np.arange(n) / 1.0)

    found = Speed("loss", "mean squared error", 8, (curve([4, 1, 2, 3]), curve([4, 2, 1, 0.5])))
    picture = matrix(found, [1, 3], say)
    best = [shape for shape in picture.figure["layout"]["shapes"] if shape["name"] == "the best"]
    assert [(s["x0"] + 0.5, s["y0"] + 0.5) for s in best] == [(1, 0), (3, 1)]
    assert picture.figure["data"][0]["z"][1, 3] == pytest.approx(math.log10(0.5))
    first, second = "Trained with 1, half of the tasks chose 1 at test (1)", "trained with 3, half of the tasks chose 3"
    assert picture.alt == f"{first}; {second} at test (0.5)."


def test_the_gap_of_each_way_of_normalising_is_paired():
    hard = np.linspace(0.5, 0.9, 50)
    found = Modes(
        "maml", ("maml", 2, 0), 50, 3, MODES, np.stack([hard, hard - 0.1, hard - 0.2]).astype(np.float32), True
    )
    picture = modes(found, say)
    assert [trace["x"][0] for trace in picture.figure["data"]] == pytest.approx([70, 60, 50])
    words = [note["text"] for note in picture.figure["layout"]["annotations"]]
    assert words[1:] == ["60.0% (10 to 10 points less)", "50.0% (20 to 20 points less)"]


def test_every_place_of_the_map_knows_its_amplitude_and_phase_and_the_box_is_that_of_training():
    errors = np.outer(AMPLITUDES, 1 + PHASES)
    found = Away("maml", 10, AMPLITUDES, PHASES, errors, ((0.1, 5.0), (0.0, math.pi)))
    picture = away(found, (7.0, 1.0), say)
    cells, place = picture.figure["data"]
    row, column = divmod(int(cells["customdata"][3, 7]), PER_ROW)
    assert (row, column) == (3, 7)
    assert cells["z"][3, 7] == pytest.approx(np.log10(errors[3, 7]), rel=1e-5)
    (box,) = picture.figure["layout"]["shapes"]
    assert (box["x0"], box["x1"], box["y0"], box["y1"]) == (0.0, math.pi, 0.1, 5.0)
    assert (place["x"], place["y"]) == ([1.0], [7.0])


def test_the_half_with_points_is_shaded_and_runaway_functions_do_not_flatten_the_truth():
    x = np.linspace(-5, 5, 101)
    truth = 3 * np.sin(x)
    wide = np.where(x > 0, 1e6, 0.5)
    points = np.stack([-np.ones(5), np.ones(5)], 1)
    found = Spread(
        "maml", ("maml", 2, 0), 10, 5, "left", x, truth, truth, truth - wide, truth + wide, points, (-5.0, 0.0)
    )
    assert reach_of(found) < 12
    picture = spread(found, reach_of(found), say)
    (zone,) = picture.figure["layout"]["shapes"]
    assert (zone["x0"], zone["x1"]) == (-5.0, 0.0)
    assert found.width(seen=True) == pytest.approx(1)
    assert "1 wide apart" in picture.alt
