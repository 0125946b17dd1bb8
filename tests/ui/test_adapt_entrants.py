"""Which runs a page offers: the newest of its family, and whatever a link asks for."""

import pytest

from metalab.store import Store
from metalab.training.config import parse_config
from metalab.ui import adapt_entrants, runs


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(adapt_entrants, "MOST_OFFERED", 3)
    opened = Store(tmp_path)
    monkeypatch.setattr(runs, "store", lambda: opened)
    yield opened
    opened.close()


def made(store, family, n):
    config = parse_config({"family": family})
    found = [store.create(config, "ada").id for _ in range(n)]
    for run in found:
        store.settle(run, ["queued"], "finished")
    return found


def test_runs_of_other_families_push_none_out_and_an_older_one_is_there_for_who_asks(store):
    old, *new = made(store, "sinusoid", 4)
    made(store, "glyphs", 5)
    offered = [run.id for run in adapt_entrants.candidates("sinusoid")]
    assert offered == new[::-1]
    assert [run.id for run in adapt_entrants.candidates("sinusoid", [new[0], old, "scratch", "gone"])] == [
        *offered,
        old,
    ]
    assert old not in [run.id for run in adapt_entrants.candidates("glyphs", [old])]
