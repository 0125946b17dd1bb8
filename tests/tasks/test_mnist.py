"""MNIST: files are read as they are or refused, digits are split, and what is absent is fetched or named."""

from __future__ import annotations

import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch
import torchvision
from pydantic import ValidationError

from metalab.settings import explain
from metalab.tasks import mnist
from metalab.tasks.base import DataMissing
from metalab.tasks.characters import Library
from metalab.tasks.mnist import DIGITS, IMAGES, LABELS, PICTURES, Mnist


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def packed(magic, values):
    """An IDX file, compressed."""
    return gzip.compress(struct.pack(f">{1 + values.ndim}i", magic, *values.shape) + values.tobytes(), 1, mtime=0)


@pytest.fixture(scope="module")
def files():
    """Files of the originals' shapes: picture i shows digit i modulo 10 as a grey of its own."""
    labels = (np.arange(10_000) % 10).astype(np.uint8)
    images = np.zeros((10_000, 28, 28), np.uint8)
    images[:, 4:24, 10:18] = (20 * labels + 10)[:, None, None]
    return {IMAGES: packed(2051, images), LABELS: packed(2049, labels)}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the files are looked for; nothing is there."""
    monkeypatch.setenv("METALAB_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(Mnist, "library", Library(mnist.load, turn=False))
    return tmp_path / "data" / "mnist"


def put(place, files):
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_bytes(content)


def test_pictures_go_to_their_digits(place, files):
    put(place, files)
    images = mnist.read()
    assert images.shape == (10, PICTURES, 28, 28)
    assert images.dtype == np.uint8
    for digit in range(10):
        assert set(np.unique(images[digit])) == {0, 20 * digit + 10}


def test_every_digit_is_in_one_split_alone(place, files):
    put(place, files)
    assert sorted(digit for digits in DIGITS.values() for digit in digits) == list(range(10))
    found = mnist.load()
    for split, digits in DIGITS.items():
        assert found[split].names == tuple(map(str, digits))
        assert set(np.unique(found[split].images)) == {0, *(20 * digit + 10 for digit in digits)}
    everything = mnist.load_all()
    assert list(everything) == ["test"]
    assert everything["test"].names == tuple("0123456789")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_tasks_are_of_the_splits_digits_and_pictures_are_not_turned(place, files, split):
    put(place, files)
    family = Mnist(shots=10, queries=15)
    batch = family.sample(20, split, rng())
    assert family.n_classes(split) == len(DIGITS[split])
    assert batch.support.x.shape == (20, 30, 1, 28, 28)
    for t in range(20):
        digits = [DIGITS[split][int(c)] for c in batch.info["classes"][t]]
        assert len(set(digits)) == 3
        assert batch.info["names"][t] == list(map(str, digits))
        greys = batch.query.x[t].amax((1, 2, 3)).view(3, 15)
        torch.testing.assert_close(greys, (torch.tensor(digits) * 20.0 + 10)[:, None].expand(3, 15) / 255)
    drawn = batch.info["drawers"]
    assert drawn.max() >= 800, "pictures come from the whole set"
    assert all(len(set(row)) == 25 for task in drawn.tolist() for row in task)


def test_more_ways_than_held_out_digits_are_refused():
    with pytest.raises(ValidationError) as caught:
        Mnist(ways=4)
    assert explain(caught.value) == "ways = 4: expected less than or equal to 3"
    assert Mnist(shots=10, queries=15).queries == 15, "there are pictures enough"


def test_the_real_digits(digits):
    """MNIST's test set is known for a mean pixel of .1325; here each digit has the same weight."""
    images = mnist.read()
    assert images.shape == (10, PICTURES, 28, 28)
    assert images.mean() / 255 == pytest.approx(0.1325, abs=0.001)
    # The thinnest digit is 1, the fattest 0.
    ink = images.mean((1, 2, 3))
    assert (ink.argmin(), ink.argmax()) == (1, 0)
    assert torch.equal(digits().images("test"), torch.from_numpy(images[[7, 8, 9]]))


def test_without_data_one_sentence_says_what_to_do(place):
    with pytest.raises(DataMissing) as caught:
        Mnist().require()
    for part in (IMAGES, LABELS, str(place), "METALAB_DATA", "mnist.download()"):
        assert part in str(caught.value)
    with pytest.raises(DataMissing, match="is not there"):
        Mnist().n_classes("test")
    assert not place.exists()


def test_one_file_of_two_is_not_enough(place, files):
    put(place, {IMAGES: files[IMAGES]})
    with pytest.raises(DataMissing, match=rf"^MNIST lacks {LABELS}\. Put"):
        Mnist().require()


LABEL_BYTES = (np.arange(10_000) % 10).astype(np.uint8)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no gzip at all", "cannot be used"),
        (packed(2049, LABEL_BYTES)[:50], "cannot be used"),
        (packed(2051, LABEL_BYTES), "its header is 00000803"),
        (packed(2049, LABEL_BYTES[:-1]), "its header is"),
        (gzip.compress(struct.pack(">2i", 2049, 10_000) + bytes(9_999), 1, mtime=0), "unpacks to 10007 bytes"),
        (gzip.compress(struct.pack(">2i", 2049, 10_000) + bytes(10**7), 1, mtime=0), "unpacks to 10009 bytes or more"),
        (packed(2049, LABEL_BYTES % 9), "of each digit, expected 892"),
        (packed(2049, LABEL_BYTES + np.uint8(1)), "of each digit, expected 892"),
    ],
)
def test_labels_that_are_not_what_they_should_be_are_refused(place, files, content, said):
    put(place, {**files, LABELS: content})
    with pytest.raises(DataMissing, match=said):
        mnist.read()


@pytest.fixture
def mirrors(tmp_path, monkeypatch, files):
    """Two mirrors, the first without the files; torchvision's sums are theirs."""
    (tmp_path / "second").mkdir()
    for name, content in files.items():
        (tmp_path / "second" / name).write_bytes(content)
    source = torchvision.datasets.MNIST
    monkeypatch.setattr(source, "mirrors", [f"{(tmp_path / name).as_uri()}/" for name in ("first", "second")])
    sums = [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
    monkeypatch.setattr(source, "resources", sums)
    return tmp_path / "second"


def test_the_files_arrive_from_the_first_mirror_that_has_them(mirrors, place, files):
    seen = []
    mnist.download(lambda done, total: seen.append((done, total)))
    total = sum(map(len, files.values()))
    assert seen[-1] == (total, total)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == files
    Mnist().require()
    mnist.download(lambda done, total: pytest.fail("what is there is not fetched again"))


def test_a_damaged_download_leaves_nothing(mirrors, place):
    (mirrors / IMAGES).write_bytes(b"something else")
    with pytest.raises(DataMissing, match=rf"{IMAGES} arrived damaged .*METALAB_DATA"):
        mnist.download()
    assert list(place.iterdir()) == []


def test_torchvision_still_names_the_files():
    assert dict(torchvision.datasets.MNIST.resources).keys() >= {IMAGES, LABELS}
    assert torchvision.datasets.MNIST.mirrors
