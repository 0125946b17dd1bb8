"""Files and rows that are damaged or forged: refused in one sentence, or exactly what was written; nothing else is
read, and nothing is written outside the home."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile

import hostile_values as hostile
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from safetensors.torch import save
from stored import CONFIG, checkpoint_of

from metalab.store import CheckpointError, News, Store, StoreError
from metalab.store import checkpoints as files
from metalab.store.bundle import pack, unpack
from metalab.tasks.base import DataMissing
from metalab.tasks.omniglot import read_archive
from metalab.training.config import ConfigError
from metalab.training.events import Evaluated


class Trap:
    """A pickle that would tell if it were opened."""

    def __reduce__(self):
        return (open, ("/tmp/metalab-was-here", "w"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run with a checkpoint, and the same packed."""
    folder = tmp_path_factory.mktemp("hostile")
    store = Store(folder / "home")
    run = store.create(CONFIG, "ada")
    store.save_checkpoint(run.id, checkpoint_of())
    seen = Evaluated(2, {"loss": torch.rand(2, 3)}, torch.rand(1, 3, 5))
    store.append(run.id, News(evaluations=[seen], status={"state": "finished", "step": 2}))
    pack(store, run.id, folder / "packed.safetensors", [2], "Packed")
    yield folder, store, store.get(run.id)
    store.close()


@some.composite
def damaged(draw, good: bytes) -> bytes:
    """`good` cut off, with bytes changed, with another length of its header, or replaced."""
    kind = draw(some.sampled_from(["cut", "changed", "header", "other", "longer"]))
    if kind == "cut":
        return good[: draw(some.integers(0, len(good) - 1))]
    if kind == "changed":
        data = bytearray(good)
        for _ in range(draw(some.integers(1, 4))):
            data[draw(some.integers(0, len(good) - 1))] = draw(some.integers(0, 255))
        return bytes(data)
    if kind == "header":
        return struct.pack("<Q", draw(some.sampled_from([0, 1, 10**6, 2**40, 2**63, 2**64 - 1]))) + good[8:]
    if kind == "longer":
        return good + draw(some.binary(min_size=1, max_size=20))
    return draw(some.binary(max_size=200) | some.sampled_from([pickle.dumps(Trap()), b"PK\x03\x04" + good]))


@given(data=some.data())
def test_a_damaged_checkpoint_is_refused_or_has_the_right_shape(home, data):
    _folder, store, run = home
    resume = store.folder(run.id) / files.RESUME
    good = resume.read_bytes()
    path = store.folder(run.id) / "9.safetensors"
    path.write_bytes(data.draw(damaged(good)))
    found, said = hostile.attempt(lambda: files.read_resume(path, CONFIG), CheckpointError)
    if said is not None:
        assert hostile.in_one_sentence(said)
        assert str(path) in said
    else:
        shapes = {name: value.shape for name, value in checkpoint_of().theta.items()}
        assert {name: value.shape for name, value in found.theta.items()} == shapes
        assert all(value.isfinite().all() for value in found.theta.values())


@given(data=some.data())
def test_a_damaged_bundle_is_refused_and_makes_no_run_or_makes_one_that_loads(home, data, tmp_path_factory):
    folder, _store, _run = home
    path = folder / "bad.safetensors"
    path.write_bytes(data.draw(damaged((folder / "packed.safetensors").read_bytes())))
    store = Store(folder / "other")
    before = len(store.runs())
    run, said = hostile.attempt(lambda: unpack(store, path), CheckpointError, ConfigError)
    if said is not None:
        assert hostile.in_one_sentence(said)
        assert len(store.runs()) == before
    else:
        assert all(store.load_theta(run.id, step) for step in store.checkpoints(run.id))
        store.evaluations(run.id)
    store.close()


NAMES = some.sampled_from(
    ["theta/2/w", "theta/../../x/w", "theta/-1/w", "theta/2", "theta", "curve/2/loss", "functions/x", "evil/2/w", "/"]
)
METADATA = some.fixed_dictionaries(
    {},
    optional={
        "name": hostile.texts.map(lambda text: text[:500]),
        "step": some.sampled_from(["2", "-1", "x", "9" * 30, "1e3", "nan"]),
        "seconds": some.sampled_from(["1.5", "nan", "-inf", "x"]),
        "config": some.sampled_from([CONFIG.model_dump_json(), "{}", "[", "null", "[" * 100_000, '{"family": 3}']),
    },
)


@given(names=some.lists(NAMES, max_size=3), metadata=METADATA)
def test_a_forged_bundle_is_refused_and_nothing_is_written_beside_the_home(home, names, metadata):
    folder, _store, _run = home
    path = folder / "forged.safetensors"
    printable = {name: text.encode("utf-8", "replace").decode() for name, text in metadata.items()}
    path.write_bytes(save({name: torch.zeros(2) for name in names}, printable))
    store = Store(folder / "other")
    outside = sorted(each for each in folder.rglob("*") if "other" not in each.parts)
    with_files = sorted((folder / "other").rglob("*.safetensors"))
    _run, said = hostile.attempt(lambda: unpack(store, path), CheckpointError, ConfigError)
    assert said is None or hostile.in_one_sentence(said)
    assert sorted(each for each in folder.rglob("*") if "other" not in each.parts) == outside
    assert sorted((folder / "other").rglob("*.safetensors")) == with_files
    store.close()


@given(data=some.data())
def test_a_damaged_evaluation_is_one_sentence(home, data):
    _folder, store, run = home
    with store.database.read() as db:
        (good,) = db.execute("SELECT payload FROM evaluations").fetchone()
    with store.database.write() as db:
        db.execute("UPDATE evaluations SET payload = ?", (data.draw(damaged(good)),))
    _found, said = hostile.attempt(lambda: store.evaluations(run.id), StoreError)
    with store.database.write() as db:
        db.execute("UPDATE evaluations SET payload = ?", (good,))
    if said is not None:
        assert "the evaluation after outer step 2 cannot be read" in said
        assert hostile.in_one_sentence(said)


@pytest.mark.parametrize(
    "run_id",
    ["../../../etc", "..", "", "/etc/passwd", "a/b", "x" * 10_000, "a\x00b", "%2e%2e", "' OR 1=1 --", "\ud800"],
)
def test_a_run_id_is_never_a_path(home, run_id):
    _folder, store, run = home
    for ask in (store.get, store.metrics, store.load_theta, store.load_checkpoint, store.checkpoints):
        with pytest.raises((LookupError, UnicodeEncodeError)):
            ask(run_id)
    assert store.find(run.id) is not None


def small_archive() -> bytes:
    """Two characters' drawings, none of them a picture that is looked at."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(1, 41):
            name = f"images_background/Greek/character{(n + 19) // 20:02}/0001_{(n - 1) % 20 + 1:02}.png"
            archive.writestr(name, b"\x89PNG\r\n\x1a\n" + bytes(40))
    return file.getvalue()


@given(data=some.data())
@settings(max_examples=settings().max_examples // 2)
def test_a_damaged_archive_is_refused_in_a_sentence(data, tmp_path):
    path = tmp_path / "images_background.zip"
    path.write_bytes(data.draw(damaged(small_archive())))
    with pytest.raises(DataMissing) as caught:
        read_archive(path, 2)
    assert str(path) in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_an_archive_that_would_fill_the_memory_is_never_unpacked(tmp_path):
    """Forty members that say they are small and unpack to 40 x 50 MB."""
    path = tmp_path / "images_background.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for n in range(1, 41):
            name = f"images_background/Greek/character{(n + 19) // 20:02}/0001_{(n - 1) % 20 + 1:02}.png"
            archive.writestr(name, bytes(1_000_000 if n == 1 else 10))
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 1_000_000), struct.pack("<I", 500)))
    with pytest.raises(DataMissing, match="cannot be used"):
        read_archive(path, 2)


def test_metadata_that_is_no_text_is_refused(home):
    folder, _store, _run = home
    header = json.dumps({"__metadata__": {"config": 3}, "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    path = folder / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4))
    with pytest.raises(CheckpointError):
        files.read(path)
