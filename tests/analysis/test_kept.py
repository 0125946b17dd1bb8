"""Results in files: what comes back is what was kept, and a file can make nothing else of itself."""

import dataclasses
import importlib
import json
import pkgutil
import types

import numpy as np
import pytest
from safetensors.numpy import save

import metalab.analysis
from metalab.analysis import kept
from metalab.analysis.background import Background
from metalab.analysis.bootstrap import Band
from metalab.analysis.kept import Kept

KEY = ("speed", (1, 0.5, None, b"x", True))


@pytest.fixture
def files(tmp_path):
    return Kept(lambda: tmp_path)


def band(values):
    return Band(np.asarray(values, dtype=np.float64), np.zeros((0, 3)), np.array(np.nan))


@pytest.mark.parametrize(
    "value",
    [
        3,
        float("inf"),
        "φ₀ \n\\",
        None,
        (1, [2.5, (True,)], {"a": (), 2: "b", (1, 2): None}),
        np.arange(6, dtype=np.int64).reshape(2, 3).T,
        np.array([True, False]),
        np.float32([np.nan, -np.inf]),
        np.array(2.5),
    ],
)
def test_what_is_kept_comes_back_equal_and_of_the_same_type(files, value):
    assert files.put(KEY, value)
    back = files.get(KEY)
    assert type(back) is type(value)
    np.testing.assert_equal(back, value)
    if isinstance(value, np.ndarray):
        assert (back.dtype, back.shape) == (value.dtype, value.shape)


def test_dataclasses_in_dataclasses_come_back(files):
    assert files.put(KEY, {"maml": band([1, 2]), "reptile": (band([3]),)})
    back = files.get(KEY)
    assert type(back["maml"]) is Band
    np.testing.assert_array_equal(back["reptile"][0].mean, [3])


def test_another_key_and_other_code_find_nothing(files, monkeypatch):
    files.put(KEY, 1)
    with pytest.raises(LookupError):
        files.get(("speed", (1, 0.5, None, b"x", False)))
    monkeypatch.setattr(kept, "_code", lambda: "another")
    with pytest.raises(LookupError):
        files.get(KEY)


@pytest.mark.parametrize("value", [object(), np.array(["a"]), types.SimpleNamespace(), np.array([None])])
def test_other_things_are_not_kept(files, value):
    assert not files.put(KEY, (1, value))
    assert not files.put(("a", object()), 1)
    with pytest.raises(LookupError):
        files.get(KEY)


@pytest.mark.parametrize(
    "tree",
    [
        {"class": ["os", "system"], "fields": {}},
        {"class": ["metalab.analysis.background", "Background"], "fields": {}},
        {"class": ["metalab.analysis.kept", "Path"], "fields": {}},
        {"class": ["metalab.analysis.no_such", "Thing"], "fields": {}},
        {"class": ["metalab.analysis.bootstrap", "Band"], "fields": {"evil": 1}},
        {"array": "7", "shape": [1]},
        {"array": "0", "shape": [99]},
        {"dict": 5},
        {"tuple": None},
        {},
    ],
)
def test_a_forged_file_is_no_result(files, tmp_path, tree):
    (tmp_path / kept.name(KEY)).write_bytes(save({"0": np.zeros(2)}, {"tree": json.dumps(tree)}))
    with pytest.raises(LookupError):
        files.get(KEY)


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04\x95", b"\xff" * 64, save({"0": np.zeros(2)}), save({}, {"tree": "{"})]
)
def test_a_damaged_file_is_no_result(files, tmp_path, data):
    (tmp_path / kept.name(KEY)).write_bytes(data)
    with pytest.raises(LookupError):
        files.get(KEY)


@pytest.mark.parametrize(("limit", "most"), [("MOST_BYTES", 3 * 8200), ("MOST_FILES", 3)])
def test_the_ones_not_used_for_longest_make_room(files, tmp_path, monkeypatch, limit, most):
    import os

    for i in range(4):
        files.put(i, np.zeros(1000))
        os.utime(tmp_path / kept.name(i), (i, i))
    files.get(0)
    monkeypatch.setattr(kept, limit, most)
    files.put("new", np.zeros(1000))
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {kept.name(key) for key in (0, 3, "new")}


def test_a_folder_that_cannot_be_written_loses_nothing_but_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    files = Kept(lambda: tmp_path / "file" / "below")
    assert not files.put(KEY, 1)
    with pytest.raises(LookupError):
        files.get(KEY)


def test_a_computation_is_found_again_by_the_next_program(files, monkeypatch):
    monkeypatch.setattr("metalab.analysis.background.WORTH_KEEPING_SECONDS", 0)
    calls = []

    def make(_report):
        calls.append(1)
        return band([1, 2, 3])

    for _ in range(2):
        pool = Background(at_once=1, files=files)
        np.testing.assert_array_equal(pool.ask(KEY, make, "me", wait=5).result.mean, [1, 2, 3])
        pool.close()
    assert calls == [1]


def test_every_dataclass_of_the_package_is_found_by_its_name():
    for module in pkgutil.iter_modules(metalab.analysis.__path__):
        for value in vars(importlib.import_module(f"metalab.analysis.{module.name}")).values():
            if (
                isinstance(value, type)
                and dataclasses.is_dataclass(value)
                and value.__module__ == f"metalab.analysis.{module.name}"
            ):
                assert kept._class(value.__module__, value.__qualname__) is value
