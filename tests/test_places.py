"""Folders from the environment, and a cache that is whole, rebuilt or absent, never wrong."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from metalab import places

DTYPE, SHAPE = np.dtype(np.int64), (3,)


def build():
    return np.arange(3)


def refuse():
    pytest.fail("built again although it was in the cache")


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    monkeypatch.setenv("METALAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("METALAB_DATA", raising=False)
    monkeypatch.setattr(places, "_warned", set())


def blocked(monkeypatch, tmp_path):
    """A home that cannot be made, for every user: its parent is a file."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("METALAB_HOME", str(tmp_path / "file" / "home"))


def test_places_follow_the_environment(tmp_path, monkeypatch):
    assert places.home() == tmp_path / "home"
    assert places.cache() == tmp_path / "home" / "cache"
    assert places.cache().is_dir()
    monkeypatch.setenv("METALAB_DATA", str(tmp_path / "elsewhere"))
    assert places.data() == tmp_path / "elsewhere"
    assert not places.data().exists(), "data may be read-only: nothing is made there unasked"
    assert places.writable_data("omniglot").is_dir()


def test_defaults(tmp_path, monkeypatch):
    monkeypatch.setenv("METALAB_HOME", "")
    monkeypatch.chdir(tmp_path)
    assert places.home() == tmp_path / ".metalab"
    assert places.data() == Path("~/.cache/metalab").expanduser().resolve()


def test_a_home_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    blocked(monkeypatch, tmp_path)
    with pytest.raises(places.PlaceError, match=r"cannot make the folder .*file.home.*: set METALAB_HOME to a folder"):
        places.home()


def test_a_home_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(places.os, "access", lambda path, mode: False)
    with pytest.raises(places.PlaceError, match=r"cannot write to .*home: set METALAB_HOME"):
        places.home()


def test_an_array_is_built_once_and_then_read():
    assert np.array_equal(places.cached_array("a-1.npy", DTYPE, SHAPE, build), build())
    assert np.array_equal(places.cached_array("a-1.npy", DTYPE, SHAPE, refuse), build())
    assert [path.name for path in places.cache().iterdir()] == ["a-1.npy"]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"something else entirely"])
def test_a_damaged_file_is_built_anew_and_said(content, caplog):
    (places.cache() / "a-1.npy").write_bytes(content)
    assert np.array_equal(places.cached_array("a-1.npy", DTYPE, SHAPE, build), build())
    assert "a-1.npy cannot be read" in caplog.text
    assert np.array_equal(places.cached_array("a-1.npy", DTYPE, SHAPE, refuse), build())


def test_a_truncated_file_is_built_anew():
    places.cached_array("a-1.npy", DTYPE, SHAPE, build)
    path = places.cache() / "a-1.npy"
    path.write_bytes(path.read_bytes()[:-5])
    assert np.array_equal(places.cached_array("a-1.npy", DTYPE, SHAPE, build), build())


@pytest.mark.parametrize("other", [np.arange(4), np.arange(3.0)])
def test_a_file_of_another_shape_or_type_is_built_anew(other, caplog):
    np.save(places.cache() / "a-1.npy", other)
    assert np.array_equal(places.cached_array("a-1.npy", DTYPE, SHAPE, build), build())
    assert "expected int64 (3,)" in caplog.text


def test_pickles_are_not_opened(caplog):
    np.save(places.cache() / "a-1.npy", np.array([print, 1, 2], dtype=object), allow_pickle=True)
    assert np.array_equal(places.cached_array("a-1.npy", DTYPE, SHAPE, build), build())
    assert "pickle" in caplog.text


def test_without_a_cache_arrays_live_in_memory_and_that_is_said_once(tmp_path, monkeypatch, caplog):
    blocked(monkeypatch, tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert np.array_equal(places.cached_array("a-1.npy", DTYPE, SHAPE, build), build())
    assert len(caplog.records) == 1
    assert "METALAB_HOME" in caplog.text
    assert "kept in memory" in caplog.text


def test_a_full_disk_is_no_failure(monkeypatch, caplog):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(places.np, "save", full)
    assert np.array_equal(places.cached_array("a-1.npy", DTYPE, SHAPE, build), build())
    assert "No space left on device" in caplog.text
    assert list(places.cache().iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        places.write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["kept"]
