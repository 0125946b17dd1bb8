"""Maps of sensitivity: every cell in its place, marks where the numbers say, and blanks where there is none."""

import math

import numpy as np
import pytest

from metalab.analysis.bootstrap import resampled
from metalab.analysis.sensitivity import MODES, Grid, Modes
from metalab.analysis.sensitivity_waves import AMPLITUDES, PHASES, Away, Spread
from metalab.analysis.speed import Curve, Speed
from metalab.figures.sensitivity import matrix, modes, rates, shots
from metalab.figures.sensitivity_waves import PER_ROW, away, reach_of, spread


def say(text):
    return text


LOSSES = np.array([[4.0, 3.5, 3.0], [4.0, 1.0, 0.1], [4.0, 40.0, np.inf]])
GRID = Grid(
    "maml", "loss", "mean squared error", 30, np.array([0.01, 0.1, 1.0]), LOSSES, (0.1, 1), np.array([0.2, 0.3, 0.4])
)


def marks(picture):
    return {
        trace["name"]: (trace["x"][0], trace["y"][0]) for trace in picture.figure["data"] if trace["type"] == "scatter"
    }


def test_rates_are_coloured_by_logarithms_with_the_training_the_best_and_the_line_in_their_places():
    picture = rates(GRID, say)
    cells = picture.figure["data"][0]
    assert cells["z"].shape == (3, 3)
    assert cells["z"][1, 0] == pytest.approx(math.log10(3.5))
    assert np.isnan(cells["z"][2, 2])
    assert cells["text"][1] == ["3.5", "1", "40"]
    assert cells["zmax"] <= math.log10(8)
    assert cells["reversescale"]
    assert marks(picture) == {"as trained": (-1, 1), "the best": (-1, 2)}
    zone, line = picture.figure["layout"]["shapes"]
    assert line["x0"] == pytest.approx(math.log10(0.3))
    assert (zone["x0"], zone["x1"]) == pytest.approx((math.log10(0.2), math.log10(0.4)))
    assert "α = 0.1 after 2 inner steps: 0.1; as trained, α = 0.1 and 1 steps: 1." in picture.alt


def test_accuracies_keep_their_scale_and_without_limits_there_is_no_line():
    grid = Grid("maml", "accuracy", "nats", 30, np.array([0.1, 0.2]), np.array([[0.2, 0.9], [0.2, 0.5]]), (0.1, None))
    picture = rates(grid, say)
    cells = picture.figure["data"][0]
    assert cells["z"][1, 0] == pytest.approx(0.9)
    assert not cells["reversescale"]
    assert cells["text"][1][0] == "90 %"
    assert "shapes" not in picture.figure["layout"]
    assert list(marks(picture)) == ["the best"]


def test_a_grid_without_a_finite_cell_has_no_best():
    lost = Grid("maml", "loss", "nats", 3, np.array([1.0]), np.array([[np.inf, np.nan]]), (1.0, 1))
    with pytest.raises(ValueError, match="range of numbers"):
        rates(lost, say)


def test_shots_are_columns_and_the_training_is_marked():
    grid = Grid("maml", "loss", "nats", 30, np.array([1.0, 5.0, 10.0]), np.where(LOSSES < 30, LOSSES, 2.0), (5.0, 2))
    picture = shots(grid, say)
    assert picture.figure["data"][0]["x"] == ["1", "5", "10"]
    assert marks(picture)["as trained"] == ("5", 2)
    assert "5 shots and 2 inner steps: 0.1" in picture.alt


def test_the_matrix_rings_the_best_of_every_row():
    def curve(mean):
        values = np.tile(np.asarray(mean, np.float32), (4, 1))
        n = len(mean)
        return Curve("maml", ("maml", 2, 0), "inner step", values, resampled(values), np.arange(n), np.arange(n) / 1.0)

    found = Speed("loss", "mean squared error", 4, (curve([4, 1, 2, 3]), curve([4, 2, 1, 0.5])))
    picture = matrix(found, [1, 3], say)
    rings = [(t["x"][0], t["y"][0]) for t in picture.figure["data"] if t["name"] == "the best"]
    assert rings == [(1, "1"), (3, "3")]
    assert picture.figure["data"][0]["z"][1, 3] == pytest.approx(math.log10(0.5))
    assert picture.alt == "Trained with 1, best tested with 1 (1); trained with 3, best tested with 3 (0.5)."


def test_the_gap_of_each_way_of_normalising_is_paired():
    hard = np.linspace(0.5, 0.9, 50)
    found = Modes(
        "maml", ("maml", 2, 0), 50, 3, MODES, np.stack([hard, hard - 0.1, hard - 0.2]).astype(np.float32), True
    )
    picture = modes(found, say)
    assert [trace["x"][0] for trace in picture.figure["data"]] == pytest.approx([70, 60, 50])
    words = [note["text"] for note in picture.figure["layout"]["annotations"]]
    assert words[1:] == ["60.0 % (less by 10 to 10 %)", "50.0 % (less by 20 to 20 %)"]


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
