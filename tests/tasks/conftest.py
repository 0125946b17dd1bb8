"""Where the character families of these tests live, and whether the real Omniglot is here."""

from __future__ import annotations

import os

import pytest

from metalab.tasks import glyphs, mnist
from metalab.tasks import omniglot as archives
from metalab.tasks.base import DataMissing
from metalab.tasks.characters import Library
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.mnist import Mnist
from metalab.tasks.omniglot import Omniglot, folder


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def libraries():
    """Pictures that nobody has loaded yet: other folders' tests have theirs from other homes."""
    return {
        Glyphs: Library(glyphs.load),
        Omniglot: Library(archives.load),
        Mnist: Library(mnist.load, turn=False),
        mnist: Library(mnist.load_all, turn=False),
    }


@pytest.fixture(autouse=True)
def own_home(shared_home, libraries, monkeypatch):
    """One cache for all tests of this folder, and none of the person who runs them."""
    monkeypatch.setenv("METALAB_HOME", str(shared_home))
    for owner, library in libraries.items():
        monkeypatch.setattr(owner, "ALL_DIGITS" if owner is mnist else "library", library)


@pytest.fixture
def omniglot(own_home):
    """The real Omniglot; the test is skipped where it is absent, and fails where CI promised it."""
    promised(Omniglot(), f"needs the real Omniglot, whose archives are not in {folder()} (METALAB_DATA)")
    return Omniglot


@pytest.fixture
def digits(own_home):
    """The real MNIST; the test is skipped where it is absent, and fails where CI promised it."""
    promised(Mnist(), f"needs MNIST's test set, whose files are not in {mnist.folder()} (METALAB_DATA)")
    return Mnist


def promised(family, reason):
    """Skip for `reason` where the family's data is absent, and fail where CI promised it."""
    try:
        family.require()
    except DataMissing as problem:
        if os.environ.get("CI") and os.environ.get("METALAB_DATA"):
            pytest.fail(f"CI set METALAB_DATA, yet: {problem}")
        pytest.skip(reason)


@pytest.fixture(params=["glyphs", "omniglot"])
def characters(request):
    """Each family of characters in turn, as a class."""
    return Glyphs if request.param == "glyphs" else request.getfixturevalue("omniglot")
