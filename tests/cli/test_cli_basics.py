"""What holds for every command: quick help, one line for a mistake, exit codes."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from metalab.cli import COMMANDS, main, runs
from metalab.cli.parsing import as_json, value
from metalab.cli.progress import Progress, clock, line
from metalab.cli.table import table
from metalab.store import Store
from metalab.training.config import parse_config

TORCH_FREE_HELP = """
import sys
from metalab.__main__ import main
assert main(["--help"]) == 0
for command in ("evaluate", "runs", "bench", "export"):
    assert main([command, "--help"]) == 0
assert main(["evaluate", "nothing"]) == 2
loaded = {"torch", "pandas", "streamlit"} & set(sys.modules)
sys.exit(f"loaded: {loaded}" if loaded else 0)
"""


def test_help_and_mistakes_do_without_torch(home):
    done = subprocess.run([sys.executable, "-c", TORCH_FREE_HELP], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for command, what in COMMANDS.items():
        assert command in done.stdout
        assert what in done.stdout


def test_the_module_runs_and_returns_the_exit_code(home):
    done = subprocess.run([sys.executable, "-m", "metalab", "rnus"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("metalab: command = 'rnus': expected one of train")
    assert done.stderr.endswith("did you mean runs?\n")


BAD = [
    ([], "no command", "expected one of train"),
    (["--debgu"], "'--debgu'", "expected one of train"),
    (["train", "--outer-step", "5"], "'--outer-step'", "did you mean --outer-steps?"),
    (["train", "extra"], "'extra'", "no such word"),
    (["train", "--seed"], "--seed", "expected one argument"),
    (["train", "--outer-steps", "five"], "outer_steps = 'five'", "expected an integer"),
    (["train", "--outer-steps", "0"], "outer_steps = 0", "greater than or equal to 1"),
    (["train", "--outer-lr", "NaN"], "outer_lr = nan", "expected a finite number"),
    (["train", "--schedule", "cosin"], "schedule = 'cosin'", "'cosine'"),
    (["train", "--family", "sinus"], "family.name = 'sinus'", "'sinusoid'"),
    (["train", "--algorithm", "mamba"], "algorithm.name = 'mamba'", "'maml'"),
    (["train", "--model", "conv4"], "conv4 reads images", "shape (1,)"),
    (["train", "--set", "algorithm.inner_lr=x"], "algorithm.inner_lr = 'x'", "expected a number"),
    (["train", "--set", "algorithm.inner_rl=1"], "algorithm.inner_rl", "did you mean algorithm.inner_lr?"),
    (["train", "--set", "algorithm.inner_lr"], "'algorithm.inner_lr'", "expected dotted.name=value"),
    (["train", "--seed", "true"], "seed = True", "expected an integer"),
    (["train", "--set", "family.shots=true"], "family.shots = True", "expected an integer"),
    (["train", "--set", "algorithm=5"], "algorithm = 5", "expected"),
    (["train", "--set", "seed.x=5"], "seed.x", "no setting"),
    (["train", "--algorithm", "reptile", "--set", "algorithm.order=1"], "algorithm.order = 1", "no setting"),
    (["train", "--config", "missing.json"], "missing.json", "expected a JSON file"),
    (["train", "--config", ""], "--config", "expected a JSON file"),
    (["train", "--seed", "9" * 5000], "seed = '999", "expected an integer of fewer digits"),
    (["train", "--threads", "many"], "'many'", "expected a whole number from 1"),
    (["train", "--resume", "nothing"], "'nothing'", "'train' makes one"),
    (["train", "--resume", ""], "run = ''", "'train' makes one"),
    (["train", "--resume", "nothing", "--seed", "1"], "--seed", "expected only --threads or --json"),
    (["evaluate"], "RUN", "required"),
    (["evaluate", "nothing"], "'nothing'", "there are no runs"),
    (["evaluate", "nothing", "--tasks", "1"], "'1'", "expected a whole number from 2"),
    (["evaluate", "nothing", "--split", "train"], "--split = 'train'", "test, validation"),
    (["evaluate", "nothing", "--best-checkpoint", "--step", "1"], "--best-checkpoint", "expected no --step"),
    (["evaluate", "nothing", "--tune-inner-lr", "--inner-lr", "0.1"], "--tune-inner-lr", "expected no --inner-lr"),
    (["runs", "remove"], "action = 'remove'", "rm"),
    (["runs", "rm"], "rm", "expected a run's id"),
    (["runs", "rm", "nothing"], "'nothing'", "there are no runs"),
    (["runs", "--limit", "0"], "'0'", "expected a whole number from 1"),
    (["bench", "--only", "W1,W9"], "--only = 'W9'", "W4f"),
    (["bench", "--only", ""], "--only = ''", "W4f"),
    (["bench", "--device", "tpu"], "--device = 'tpu'", "auto, cpu, cuda"),
    (["export", "nothing", "--to", "somewhere-new"], "'nothing'", "there are no runs"),
    (["export", "nothing"], "--to", "required"),
]


@pytest.mark.parametrize(("words", "named", "expected"), BAD, ids=lambda part: " ".join(part) if part else "none")
def test_bad_input_is_told_in_one_line(call, home, monkeypatch, tmp_path, words, named, expected):
    monkeypatch.chdir(tmp_path)
    said = call(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("metalab: ")
    assert said.err.count("\n") == 1
    assert named in said.err
    assert expected in said.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds a list"),
        ('{"outer_steps": "many"}', "outer_steps = 'many': expected an integer (from "),
        ('{"colour": "red"}', "colour = 'red': no setting of that name"),
        ("\xff", "is not text"),
        ("[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_bad_config_file_is_named(call, home, tmp_path, text, expected):
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    said = call("train", "--config", path)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert str(path) in said.err
    assert expected in said.err


def test_a_name_that_the_terminal_cannot_show_ends_nothing(home):
    store = Store()
    store.create(parse_config({}), "ada", "\u2603 winter", state="stopped")
    store.close()
    words = [sys.executable, "-m", "metalab", "runs"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    assert "? winter" in done.stdout


def test_missing_data_is_bad_input(call, home, monkeypatch):
    from metalab.tasks import FAMILIES
    from metalab.tasks.base import DataMissing

    def missing(family: object) -> None:
        raise DataMissing("put the archives into /somewhere")

    monkeypatch.setattr(FAMILIES["sinusoid"], "require", missing)
    said = call("train")
    assert (said.code, said.err) == (2, "metalab: put the archives into /somewhere\n")
    assert call("runs", "--json").json == {"runs": []}


def test_an_unexpected_error_is_one_line_and_its_traceback_is_for_debug(call, home, monkeypatch):
    def broken(options: object) -> int:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(runs, "run", broken)
    said = call("runs")
    assert (said.code, said.err) == (1, "metalab: ZeroDivisionError: by zero (--debug shows where)\n")
    with pytest.raises(ZeroDivisionError):
        main(["runs", "--debug"])


def test_an_unusable_home_is_bad_input(call, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METALAB_HOME", str(tmp_path / "file"))
    said = call("runs")
    assert said.code == 2
    assert "METALAB_HOME" in said.err


def test_a_folder_of_locks_that_cannot_be_written_is_bad_input(call, tmp_path, monkeypatch):
    monkeypatch.setenv("METALAB_HOME", str(tmp_path))
    (tmp_path / "locks").write_text("not a folder")
    said = call("train", "--outer-steps", "1")
    assert said.code == 2
    assert said.err.startswith(f"metalab: cannot write to {tmp_path / 'locks'} (")
    assert said.err.endswith("): set METALAB_HOME to a folder that you may write to\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        ("0.02", 0.02),
        ("1e-3", 0.001),
        ("true", True),
        ("[40, 40]", [40, 40]),
        ("40,40", [40, 40]),
        ("sgd", "sgd"),
        ("a,b", "a,b"),
        ("", ""),
    ],
)
def test_values_are_what_they_look_like(text, expected):
    assert value(text) == expected
    assert type(value(text)) is type(expected)


def test_json_is_strict():
    assert as_json({"a": [float("nan"), float("inf"), 1.5], 2: None}) == '{"a": [null, null, 1.5], "2": null}'


def test_progress_line():
    assert line(50, 200, 0, 10.0, "loss 1") == "[######..................]  25%  50/200  5 steps/s  ETA 0:30  loss 1"
    resumed = line(150, 200, 100, 10.0)
    assert "5 steps/s" in resumed
    assert "ETA 0:10" in resumed
    assert "ETA -:--" in line(0, 200, 0, 0.0)
    assert "100%" in line(0, 0, 0, 1.0)
    assert [clock(s) for s in (0, 75, 3675)] == ["0:00", "1:15", "1:01:15"]


def test_progress_off_a_terminal_is_whole_lines_and_rare():
    stream = io.StringIO()
    progress = Progress(10, stream=stream)
    assert not progress.due
    progress.draw(5)
    progress.finish(10, "done")
    assert "\r" not in stream.getvalue()
    assert [said.split()[-1] for said in stream.getvalue().splitlines()][-1] == "done"
    assert len(stream.getvalue().splitlines()) == 2


def test_what_is_said_leaves_a_line_above_the_bar():
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    progress = Progress(10, stream=stream)
    progress.draw(5)
    progress.say("a note")
    progress.finish(10)
    first, last, _ = stream.getvalue().split("\n")
    assert first.split("\r")[-1].startswith("a note ")
    assert "10/10" in last


def test_numbers_stand_to_the_right():
    assert table(("name", "n"), [("a", "1"), ("bc", "20")]).splitlines() == [
        "name   n",
        "----  --",
        "a      1",
        "bc    20",
    ]
