"""`evaluate`, `runs`, `export` and `bench` on a tiny run."""

from __future__ import annotations

import csv
import json
import re

import pytest
import torch
from safetensors.torch import load_file

from metalab.cli import measuring
from metalab.store import Store
from metalab.training import bench
from metalab.training.evaluation import evaluate, summarise
from metalab.training.parallel import Workers
from metalab.training.start import stream


@pytest.fixture
def store(trained):
    opened = Store()
    yield opened
    opened.close()


def direct(store: Store, run_id: str, changes: dict, split: str, tasks: int, seed: int) -> torch.Tensor:
    """evaluation.evaluate by hand: losses (T, K + 1)."""
    config = store.get(run_id).config.changed(changes)
    batch = config.family.sample(tasks, split, stream(seed, split))
    steps = config.algorithm.inner_steps_eval
    workers = Workers(config.model, torch.device("cpu"), 1)
    return evaluate(config.learner, config.algorithm, store.load_theta(run_id), batch, steps, workers)["loss"]


def test_evaluate_is_evaluation_evaluate(call, trained, store):
    words = (
        "--tasks",
        "20",
        "--inner-steps",
        "4",
        "--seed",
        "1",
        "--shots",
        "5",
        "--queries",
        "7",
        "--inner-lr",
        "0.02",
    )
    found = call("evaluate", trained, *words, "--json").json
    changes = {"family.shots": 5, "family.queries": 7, "algorithm.inner_lr": 0.02, "algorithm.inner_steps_eval": 4}
    summary = summarise(direct(store, trained, changes, "test", 20, 1))
    assert found["by_inner_step"] == summary.mean.tolist()
    assert found["ci95"] == summary.ci95.tolist()
    assert (found["metric"], found["tasks"], found["step"], found["run"]) == ("loss", 20, 12, trained)
    assert (found["inner_lr"], found["inner_steps"], found["shots"], found["queries"]) == (0.02, 4, 5, 7)


def test_the_device_of_an_evaluation_can_be_chosen(call, trained):
    words = ("evaluate", trained, "--tasks", "3", "--json")
    assert call(*words, "--device", "cpu").json["by_inner_step"] == call(*words).json["by_inner_step"]
    said = call(*words, "--device", "tpu")
    assert (said.code, said.err) == (2, "metalab: --device = 'tpu': expected 'auto', 'cpu' or 'cuda'\n")


def test_the_held_out_tasks_can_be_met_again(call, trained, store):
    """The run's own look at its held-out tasks: validation split, its seed, its number of tasks."""
    found = call("evaluate", "latest", "--split", "validation", "--seed", "3", "--tasks", "5", "--json").json
    last = store.evaluations(trained)[-1]
    assert found["by_inner_step"] == pytest.approx(last.curves["loss"].double().mean(0).tolist(), rel=1e-6)


def test_evaluate_of_an_earlier_checkpoint_differs(call, trained):
    first, last = (
        call("evaluate", trained[:5], "--tasks", "5", *step, "--json").json for step in (("--step", "0"), ())
    )
    assert (first["step"], last["step"]) == (0, 12)
    assert first["by_inner_step"] != last["by_inner_step"]


def test_many_tasks_are_sampled_in_parts_without_end(trained, store, monkeypatch):
    config, theta = store.get(trained).config, store.load_theta(trained)
    monkeypatch.setattr(measuring, "TASKS_AT_ONCE", 8)
    curves = measuring.curves_of(config, theta, "test", 20, 0)
    assert curves["loss"].shape == (20, config.algorithm.inner_steps_eval + 1)
    assert len(curves["loss"][:, 0].unique()) == 20


def test_tuning_takes_the_best_rate_of_the_validation_tasks(call, trained, store, monkeypatch):
    monkeypatch.setattr(measuring, "TUNING_TASKS", 30)
    words = ("--tasks", "5", "--inner-steps", "3", "--seed", "2", "--tune-inner-lr")
    found = call("evaluate", trained, *words, "--json").json
    tuned = found["tuned_inner_lr"]
    by_hand = [
        direct(store, trained, {"algorithm.inner_lr": lr, "algorithm.inner_steps_eval": 3}, "validation", 30, 2)
        for lr in tuned["grid"]
    ]
    means = [float(losses[:, -1].double().mean().nan_to_num(torch.inf)) for losses in by_hand]
    assert tuned["inner_lr"] == found["inner_lr"] == tuned["grid"][means.index(min(means))]
    assert (tuned["split"], tuned["tasks"]) == ("validation", 30)
    said = call("evaluate", trained, *words)
    assert "on 30 tasks of the validation split" in said.out


def test_the_best_checkpoint_is_that_of_the_validation_tasks(call, trained, store):
    words = ("--tasks", "5", "--inner-steps", "3", "--seed", "2", "--best-checkpoint", "30")
    found = call("evaluate", trained, *words, "--json").json
    config = store.get(trained).config.changed({"algorithm.inner_steps_eval": 3})
    scores = {
        step: float(
            measuring.curves_of(config, store.load_theta(trained, step), "validation", 30, 2)["loss"][:, 1:].mean()
        )
        for step in store.checkpoints(trained)
    }
    assert found["step"] == found["best_checkpoint"]["step"] == min(scores, key=scores.__getitem__)
    assert found["best_checkpoint"]["scores"] == pytest.approx(list(scores.values()), rel=1e-5)
    plain = call("evaluate", trained, *words[:-2], "--step", str(found["step"]), "--json").json
    assert plain["by_inner_step"] == found["by_inner_step"]
    assert f"best of {len(scores)} on 30 tasks" in call("evaluate", trained, *words).out


def test_evaluate_prints_a_line_for_each_inner_step(call, trained):
    said = call("evaluate", trained, "--tasks", "5", "--inner-steps", "2")
    assert [line.split()[0] for line in said.out.splitlines()[-3:]] == ["0", "1", "2"]
    assert "±" in said.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--inner-steps", "0"), "--inner-steps = 0"),
        (("--inner-lr", "x"), "--inner-lr = 'x'"),
        (("--shots", "1000"), "--shots = 1000"),
        (("--metric", "accuracy"), "--metric = 'accuracy': expected one of loss"),
        (("--step", "7"), "no checkpoint at outer step 7"),
    ],
)
def test_evaluate_names_what_is_wrong(call, trained, words, expected):
    said = call("evaluate", trained, *words)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert expected in said.err


def test_runs_lists_and_removes(call, trained, store):
    (listed,) = call("runs", "--json").json["runs"]
    assert (listed["run"], listed["name"], listed["state"], listed["step"]) == (trained, "tiny", "finished", 12)
    assert (listed["family"], listed["model"], listed["algorithm"]) == ("sinusoid", "mlp", "maml")
    mean = store.evaluations(trained)[-1].curves["loss"].double().mean(0)
    assert (listed["evaluation"]["before"], listed["evaluation"]["after"]) == (float(mean[0]), float(mean[-1]))
    assert trained in call("runs").out

    other = store.create(store.get(trained).config, "a browser", state="stopped")
    assert call("runs", "rm", other.id, "nothing").code == 2
    assert call("runs", "rm", other.id, "--json").json == {"removed": [other.id]}
    assert [run.id for run in store.runs()] == [trained]


def test_a_run_in_training_is_not_removed(call, trained, store):
    busy = store.create(store.get(trained).config, "a browser", state="running")
    said = call("runs", "rm", busy.id)
    assert (said.code, "not in training" in said.err) == (2, True)
    store.settle(busy.id, ("running",), "stopped")
    store.delete(busy.id, "a browser")


def test_an_ambiguous_beginning_lists_whom_it_could_mean(call, trained, store):
    made = [store.create(store.get(trained).config, "me", state="stopped").id for _ in range(40)]
    letters = [run_id[0] for run_id in made]
    twice = next(letter for letter in letters if letters.count(letter) > 1)
    said = call("evaluate", twice)
    assert said.code == 2
    assert "runs begin with that" in said.err
    for run_id in made:
        store.delete(run_id, "me")


def test_export_is_complete_and_reproduces_the_run(call, trained, store, tmp_path):
    folder = tmp_path / "kept"
    found = call("export", trained, "--to", folder, "--json").json
    tables, programs = ["README.txt", "config.json", "evaluation.csv"], ["maml_sinusoid.py", "metrics.csv"]
    assert found["files"] == [*tables, *programs, "report.html", "theta.safetensors"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert trained in page
    assert "Plotly.newPlot" in page
    assert "How fast does it adapt?" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)
    theta = store.load_theta(trained)
    for name, tensor in load_file(folder / "theta.safetensors").items():
        assert torch.equal(tensor, theta[name])
    with (folder / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["step"] for row in rows} == {"0", "6", "12"}
    with (folder / "metrics.csv").open() as file:
        assert sum(row["name"] == "train/loss" for row in csv.DictReader(file)) == 12

    readme = (folder / "README.txt").read_text()
    assert "python -m metalab train --config config.json" in readme
    assert "maml_sinusoid.py" in readme
    assert "SEED = 3" in (folder / "maml_sinusoid.py").read_text()
    again = call("train", "--config", folder / "config.json", "--json").json
    last = [float(row["mean"]) for row in rows if row["step"] == "12"]
    assert again["evaluation"]["by_inner_step"] == last
    store.delete(again["run"], "command line")


def test_export_overwrites_nothing(call, trained, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    said = call("export", trained, "--to", tmp_path)
    assert (said.code, "expected an empty or a new folder" in said.err) == (2, True)
    assert json.loads(call("export", trained, "--to", tmp_path / "new", "--json").out)["run"] == trained


def test_bench_times_what_was_asked_for(call, monkeypatch):
    monkeypatch.setattr(bench, "BLOCK_SECONDS", 0.01)
    monkeypatch.setattr(bench, "WARM_UP_SECONDS", 0.01)
    found = call("bench", "--only", "W3b,W1,W5", "--repeats", "2", "--json").json
    assert [timing["name"] for timing in found["workloads"]] == ["W3b", "W1", "W5"]
    for timing in found["workloads"]:
        assert timing["repeats"] == 2
        assert 0 < timing["slowest"] <= timing["per_second"] <= timing["fastest"]
        assert timing["milliseconds"] == pytest.approx(1e3 / timing["per_second"])
    monkeypatch.setenv("CXX", "a-compiler-that-is-not-there")
    said = call("bench", "--only", "W5,W6,W1", "--repeats", "1", "--compiled", "--device", "cpu").out
    assert "W5: " not in said
    for name in ("W6", "W1"):
        assert f"\n{name}: not compiled: no C++ compiler was found on this machine" in said
