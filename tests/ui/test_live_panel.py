"""The Python side of the live panel: what it accepts from a browser, and the words it sends."""

import re
import string
from types import SimpleNamespace

import pytest

from metalab.figures.style import colour_of
from metalab.training.config import parse_config
from metalab.training.events import OuterStep
from metalab.training.trainer import train
from metalab.ui import live
from metalab.ui.live import COMMANDS, Command, LiveRun

RUNS = [LiveRun("r1", "MAML", "maml"), LiveRun("r2", "Reptile", "reptile")]


@pytest.mark.parametrize("name", ["resume", "pause", "step", "stop", "reset"])
def test_a_button_becomes_a_command(name):
    assert live._checked({"run": "r2", "name": name}, RUNS) == Command("r2", name)


def test_no_press_is_no_command(caplog):
    assert live._checked(None, RUNS) is None
    assert caplog.text == ""


@pytest.mark.parametrize(
    "value",
    [
        {"run": "r3", "name": "stop"},
        {"run": "r1", "name": "delete"},
        {"run": "r1", "name": ["stop"]},
        {"name": "stop"},
        "stop",
        7,
        [],
        {},
    ],
)
def test_what_no_button_sends_is_logged_and_ignored(value, caplog):
    assert live._checked(value, RUNS) is None
    assert "unknown command" in caplog.text


def live_constant(name: str) -> list[str]:
    """A list of names in the panel's scripts."""
    scripts = "\n".join((live._ASSETS / script).read_text() for script in live._SCRIPTS)
    return re.findall(r'"(\w+)"', re.search(rf"const {name} = \[(.*?)\]", scripts)[1])


def test_what_is_known_of_outer_steps_is_what_training_records():
    config = parse_config({"outer_steps": 1, "meta_batch_size": 2, "evaluation_tasks": 2, "device": "cpu"})
    recorded = next(event.metrics for event in train(config) if isinstance(event, OuterStep))
    assert set(live_constant("OUTER_METRICS")) <= set(recorded)


def test_every_word_that_the_browser_asks_for_exists():
    texts = live._texts()
    scripts = "\n".join((live._ASSETS / name).read_text() for name in live._SCRIPTS)
    asked = set(re.findall(r'say\("(\w+)"', scripts))
    assert len(asked) > 40
    assert asked - set(texts) == set()
    for start, names in {
        "title_": ["learning", "adaptation", "functions"],
        "state_": COMMANDS,
        "save_": ["png", "svg", "csv"],
    }.items():
        assert {start + name for name in names} <= set(texts)
    for name in live_constant("OUTER_METRICS"):
        assert {name, f"{name}_help", f"{name}_axis", f"outer_summary_{name}"} <= set(texts)
    for name in live_constant("METRICS"):
        per_metric = {f"learning_summary_{name}", f"adaptation_summary_{name}", f"{name}_axis"}
        assert {name, f"{name}_help", *per_metric} <= set(texts)
    for name in {command for commands in COMMANDS.values() for command in commands}:
        assert {name, f"{name}_help"} <= set(texts)


def test_every_place_in_a_text_is_filled_by_the_browser():
    scripts = "\n".join((live._ASSETS / name).read_text() for name in live._SCRIPTS)
    for text in live._texts().values():
        for _, name, _, _ in string.Formatter().parse(text):
            assert name is None or re.search(rf"\b{name}\b\s*[:,}}]", scripts)


def test_plotly_is_asked_for_by_version():
    assert re.fullmatch(r"/metalab/plotly-cartesian\.js\?v=[\w.]+", live.plotly_address())
    assert re.fullmatch(r"/metalab/plotly\.js\?v=[\w.]+", live.whole_plotly_address())


@pytest.mark.parametrize("side", ["light", "dark"])
def test_two_runs_of_one_algorithm_are_told_apart_and_the_first_keeps_its_colour(side):
    runs = [
        LiveRun("a", "A", "maml"),
        LiveRun("b", "B", "reptile"),
        LiveRun("c", "C", "maml"),
        LiveRun("d", "D", "maml"),
    ]
    colours = [pair[side] for pair in live._colours(runs)]
    assert len(set(colours)) == 4
    assert colours[0] == colour_of("maml", dark=side == "dark")


def test_a_run_says_what_its_adaptation_counts(monkeypatch):
    """The browser labels the axis by it."""
    sent = {}
    monkeypatch.setattr(live, "_component", lambda: lambda **more: sent.update(more) or SimpleNamespace(command=None))
    live.live_panel([*RUNS, LiveRun("r3", "CNP", "cnp", axis="shot")], key="k")
    assert [run["axis"] for run in sent["data"]["runs"]] == ["inner step", "inner step", "shot"]
