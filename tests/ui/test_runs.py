"""Names by which runs can be told apart, and problems in friendly words."""

import pytest

from metalab.store import Store
from metalab.training.config import parse_config
from metalab.training.service import CommandError
from metalab.ui import runs


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("METALAB_HOME", str(tmp_path))
    opened = Store(tmp_path)
    yield opened
    opened.close()


def test_runs_of_different_names_keep_them(store):
    maml, reptile = store.create(parse_config({}), "a"), store.create(parse_config({"algorithm": "reptile"}), "a")
    assert runs.labels([maml, reptile]) == {maml.id: "MAML · Sine waves", reptile.id: "Reptile · Sine waves"}


def test_namesakes_are_told_apart_by_the_setting_in_which_they_differ(store):
    slow = store.create(parse_config({"algorithm": {"name": "maml", "inner_lr": 0.01}}), "a")
    fast = store.create(parse_config({"algorithm": {"name": "maml", "inner_lr": 0.1}}), "a")
    assert runs.labels([slow, fast]) == {
        slow.id: "MAML · Sine waves #1 (inner_lr 0.01)",
        fast.id: "MAML · Sine waves #2 (inner_lr 0.1)",
    }


def test_how_often_a_run_is_looked_at_is_no_part_of_its_name(store):
    often = store.create(parse_config({"evaluate_every": 10}), "a")
    long = store.create(parse_config({"outer_steps": 70, "evaluate_every": 20}), "a")
    assert runs.labels([often, long])[long.id] == "MAML · Sine waves #2 (outer_steps 70)"


def test_twins_and_long_lists_are_told_apart_by_their_numbers(store):
    twins = [store.create(parse_config({}), "a") for _ in range(2)]
    other = store.create(parse_config({}), "a", "my run")
    names = {twins[0].id: "MAML · Sine waves #1", twins[1].id: "MAML · Sine waves #2"}
    assert runs.labels(twins) == names
    assert runs.numbered([*twins, other]) == {**names, other.id: "my run"}
    assert runs.labels(twins[1:]) == {twins[1].id: "MAML · Sine waves #2"}, "alone it has the same name"


def test_expected_errors_become_one_friendly_sentence_and_others_stay():
    with pytest.raises(runs.Problem, match=r"^Run a is finished\.$"), runs.friendly():
        raise CommandError("Run a is finished.")
    with pytest.raises(ZeroDivisionError), runs.friendly():
        1 / 0  # noqa: B018
