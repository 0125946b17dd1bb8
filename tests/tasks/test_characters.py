"""What every family of characters owes its tasks, held against plain loops and exact probabilities."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from metalab.settings import explain
from metalab.tasks.characters import DRAWERS, Characters, Library
from metalab.tasks.glyphs import Glyphs


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def chi_square_is_plausible(observed, expected):
    """The statistic is within five standard deviations of its mean (rows of `observed` sum to a constant)."""
    statistic = float(((observed - expected) ** 2 / expected).sum())
    freedom = observed.shape[0] * (observed.shape[1] - 1)
    return abs(statistic - freedom) < 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_shapes_types_and_range(characters, split):
    family = characters(ways=4, shots=3, queries=2)
    batch = family.sample(6, split, rng())
    assert batch.n_tasks == 6
    assert family.output_size == 4
    for examples, each in ((batch.support, 3), (batch.query, 2)):
        assert examples.x.shape == (6, 4 * each, 1, 28, 28)
        assert examples.x.dtype == torch.float32
        assert examples.y.dtype == torch.int64
        assert examples.y.tolist() == [[k for k in range(4) for _ in range(each)]] * 6
        assert examples.x.min() == 0.0
        assert 0.9 < examples.x.max() <= 1.0
        assert 0.02 < examples.x.mean() < 0.2, "ink is 1 and rare"
    assert batch.info["classes"].shape == (6, 4)
    assert batch.info["classes"].dtype == torch.int64
    assert batch.info["drawers"].shape == (6, 4, 5)


def test_examples_are_the_pictures_that_info_names(characters):
    family = characters(ways=3, shots=2, queries=3)
    images = family.images("train")
    batch = family.sample(4, "train", rng(1))
    for t in range(4):
        for k in range(3):
            for j in range(5):
                picture = images[batch.info["classes"][t, k], batch.info["drawers"][t, k, j]] / 255
                found = batch.support.x[t, 2 * k + j] if j < 2 else batch.query.x[t, 3 * k + j - 2]
                assert torch.equal(found[0], picture)


def test_classes_and_drawers_of_a_task_are_distinct(characters):
    """Distinct drawers: support and query never share a picture."""
    batch = characters(ways=20, shots=5, queries=15).sample(50, "validation", rng(2))
    for task in batch.info["classes"].tolist():
        assert len(set(task)) == 20
    assert torch.equal(batch.info["drawers"].sort(-1).values, torch.arange(DRAWERS).expand_as(batch.info["drawers"]))


def test_the_generator_alone_decides(characters):
    family = characters()
    torch.manual_seed(1)
    first = family.sample(3, "test", rng(7))
    torch.manual_seed(2)
    again = family.sample(3, "test", rng(7))
    other = family.sample(3, "test", rng(8))
    assert torch.equal(first.support.x, again.support.x)
    assert torch.equal(first.query.x, again.query.x)
    assert not torch.equal(first.support.x, other.support.x)


def test_examples_are_made_on_the_device_and_told_of_on_the_cpu():
    """The meta device stands for a GPU: it has shapes and places, and no numbers."""
    batch = Glyphs(ways=2, shots=1, queries=2).sample(3, "test", rng(), "meta")
    assert {part.device.type for part in (*batch.support, *batch.query)} == {"meta"}
    assert batch.query.x.shape == (3, 4, 1, 28, 28)
    assert batch.info["classes"].device.type == batch.info["drawers"].device.type == "cpu"


def test_every_class_gets_every_label_equally_often(characters):
    """Labels shuffled per episode: a class says nothing of its label, nor a drawer of support or query."""
    family = characters(ways=5, shots=1, queries=1)
    classes, labels = family.n_classes("validation"), torch.arange(5).expand(4000, 5)
    batch = family.sample(4000, "validation", rng(3))
    table = torch.zeros(classes, 5).index_put_((batch.info["classes"], labels), torch.tensor(1.0), accumulate=True)
    assert chi_square_is_plausible(table, table.sum(1, keepdim=True) / 5)
    assert chi_square_is_plausible(table.T, torch.full((5, classes), 4000 / classes))
    drawers = torch.stack([torch.bincount(batch.info["drawers"][..., j].flatten(), minlength=20) for j in (0, 1)])
    assert chi_square_is_plausible(drawers, torch.full((2, 20), 1000.0))


def test_a_fixed_predictor_is_right_once_in_n(characters):
    """Identity 12: whatever is fixed before the episode has accuracy 1/N in expectation."""
    family = characters(ways=5, shots=1, queries=3)
    batch = family.sample(2000, "train", rng(4))
    fixed = torch.randn(28 * 28, 5, generator=rng(5))
    accuracy = family.metrics(batch.query.x.flatten(2) @ fixed, batch.query.y)["accuracy"]
    error = float(accuracy.std()) / math.sqrt(2000)
    assert error < 0.01
    assert abs(float(accuracy.mean()) - 0.2) < 4 * error


def test_rotations_are_classes_in_training_only(characters):
    family = characters()
    images = family.images("train")
    n = len(images) // 4
    assert family.n_classes("train") == 4 * n
    for quarter in range(1, 4):
        before, after = images[(quarter - 1) * n : quarter * n], images[quarter * n : (quarter + 1) * n]
        # A quarter turn against the clock: the last column becomes the first row.
        assert torch.equal(after, before.transpose(2, 3).flip(2))
    assert family.class_name("train", n + 1) == family.class_name("train", 1) + ", turned 90°"
    for split in ("validation", "test"):
        assert len(family.images(split)) == family.n_classes(split)
        assert not any("turned" in family.class_name(split, c) for c in range(family.n_classes(split)))


def test_splits_share_no_character(characters):
    family = characters()
    names, pictures = [], []
    for split in ("train", "validation", "test"):
        names += [family.class_name(split, c) for c in range(family.n_classes(split))]
        pictures += [character.numpy().tobytes() for character in family.images(split)]
    assert len(set(names)) == len(names)
    assert len(set(pictures)) == len(pictures)


def test_a_task_is_described_by_its_characters(characters):
    family = characters(ways=2)
    batch = family.sample(3, "test", rng(6))
    expected = "; ".join(family.class_name("test", c) for c in batch.info["classes"][1].tolist())
    assert family.describe(batch.info, 1) == expected
    assert family.describe(batch.tasks(1, 2).info, 0) == expected


def test_more_examples_than_drawers_are_refused(characters):
    with pytest.raises(ValidationError) as caught:
        characters(shots=10, queries=11)
    sentence = explain(caught.value)
    assert "shots + queries = 10 + 11 = 21" in sentence
    assert "at most 20" in sentence
    assert characters(shots=10, queries=10).shots == 10


def tiny():
    images = np.arange(2 * 20 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 20, 28, 28)
    return {split: Characters(images, ("a", "b")) for split in ("train", "validation", "test")}


def test_a_library_loads_once_for_many_threads():
    calls, gate = [], Barrier(8)

    def load():
        calls.append(1)
        return tiny()

    library = Library(load)

    def ask(_):
        gate.wait()
        return library.images("train")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(calls) == 1
    assert all(images.data_ptr() == found[0].data_ptr() for images in found)


def test_a_library_that_failed_tries_again():
    answers = [RuntimeError("not yet"), tiny()]

    def load():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    library = Library(load)
    with pytest.raises(RuntimeError, match="not yet"):
        library.images("test")
    assert not library.loaded
    assert len(library.images("test")) == 2
    assert library.loaded
