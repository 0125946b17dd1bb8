"""The list of runs: what a search finds, which run is best, in what runs differ."""

from __future__ import annotations

import pytest
import torch

from metalab.analysis.catalogue import best, catalogue, differences, search, shared
from metalab.store import News, Store, library
from metalab.training.config import parse_config
from metalab.training.events import Evaluated


def looked(store, config, curves, name=""):
    run = store.create(parse_config(config), "ada", name, state="finished")
    store.append(run.id, News(evaluations=[Evaluated(5, curves, None)], status={"step": 5}))
    return run


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    loss = torch.tensor([[4.0, 1.0], [2.0, 0.5]])
    looked(store, {"algorithm": {"name": "maml", "inner_lr": 0.02}}, {"loss": loss}, "first")
    looked(store, {"algorithm": {"name": "reptile", "inner_lr": 0.05}}, {"loss": loss / 4}, "second Übung")
    accuracies = {"loss": loss, "accuracy": torch.tensor([[0.2, 0.9], [0.2, 0.7]])}
    run = looked(store, {"family": {"name": "glyphs", "ways": 3}, "algorithm": "maml"}, accuracies, "third")
    library.describe(store, run.id, "ada", ["good"], "slow start")
    library.star(store, run.id, "eve", True)
    store.create(parse_config({"algorithm": "anil"}), "ada", "fourth", state="stopped")
    yield store
    store.close()


def names(entries):
    return [entry.run.name for entry in entries]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["fourth", "third", "second Übung", "first"]),
        ("MAML", ["third", "first"]),
        ("übung", ["second Übung"]),
        ("invented slow", ["third"]),
        ("maml reptile", []),
        ("tag=good", ["third"]),
        ("tag=goo", []),
        ("stars>0", ["third"]),
        ("algorithm.inner_lr=0.05", ["second Übung"]),
        ("inner_lr<0.05 family=sinusoid", ["first"]),
        ("inner_lr<=0.05 algorithm=reptile", ["second Übung"]),
        ("loss<0.5", ["second Übung"]),
        ("accuracy>=0.79", ["third"]),
        ("ways=3", ["third"]),
        ("widths=40,40", ["fourth", "second Übung", "first"]),
        ("inner_lr<much", []),
    ],
)
def test_words_and_conditions_must_all_fit(store, text, found):
    assert names(search(catalogue(store, {"eve"}), text)) == found


def test_ones_own_runs_are_there_however_many_others_made_since(store):
    store.create(parse_config({"algorithm": "anil"}), "eve", "mine", state="stopped")
    for number in range(3):
        store.create(parse_config({"algorithm": "anil"}), "bob", f"later {number}", state="stopped")
    assert names(catalogue(store, {"eve"}, limit=2)) == ["later 2", "later 1", "mine"]
    assert names(catalogue(store, {"ada"}, limit=2)) == ["later 2", "later 1", "fourth", "third"]


def test_a_condition_on_what_nobody_has_is_told(store):
    with pytest.raises(ValueError, match="'inner_rate': no run here has a setting or result of that name"):
        search(catalogue(store, {"eve"}), "maml inner_rate<3")
    assert search([], "inner_rate<3") == []


def test_results_are_means_over_tasks_of_the_metric_that_says_best(store):
    entries = {entry.run.name: entry for entry in catalogue(store, {"eve"})}
    assert entries["fourth"].result is None
    third, first = entries["third"].result, entries["first"].result
    assert (third.metric, third.higher, third.after) == ("accuracy", True, pytest.approx(0.8))
    assert (first.metric, first.before, first.after, first.tasks, first.step) == ("loss", 3.0, 0.75, 2, 5)
    assert first.ci95[1] == pytest.approx(1.96 * 0.25 * 2**0.5 / 2**0.5)
    assert entries["third"].marks.starred
    assert best(list(entries.values()), "sinusoid").run.name == "second Übung"
    assert best(list(entries.values()), "glyphs").run.name == "third"
    assert best(list(entries.values()), "linear") is None


def test_a_run_that_diverged_is_never_the_best(store):
    looked(store, {}, {"loss": torch.tensor([[4.0, torch.nan], [2.0, 0.0]])}, "lost")
    assert best(catalogue(store, set()), "sinusoid").run.name == "second Übung"


def test_differences_are_the_settings_that_are_not_the_same(store):
    entries = {entry.run.name: entry for entry in catalogue(store, set())}
    pair = [entries["first"], entries["second Übung"]]
    found = {each.name: each.values for each in differences(pair)}
    assert found["algorithm.name"] == ("maml", "reptile")
    assert found["algorithm.inner_lr"] == ("0.02", "0.05")
    assert found["algorithm.order"] == ("2", "–")
    assert "family.shots" not in found
    assert "seed" not in found
    everything = {name for entry in pair for name in entry.settings}
    assert shared(pair) == len(everything) - len(found)
    assert differences([pair[0], pair[0]]) == []
