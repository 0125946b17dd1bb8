"""Sweeps without a browser: the example, a plan out of a link, a sweep that really trains, and who may command it."""

from __future__ import annotations

import json
import time

import pytest
import torch

from metalab.analysis.sweep import Table, Tried
from metalab.store import News, Store
from metalab.store import sweeps as disk
from metalab.store.sweeps import Trial
from metalab.training import sweeps as training
from metalab.training.config import parse_config
from metalab.training.events import Evaluated
from metalab.ui import runs, sweeps

TINY = {"outer_steps": "2", "vary": "algorithm.inner_lr=0.01,0.1|algorithm.inner_steps=1,2"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LOOK_SECONDS", 0.02)
    store = Store(tmp_path / "home")
    yield store
    store.close()


def box(page, label):
    return next(each for each in page.text_input if each.label == label)


def text(page):
    return " ".join(each.value for each in [*page.markdown, *page.caption])


def press_start(page):
    page.button(key="sweeps.start").click().run()
    assert not page.exception
    return page


def over(store):
    deadline = time.monotonic() + 30
    while (sweep := disk.listed(store)[0]).state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return sweep


def test_before_there_is_a_sweep_the_example_answers_the_question(open_page):
    page = open_page("sweeps")
    assert not page.exception
    assert "Best of 11" in text(page)
    assert len(page.dataframe[0].value) == 12
    assert page.button(key="sweeps.start").label == "Start 9 runs"
    assert dict(page.query_params) == {"vary": page.query_params["vary"]}
    assert "It says nothing of" not in page.info[0].value
    characters = open_page("sweeps", family="glyphs")
    assert "on sine waves. It says nothing of Invented characters" in characters.info[0].value


def test_the_links_sweep_trains_and_its_best_run_opens(open_page, store):
    page = press_start(open_page("sweeps", **TINY))
    sweep = over(store)
    assert sweep.state == "finished"
    page.run()
    table = page.dataframe[0].value
    assert table["State"].tolist() == ["Finished"] * 4
    assert sorted(zip(table["Inner learning rate α"], table["Inner steps"], strict=True)) == [
        (0.01, 1),
        (0.01, 2),
        (0.1, 1),
        (0.1, 2),
    ]
    best = table["Result"].idxmin()
    assert f"Inner steps **{table['Inner steps'][best]}**" in text(page)
    assert page.query_params["sweep"] == sweep.id
    assert page.query_params["who"] == sweep.trials[best].run
    page.button(key="sweeps.delete").click().run()
    assert "Best of 11" in text(page)
    assert not page.warning, "it was forgotten on purpose"
    assert len(store.runs()) == 4


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("0.01, fast", "'fast' is no value for it"),
        ("", "has no values"),
        ("0.001 to 0.1", "a grid needs single values"),
        ("0.01, 99", "99"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_starts(open_page, values, said):
    page = open_page("sweeps", **TINY)
    box(page, "Inner learning rate α").set_value(values).run()
    assert not page.exception
    assert said in page.error[0].value.replace("\\", "")
    assert page.button(key="sweeps.start").disabled


def test_a_range_is_searched_at_random(open_page):
    page = open_page("sweeps", method="random", trials="7", vary="algorithm.inner_lr=0.001 to 0.1")
    assert not page.error
    assert page.button(key="sweeps.start").label == "Start 7 runs"


def test_without_optuna_the_page_says_how_to_get_it(open_page, monkeypatch):
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    page = open_page("sweeps", method="optuna")
    assert "pip install optuna" in text(page)
    assert page.button(key="sweeps.start").disabled


def test_anothers_sweep_is_seen_and_cannot_be_commanded(open_page, store):
    plan = {"base": {"family": {"name": "glyphs"}}, "axes": [{"name": "seed", "values": [1, 2]}]}
    theirs = disk.create(store, plan, "eve", "theirs")
    page = open_page("sweeps", sweep=theirs.id)
    assert not page.exception
    assert "No trial has a result yet" in text(page)
    assert [each.key for each in page.button if each.key in ("sweeps.stop", "sweeps.resume", "sweeps.delete")] == []


def test_an_unknown_sweep_is_said_with_others_and_without(open_page, store):
    page = open_page("sweeps", sweep="unknown")
    assert [each.value for each in page.warning] == [
        "Sweep unknown is not here \\(any more\\), and no other\\: an example is shown."
    ]
    assert "Best of 11" in text(page)
    plan = {"base": {"family": {"name": "glyphs"}}, "axes": [{"name": "seed", "values": [1, 2]}]}
    theirs = disk.create(store, plan, "eve", "theirs")
    page = open_page("sweeps", sweep="unknown")
    assert [each.value for each in page.warning] == [
        "Sweep unknown is not here \\(any more\\)\\: the newest one is shown."
    ]
    assert page.query_params["sweep"] == theirs.id


def test_what_was_stopped_is_in_the_table_and_not_ranked(open_page, store):
    axes = [{"name": "algorithm.inner_steps", "values": [1, 2, 3]}]
    theirs = disk.create(store, {"base": {"family": {"name": "glyphs"}}, "axes": axes}, "eve", "theirs")
    for place, (state, accuracy) in enumerate((("finished", 0.28216), ("stopped", 0.9))):
        run = store.create(parse_config({"family": "glyphs"}), "eve", state=state)
        store.append(run.id, News(evaluations=[Evaluated(5, {"accuracy": torch.full((2, 2), accuracy)}, None)]))
        disk.add_trial(store, theirs.id, Trial(place, {"algorithm.inner_steps": place + 1}, run.id, ""))
    disk.settle(store, theirs.id, "stopped")
    page = open_page("sweeps", sweep=theirs.id)
    assert "Best of 1:" in text(page)
    assert "**28.2%**" in text(page)
    table = page.dataframe[0]
    assert table.value["Result"].tolist() == [28.2, 90.0]
    assert table.value["State"].tolist() == ["Finished", "Stopped"]
    assert json.loads(table.proto.columns)["Result"]["type_config"]["format"] == "%.1f%%"
    assert page.get("progress")[0].proto.text == "Stopped: 1 of 3 trials are over"


def test_an_interrupted_sweep_is_resumed(open_page, store, monkeypatch):
    monkeypatch.setattr(runs, "current_user", lambda: "ada")
    monkeypatch.setattr("metalab.ui.sweeps.current_owners", lambda: {"ada"})
    monkeypatch.setattr("metalab.ui.identity.current_owners", lambda: {"ada"})
    base = {"outer_steps": 2, "evaluate_every": 2, "evaluation_tasks": 2}
    mine = disk.create(store, {"base": base, "axes": [{"name": "seed", "values": [1, 2]}]}, "ada", "mine")
    page = open_page("sweeps", sweep=mine.id)
    page.button(key="sweeps.resume").click().run()
    assert not page.exception
    assert over(store).state == "finished"


def test_every_control_has_help(open_page, store):
    page = open_page("sweeps", method="random")
    for kind in ("segmented_control", "selectbox", "multiselect", "text_input", "number_input", "slider", "button"):
        assert all(widget.help for widget in getattr(page, kind)), kind


def test_no_setting_matters_where_no_trial_can_be_told_from_the_best():
    grid = [(rate, steps) for rate in (0.01, 0.1) for steps in (1, 2, 4)]
    for ci95, said in ((0.05, True), (90.0, False)):
        rows = tuple(
            Tried(n, values, f"run{n}", "finished", 100 * values[0] + values[1], ci95) for n, values in enumerate(grid)
        )
        words = sweeps.verdict(Table("loss", ("inner_lr", "inner_steps"), (True, False), 6, rows), ["Rate", "Steps"])
        assert ("Rate matters most" in words) == said
        assert ("5 other trials cannot be told from it" in words) != said
