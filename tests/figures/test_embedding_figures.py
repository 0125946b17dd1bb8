"""The pictures of embeddings: what is drawn is what was computed."""

from dataclasses import replace

import numpy as np
import pytest

from metalab.analysis.embedding import Embedding, NewTask
from metalab.analysis.embedding_groups import Learning
from metalab.analysis.embedding_tasks import Attribute, Described
from metalab.analysis.neighbourhood import Agreement, Interval
from metalab.figures.embedding import HUES, View, braille, task_map
from metalab.figures.embedding_groups import group_curves, views
from metalab.figures.neighbourhood import neighbourhood, sentence

T, S = 12, 4
RNG = np.random.default_rng(0)


def say(text):
    return text


def embedding(axis="inner step", new=None, attribute=None, gain=(0.2, 0.1, 0.3)):
    attribute = attribute or Attribute("amplitude", "number", np.linspace(0, 1, T, dtype=np.float32), unit="metres")
    stage = Interval(0.9, 0.8, 0.95)
    told = Agreement(attribute.name, (None, *[stage] * (S - 1)), Interval(0.7, 0.6, 0.8), Interval(*gain))
    about = Described(
        tuple(range(T)), tuple(f"task <b> {i}" for i in range(T)), (attribute,), np.zeros((T, 8, 4), bool)
    )
    return Embedding(
        view="delta",
        about=about,
        label="MAML",
        colour_key=("maml", 2, 0),
        axis=axis,
        stages=tuple(range(S)) if axis == "inner step" else (0, 10, 20, 30),
        fitted=S - 1,
        places=RNG.normal(size=(S, T, 3)).astype(np.float32),
        explained=np.array([0.5, 0.2, 0.1], np.float32),
        distances=np.zeros((T, T), np.float32),
        agreements=(told,),
        new=new,
    )


def points_of(data):
    return [trace for trace in data if "customdata" in trace and trace["mode"] == "markers"]


@pytest.mark.parametrize("three", [False, True])
def test_a_frame_holds_the_places_of_its_step(three):
    found = embedding()
    figure = task_map(found, View(three=three), say).figure
    names = "xyz" if three else "xy"
    (points,) = points_of(figure["data"])
    which = figure["data"].index(points)
    assert len(figure["frames"]) == S
    for k, frame in enumerate(figure["frames"]):
        part = frame["data"][frame["traces"].index(which)]
        for axis, name in enumerate(names):
            np.testing.assert_array_equal(part[name], found.places[k, :, axis])
    assert list(points["customdata"]) == list(range(T))
    assert "<b>" not in points["text"][0]


def test_paths_end_where_the_points_are_and_have_gaps():
    found = embedding()
    figure = task_map(found, View(), say).figure
    path = figure["frames"][2]["data"][0]["x"].reshape(T, 4)
    np.testing.assert_array_equal(path[:, :3], found.places[:3, :, 0].T)
    assert np.isnan(path[:, 3]).all()
    assert len(task_map(found, View(paths=False), say).figure["data"]) == len(figure["data"]) - 1


def test_over_training_every_checkpoint_is_a_frame():
    found = embedding("outer step")
    picture = task_map(found, View(), say)
    assert len(picture.figure["frames"]) == S
    (points,) = points_of(picture.figure["data"])
    at = picture.figure["data"].index(points)
    np.testing.assert_array_equal(picture.figure["frames"][1]["data"][at]["x"], found.places[1, :, 0])
    assert picture.key == (("line", "path from the first checkpoint to the outer step shown"),)


def test_tsne_stands_still():
    flat = RNG.normal(size=(T, 2)).astype(np.float32)
    picture = task_map(embedding(), View(tsne=flat), say)
    assert "frames" not in picture.figure
    (points,) = points_of(picture.figure["data"])
    np.testing.assert_array_equal(points["y"], flat[:, 1])
    assert "t-SNE" in picture.alt


def test_classes_have_hues_of_their_own_and_their_names_beside_them():
    which = np.arange(T) % 9
    attribute = Attribute("mode", "class", np.eye(9, dtype=np.float32)[which], tuple("abcdefghi"))
    data = task_map(embedding(attribute=attribute), View(), say).figure["data"]
    groups = points_of(data)
    assert sorted(i for trace in groups for i in trace["customdata"]) == list(range(T))
    named = [trace["marker"]["color"] for trace in groups if trace["name"] != "tasks"]
    assert len(named) == len(set(named)) == len(HUES)
    assert len([trace for trace in data if trace["mode"] == "text"]) == len(HUES)


def test_a_set_is_coloured_by_the_share_of_one_label():
    shares = np.tile(np.array([[0.6, 0.4], [0.0, 1.0]], np.float32), (T // 2, 1))
    attribute = Attribute("alphabets", "set", shares, ("Greek", "Latin"))
    (points,) = points_of(task_map(embedding(attribute=attribute), View(label="Greek"), say).figure["data"])
    np.testing.assert_allclose(points["marker"]["color"], np.tile([60, 0], T // 2), atol=1e-4)
    assert "Greek" in points["marker"]["colorbar"]["title"]["text"]


def test_a_new_task_is_named_and_its_nearest_are_ringed():
    new = NewTask(np.full((S, 3), 9, np.float32), (3, 1), np.array([0.1, 0.2], np.float32))
    found = embedding(new=new)
    picture = task_map(found, View(), say)
    mine = next(trace for trace in picture.figure["data"] if trace.get("name") == "your task")
    assert mine["x"] == [9]
    rings = next(trace for trace in picture.figure["data"] if trace.get("marker", {}).get("symbol") == "circle-open")
    np.testing.assert_array_equal(rings["x"], found.places[-1, [3, 1], 0])
    assert picture.figure["layout"]["xaxis"]["range"][1] > 9
    for three in (False, True):
        picture = task_map(found, View(three=three), say)
        mine = next(trace for trace in picture.figure["data"] if trace.get("name") == "your task")
        assert (mine["marker"]["symbol"], "your task; rings: the nearest to it") in picture.key


def test_the_verdict_depends_on_the_paired_interval():
    assert "better than the raw inputs' 0.70: the difference is real" in sentence(embedding(), 0, say)
    assert "worse" in sentence(embedding(gain=(-0.2, -0.3, -0.1)), 0, say)
    assert "no difference can be told" in sentence(embedding(gain=(0.1, -0.1, 0.3)), 0, say)


def test_neighbours_that_are_no_better_than_guessing_are_said_to_tell_nothing():
    found = embedding(gain=(0.0, -0.1, 0.1))
    last = Interval(0.01, -0.02, 0.04)
    told = replace(found.agreements[0], stages=(None, last, last, last), raw=Interval(0.01, -0.03, 0.05))
    said = sentence(replace(found, agreements=(told,)), 0, say)
    assert said.startswith("The 5 nearest tasks do not tell amplitude")
    assert "0.01 (95% interval −0.02 to 0.04)" in said


def test_the_score_leaves_out_where_all_tasks_lie_in_one_point():
    figure = neighbourhood(embedding(), 0, say).figure
    line = figure["data"][1]
    assert list(line["x"]) == [1, 2, 3]
    np.testing.assert_allclose(line["y"], 0.9, atol=1e-6)
    assert [shape["y0"] for shape in figure["layout"]["shapes"]] == [0.0, 0.7]
    names = {note["text"]: note["y"] for note in figure["layout"]["annotations"]}
    assert list(names) == ["guessing", "raw inputs", "MAML"]
    assert names["guessing"] < names["raw inputs"] < names["MAML"]


def test_views_are_sorted_above_the_raw_inputs():
    def told(value):
        return Agreement("phase", (Interval(value, value - 0.1, value + 0.1),), Interval(0.5, 0.4, 0.6), None)

    names = {"delta": "D", "features": "F"}
    picture = views({"delta": told(0.9), "features": told(0.3)}, names, ("maml", 2, 0), say)
    assert [trace["y"][0] for trace in picture.figure["data"]] == ["raw inputs", "F", "D"]
    assert picture.figure["data"][2]["error_x"]["array"] == [pytest.approx(0.1)]
    assert "known best by D, 0.90" in picture.alt


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((0.02, 0.01), "None of them orders phase"),
        ((0.6, 0.55), "Phase scores highest by D, 0.60; not to be told from it: F."),
        ((0.9, 0.3), "Phase is known best by D, 0.90"),
    ],
)
def test_a_winner_is_named_only_where_its_interval_stands_alone(scores, said):
    def told(value):
        return Agreement("phase", (Interval(value, value - 0.1, value + 0.1),), Interval(0.0, -0.1, 0.1), None)

    found = {view: told(value) for view, value in zip(("delta", "features"), scores, strict=True)}
    assert views(found, {"delta": "D", "features": "F"}, ("maml", 2, 0), say).alt.startswith(said)


def test_a_groups_mean_is_the_mean_of_its_tasks():
    values = RNG.uniform(0.1, 1, (T, 5)).astype(np.float32)
    picture = group_curves(Learning("loss", "mean squared error", ("maml", 2, 0), values), [0, 4, 5], say)
    means = {trace["name"]: trace["y"] for trace in picture.figure["data"] if "name" in trace}
    np.testing.assert_allclose(means["your group"], values[[0, 4, 5]].mean(0), rtol=1e-5)
    rest = [i for i in range(T) if i not in (0, 4, 5)]
    np.testing.assert_allclose(means["all others"], values[rest].mean(0), rtol=1e-5)
    assert "3 tasks" in picture.alt
    assert picture.figure["layout"]["yaxis"]["title"]["text"] == "query loss (mean squared error)"


def test_in_three_dimensions_a_narrow_screen_stands_farther_off_and_shows_the_same():
    found = embedding()
    assert task_map(found, View(), say).narrow is None
    picture = task_map(found, View(three=True), say)
    eyes = [
        np.linalg.norm(list(each.figure["layout"]["scene"]["camera"]["eye"].values()))
        for each in (picture, picture.narrow)
    ]
    assert eyes[0] < eyes[1]
    assert picture.narrow.figure["data"] is picture.figure["data"]
    assert picture.narrow.figure["frames"] is picture.figure["frames"]


def test_braille_dots_are_where_unicode_has_them():
    picture = np.zeros((4, 4), bool)
    picture[0, 0] = picture[3, 1] = picture[2, 2] = True
    assert braille(picture) == chr(0x2800 + 0x01 + 0x80) + chr(0x2800 + 0x04)
