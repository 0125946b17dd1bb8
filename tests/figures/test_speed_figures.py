"""Pictures of adaptation speed say what was computed, in every unit, and survive what diverges."""

import math

import numpy as np
import pytest

from metalab.analysis.bootstrap import resampled
from metalab.analysis.speed import Comparison, Curve, Speed, Standing, compare
from metalab.analysis.speed_shots import Practice, ShotCurve, Shots
from metalab.figures.speed import areas, arrivals, cost_in_words, curves, saved_in_words, spelled, step_gains
from metalab.figures.speed_shots import PLACES, as_trained, over_shots
from metalab.ui.speed import beyond, shots_verdict, verdict


def say(text):
    return text


def curve(mean, label, axis="inner step", spread=0.1):
    hardness = 1 + spread * np.linspace(-1, 1, 40)[:, None]
    values = (hardness * np.asarray(mean)).astype(np.float32)
    n = values.shape[1]
    gradients = np.arange(n) if axis == "inner step" else np.zeros(n, int)
    return Curve(label, (label, 2, 0), axis, values, resampled(values), gradients, np.arange(n) / 500)


FAST, SLOW = curve([4.0, 1.0, 0.5], "maml"), curve([4.0, 3.0, 2.0], "reptile")
READS = curve([4.0, 1.5], "cnp", axis="shot")
PAIR = Speed("loss", "mean squared error", 40, (FAST, SLOW))


def drawn(picture, name):
    return next(
        trace for trace in picture.figure["data"] if trace["name"] == name and trace.get("customdata") is not None
    )


def texts(picture):
    return [note["text"] for note in picture.figure["layout"]["annotations"]]


@pytest.mark.parametrize(("cost", "end"), [("steps", 2), ("gradients", 2), ("seconds", 4)])
def test_the_curve_is_the_mean_in_its_band_and_crosses_the_level_where_it_is_said(cost, end):
    picture = curves(PAIR, compare(PAIR, 2.5, cost), say)
    line = drawn(picture, "maml")
    np.testing.assert_allclose(line["y"], FAST.values.mean(0), rtol=1e-6)
    assert line["x"][-1] == pytest.approx(end)
    assert np.all(line["customdata"][:, 0] <= line["y"])
    assert np.all(line["y"] <= line["customdata"][:, 1])
    crossing = next(trace for trace in picture.figure["data"] if trace["name"] == "maml reaches the level")
    assert crossing["y"] == [2.5]
    assert crossing["x"][0] == pytest.approx(0.5 * end / 2, rel=1e-5)
    assert picture.figure["layout"]["shapes"][0]["y0"] == 2.5
    assert {"level 2.5", "maml", "reptile"} <= set(texts(picture))
    assert "maml from 4 to 0.5" in picture.alt


@pytest.mark.parametrize(("level", "side"), [(1.9, "top"), (1.1, "bottom"), (0.4, "top"), (3.0, "bottom")])
def test_the_levels_words_stand_where_no_curve_ends_near(level, side):
    words = curves(PAIR, compare(PAIR, level, "steps"), say).figure["layout"]["annotations"][0]
    assert words["yanchor"] == side


def test_the_level_stands_on_its_logarithm_only_where_there_is_a_logarithmic_axis():
    logarithmic = curves(PAIR, compare(PAIR, 2.5, "steps"), say, log=True).figure["layout"]
    assert logarithmic["yaxis"]["type"] == "log"
    assert logarithmic["annotations"][0]["y"] == pytest.approx(math.log10(2.5))
    negative = Speed("return", "", 40, (curve([-40.0, -10.0], "maml"),))
    assert (
        curves(negative, compare(negative, -20, "steps"), say, log=True).figure["layout"]["yaxis"]["type"] == "linear"
    )


@pytest.mark.parametrize(("cost", "read"), [("steps", 0), ("seconds", 2)])
def test_who_reads_at_once_rises_from_its_start_where_it_has_read_and_goes_on_level(cost, read):
    mixed = Speed("loss", "mean squared error", 40, (FAST, READS))
    line = drawn(curves(mixed, compare(mixed, 2.0, cost), say), "cnp")
    assert list(line["x"]) == [0, read, read, {"steps": 2, "seconds": 4}[cost]]
    start, end = READS.values.mean(0)
    np.testing.assert_allclose(line["y"], [start, start, end, end], rtol=1e-6)
    assert line["line"]["dash"] == "dash"


def test_the_first_stands_on_top_and_who_never_arrives_has_no_dot():
    never = curve([4.0, 4.0, 4.0], "scratch")
    three = Speed("loss", "mean squared error", 40, (never, SLOW, FAST))
    picture = arrivals(three, compare(three, 2.5, "steps"), say)
    assert picture.figure["layout"]["yaxis"]["ticktext"] == ["maml", "reptile", "scratch"]
    first, second, last = picture.figure["data"]
    assert (first["y"], second["y"], last["x"], last["y"]) == ([0], [1], [], [])
    assert second["x"][0] == pytest.approx(1.5, rel=1e-5)
    assert "never" in texts(picture)[2]
    assert "scratch never gets there" in picture.alt


def test_areas_of_accuracies_are_percentages_with_the_best_on_top():
    good, bad = curve([0.2, 0.8, 0.8], "maml"), curve([0.2, 0.4, 0.6], "reptile")
    pair = Speed("accuracy", "cross-entropy, nats", 40, (bad, good))
    picture = areas(pair, compare(pair, 0.5, "steps"), say)
    assert picture.figure["layout"]["yaxis"]["ticktext"] == ["maml", "reptile"]
    assert picture.figure["data"][0]["x"] == [pytest.approx(65.0)]
    assert picture.figure["data"][0]["error_x"]["arrayminus"][0] > 0
    assert "maml has 65.0%" in picture.alt
    assert "from inner step 0, before anybody has seen the task, to 2" in picture.alt
    assert "points)" in texts(picture)[1]
    mixed = Speed("accuracy", "nats", 40, (good, curve([0.2, 0.9], "prototypes", axis="shot")))
    assert (
        "Who reads its shots at once (prototypes) does so in the first step"
        in areas(mixed, compare(mixed, 0.5, "steps"), say).alt
    )


def test_what_a_step_gains_of_an_accuracy_is_told_in_percentage_points():
    picture = step_gains(Speed("accuracy", "nats", 40, (curve([0.2, 0.8, 0.75], "maml", spread=0.0),)), say)
    np.testing.assert_allclose(drawn(picture, "maml")["y"], [60, -5], rtol=1e-4)
    assert "maml 60.0 percentage points" in picture.alt
    assert "(percentage points)" in picture.figure["layout"]["yaxis"]["title"]["text"]


def test_amounts_are_counted_in_words():
    one, few = (
        (
            cost_in_words(n, compare(PAIR, 2.5, "steps"), PAIR, say),
            saved_in_words(n, compare(PAIR, 2.5, cost), PAIR, say),
        )
        for n, cost in ((1, "steps"), (2.5, "gradients"))
    )
    assert one == ("1 inner step", "1 fewer inner step")
    assert few == ("2.5 inner steps", "2.5 fewer gradients")
    assert saved_in_words(0.0025, compare(PAIR, 2.5, "seconds"), PAIR, say) == "2.5 milliseconds less"


def test_a_step_that_ruins_everything_does_not_flatten_the_gains():
    ruined = Speed("loss", "mean squared error", 40, (curve([4.0, 1.0, 1e20], "maml"),))
    low, high = step_gains(ruined, say).figure["layout"]["yaxis"]["range"]
    assert -8 < low < 0
    assert 3 < high < 8


def test_shots_stand_at_even_distances_and_those_of_training_are_marked():
    found = Shots("loss", "mean squared error", 40, 5, (1, 5, 10), 5, (ShotCurve("maml", ("maml", 2, 0), FAST.values),))
    picture = over_shots(found, say)
    assert picture.figure["layout"]["xaxis"]["ticktext"] == ["1", "5", "10"]
    assert picture.figure["layout"]["shapes"][0]["x0"] == 1
    np.testing.assert_allclose(drawn(picture, "maml")["y"], FAST.values.mean(0), rtol=1e-6)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_who_diverges_with_few_shots_leaves_the_picture_and_is_named(log, sign):
    calm, wild = curve([3.0, 1.0, 0.5], "maml").values, curve([1.8e7, 4.0, 0.5], "reptile").values
    lines = tuple(ShotCurve(name, (name, 2, 0), sign * values) for name, values in (("reptile", wild), ("maml", calm)))
    picture = over_shots(Shots("loss", "mean squared error", 40, 5, (1, 5, 10), 5, lines), say, log=log)
    ends = [abs(end) for end in picture.figure["layout"]["yaxis"]["range"]]
    assert 4 <= (10 ** max(ends) if log and sign > 0 else max(ends)) < 12
    side = "top" if sign > 0 else "bottom"
    assert f"reptile leaves the picture at the {side}; with 1 shot it has {'−' * (sign < 0)}1.8·10⁷." in picture.alt
    assert picture.alt.count("leaves the picture") == 1


def test_every_cell_of_a_training_knows_its_outer_and_inner_step_and_the_best_is_ringed():
    values = np.array([[4.0, 3.0, 2.0], [3.0, 0.2, 1.0], [np.nan, 0.5, 0.4]])
    found = Practice("loss", "mean squared error", 40, np.array([0, 500, 1000]), values)
    picture = as_trained(found, "maml", say)
    cells, ring = picture.figure["data"]
    assert cells["z"].shape == cells["customdata"].shape == (3, 3)
    assert cells["z"][1, 2] == pytest.approx(0.5)
    assert divmod(int(cells["customdata"][1, 2]), PLACES) == (1000, 1)
    assert (ring["x"], ring["y"]) == ([500], [1])
    assert "best at outer step 500 and inner step 1, with 0.2" in picture.alt
    assert picture.alt.endswith(f"The darkest shade is {np.nanpercentile(values, 75):.3g} and worse.")
    assert picture.figure["layout"]["xaxis"]["tickvals"] == [0, 500, 1000]
    even = as_trained(Practice("loss", "nats", 40, np.array([0, 5]), np.ones((2, 2))), "maml", say)
    assert "darkest" not in even.alt
    nothing = as_trained(Practice("loss", "nats", 40, np.array([0]), np.full((1, 2), np.nan)), "maml", say)
    assert "no finite evaluation" in nothing.alt


def test_figures_are_spelled_in_their_unit():
    assert [spelled(0.876, "accuracy"), spelled(-14.61, "return"), spelled(math.inf, "loss")] == [
        "87.6%",
        "−14.6",
        "∞",
    ]


UNSURE = {
    "both": (-math.inf, math.inf, "1 (how far behind cannot be told)", "the difference cannot be told."),
    "above": (0.2, math.inf, "1 (behind by 0.2 or more)", "In some resamples of the tasks B never gets there."),
    "below": (-math.inf, 0.3, "1 (behind by 0.3 at most)", "In some resamples of the tasks A never gets there."),
    "neither": (-0.1, 0.3, "1 (behind by −0.1 to 0.3)", ""),
}


@pytest.mark.parametrize(("low", "high", "words", "why"), UNSURE.values(), ids=UNSURE)
def test_a_distance_without_ends_is_told_in_words_and_never_as_infinity(low, high, words, why):
    first = Standing("A", ("maml", 2, 0), 0.9, 0.5, math.inf, 0.0, 0.0, 0.0)
    other = Standing("B", ("reptile", 2, 0), 1.0, 0.6, math.inf, 0.1, low, high)
    found = Comparison(2.5, "steps", (first, other), ())
    picture = arrivals(PAIR, found, say)
    assert texts(picture)[1] == words
    assert picture.alt.startswith("In order: A needs 0.9 inner steps; B needs 1 inner step.")
    assert picture.alt.endswith(why or "inner step.")
    assert "inf" not in picture.figure["data"][0]["hovertemplate"]
    told = verdict(PAIR, found)
    assert why in told
    assert not set("∞") & set(picture.alt + told + " ".join(texts(picture)))
    assert "inf" not in told
    assert ("A is faster" in told) is (low > 0)
    assert ("cannot be told:**" in told) is (low <= 0)
    assert ("may be chance" in told) is (low <= 0 and not (low == -math.inf and high == math.inf))


def test_no_difference_is_another_thing_than_one_that_cannot_be_told():
    first = Standing("A", ("maml", 2, 0), 0.9, 0.8, 1.0, 0.0, 0.0, 0.0)
    for low, high, words in (
        (-0.02, 0.09, "**A and B are equally fast:** to reach 2.5 they differ by 0.01 inner steps"),
        (-0.02, 0.15, "**Which of A and B is faster cannot be told:** to reach 2.5 they differ by 0.01 inner steps"),
        (0.001, 0.02, "**A is faster: to reach 2.5 it needs 0.01 fewer inner steps than B.**"),
    ):
        other = Standing("B", ("reptile", 2, 0), 0.91, 0.8, 1.0, 0.01, low, high)
        assert verdict(PAIR, Comparison(2.5, "steps", (first, other), ())).startswith(words)


def test_a_level_where_no_curve_comes_is_told_with_the_one_that_is_taken():
    assert beyond({"level": 0.0}, PAIR) == beyond({"level": 2.5}, PAIR) == beyond({"level": 4.0}, PAIR) == ""
    assert (
        beyond({"level": 99.0}, PAIR)
        == "**No curve comes to 99**, so the level stands at the nearest that can be chosen, 4."
    )
    assert "comes to −1**" in beyond({"level": -1.0}, PAIR)
    assert beyond({"level": -1.0}, PAIR).endswith("can be chosen, 0.5.")


def test_a_level_at_which_all_begin_compares_nobody():
    told = verdict(PAIR, compare(PAIR, 10.0, "steps"))
    assert told == "**maml and reptile are at 10 before they adapt:** choose a level farther on."


def test_shots_that_leave_open_who_is_best_are_told_so():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, 40, 1)).astype(np.float32)
    good, bad = np.array([1.0, 1.0], np.float32), np.array([1.01, 3.0], np.float32)
    lines = tuple(
        ShotCurve(name, (name, 2, 0), mean + each)
        for name, mean, each in (
            ("maml", good, noise[0] - noise[0].mean()),
            ("reptile", bad, noise[1] - noise[1].mean()),
        )
    )
    told = shots_verdict(Shots("loss", "mean squared error", 40, 5, (1, 10), 10, lines))
    assert "With 1 shot it cannot be told who is best: maml is ahead of the next by 0.01, which may be chance" in told
    assert "With 10 shots **maml** is best; the next is worse by 2 (95% interval" in told


def test_that_who_reads_at_once_may_not_be_at_the_level_is_said_too():
    first = Standing("cnp", ("cnp", 2, 0), 0.0, 0.0, math.inf, 0.0, 0.0, 0.0)
    other = Standing("maml", ("maml", 2, 0), 0.997, 0.9, math.inf, 0.997, -math.inf, math.inf)
    told = verdict(Speed("loss", "mean squared error", 40, (FAST, READS)), Comparison(2.5, "steps", (first, other), ()))
    assert told.startswith(
        "**cnp takes no inner steps: it is at 2.5 at once.** maml gets there after 0.997 inner steps."
    )
    assert "In some resamples of the tasks cnp never gets there, in others maml does not" in told


def test_what_a_lone_contender_needs_may_have_no_upper_end():
    lone = Standing("A", ("maml", 2, 0), 0.9, 0.5, math.inf, 0.0, 0.0, 0.0)
    told = verdict(PAIR, Comparison(2.5, "steps", (lone,), ()))
    assert "95% interval: 0.5 or more, for in some resamples of the tasks the level is never reached" in told


def test_whose_area_is_no_number_diverges():
    lost = Speed("loss", "mean squared error", 40, (FAST, curve([4.0, math.nan, math.nan], "reptile")))
    picture = areas(lost, compare(lost, 2.5, "steps"), say)
    assert texts(picture)[1] == "diverges"
    assert "reptile diverges" in picture.alt
