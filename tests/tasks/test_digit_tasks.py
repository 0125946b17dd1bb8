"""Rotated and permuted digits: each task's change is the one that info names, splits share neither it nor a picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from metalab.tasks import mnist
from metalab.tasks.base import DataMissing
from metalab.tasks.characters import Characters, Library
from metalab.tasks.digit_tasks import PERMUTATIONS, PICTURES, PermutedMnist, RotatedMnist, permutation, rotated

SPLITS = ("train", "validation", "test")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures():
    """Digits of random pixels."""
    images = np.random.default_rng(0).integers(0, 256, (10, mnist.PICTURES, 28, 28), np.uint8)
    return {"test": Characters(images, tuple(map(str, range(10))))}


@pytest.fixture
def made_up(monkeypatch):
    """Random pictures in place of MNIST's."""
    library = Library(pictures, turn=False)
    monkeypatch.setattr(mnist, "ALL_DIGITS", library)
    return library.images("test")


@pytest.mark.parametrize("family", [RotatedMnist, PermutedMnist])
def test_shapes_and_labels_that_are_the_digits(made_up, family):
    batch = family(ways=4, shots=2, queries=3).sample(5, "train", rng())
    assert batch.support.x.shape == (5, 8, 1, 28, 28)
    assert batch.query.x.shape == (5, 12, 1, 28, 28)
    assert batch.support.y.tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]] * 5
    assert batch.query.y.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]] * 5
    assert batch.info["classes"].tolist() == [[0, 1, 2, 3]] * 5
    assert batch.support.x.min() >= 0
    assert batch.support.x.max() <= 1


@pytest.mark.parametrize("split", SPLITS)
def test_permuted_pictures_are_of_the_split_of_the_right_digit_and_in_one_order_each_task(made_up, split):
    batch = PermutedMnist(ways=3, shots=2, queries=1).sample(4, split, rng(1))
    first, last = PICTURES[split]
    for t in range(4):
        number = int(batch.info["permutation"][t])
        assert PERMUTATIONS[split][0] <= number < PERMUTATIONS[split][1]
        back = permutation(number).argsort()
        for x, y in zip(batch.support.x[t], batch.support.y[t].tolist(), strict=True):
            straight = (x.flatten()[back].view(28, 28) * 255).round().to(torch.uint8)
            found = (made_up[y, first:last] == straight).all(2).all(1)
            assert int(found.sum()) == 1
        seen = {x.numpy().tobytes() for x in (*batch.support.x[t], *batch.query.x[t])}
        assert len(seen) == 9, "no picture is in support and query"


def test_permutations_are_permutations_that_differ():
    orders = [permutation(number) for number in (0, 1, 999, 1_000, 1_999)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(784))
    assert len({tuple(order.tolist()) for order in orders}) == 5
    assert torch.equal(permutation(1), orders[1])


def test_splits_share_no_picture_permutation_or_angle():
    for ranges in (PICTURES, PERMUTATIONS):
        spans = sorted(ranges.values())
        assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    assert max(last for _first, last in PICTURES.values()) == mnist.PICTURES


@pytest.mark.parametrize("turn", [180.0, 360.0])
def test_angles_fill_each_splits_sectors_evenly_and_no_others(made_up, turn):
    counts = {}
    for split in SPLITS:
        angle = RotatedMnist(ways=2, queries=1, turn=turn).sample(1_200, split, rng(2)).info["angle"]
        assert 0 <= angle.min() < angle.max() < turn
        counts[split] = torch.histc(angle, 24, 0, turn)
    used = torch.stack([counts[split] > 0 for split in SPLITS])
    assert used.sum(0).tolist() == [1] * 24, "each sector is one split's"
    assert used.sum(1).tolist() == [12, 6, 6]
    for split in SPLITS:
        mine = counts[split][counts[split] > 0]
        expected = 1_200 / len(mine)
        # Chi-square with 5 or 11 degrees of freedom exceeds 37 about once in ten thousand.
        assert ((mine - expected) ** 2 / expected).sum() < 37


def test_quarter_turns_are_exact_and_anticlockwise():
    images = torch.rand(4, 3, 28, 28, generator=rng(3))
    found = rotated(images, torch.tensor([0.0, 90.0, 180.0, 270.0]))
    for quarter in range(4):
        torch.testing.assert_close(found[quarter], torch.rot90(images[quarter], quarter, (1, 2)), atol=1e-5, rtol=0)


def test_a_bar_is_turned_by_the_angle():
    """A bar along x, turned by 30 degrees anticlockwise: its long axis has slope tan 30, y pointing up."""
    image = torch.zeros(1, 1, 28, 28)
    image[0, 0, 13:15, 4:24] = 1
    turned = rotated(image, torch.tensor([30.0]))[0, 0].double()
    y, x = torch.meshgrid(torch.arange(28.0) - 13.5, torch.arange(28.0) - 13.5, indexing="ij")
    mass = turned.sum()
    xx, yy, xy = (turned * x * x).sum() / mass, (turned * y * y).sum() / mass, -(turned * x * y).sum() / mass
    angle = 0.5 * torch.atan2(2 * xy, xx - yy)
    assert float(torch.rad2deg(angle)) == pytest.approx(30, abs=0.5)
    assert float(mass) == pytest.approx(40, rel=0.02)


def test_all_pictures_of_a_task_are_turned_alike(made_up):
    family = RotatedMnist(ways=2, shots=2, queries=2)
    batch = family.sample(3, "validation", rng(4))
    first, last = PICTURES["validation"]
    for t in range(3):
        angle = batch.info["angle"][t]
        candidates = rotated(made_up[:2, first:last].float().flatten(0, 1)[None] / 255, angle[None])[0].view(2, -1, 784)
        for x, y in zip(batch.query.x[t], batch.query.y[t].tolist(), strict=True):
            assert float((candidates[y] - x.view(784)).abs().amax(1).min()) < 1e-4
    assert family.describe({"angle": torch.tensor([47.3])}, 0) == "turned by 47°"
    assert PermutedMnist().describe({"permutation": torch.tensor([12])}, 0) == "permutation 12"


@pytest.mark.parametrize("family", [RotatedMnist, PermutedMnist])
def test_absent_data_is_named(family, monkeypatch, tmp_path):
    monkeypatch.setenv("METALAB_DATA", str(tmp_path))
    monkeypatch.setattr(mnist, "ALL_DIGITS", Library(mnist.load_all, turn=False))
    with pytest.raises(DataMissing, match="METALAB_DATA"):
        family().require()
    assert family().data_sets == ("mnist",)


def test_the_real_digits_in_both_guises(digits):
    for family in (RotatedMnist(), PermutedMnist()):
        family.require()
        batch = family.sample(2, "test", rng(5))
        assert batch.query.x.shape == (2, 50, 1, 28, 28)
        assert 0.05 < batch.query.x.mean() < 0.25
