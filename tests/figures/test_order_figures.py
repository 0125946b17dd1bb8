"""Second order as pictures: curves in their colours, what is said beside them, gaps where nothing is known."""

import numpy as np
import pytest

from metalab.analysis.alignment import Alignment
from metalab.analysis.bootstrap import Band
from metalab.analysis.order import Sweep
from metalab.analysis.order_cost import Cost
from metalab.figures import order
from metalab.figures.style import contender_colour


def said(text):
    return text


def band(*values, half=0.02):
    middle = np.array(values, float)
    return Band(middle, middle - half, middle + half)


def sweep_of(over="inner_lr", **changes):
    values = {"inner_lr": (0.01, 0.1, 1.0), "inner_steps": (1.0, 2.0, 5.0)}[over]
    parts = {
        "cosine": {"fomaml": band(0.99, 0.8, 0.3), "reptile": band(0.9, 0.6, -0.4)},
        "ratio": {"fomaml": band(1.0, 0.7, 9.0), "reptile": band(1.1, 0.8, 0.2)},
        "neglected": band(0.05, 0.61, 1.2),
        "trace": band(0.1, 1.5, -3.0),
        "curvature": band(0.02, 0.3, 2.5),
    }
    return Sweep(over, np.array(values), 0.1, 2, 16, n_parameters=1761, **(parts | changes))


COST = Cost(
    np.array([1, 3]),
    16,
    5,
    50,
    {name: np.array([[0.001, 0.002, 0.003], [0.004, 0.005, 0.006]]) * (i + 1) for i, name in enumerate(order.COLOURS)},
    {name: np.array([1e6, 4e6]) / (i + 1) for i, name in enumerate(order.COLOURS)},
)


def curves(picture):
    return {trace["name"]: trace for trace in picture.figure["data"] if "customdata" in trace}


@pytest.mark.parametrize("over", ["inner_lr", "inner_steps"])
def test_each_direction_is_a_curve_in_its_colour_and_the_chosen_value_is_marked(over):
    found = sweep_of(over)
    picture = order.cosine(found, said)
    drawn = curves(picture)
    assert list(drawn) == ["first order", "Reptile"]
    np.testing.assert_allclose(drawn["Reptile"]["y"], [0.9, 0.6, -0.4], rtol=1e-6)
    assert drawn["Reptile"]["line"]["color"] == contender_colour(("reptile", 2, 0))
    low, high = picture.figure["layout"]["yaxis"]["range"]
    assert low < -0.42
    assert high > 1
    marked = picture.figure["layout"]["shapes"][0]["x0"]
    assert marked == {"inner_lr": 0.1, "inner_steps": 2}[over]
    assert "0.8 for first order (95% 0.78 to 0.82), 0.6 for Reptile" in picture.alt
    assert picture.alt.startswith("At α = 0.1 and K = 2")


def test_a_direction_many_times_as_long_leaves_the_picture():
    picture = order.ratio(sweep_of(), said)
    assert picture.figure["layout"]["yaxis"]["range"][1] == order.MOST_RATIO
    assert len(picture.figure["layout"]["shapes"]) == 2
    assert ("dash", "as long as the exact one") in picture.key
    assert picture.alt.endswith("first order leaves the picture at the top; at α = 1 it is 9 times as long.")
    by_steps = order.ratio(sweep_of("inner_steps"), said).alt
    assert by_steps.endswith("first order leaves the picture at the top; at K = 5 it is 9 times as long.")
    short = order.ratio(sweep_of(ratio={"fomaml": band(1.0, 0.7, 2.0), "reptile": band(1.1, np.nan, 0.2)}), said)
    assert "leaves the picture" not in short.alt


def test_no_words_stand_where_curves_run():
    """Notes of a plot's own are above it; the names of the lines are at its right."""
    for figure in (order.cosine, order.ratio, order.neglected, order.curvature):
        notes = figure(sweep_of(), said).figure["layout"]["annotations"]
        assert notes
        assert all(
            note["y"] == 1 and note["yanchor"] == "bottom"
            for note in notes
            if not note.get("name", "").startswith("end")
        )


def test_what_is_left_out_is_a_share():
    picture = order.neglected(sweep_of(), said)
    assert "is 61% as long as the exact direction (95% 59% to 63%)" in picture.alt


def test_a_cosine_below_zero_is_told_with_a_minus_sign():
    turned = sweep_of(cosine={"fomaml": band(0.9, -0.1, -0.3), "reptile": band(0.9, 0.6, -0.4)})
    assert "is −0.1 for first order (95% −0.12 to −0.08), 0.6 for Reptile" in order.cosine(turned, said).alt


def test_a_trace_below_zero_is_a_gap_on_the_logarithmic_axis():
    picture = order.curvature(sweep_of(), said)
    y = curves(picture)["trace of αH"]["y"]
    assert np.isnan(y[2])
    np.testing.assert_allclose(y[:2], [0.1, 1.5], rtol=1e-6)
    assert "is 1.5 over 1,761 parameters" in picture.alt


def test_an_inner_loop_that_diverges_everywhere_draws_nothing_and_breaks_nothing():
    nothing = Band(*(np.full(3, np.nan) for _ in range(3)))
    both = {"fomaml": nothing, "reptile": nothing}
    found = sweep_of(cosine=both, ratio=both, neglected=nothing, trace=nothing, curvature=nothing)
    for figure in (order.cosine, order.ratio, order.neglected, order.curvature):
        bounds = figure(found, said).figure["layout"]["yaxis"]["range"]
        assert np.isfinite(bounds).all()
        assert bounds[0] < bounds[1]


def test_costs_are_medians_in_their_quartiles_and_megabytes_without():
    seconds, memory = order.seconds(COST, said), order.memory(COST, said)
    np.testing.assert_allclose(curves(seconds)["exact (MAML)"]["y"], [2, 5], rtol=1e-6)
    np.testing.assert_allclose(curves(memory)["Reptile"]["y"], [1 / 3, 4 / 3], rtol=1e-6)
    assert len(seconds.figure["data"]) == 6
    assert len(memory.figure["data"]) == 3
    assert "exact (MAML) from 1 to 4" in memory.alt
    assert "Reptile's inner loop descends on support and query together, 50 examples" in seconds.alt
    assert "the other two on the 5 of the support set" in seconds.alt


@pytest.mark.parametrize("product", [False, True])
def test_alignment_is_drawn_over_outer_steps(product):
    bands = {"same": band(0.1, 0.5), "other": band(0.05, 0.04)}
    other = {"same": band(10, 90), "other": band(1, -2)}
    found = Alignment(np.array([0, 500]), 16, bands, other)
    picture = order.alignment(found, "MAML <b>", ("maml", 2, 0), said, product=product)
    drawn = curves(picture)
    assert list(drawn) == ["same task", "different tasks"]
    expected = [10, 90] if product else [0.1, 0.5]
    np.testing.assert_allclose(drawn["same task"]["y"], expected, rtol=1e-6)
    assert picture.columns == ("outer_step", "inner_product" if product else "cosine")
    assert f"go from {expected[0]} to {expected[1]}" in picture.alt
