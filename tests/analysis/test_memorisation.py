"""Tasks whose labels stay have one label for each character; shuffled ones have any, and theta cannot know them."""

import numpy as np
import pytest
import torch

from metalab.analysis import memorisation
from metalab.analysis.background import Cancelled
from metalab.analysis.memorisation import draw, memorise
from metalab.figures.memorisation import after, before
from metalab.tasks.characters import CharacterFamily, Characters, Library


class Stripes(CharacterFamily):
    """Ten characters of bars at different places, drawn twenty times with noise."""

    name: str = "stripes"


def load():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 40, (10, 20, 28, 28)).astype(np.uint8)
    for c in range(10):
        images[c, :, 2 * c + 2 : 2 * c + 6] = 255
    return {split: Characters(images, tuple(f"c{c}" for c in range(10))) for split in ("train", "validation", "test")}


Stripes.library = Library(load, turn=False)
FAMILY = Stripes(ways=2, shots=1, queries=2)


def rng():
    return torch.Generator().manual_seed(0)


def test_a_label_that_stays_is_the_characters_group_and_shuffled_it_is_either():
    fixed = draw(FAMILY, 200, "train", 10, rng(), shuffled=False)
    assert (fixed.info["classes"] % 2 == torch.arange(2)).all()
    shuffled = draw(FAMILY, 200, "train", 10, rng(), shuffled=True)
    groups = shuffled.info["classes"] % 2
    assert (groups.sum(1) == 1).all()
    assert 0.4 < groups[:, 0].double().mean() < 0.6
    few = draw(FAMILY, 100, "train", 4, rng(), shuffled=False)
    assert int(few.info["classes"].max()) == 3
    row = few.info["classes"][5, 1]
    bright = few.support.x[5, 1, 0].mean(1)[2 * row + 2 : 2 * row + 6]
    assert few.support.y[5].tolist() == [0, 1]
    np.testing.assert_allclose(bright, 1)


def test_labels_that_stay_are_learned_by_heart_and_shuffled_ones_cannot_be(monkeypatch):
    monkeypatch.setattr(memorisation, "NETWORK", memorisation.Conv4(filters=4))
    monkeypatch.setattr(memorisation, "LOOK_EVERY", 20)
    monkeypatch.setattr(memorisation, "TEST_TASKS", 24)
    monkeypatch.setattr(memorisation, "META_BATCH", 4)
    monkeypatch.setattr(memorisation, "OUTER_LR", 0.02)
    told = []
    found = memorise(FAMILY, outer_steps=20, report=told.append)
    assert list(found.outer_steps) == [0, 20]
    assert found.fixed.known.mean[-1] > 0.75
    assert abs(found.shuffled.known.mean[-1] - 0.5) < 0.2
    assert told == sorted(told)
    gauge = before(found, str)
    assert gauge.figure["layout"]["shapes"][0]["y0"] == 0.5
    names = {note["text"] for note in gauge.figure["layout"]["annotations"]}
    assert {"1/N, chance", "stay, practised", "shuffled, practised"} <= names
    line = next(t for t in after(found, str).figure["data"] if t["name"] == "shuffled" and "customdata" in t)
    np.testing.assert_allclose(line["y"], found.shuffled.new_after.mean, rtol=1e-6)


def test_nobody_waits_for_a_training_that_is_stopped():
    def stop(fraction):
        if fraction > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        memorise(FAMILY, report=stop)
