"""A run whose adaptation counts shots, on the command line."""

from __future__ import annotations

import csv

import pytest
from calling import TINY


@pytest.fixture
def reader(call, home):
    """The id of a tiny run of a conditional neural process."""
    said = call("train", "--algorithm", "cnp", *TINY, "--set", "family.shots=4", "--set", "model.width=8", "--json")
    assert said.code == 0, said.err
    assert said.json["evaluation"]["axis"] == "shot"
    assert len(said.json["evaluation"]["by_inner_step"]) == 5
    return said.json["run"]


def test_evaluate_says_what_it_counts(call, reader):
    found = call("evaluate", reader, "--tasks", "5", "--json").json
    assert found["axis"] == "shot"
    assert found["inner_steps"] is None
    assert found["inner_lr"] is None
    assert len(found["by_inner_step"]) == len(found["ci95"]) == 5
    more = call("evaluate", reader, "--tasks", "5", "--shots", "7", "--json").json
    assert len(more["by_inner_step"]) == 8
    shown = call("evaluate", reader, "--tasks", "5").out
    assert "shot  " in shown
    assert "inner step" not in shown


@pytest.mark.parametrize("flag", [["--inner-lr", "0.1"], ["--tune-inner-lr"], ["--inner-steps", "3"]])
def test_a_rate_or_steps_that_nobody_uses_are_refused(call, reader, flag):
    said = call("evaluate", reader, *flag)
    assert said.code != 0
    assert f"{flag[0]}: Neural process takes no inner steps; leave the flag out" in said.err


def test_runs_and_export_say_it_too(call, reader, tmp_path):
    assert call("runs", "--json").json["runs"][0]["evaluation"]["axis"] == "shot"
    assert "in 4 shots" in call("runs").out
    assert call("export", reader, "--to", str(tmp_path / "out")).code == 0
    with (tmp_path / "out" / "evaluation.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["step", "metric", "shot", "mean", "ci95", "tasks"]
    assert {row[2] for row in rows[1:]} == {"0", "1", "2", "3", "4"}
    assert "metric, shot,\n" in (tmp_path / "out" / "README.txt").read_text()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--algorithm", "prototypes"], "prototypes stand for classes, but sinusoid has none of them"),
        (["--algorithm", "cnp", "--model", "mlp"], "choose cnp, not mlp"),
        (["--algorithm", "maml", "--model", "transformer"], "transformer reads the support set itself"),
        (["--algorithm", "cnp", "--family", "glyphs"], "cnp predicts a mean and a spread, but glyphs asks for classes"),
    ],
)
def test_what_cannot_go_together_says_why(call, home, words, reason):
    said = call("train", *words)
    assert said.code != 0
    assert reason in said.err


THREE_WAYS = "--family glyphs --model mlp --outer-steps 2 --set family.ways=3 --set family.queries=2"
FEW = "--set model.widths=8,8 --set evaluation_tasks=2 --set meta_batch_size=2"


@pytest.mark.parametrize(
    ("algorithm", "fits"), [("prototypes", True), ("nearest_neighbour", True), ("nil", True), ("maml", False)]
)
def test_other_ways_are_for_those_who_make_each_task_a_head(call, home, algorithm, fits):
    run = call("train", *THREE_WAYS.split(), *FEW.split(), "--algorithm", algorithm, "--json").json["run"]
    said = call("evaluate", run, "--ways", "4", "--tasks", "3", "--json")
    if fits:
        assert said.json["by_inner_step"][0] == pytest.approx(1 / 4)
    else:
        assert said.code == 2
        assert "--ways = 4: the run's head was trained for 3 classes, expected 3" in said.err


@pytest.mark.parametrize("algorithm", ["linear_probe", "multi_task", "pretrained"])
def test_who_learned_all_classes_as_one_makes_any_number_of_new_ones_a_head(call, home, algorithm):
    run = call("train", *THREE_WAYS.split(), *FEW.split(), "--algorithm", algorithm, "--json").json["run"]
    for ways in ("2", "4"):
        said = call("evaluate", run, "--ways", ways, "--tasks", "3", "--json")
        assert said.code == 0, said.err
        assert len(said.json["by_inner_step"]) == 11
