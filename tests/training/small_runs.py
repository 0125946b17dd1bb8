"""Runs that take a blink, and what tests ask of their events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from metalab.params import Params
from metalab.training.config import RunConfig, parse_config
from metalab.training.events import Checkpoint, Checkpointed, Evaluated, Event, OuterStep

SINE: dict[str, Any] = {
    "family": {"name": "sinusoid", "shots": 5, "queries": 5},
    "model": {"name": "mlp", "widths": [8]},
    "algorithm": {"name": "maml", "inner_steps_eval": 2},
    "meta_batch_size": 4,
    "evaluation_tasks": 4,
    "outer_steps": 12,
    "evaluate_every": 5,
    "device": "cpu",
}
REPTILE: dict[str, Any] = {"algorithm": {"name": "reptile", "inner_steps": 3, "inner_steps_eval": 2}}
CHARACTERS: dict[str, Any] = {
    "family": {"name": "glyphs", "ways": 3, "shots": 1, "queries": 2},
    "model": {"name": "conv4", "filters": 4, "batch_norm": "running"},
    "algorithm": {"name": "maml", "inner_steps_eval": 1},
    "meta_batch_size": 6,
    "evaluation_tasks": 6,
    "outer_steps": 4,
    "evaluate_every": 2,
    "device": "cpu",
}


def small(base: dict[str, Any] = SINE, **over: Any) -> RunConfig:
    """`base` with some settings replaced."""
    return parse_config(base | over)


def same(one: Params, other: Params) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def checkpoints(events: Iterable[Event]) -> dict[int, Checkpoint]:
    return {event.step: event.checkpoint for event in events if isinstance(event, Checkpointed)}


def outer_steps(events: Iterable[Event]) -> dict[int, dict[str, float]]:
    return {
        event.step: {name: float(value) for name, value in event.metrics.items()}
        for event in events
        if isinstance(event, OuterStep)
    }


def evaluations(events: Iterable[Event]) -> dict[int, Evaluated]:
    return {event.step: event for event in events if isinstance(event, Evaluated)}
