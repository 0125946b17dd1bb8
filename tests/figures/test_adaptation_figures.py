"""The figures of a race: a frame for each inner step, the data they were given, a sentence for who cannot see them."""

import dataclasses
import itertools
import math

import numpy as np
import plotly.graph_objects as go
import pytest

from metalab.analysis.adaptation import Lane, Race
from metalab.figures import adaptation, images
from metalab.figures.style import DARK, INK, colour_of, number, plain, spare_colour, spread

K, WAYS = 4, 3
RNG = np.random.default_rng(0)


def same(text):
    return text


def lane(label, name="maml", *, functions=False, q=0, twin=0):
    """Made-up numbers."""
    k = np.arange(K + 1, dtype=np.float32)
    raw = RNG.random((K + 1, q, WAYS), dtype=np.float32)
    return Lane(
        label=label,
        colour_key=(name, 2, twin),
        axis="inner step",
        inner_lr=0.1,
        support_loss=2.0 / (1 + k),
        gradient_norm=3.0 / (1 + k[:-1]),
        query={"loss": 2.5 / (1 + k)} | ({"accuracy": k / 10} if q else {}),
        functions=np.outer(k, np.ones(11)).astype(np.float32) if functions else None,
        probabilities=raw / raw.sum(-1, keepdims=True) if q else None,
        positions=None,
    )


def waves(*lanes, truth=True):
    x = np.linspace(-5, 5, 11, dtype=np.float32)
    return Race(
        kind="regression", metric="loss", loss_name="mean squared error", title="", steps=K, lanes=lanes,
        support_x=x[:3, None], support_y=np.sin(x[:3]), query_x=None, query_y=None, probe_x=x,
        truth=np.sin(x) if truth else None, ways=1, one_by_one=False,
    )  # fmt: skip


def characters(*lanes, q):
    return Race(
        kind="classification", metric="accuracy", loss_name="cross-entropy, nats", title="", steps=K, lanes=lanes,
        support_x=np.ones((WAYS, 1, 28, 28), np.float32), support_y=np.arange(WAYS),
        query_x=np.full((q, 1, 28, 28), 0.5, np.float32), query_y=np.arange(q) % WAYS,
        probe_x=None, truth=None, ways=WAYS, one_by_one=False,
    )  # fmt: skip


TWO = waves(lane("MAML", functions=True), lane("Reptile", "reptile", functions=True))
THREE = characters(lane("MAML", q=6), lane("Reptile", "reptile", q=6), lane("a <b>", "scratch", q=6), q=6)
PICTURES = {
    "functions": lambda: adaptation.functions(TWO, same),
    "support loss": lambda: adaptation.support_loss(TWO, same, log=True),
    "query loss": lambda: adaptation.query(TWO, same),
    "query accuracy": lambda: adaptation.query(THREE, same, "accuracy"),
    "gradient norm": lambda: adaptation.gradient_norm(TWO, same),
    "answers": lambda: images.answers(THREE, same),
    "certainty": lambda: images.certainty(THREE, same),
    "answer": lambda: images.answer(characters(lane("MAML", q=1), q=1), same),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_has_a_frame_for_each_inner_step_and_plotly_takes_it(name):
    picture = PICTURES[name]()
    assert [frame["name"] for frame in picture.figure["frames"]] == [str(k) for k in range(K + 1)]
    for frame in picture.figure["frames"]:
        assert len(frame["traces"]) == len(frame["data"])
        assert all(0 <= trace < len(picture.figure["data"]) for trace in frame["traces"])
    go.Figure(data=picture.figure["data"], layout=picture.figure["layout"])
    # The figure as it stands is its last frame.
    last = picture.figure["frames"][-1]
    for trace, part in zip(last["traces"], last["data"], strict=True):
        for key, value in part.items():
            np.testing.assert_array_equal(np.asarray(picture.figure["data"][trace][key]), np.asarray(value))


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_asks_a_question_and_says_what_it_shows(name):
    picture = PICTURES[name]()
    assert picture.title.endswith("?")
    assert "MAML" in picture.alt
    assert str(K) in picture.alt
    assert picture.alt.endswith(".")
    layout = picture.figure["layout"]
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)"
    assert smallest_letters(picture.figure) >= 14


def smallest_letters(value):
    if isinstance(value, dict):
        own = [value["size"]] if "size" in value and "symbol" not in value and "line" not in value else []
        found = own if "color" in value or len(value) == 1 else []
        return min([*found, *(smallest_letters(v) for k, v in value.items() if k != "marker")], default=99)
    if isinstance(value, list | tuple):
        return min((smallest_letters(v) for v in value), default=99)
    return 99


def test_the_functions_are_those_of_the_race():
    figure = adaptation.functions(TWO, same).figure
    truth, *before = figure["data"][:3]
    np.testing.assert_array_equal(truth["y"], TWO.truth)
    assert truth["line"]["dash"] == "dash"
    for trace, contender in zip(before, TWO.lanes, strict=True):
        np.testing.assert_array_equal(trace["y"], contender.functions[0])
    for k, frame in enumerate(figure["frames"]):
        for part, contender in zip(frame["data"], TWO.lanes, strict=True):
            np.testing.assert_array_equal(part["y"], contender.functions[k])


def test_without_a_truth_the_sentence_speaks_of_the_support_set():
    picture = adaptation.functions(waves(lane("MAML", functions=True), truth=False), same)
    assert len(picture.figure["data"]) == 3
    assert "the support loss goes: MAML from 2 to 0.4." in picture.alt


def test_the_sentence_of_a_curve_gives_its_ends():
    assert adaptation.query(TWO, same).alt == (
        "In 4 inner steps the query loss goes: MAML from 2.5 to 0.5; Reptile from 2.5 to 0.5."
    )
    assert "MAML from 0% to 40%" in adaptation.query(THREE, same, "accuracy").alt


def test_contenders_keep_their_colours_in_every_picture():
    for build in PICTURES.values():
        assert colour_of("maml") in str(build().figure)


def test_two_contenders_of_one_algorithm_have_two_colours():
    two = waves(lane("MAML a", functions=True), lane("MAML b", functions=True, twin=1))
    first, second = adaptation.support_loss(two, same).figure["data"][:2]
    assert first["line"]["color"] == colour_of("maml")
    assert second["line"]["color"] == spare_colour(0)
    assert spare_colour(0) != colour_of("maml")


def test_the_gradient_has_no_dot_where_the_inner_loop_ends():
    frames = adaptation.gradient_norm(TWO, same).figure["frames"]
    assert frames[0]["data"][0] == {"x": [0], "y": [3.0]}
    assert frames[K]["data"][0] == {"x": [], "y": []}


def test_a_contender_that_ran_away_does_not_flatten_the_others():
    wild = np.array([1.0, 1e3, 1e12, np.inf, np.nan], np.float32)
    calm = np.array([1.0, 0.5, 0.4, 0.3, 0.2], np.float32)
    low, high = adaptation.value_range([wild, calm], log=False)
    assert low == 0
    assert 1 <= high < 4
    low, high = adaptation.value_range([wild, calm], log=True)
    assert low == pytest.approx(math.log10(0.2) - 0.1, rel=1e-5)
    assert high < 1


def test_right_and_wrong_are_marks_and_not_colours_alone():
    figure = images.answers(THREE, same).figure
    for contender, (k, frame) in [(c, f) for c in range(3) for f in enumerate(figure["frames"])]:
        said = THREE.lanes[contender].probabilities[k].argmax(1)
        # Columns are classes: queries 0 and 3 are of class A, 1 and 4 of B, 2 and 5 of C.
        expected = [f"{'✓' if said[i] == i % 3 else '✗'} {'ABC'[said[i]]}" for i in (0, 3, 1, 4, 2, 5)]
        assert frame["data"][contender]["text"] == expected


def test_every_image_stands_in_its_class_column():
    race = THREE
    figure = images.answers(race, same).figure
    pixels = figure["data"][0]["z"]
    assert pixels.dtype == np.uint8
    assert (pixels == 255).sum() == WAYS * 28 * 28
    assert (pixels == 127).sum() == 6 * 28 * 28


def test_query_images_that_are_not_drawn_are_counted():
    every = characters(lane("MAML", q=3 * images.FEWEST_SHOWN), q=3 * images.FEWEST_SHOWN)
    assert "are drawn" not in images.answers(every, same).alt
    fifteen = images.answers(characters(lane("MAML", q=15), q=15), same)
    assert fifteen.alt.endswith(" 3 of 5 query images of each class are drawn.")
    assert (fifteen.figure["data"][0]["z"] == 127).sum() == 9 * 28 * 28


@pytest.mark.parametrize(("contenders", "drawn"), [(1, 5), (2, 4), (3, 3), (4, 4), (5, 5)])
def test_as_many_query_images_are_drawn_as_there_is_room_for_beside_the_certainty(contenders, drawn):
    lanes = tuple(lane(f"MAML {n}", q=25, twin=n) for n in range(contenders))
    images_of = np.ones((25, 1, 28, 28), np.float32)
    race = dataclasses.replace(
        characters(*lanes, q=25), ways=5, support_x=images_of[:5], support_y=np.arange(5),
        query_x=images_of, query_y=np.arange(25) % 5,
    )  # fmt: skip
    assert len(images._Board(race).shown) == 5 * drawn


def test_mean_probabilities_have_rows_that_sum_to_one():
    matrix = images.mean_probabilities(THREE, THREE.lanes[0], 2)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-3)
    np.testing.assert_allclose(matrix[1], THREE.lanes[0].probabilities[2][[1, 4]].mean(0), atol=1e-4)


def test_names_from_outside_stay_text():
    assert "<b>" not in str(images.certainty(THREE, same).figure)
    assert plain("a <b> & c") == "a &lt;b&gt; &amp; c"


def test_labels_are_moved_apart_and_stay_inside():
    placed = spread([0.5, 0.5, 0.52, 1.4, -2], 0.1)
    ordered = sorted(placed)
    assert all(b - a >= 0.1 - 1e-9 for a, b in itertools.pairwise(ordered))
    assert ordered[0] >= 0
    assert ordered[-1] <= 1
    assert spread([0.2, 0.8], 0.1) == [0.2, 0.8]
    assert spread([], 0.1) == []
    assert spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55]), "as far down as up"
    assert spread([0.86, 0.9, 0.88], 0.2) == pytest.approx([0.6, 1.0, 0.8]), "the end of the plot holds them"
    assert spread([0.5] * 21, 0.2) == pytest.approx([i / 20 for i in range(21)])


def test_numbers_in_sentences():
    assert [number(v) for v in (0.12345, 1234.5, 123456.0, float("inf"), float("nan"))] == [
        "0.123", "1234", "1.2·10⁵", "∞", "∞",
    ]  # fmt: skip


def test_the_dark_page_has_a_colour_for_each_that_it_changes():
    assert DARK[INK] == "#EEF3F7"
    for name in ("maml", "reptile", "pretrained", "scratch", "fomaml"):
        light, dark = colour_of(name), colour_of(name, dark=True)
        assert DARK.get(light, light) == dark


def reader(label, shots, **what):
    """Made-up numbers of a contender that reads its shots at once."""
    made = lane(label, "prototypes", **what)
    cut = {name: values[: shots + 1] for name, values in made.query.items()}
    return dataclasses.replace(
        made,
        axis="shot",
        support_loss=made.support_loss[: shots + 1],
        gradient_norm=np.zeros(0, np.float32),
        query=cut,
        functions=None if made.functions is None else made.functions[: shots + 1],
        probabilities=None if made.probabilities is None else made.probabilities[: shots + 1],
    )


def test_beside_inner_steps_a_reader_is_a_dashed_line_at_its_end():
    two = waves(lane("MAML", functions=True), reader("Neural process", 2, functions=True))
    picture = adaptation.query(two, same)
    steps, level, dot = picture.figure["data"]
    assert steps["name"] == "MAML"
    assert level["name"] == "Neural process, 2 shots"
    assert level["line"]["dash"] == "dash"
    np.testing.assert_array_equal(level["x"], np.arange(K + 1))
    np.testing.assert_allclose(level["y"], two.lanes[1].query["loss"][-1])
    assert dot["name"] == "MAML"
    assert picture.key == (("dash", "without inner steps: after all its shots"),)
    assert picture.columns[0] == "inner_step"
    first, second = picture.alt.split(". In 2 shots ")
    assert first.startswith("In 4 inner steps the query loss goes: MAML from ")
    assert "Neural process" not in first
    assert second.startswith("the query loss goes: Neural process from ")
    assert picture.figure["layout"]["xaxis"]["title"]["text"] == "inner step"
    frames = adaptation.functions(two, same).figure["frames"]
    for k, expected in enumerate([0, 2, 2, 2, 2]):
        np.testing.assert_array_equal(frames[k]["data"][1]["y"], two.lanes[1].functions[expected])
    slopes = adaptation.gradient_norm(two, same).figure
    assert [trace["name"] for trace in slopes["data"]] == ["MAML", "MAML"]
    assert "Neural process" not in adaptation.gradient_norm(two, same).alt


def test_readers_alone_are_drawn_over_shots():
    two = dataclasses.replace(
        waves(reader("Neural process", 2, functions=True), reader("b", 2, functions=True)), steps=2
    )
    picture = adaptation.support_loss(two, same)
    assert picture.figure["layout"]["xaxis"]["title"]["text"] == "shots"
    assert picture.columns[0] == "shots"
    assert picture.key == ()
    assert len(picture.figure["frames"]) == 3
    assert picture.alt.startswith("In 2 shots the support loss goes: Neural process from")
    for trace in picture.figure["data"][:2]:
        assert trace["line"]["dash"] == "solid"
        assert len(trace["y"]) == 3
    assert adaptation.functions(two, same).alt.startswith("After 2 shots the functions lie this far")


def test_a_readers_answers_in_a_mixed_race_are_those_after_all_shots():
    mixed = characters(lane("MAML", q=6), reader("Prototypes", 2, q=6), q=6)
    for k, expected in enumerate([0, 2, 2, 2, 2]):
        found = images.mean_probabilities(mixed, mixed.lanes[1], k)
        each = mixed.lanes[1].probabilities[expected]
        np.testing.assert_allclose(found[0], each[mixed.query_y == 0].mean(0), atol=1e-4)
    assert images.answers(mixed, same).alt.startswith("Query images recognised after 4 inner steps: ")
    for build in (images.answers, images.certainty):
        go.Figure(build(mixed, same).figure["data"])


def test_who_says_how_unsure_it_is_has_a_band_of_two_standard_deviations_that_moves_with_its_function():
    unsure = dataclasses.replace(
        lane("CNP", "cnp", functions=True), spread=np.outer(np.arange(K, -1, -1), np.full(11, 0.5)).astype(np.float32)
    )
    result = waves(lane("MAML", functions=True), unsure)
    picture = adaptation.functions(result, same)
    bands = [i for i, trace in enumerate(picture.figure["data"]) if trace.get("fill") == "toself"]
    assert [picture.figure["data"][i]["name"] for i in bands] == ["CNP, ± 2σ"]
    assert picture.figure["data"][bands[0]]["fillcolor"] == colour_of("cnp")
    assert ("band", "how sure it is: ± 2σ") in picture.key
    for k, frame in enumerate(picture.figure["frames"]):
        y = frame["data"][frame["traces"].index(bands[0])]["y"]
        there, back = y[:11], y[11:][::-1]
        np.testing.assert_allclose((there + back) / 2, unsure.functions[k])
        np.testing.assert_allclose(there - back, 4 * unsure.spread[k])
    assert "CNP has 0% of the truth within ± 2σ." in picture.alt  # f is 4 everywhere, without any doubt at the end
    sure = dataclasses.replace(unsure, spread=unsure.spread + 10)
    assert "CNP has 100% of the truth within ± 2σ." in adaptation.functions(waves(sure), same).alt


def test_an_algorithms_own_metric_is_drawn_of_those_that_have_it_below_zero_too():
    surprised = lane("CNP", "cnp")
    surprise = np.array([2.0, 1.0, 0.0, -0.5, -1.0], np.float32)
    surprised = dataclasses.replace(surprised, query=surprised.query | {"negative_log_likelihood": surprise})
    picture = adaptation.query(waves(lane("MAML"), surprised), same, "negative_log_likelihood", log=True)
    lines = [trace for trace in picture.figure["data"] if "lines" in trace["mode"]]
    assert [trace["name"] for trace in lines] == ["CNP"]
    low, high = picture.figure["layout"]["yaxis"]["range"]
    assert low < -1 < 2 < high
    assert picture.figure["layout"]["yaxis"]["type"] == "linear"
    assert "CNP from 2 to −1" in picture.alt
