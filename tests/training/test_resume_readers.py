"""Learners whose outer step depends on how many were taken go on bit for bit from a checkpoint."""

import pytest
import torch

from metalab.training.config import parse_config
from metalab.training.events import Checkpointed, OuterStep
from metalab.training.trainer import train

SMALL = {"outer_steps": 4, "evaluate_every": 2, "evaluation_tasks": 2, "meta_batch_size": 2, "device": "cpu"}
MODELS = {
    "cnp": {"name": "cnp", "width": 8},
    "in_context": {"name": "transformer", "layers": 1, "heads": 1},
    "multi_task": {"name": "mlp", "widths": [5]},
}


@pytest.mark.parametrize("algorithm", MODELS)
def test_resumed_runs_are_the_same(algorithm):
    config = parse_config({"family": "sinusoid", "algorithm": algorithm, "model": MODELS[algorithm], **SMALL})
    whole = list(train(config))
    kept = [event.checkpoint for event in whole if isinstance(event, Checkpointed)]
    assert [checkpoint.step for checkpoint in kept] == [0, 2, 4]
    again = list(train(config, resume=kept[1]))
    last = next(event.checkpoint for event in again if isinstance(event, Checkpointed) and event.step == 4)
    for entry, value in kept[-1].theta.items():
        assert torch.equal(last.theta[entry], value)
    losses = {event.step: event.metrics["loss"] for event in whole if isinstance(event, OuterStep)}
    for event in again:
        if isinstance(event, OuterStep):
            assert torch.equal(event.metrics["loss"], losses[event.step])
