"""A family whose metric is a return, of which more is better, on the command line; its runs resume bit for bit."""

from __future__ import annotations

import pytest
import torch
from calling import TINY

from metalab.training.config import parse_config
from metalab.training.events import Checkpointed, OuterStep
from metalab.training.trainer import train

SHORT = (
    "--set",
    "family.horizon=6",
    "--set",
    "model.widths=5,5",
    "--set",
    "family.shots=4",
    "--set",
    "family.queries=3",
)


@pytest.fixture
def acted(call, home):
    """The id of a tiny run in navigation."""
    said = call("train", "--family", "navigation", *TINY, *SHORT, "--json")
    assert said.code == 0
    assert said.json["evaluation"]["metric"] == "return"
    return said.json["run"]


def test_evaluate_gives_the_return_by_inner_step_and_tunes_towards_more(call, acted):
    said = call("evaluate", acted, "--tasks", "6", "--inner-steps", "2", "--json").json
    assert said["metric"] == "return"
    assert len(said["by_inner_step"]) == 3
    # At most 6 steps of a distance below 0.71 + 6 * 0.15 each.
    assert all(-10 < value < 0 for value in said["by_inner_step"])
    loss = call("evaluate", acted, "--tasks", "6", "--inner-steps", "2", "--metric", "loss", "--json").json
    assert loss["by_inner_step"] == pytest.approx([-value for value in said["by_inner_step"]])
    tuned = call("evaluate", acted, "--tasks", "6", "--inner-steps", "1", "--tune-inner-lr", "--json").json
    choice = tuned["tuned_inner_lr"]
    assert choice["inner_lr"] == choice["grid"][choice["scores"].index(max(choice["scores"]))]


def test_runs_shows_the_return(call, acted):
    found = call("runs", "--json").json
    assert found["runs"][0]["evaluation"]["metric"] == "return"
    assert "return -" in call("runs").out


@pytest.mark.parametrize("algorithm", ["maml", "reptile", "pretrained"])
def test_a_resumed_run_ends_bit_for_bit_where_an_uninterrupted_one_does(algorithm):
    config = parse_config({
        "family": {"name": "navigation", "shots": 3, "queries": 3, "horizon": 5},
        "model": {"name": "policy", "widths": (4,)},
        "algorithm": {"name": algorithm},
        "outer_steps": 4, "evaluate_every": 2, "evaluation_tasks": 3, "meta_batch_size": 2,
    })  # fmt: skip
    events = list(train(config))
    kept = {event.step: event.checkpoint for event in events if isinstance(event, Checkpointed)}
    again = list(train(config, resume=kept[2]))
    last = next(event.checkpoint for event in reversed(again) if isinstance(event, Checkpointed))
    assert all(torch.equal(value, last.theta[name]) for name, value in kept[4].theta.items())
    assert not torch.equal(kept[0].theta["head.weight"], kept[4].theta["head.weight"])
    assert [e.step for e in again if isinstance(e, OuterStep)] == [3, 4]
