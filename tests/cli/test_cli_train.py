"""`train`: flags to config, the run in the store, the same numbers again, stop and resume."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from calling import TINY

from metalab.cli import configuring
from metalab.cli.parsing import Parser
from metalab.settings import declarations
from metalab.store import Store
from metalab.training.config import ConfigError, RunConfig, parse_config
from metalab.training.evaluation import summarise
from metalab.training.events import Evaluated
from metalab.training.service import Service
from metalab.training.trainer import train


def config_of(*words: str) -> RunConfig:
    parser = Parser()
    configuring.add_flags(parser)
    return configuring.configured(parser.parse_args(list(words)))


def test_every_outer_setting_is_a_flag_with_its_help(call):
    said = call("train", "--help")
    assert said.code == 0
    text = " ".join(said.out.split())
    for declared in declarations(RunConfig):
        assert "--" + declared.name.replace("_", "-") in text
        assert declared.help in text


def test_flags_become_settings():
    config = config_of("--algorithm", "reptile", "--outer-lr", "0.5", "--seed", "7", "--set", "model.widths=8,8")
    expected = {"algorithm": "reptile", "outer_lr": 0.5, "seed": 7, "model": {"name": "mlp", "widths": [8, 8]}}
    assert config == parse_config(expected)


def test_a_range_is_two_numbers_joined_by_a_comma():
    family = config_of("--set", "family.amplitude=1,3", "--set", "family.frequency=[0.5, 2]").family
    assert (family.amplitude, family.frequency) == ((1.0, 3.0), (0.5, 2.0))
    with pytest.raises(ConfigError, match=r"family\.amplitude = .*expected two numbers from 0 to 10, the smaller one"):
        config_of("--set", "family.amplitude=3,1")
    declared = next(each for each in declarations(type(family)) if each.name == "amplitude")
    assert configuring.expected(declared) == "[default 0.1,5, two numbers from 0 to 10]"


def test_without_flags_it_is_what_is_recommended():
    assert config_of() == parse_config({})


def test_flags_go_before_the_file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"seed": 1, "outer_steps": 5, "algorithm": {"name": "maml", "order": 1}}))
    config = config_of("--config", str(path), "--seed", "2", "--set", "algorithm.inner_lr=0.03")
    assert (config.seed, config.outer_steps, config.algorithm.order, config.algorithm.inner_lr) == (2, 5, 1, 0.03)


def test_another_name_leaves_the_files_settings_of_that_part_behind(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"algorithm": {"name": "maml", "order": 1}, "outer_steps": 5}), encoding="utf-8-sig")
    config = config_of("--config", str(path), "--algorithm", "reptile")
    assert config == parse_config({"algorithm": "reptile", "outer_steps": 5})


def test_a_whole_config_comes_back_from_its_file(tmp_path):
    config = parse_config({"algorithm": {"name": "reptile", "inner_batch": 5}, "model": {"name": "mlp", "widths": [9]}})
    path = tmp_path / "config.json"
    path.write_text(config.model_dump_json())
    assert config_of("--config", str(path)) == config


def test_why_a_run_is_not_compiled_is_told_once(call, home, monkeypatch):
    monkeypatch.setenv("CXX", "a-compiler-that-is-not-there")
    said = call("train", *TINY, "--compiled", "auto", "--set", "device=cpu")
    assert said.code == 0
    assert said.err.count("outer step 0: not compiled: no C++ compiler was found on this machine") == 1


def test_train_ends_with_json_and_leaves_the_run_in_the_store(call, home):
    said = call("train", *TINY, "--seed", "3", "--name", "first", "--json")
    assert said.code == 0
    found = said.json
    assert found.keys() >= {"run", "steps", "seconds", "steps_per_second", "evaluation", "state"}
    assert (found["state"], found["steps"], found["name"]) == ("finished", 12, "first")
    assert found["steps_per_second"] == pytest.approx(12 / found["seconds"])
    store = Store()
    run = store.get(found["run"])
    assert (run.owner, run.state, run.step, store.checkpoints(run.id)) == ("command line", "finished", 12, [0, 6, 12])
    store.close()
    assert "12/12" in said.err


def test_the_numbers_are_those_of_the_trainer(call, home):
    found = call("train", *TINY, "--seed", "3", "--json").json["evaluation"]
    config = config_of(*TINY, "--seed", "3")
    last = [event for event in train(config, threads=1) if isinstance(event, Evaluated)][-1]
    summary = summarise(last.curves["loss"])
    assert (found["metric"], found["tasks"], found["step"], found["split"]) == ("loss", 5, 12, "validation")
    assert found["by_inner_step"] == summary.mean.tolist()
    assert found["ci95"] == summary.ci95.tolist()


def test_a_seed_gives_the_same_numbers_again_and_another_gives_others(call, home):
    first, again, other = (call("train", *TINY, "--seed", seed, "--json").json for seed in ("5", "5", "6"))
    assert first["run"] != again["run"]
    assert first["evaluation"] == again["evaluation"]
    assert first["evaluation"] != other["evaluation"]


def test_a_resumed_run_ends_with_the_numbers_of_an_uninterrupted_one(call, home):
    whole = call("train", *TINY, "--json").json
    store = Store()
    service = Service(store, workers=1)
    run = store.create(config_of(*TINY), "somebody in the app", state="stopped")
    for _ in range(4):
        service.step(run.id, run.owner)
        assert service.wait(run.id, 30).state == "paused"
    service.close()
    resumed = call("train", "--resume", run.id, "--json").json
    assert (resumed["run"], resumed["state"], resumed["steps"]) == (run.id, "finished", 12)
    assert resumed["evaluation"] == whole["evaluation"]
    again = call("train", "--resume", run.id)
    assert again.code == 2
    assert "is finished" in again.err


def test_a_diverged_run_is_exit_code_1_with_the_reason(call, home):
    rates = ("--outer-lr", "1", "--outer-optimiser", "sgd", "--set", "algorithm.inner_lr=2")
    said = call("train", *TINY, *rates, "--set", "algorithm.inner_steps=5", "--json")
    assert said.code == 1
    assert said.json["state"] == "failed"
    assert said.json["message"].startswith("Diverged at outer step")
    assert said.json["message"] in said.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_stops_with_a_checkpoint(home):
    words = [sys.executable, "-m", "metalab", "train", "--outer-steps", "1000000", "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy())
    store = Store()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(run.step > 0 for run in store.runs()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    found = json.loads(out.splitlines()[-1])
    run = store.get(found["run"])
    assert (run.state, found["state"]) == ("stopped", "stopped")
    assert run.step == found["steps"] == store.checkpoints(run.id)[-1] > 0
    store.close()


def test_help_names_every_dotted_setting():
    parser = argparse.ArgumentParser()
    configuring.add_flags(parser)
    for name in ("algorithm.inner_lr", "algorithm.inner_batch", "family.shots", "model.widths", "model.batch_norm"):
        assert name in str(parser.epilog)
