"""A home of their own for the command line's tests, and one short run to look at."""

from __future__ import annotations

import pytest
from calling import TINY, Call, Said

from metalab.cli import main


@pytest.fixture
def call(capsys) -> Call:
    """call("runs", "--json"): run a command in this process."""

    def run(*words: str) -> Said:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty METALAB_HOME."""
    monkeypatch.setenv("METALAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The id of a tiny finished run in a METALAB_HOME that the module's tests share."""
    from metalab.store import Store

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METALAB_HOME", str(tmp_path_factory.mktemp("home")))
        assert main(["train", *TINY, "--seed", "3", "--name", "tiny"]) == 0
        store = Store()
        yield store.runs()[0].id
        store.close()
