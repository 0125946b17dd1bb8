"""Omniglot: 1,623 characters of 50 alphabets, each drawn once by the same number of people, twenty.

Lake, Salakhutdinov, Gross, Tenenbaum: One shot learning of simple visual concepts. CogSci 2011.
Splits after Vinyals et al. 2016 (arXiv:1606.04080) and Finn et al. 2017 (arXiv:1703.03400): 1,200 random
characters for meta-training, of which 100 are kept for meta-validation, the other 423 for meta-test; in
meta-training each rotation by 90 degrees is a class of its own.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metalab import places
from metalab.tasks.base import DataMissing, Split
from metalab.tasks.characters import DRAWERS, SIDE, CharacterFamily, Characters, Library
from metalab.tasks.fetching import PROBLEMS, Progress, Remote, fetch

ARCHIVES: dict[str, int] = {"images_background": 964, "images_evaluation": 659}
"""The archives and how many characters each holds."""
CHARACTERS = sum(ARCHIVES.values())
SPLITS: dict[Split, int] = {"train": 1100, "validation": 100, "test": 423}
SPLIT_SEED = 1623
VERSION = 2
"""Counts up when the same archives would give another array, so that no stale cache is read."""
CACHE = f"omniglot-{VERSION}.npy"
SOURCE_SIDE = 105
LARGEST_MEMBER = 20_000
"""Bytes. The originals' largest picture has 522."""
MOST_MEMBERS = 100_000
LARGEST_ARCHIVE = 64_000_000
"""Bytes. The originals have 9.5 and 6.5 million."""

RECORD = np.dtype([("alphabet", "U48"), ("character", np.int64), ("images", np.uint8, (DRAWERS, SIDE, SIDE))])
"""One character as it is kept in the cache."""


class Drawing(NamedTuple):
    """One picture in an archive; drawings sort by alphabet, character, drawer."""

    alphabet: str
    character: int
    drawer: int
    member: zipfile.ZipInfo


def folder() -> Path:
    """Where the archives are looked for: `METALAB_DATA/omniglot`."""
    return places.data() / "omniglot"


def advice() -> str:
    """How to come by the archives: the end of every error message here."""
    return (
        f"{_put(f'{name}.zip' for name in ARCHIVES)}, or set METALAB_DATA to the folder that has them in its subfolder "
        "omniglot, or, with a network, download them: "
        'python -c "from metalab.tasks import omniglot; omniglot.download()"'
    )


def _put(names: Iterable[str]) -> str:
    return f"Put {' and '.join(names)} (from github.com/brendenlake/omniglot, folder python) into {folder()}"


def _absent() -> list[Path]:
    return [path for name in ARCHIVES if not (path := folder() / f"{name}.zip").is_file()]


def read_archives() -> NDArray[np.void]:
    """The CHARACTERS characters as RECORDs, sorted by alphabet and number. Raises DataMissing."""
    return np.concatenate([read_archive(folder() / f"{name}.zip", count) for name, count in ARCHIVES.items()])


def read_archive(path: Path, count: int) -> NDArray[np.void]:
    """The `count` characters of one archive as RECORDs; nothing is unpacked to disk.

    Only members named like `images_background/Greek/character07/0407_12.png` are read, and what they hold
    is checked. Raises DataMissing where the archive is absent, damaged or not what it should be.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            drawings = _drawings(archive, path.stem, count)
            # One reader: threads would only wait for each other at the file.
            files = [archive.read(drawing.member) for drawing in drawings]
        chunks = [files[first : first + 500] for first in range(0, len(files), 500)]
        with ThreadPoolExecutor(2) as pool:
            images = np.concatenate(list(pool.map(_decode, chunks)))
    except FileNotFoundError as problem:
        raise DataMissing(f"Omniglot: {path} is not there. {advice()}") from problem
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as problem:
        # PIL and zipfile report what is wrong with a file in all of these.
        raise DataMissing(f"Omniglot: {path} cannot be used: {problem}. {advice()}") from problem
    found = np.zeros(count, RECORD)
    found["alphabet"] = [drawing.alphabet for drawing in drawings[::DRAWERS]]
    found["character"] = [drawing.character for drawing in drawings[::DRAWERS]]
    found["images"] = images.reshape(count, DRAWERS, SIDE, SIDE)
    return found


def _drawings(archive: zipfile.ZipFile, top: str, count: int) -> list[Drawing]:
    """The drawings listed in the archive, sorted. Raises ValueError unless they are `count` times DRAWERS."""
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise ValueError(f"{len(members)} members, expected about {count * DRAWERS}")
    pattern = re.compile(rf"{re.escape(top)}/([\w() -]{{1,48}})/character([0-9]{{2}})/[0-9]{{4}}_([0-9]{{2}})\.png")
    drawings = []
    for member in members:
        if match := pattern.fullmatch(member.filename):
            if member.file_size > LARGEST_MEMBER:
                raise ValueError(f"{member.filename} has {member.file_size} bytes, expected at most {LARGEST_MEMBER}")
            drawings.append(Drawing(match[1], int(match[2]), int(match[3]), member))
    drawings.sort(key=lambda drawing: drawing[:3])
    if len(drawings) != count * DRAWERS:
        raise ValueError(f"{len(drawings)} drawings, expected {count} characters x {DRAWERS} drawers")
    characters = {drawing[:2] for drawing in drawings}
    if len(characters) != count or len({drawing[:3] for drawing in drawings}) != len(drawings):
        raise ValueError(f"{len(characters)} characters, expected {count}, each drawn by drawers 1 to {DRAWERS}")
    wrong = [d for i, d in enumerate(drawings) if d.drawer != i % DRAWERS + 1]
    if wrong:
        raise ValueError(f"{wrong[0].member.filename}: expected drawers 1 to {DRAWERS} of each character, once each")
    return drawings


def _decode(files: Sequence[bytes]) -> NDArray[np.uint8]:
    """PNG files of dark ink on white as (n, SIDE, SIDE), ink 255 on 0: each pixel is the mean of its area."""
    originals = np.empty((len(files), SOURCE_SIDE, SOURCE_SIDE), np.float32)
    for k, file in enumerate(files):
        with Image.open(io.BytesIO(file), formats=["PNG"]) as image:
            # The header is all that is read so far: a picture of another size is never decoded.
            if image.size != (SOURCE_SIDE, SOURCE_SIDE):
                raise ValueError(f"a drawing is {image.size} pixels, expected {SOURCE_SIDE} x {SOURCE_SIDE}")
            originals[k] = np.asarray(image.convert("L"))
    # PIL's box filter takes whole pixels only. Cut in four, 105 pixels are 28 times 15 quarters.
    quarters = np.kron(np.eye(SIDE, dtype=np.float32), np.full(15, 1 / 15, np.float32))
    share = quarters.reshape(SIDE, SOURCE_SIDE, 4).sum(2)
    return np.rint(255 - share @ originals @ share.T).astype(np.uint8)


def load() -> dict[Split, Characters]:
    """The characters of each split, from the cache or decoded now (some seconds). Raises DataMissing."""
    shape = (CHARACTERS,)
    records = places.cached_array(CACHE, RECORD, shape, read_archives)
    names = [f"{r['alphabet'].replace('_', ' ')} {r['character']}" for r in records]
    order = np.random.default_rng(SPLIT_SEED).permutation(CHARACTERS)
    found: dict[Split, Characters] = {}
    first = 0
    for split, count in SPLITS.items():
        chosen = np.sort(order[first : first + count])
        found[split] = Characters(records["images"][chosen], tuple(names[i] for i in chosen))
        first += count
    return found


def download(progress: Progress | None = None) -> None:
    """Fetch the archives that are absent from where torchvision fetches them, into `folder()`.

    Each is checked against torchvision's MD5 sum and takes its name only when it is whole. What `progress`
    raises ends the download. Raises DataMissing where the network or the folder does not allow it.
    """
    from torchvision.datasets import Omniglot as Source

    try:
        target = places.writable_data("omniglot")
        files = [
            Remote(f"{Source.download_url_prefix}/{path.name}", target / path.name, Source.zips_md5[path.stem])
            for path in _absent()
        ]
        fetch(files, LARGEST_ARCHIVE, progress)
    except PROBLEMS as problem:
        said = f"Omniglot could not be downloaded: {problem}."
        raise DataMissing(f"{said} {advice()}", said) from problem


class Omniglot(CharacterFamily):
    """Handwritten characters of 50 alphabets: 1,100 in meta-training, 100 in meta-validation, 423 in meta-test."""

    title: ClassVar[str] = "Omniglot"
    summary: ClassVar[str] = "Tell real handwritten characters apart from a drawing or two: 50 alphabets, 20 people."
    library: ClassVar[Library] = Library(load)

    name: Literal["omniglot"] = "omniglot"

    @property
    def data_sets(self) -> tuple[str, ...]:
        return ("omniglot",)

    def require(self) -> None:
        """Raise DataMissing where neither the archives nor what was decoded from them is on this machine."""
        if self.library.loaded or not (absent := _absent()):
            return
        cached = places.cached_path(CACHE)
        if cached is None or not cached.is_file():
            names = [path.name for path in absent]
            raise DataMissing(f"Omniglot lacks {' and '.join(names)}. {advice()}", f"{_put(names)}.")
