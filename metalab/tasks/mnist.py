"""MNIST's handwritten digits: tell digits apart that were never seen before.

LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition. Proc. IEEE 1998. Of the
70,000 pictures the 10,000 of MNIST's own test set are used, and of those as many of each digit. Digits are the
classes: 0 to 3 are for meta-training, 4 to 6 for meta-validation, 7 to 9 for meta-test, so that a task has at most
three ways. Four classes are few to learn to learn from; `cross` trains on other characters and tests on all ten.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from metalab import places
from metalab.settings import setting
from metalab.tasks.base import DataMissing, Split
from metalab.tasks.characters import SIDE, CharacterFamily, Characters, Library
from metalab.tasks.fetching import PROBLEMS, Progress, Remote, fetch

IMAGES = "t10k-images-idx3-ubyte.gz"
LABELS = "t10k-labels-idx1-ubyte.gz"
COUNT = 10_000
PICTURES = 892
"""Pictures of each digit: the rarest, 5, has no more."""
DIGITS: dict[Split, tuple[int, ...]] = {"train": (0, 1, 2, 3), "validation": (4, 5, 6), "test": (7, 8, 9)}
IMAGES_MAGIC = 2051
LABELS_MAGIC = 2049
LARGEST_FILE = 10_000_000
"""Bytes. The originals have 1.65 million and 4,542."""


def folder() -> Path:
    """Where the files are looked for: `METALAB_DATA/mnist`."""
    return places.data() / "mnist"


def advice() -> str:
    """How to come by the files: the end of every error message here."""
    return (
        f"{_put((IMAGES, LABELS))}, or set METALAB_DATA to the folder that has them in its subfolder mnist, or, with a "
        'network, download them: python -c "from metalab.tasks import mnist; mnist.download()"'
    )


def _put(names: Iterable[str]) -> str:
    return f"Put {' and '.join(names)} into {folder()}"


def _absent() -> list[Path]:
    return [path for name in (IMAGES, LABELS) if not (path := folder() / name).is_file()]


def require() -> None:
    """Raise DataMissing where a file is not on this machine."""
    if absent := _absent():
        names = [path.name for path in absent]
        raise DataMissing(f"MNIST lacks {' and '.join(names)}. {advice()}", f"{_put(names)}.")


def read() -> NDArray[np.uint8]:
    """The pictures (10, PICTURES, SIDE, SIDE) by digit, ink 255 on 0. Raises DataMissing."""
    labels = _read_idx(folder() / LABELS, LABELS_MAGIC, (COUNT,))
    images = _read_idx(folder() / IMAGES, IMAGES_MAGIC, (COUNT, SIDE, SIDE))
    counts = np.bincount(labels, minlength=10)
    if len(counts) > 10 or counts.min() < PICTURES:
        raise DataMissing(
            f"MNIST: {folder() / LABELS} counts {counts.tolist()[:12]} of each digit, expected {PICTURES} or more of "
            f"each of ten. {advice()}"
        )
    return np.stack([images[labels == digit][:PICTURES] for digit in range(10)])


def _read_idx(path: Path, magic: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The bytes of an IDX file of exactly this shape. Raises DataMissing where it is absent or something else."""
    header = struct.pack(f">{1 + len(shape)}i", magic, *shape)
    size = len(header) + int(np.prod(shape))
    try:
        with gzip.open(path) as file:
            # One byte more than is wanted: a longer file is noticed without being unpacked.
            content = file.read(size + 1)
        if content[: len(header)] != header:
            raise ValueError(f"its header is {content[: len(header)].hex()}, expected {header.hex()}")
        if len(content) != size:
            raise ValueError(f"it unpacks to {len(content)} bytes or more, expected {size}")
    except FileNotFoundError as problem:
        raise DataMissing(f"MNIST: {path} is not there. {advice()}") from problem
    except (OSError, EOFError, ValueError, zlib.error) as problem:
        raise DataMissing(f"MNIST: {path} cannot be used: {problem}. {advice()}") from problem
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def load() -> dict[Split, Characters]:
    """The digits of each split. Raises DataMissing."""
    images = read()
    return {split: Characters(images[list(digits)], tuple(map(str, digits))) for split, digits in DIGITS.items()}


def load_all() -> dict[Split, Characters]:
    """All ten digits as the split "test": for those who trained on something else. Raises DataMissing."""
    return {"test": Characters(read(), tuple(map(str, range(10))))}


def download(progress: Progress | None = None) -> None:
    """Fetch the files that are absent from where torchvision fetches them, into `folder()`.

    Each is checked against torchvision's MD5 sum and takes its name only when it is whole. What `progress`
    raises ends the download. Raises DataMissing where the network or the folder does not allow it.
    """
    from torchvision.datasets import MNIST as Source

    sums = dict(Source.resources)
    problems = []
    for mirror in Source.mirrors:
        try:
            target = places.writable_data("mnist")
            files = [Remote(f"{mirror}{path.name}", target / path.name, sums[path.name]) for path in _absent()]
            return fetch(files, LARGEST_FILE, progress)
        except PROBLEMS as problem:
            problems.append(str(problem))
    said = f"MNIST could not be downloaded: {'; '.join(dict.fromkeys(problems))}."
    raise DataMissing(f"{said} {advice()}", said)


ALL_DIGITS = Library(load_all, turn=False)
"""Has the split "test" alone."""


class Mnist(CharacterFamily):
    """Handwritten digits: four in meta-training, three in meta-validation, three in meta-test."""

    title: ClassVar[str] = "MNIST"
    summary: ClassVar[str] = (
        "Tell real handwritten digits apart that were not among those practised on: of MNIST the test set's 10,000 "
        "pictures."
    )
    library: ClassVar[Library] = Library(load, turn=False)
    each: ClassVar[int] = PICTURES

    name: Literal["mnist"] = "mnist"
    ways: int = setting(
        3,
        "How many different digits each task asks to tell apart. Of the ten, 0 to 3 are for training, and only "
        "three each for validation (4 to 6) and test (7 to 9).",
        low=2,
        high=min(map(len, DIGITS.values())),
    )

    @property
    def data_sets(self) -> tuple[str, ...]:
        return ("mnist",)

    def require(self) -> None:
        """Raise DataMissing where MNIST's files are not on this machine."""
        if not self.library.loaded:
            require()
