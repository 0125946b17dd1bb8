"""The pictures of one answer: what is drawn and said is what was computed."""

from dataclasses import replace

import numpy as np
import pytest

from metalab.analysis.decision import Decision, Evidence
from metalab.analysis.influence import Influence
from metalab.analysis.layers import Layer
from metalab.figures.decision import AGAINST, FOR, letters, pixels, probabilities, similarities
from metalab.figures.decision_queries import ERROR, queries
from metalab.figures.decision_words import answer, region
from metalab.figures.layers import network, pull, pulled
from metalab.figures.style import CLEAR
from metalab.tasks.cldr import encode

RNG = np.random.default_rng(0)
WAYS, SIDE = 3, 8


def say(text):
    return text


def evidence(shape=(SIDE, SIDE), place=(0.1, 0.9), n=3):
    return Evidence(
        probabilities=np.array([0.1, 0.7, 0.2], np.float32),
        similarity=np.array([0.2, 0.9, 0.4], np.float32)[:n],
        gradient=RNG.normal(size=shape).astype(np.float32) if len(shape) == 2 else None,
        occlusion=RNG.normal(size=shape).astype(np.float32),
        covered=0.25,
        place=place,
    )


def decision(**more):
    found = Decision(
        label="MAML",
        colour_key=("maml", 2, 0),
        steps=3,
        axis="inner step",
        title="",
        class_names=(),
        support_x=RNG.uniform(size=(3, SIDE, SIDE)),
        support_y=np.array([0, 1, 2]),
        query_x=RNG.uniform(size=(12, SIDE, SIDE)),
        query_y=np.arange(12) % 3,
        answers=np.ones(12, int),
        query=4,
        said=1,
        before=evidence(),
        after=evidence(),
        alone=False,
    )
    return replace(found, **more)


def test_the_answer_names_what_it_resembles_and_where_it_looks():
    said = answer(decision(), say)
    assert "MAML says B (70%), which is right." in said
    assert "Most alike is the support image of B (cosine 0.90" in said
    assert "of another class the nearest is the support image of C (0.40)" in said
    assert "at the upper right: with those covered the probability of B goes from 70% to 25%" in said
    assert "but it is A" in answer(decision(query=3), say)


@pytest.mark.parametrize(
    ("place", "words"),
    [((0.5, 0.5), "in the middle"), ((0.99, 0.0), "at the lower left"), ((1.0, 0.5), "at the bottom")],
)
def test_places_in_words(place, words):
    assert region(evidence(place=place), say) == words


def inside(place, frames):
    x, y = place
    return any(each["x0"] < x < each["x1"] and each["y0"] < y < each["y1"] for each in frames)


def test_every_query_can_be_clicked_and_is_marked_right_or_wrong():
    found = decision()
    _board, marks, below = queries(found, say).figure["data"]
    assert list(marks["customdata"]) == list(range(12))
    right = found.query_y == 1
    assert [text[0] for text in marks["text"]] == ["✓" if ok else "✗" for ok in right]
    assert [text.startswith("<b>✗") for text in below["text"]] == (~right).tolist()
    assert [colour == ERROR for colour in below["textfont"]["color"]] == (~right).tolist()
    frame, *wrong = queries(found, say).figure["layout"]["shapes"]
    assert len(wrong) == (~right).sum() > 0
    assert all(each["line"]["dash"] == "dot" for each in wrong)
    assert [mark for mark in zip(marks["x"], marks["y"], strict=True) if inside(mark, wrong)] == [
        mark for mark, ok in zip(zip(marks["x"], marks["y"], strict=True), right, strict=True) if not ok
    ]
    assert frame["x0"] < marks["x"][4] < frame["x1"]
    assert frame["y0"] < marks["y"][4] < frame["y1"]


def test_bars_are_the_cosines_and_images_stand_below_them():
    found = decision()
    figure = similarities(found, say).figure
    bars, before, strip = figure["data"]
    np.testing.assert_array_equal(bars["y"], found.after.similarity)
    np.testing.assert_array_equal(before["y"], found.before.similarity)
    width = strip["z"].shape[1]
    edges = strip["x0"] + strip["dx"] * np.array([0, width - 1])
    np.testing.assert_allclose(edges, [-0.5 + strip["dx"] / 2, 2.5 - strip["dx"] / 2])
    first = round((1 - strip["x0"]) / strip["dx"] - (SIDE - 1) / 2)
    np.testing.assert_array_equal(strip["z"][:, first : first + SIDE], (found.support_x[1] * 255).astype(np.uint8))


def test_occlusion_before_and_after_share_one_scale():
    found = decision()
    figure = pixels(found, say).figure
    maps = [trace for trace in figure["data"] if trace.get("hovertemplate")]
    np.testing.assert_allclose(maps[0]["z"], found.before.occlusion, rtol=1e-5)
    np.testing.assert_allclose(maps[1]["z"], found.after.occlusion, rtol=1e-5)
    np.testing.assert_allclose(maps[3]["z"], found.after.gradient, rtol=1e-5)
    most = max(np.abs(found.before.occlusion).max(), np.abs(found.after.occlusion).max())
    assert [each["zmax"] for each in maps[:2]] == pytest.approx([most, most])
    assert [each["zmax"] for each in maps[2:]] == pytest.approx(
        [np.abs(each.gradient).max() for each in (found.before, found.after)]
    )
    assert maps[0]["name"].endswith("nats")
    assert maps[3]["name"].endswith("nats per unit of ink")


def test_below_each_map_is_its_scale_with_its_ends():
    figure = pixels(decision(), say).figure
    maps = [trace for trace in figure["data"] if trace.get("hovertemplate")]
    strips = [trace for trace in figure["data"] if trace.get("hovertemplate") == ""]
    assert len(strips) == len(maps) == 4
    notes = [note["text"] for note in figure["layout"]["annotations"][4:]]
    for n, (strip, each) in enumerate(zip(strips, maps, strict=True)):
        assert strip["colorscale"] == each["colorscale"]
        assert (strip["zmin"], strip["zmax"]) == (each["zmin"], each["zmax"])
        assert [strip["z"].min(), strip["z"].max()] == pytest.approx([-each["zmax"], each["zmax"]])
        low, middle, high = notes[3 * n : 3 * n + 3]
        assert (low, middle) == (f"−{high}", "0")
        assert float(high) == pytest.approx(each["zmax"], rel=0.06)


def test_letters_are_coloured_by_what_they_speak_for():
    names = encode(["anna", "otto", "emil"])
    length = names.shape[1]
    told = evidence(shape=(length,), place=(0.0, 2.0))
    found = decision(support_x=names, query_x=names, query_y=np.array([1, 1, 1]), query=0, before=told, after=told)
    found = replace(found, class_names=("Dutch", "Finnish", "Welsh"), answers=np.ones(3, int))
    bars = letters(found, say).figure["data"][0]
    assert list(bars["marker"]["color"]) == [FOR if v > 0 else AGAINST for v in told.occlusion[:4]]
    assert "Most depends on letter 3 of anna, “n”" in answer(found, say)
    assert "Most alike is the name otto of Finnish" in answer(found, say)
    places = similarities(found, say).figure["layout"]["xaxis"]
    assert (places["ticktext"], places["ticklabeloverflow"]) == (["anna", "otto", "emil"], "allow")


def test_probabilities_are_grey_before_and_in_colour_after():
    before, after = probabilities(decision(), say).figure["data"]
    assert before["text"] == after["text"] == ["10%", "70%", "20%"]
    assert before["marker"]["color"] != after["marker"]["color"]


def test_a_network_has_a_box_for_each_layer_and_names_the_mover():
    found = (Layer("input", (1, 28, 28), 0, 0.0), Layer("conv1", (14, 14, 8), 80, 0.02), Layer("head", (5,), 1605, 0.5))
    picture = network(found, "MAML", ("maml", 2, 0), say)
    assert picture.alt == "MAML's network has 1,685 parameters in 2 layers; adaptation moves head most, by 50%."
    text = [note["text"] for note in picture.figure["layout"]["annotations"]]
    assert "14×14×8 · 80 · 2.0%" in text
    colours = [shape["opacity"] for shape in picture.figure["layout"]["shapes"] if "opacity" in shape]
    assert colours == sorted(colours)
    assert len(colours) == 3


def test_the_strongest_pull_is_named_and_is_the_largest_point():
    x = np.linspace(-5, 5, 11, dtype=np.float32)
    force = np.zeros((2, 11), np.float32)
    force[:, 5] = [0.25, -0.75]
    points = np.array([-1.0, 2.0], np.float32)
    found = Influence("MAML", ("maml", 2, 0), 5, "", points, points, x, 0 * x, x, None, force)
    assert "x = 0.0 MAML predicts 0; the support point at x = 2.0 pulls most" in pulled(found, 0.04, say)
    dots = next(trace for trace in pull(found, 0.04, say).figure["data"] if trace["name"] == "pull of a support point")
    assert dots["text"] == ["+0.25", "−0.75"]
    assert dots["marker"]["size"][1] > dots["marker"]["size"][0]


def test_on_a_phone_a_pull_is_not_written_upon_a_stronger_one():
    x = np.linspace(-5, 5, 11, dtype=np.float32)
    force = np.zeros((3, 11), np.float32)
    force[:, 5] = [0.2, -0.7, 0.1]
    points = np.array([1.0, 1.9, -4.0], np.float32)
    picture = pull(Influence("MAML", ("maml", 2, 0), 5, "", points, points, x, 0 * x, x, None, force), 0.0, say)
    for figure, hidden in ((picture.figure, []), (picture.narrow.figure, [0])):
        dots = next(trace for trace in figure["data"] if trace["name"] == "pull of a support point")
        assert [i for i, colour in enumerate(dots["textfont"]["color"]) if colour == CLEAR] == hidden


def test_query_images_stand_in_rows_of_five_on_a_phone():
    picture = queries(decision(), say)
    for each, columns in ((picture, 10), (picture.narrow, 5)):
        _ink, marks, _answers = each.figure["data"]
        assert len(set(marks["x"])) == columns
        assert marks["customdata"].tolist() == list(range(12))
    assert picture.narrow.aspect > picture.aspect
