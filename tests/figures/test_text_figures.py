"""The pictures of text races: what stands where after each step."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from metalab.algorithms import MAML
from metalab.analysis.adaptation import Contender, race
from metalab.analysis.challenge import sample_challenge
from metalab.analysis.text import spelled
from metalab.figures import images, text
from metalab.models import CharTransformer, NGrams
from metalab.tasks.languages import Languages
from metalab.tasks.names import Names
from metalab.ui.stage import pack


def contender(model, family, label="MAML"):
    theta = model.init(family.input_shape, family.output_size, torch.Generator().manual_seed(0))
    return Contender(label, MAML(inner_lr=0.4), model, theta, (label, model.name))


@pytest.fixture(scope="module")
def told_apart():
    family = Languages(ways=3, shots=2, queries=4)
    return race([contender(NGrams(buckets=64, width=8), family)], sample_challenge(family, 1), steps=2)


@pytest.fixture(scope="module")
def writing():
    family = Names(shots=3, queries=2)
    model = CharTransformer(width=8, heads=2, layers=1)
    return race([contender(model, family), contender(model, family, "<b>B")], sample_challenge(family, 2), steps=2)


def test_answers_say_the_language_and_whether_it_is_right(told_apart):
    picture = text.answers(told_apart, str)
    assert len(picture.figure["frames"]) == 3
    lane = told_apart.lanes[0]
    rows = [i for c in range(3) for i in np.flatnonzero(told_apart.query_y == c)[:3]]
    for k, frame in enumerate(picture.figure["frames"]):
        said = lane.probabilities[k].argmax(1)
        texts = frame["data"][0]["text"]
        assert len(texts) == 9
        for shown, i in zip(texts, rows, strict=True):
            one, true = said[i], told_apart.query_y[i]
            assert shown == ("✓" if one == true else f"✗ {told_apart.class_names[one]}")
    names = picture.figure["data"][1]["text"]
    assert names == [spelled(told_apart.query_x)[i] for i in rows]
    assert picture.figure["data"][2]["customdata"] == names


def test_examples_stand_under_their_languages(told_apart):
    picture = text.examples(told_apart, str)
    assert picture.figure["layout"]["xaxis"]["ticktext"] == [f"<b>{n}</b>" for n in told_apart.class_names]
    columns = [trace["text"] for trace in picture.figure["data"]]
    names = spelled(told_apart.support_x)
    assert columns == [[names[i] for i in np.flatnonzero(told_apart.support_y == c)] for c in range(3)]


def test_written_names_are_a_column_for_each_contender_and_change_with_the_step(writing):
    picture = text.written(writing, str)
    frames = picture.figure["frames"]
    assert len(frames) == 3
    for k, frame in enumerate(frames):
        for lane, column in zip(writing.lanes, frame["data"], strict=True):
            assert [shown.lstrip("=✓ ") for shown in column["text"]] == spelled(lane.written[k])
    assert frames[0]["data"][0]["text"] != frames[2]["data"][0]["text"]
    assert "&lt;b&gt;B" in picture.figure["layout"]["xaxis"]["ticktext"][2], "labels stay text"


def test_pictures_go_to_the_browser_as_json(told_apart, writing):
    shown = [text.answers(told_apart, str), text.examples(told_apart, str), images.certainty(told_apart, str)]
    for picture in [*shown, text.written(writing, str)]:
        json.dumps(pack(picture.figure), allow_nan=False)
        assert picture.alt
