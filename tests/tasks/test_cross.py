"""Domain shift: whose characters each split is made of, what MNIST allows, and whose data is missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from metalab.settings import explain
from metalab.tasks import mnist, omniglot
from metalab.tasks.base import DataMissing
from metalab.tasks.characters import Characters, Library
from metalab.tasks.cross import Cross
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.mnist import DIGITS, Mnist
from metalab.tasks.omniglot import Omniglot

SPLITS = ("train", "validation", "test")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def library(name, ink, classes=20, drawers=20):
    """Pictures of one grey for each family, with names that tell family and split."""

    def load():
        images = np.full((classes, drawers, 28, 28), ink, np.uint8)
        return {split: Characters(images, tuple(f"{name} {split} {c}" for c in range(classes))) for split in SPLITS}

    return Library(load, turn=False)


@pytest.fixture
def greys(monkeypatch):
    """A grey for each family."""
    monkeypatch.setattr(Glyphs, "library", library("glyphs", 51))
    monkeypatch.setattr(Omniglot, "library", library("omniglot", 102))
    monkeypatch.setattr(Mnist, "library", library("mnist", 153, 3, 30))
    monkeypatch.setattr(mnist, "ALL_DIGITS", library("digits", 204, 10, 30))
    return {"glyphs": 0.2, "omniglot": 0.4, "mnist": 0.6}


@pytest.mark.parametrize("train_on", ["glyphs", "omniglot", "mnist"])
@pytest.mark.parametrize("test_on", ["glyphs", "omniglot", "mnist"])
def test_training_and_validation_are_of_one_family_and_the_test_of_the_other(greys, train_on, test_on):
    family = Cross(train_on=train_on, test_on=test_on, ways=3, shots=2, queries=3)
    for split, member in (("train", train_on), ("validation", train_on), ("test", test_on)):
        batch = family.sample(4, split, rng())
        foreign_digits = member == "mnist" and train_on != "mnist"
        grey = 0.8 if foreign_digits else greys[member]
        torch.testing.assert_close(batch.query.x, torch.full((4, 9, 1, 28, 28), grey))
        prefix = "digits test" if foreign_digits else f"{member} {split}"
        assert all(name.startswith(prefix) for task in batch.info["names"] for name in task)
        assert family.class_name(split, 0) == f"{prefix} 0"


def test_all_ten_digits_are_for_those_who_trained_on_something_else(greys):
    assert Cross(train_on="omniglot", test_on="mnist", ways=10).n_classes("test") == 10
    assert Cross(train_on="mnist", test_on="mnist", ways=3).n_classes("test") == 3


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"train_on": "mnist", "ways": 5}, "ways = 5, expected at most 4: MNIST has 4 digits for the train split"),
        ({"train_on": "mnist", "ways": 4}, "ways = 4, expected at most 3: MNIST has 3 digits for the validation split"),
        ({"test_on": "mnist", "ways": 11}, "ways = 11, expected at most 10: MNIST has 10 digits for the test split"),
        ({"shots": 10, "queries": 11}, "shots + queries = 10 + 11 = 21, expected at most 20"),
    ],
)
def test_more_ways_than_digits_are_refused(given, sentence):
    with pytest.raises(ValidationError) as caught:
        Cross(**given)
    assert explain(caught.value).startswith(sentence)


@pytest.mark.usefixtures("digits", "omniglot")
def test_no_class_is_in_two_splits():
    for train_on, test_on in (("mnist", "mnist"), ("omniglot", "mnist"), ("glyphs", "omniglot")):
        family = Cross(train_on=train_on, test_on=test_on, ways=3)
        prints = []
        for split in SPLITS:
            prints += [image.numpy().tobytes() for image in family.images(split)[:, 0]]
        assert len(set(prints)) == len(prints)
    assert sum(map(len, DIGITS.values())) == 10


@pytest.mark.usefixtures("omniglot")
def test_the_training_familys_tasks_are_the_ones_that_it_gives_itself():
    """So that a run on `cross` is a run on its training family with another test."""
    for split in ("train", "validation"):
        ours, theirs = Cross(train_on="omniglot", test_on="glyphs"), Omniglot()
        mine, its = ours.sample(3, split, rng(2)), theirs.sample(3, split, rng(2))
        assert torch.equal(mine.support.x, its.support.x)
        assert mine.info["names"] == its.info["names"]


def test_the_data_of_either_family_can_be_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("METALAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("METALAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Omniglot, "library", Library(omniglot.load))
    monkeypatch.setattr(Mnist, "library", Library(mnist.load, turn=False))
    fresh = Cross()
    assert fresh.data_sets == ("omniglot",)
    with pytest.raises(DataMissing, match="Omniglot lacks"):
        fresh.require()
    both = Cross(train_on="omniglot", test_on="mnist")
    assert both.data_sets == ("omniglot", "mnist")
    Cross(train_on="glyphs", test_on="glyphs").require()
    with pytest.raises(DataMissing, match="MNIST lacks"):
        Cross(train_on="glyphs", test_on="mnist").require()


def test_away_is_the_test_split_where_it_is_of_another_family():
    assert Cross(train_on="glyphs", test_on="omniglot").away == "test"
    assert Cross(train_on="mnist", test_on="mnist", ways=3).away is None
    assert Glyphs().away is None
