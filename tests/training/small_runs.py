"""Runs that take a blink, and what tests ask of their events and of the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

from metalab.params import Params
from metalab.store import Store
from metalab.training.config import RunConfig, parse_config
from metalab.training.events import Checkpoint, Checkpointed, Evaluated, Event, OuterStep
from metalab.training.service import Service

PATIENCE = 60.0

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


ENDLESS = small(outer_steps=1_000_000, evaluate_every=50)


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


def recorded(store: Store, run_id: str, name: str) -> dict[int, float]:
    """The values of a metric by outer step."""
    frame = store.metrics(run_id)
    frame = frame[frame["name"] == name]
    assert frame["step"].is_unique
    return dict(zip(frame["step"], frame["value"], strict=True))


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.005)


def trained(serving: Service, run_id: str, steps: int) -> None:
    """Wait until so many outer steps were recorded."""
    until(lambda: serving.store.get(run_id).step >= steps, f"outer step {steps}")
