"""What a trainer tells the world, and what it can be told while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metalab.params import Params
from metalab.training.config import RunConfig


@dataclass(frozen=True)
class OuterStep:
    """One outer step was taken; `step` counts from 1. Metrics are () tensors, not yet fetched from the device."""

    step: int
    metrics: Mapping[str, Tensor]


@dataclass(frozen=True)
class Evaluated:
    """theta after `step` outer steps, tried on the fixed held-out tasks."""

    step: int
    curves: Mapping[str, Tensor]
    """Each metric of the family on the query sets after each inner step: (T, K + 1), float32, CPU.

    Where the family has an `away` split, its tasks' too, under names that end in `evaluation.AWAY`."""
    functions: Tensor | None
    """Predictions at the family's probe inputs after each inner step: (few tasks, K + 1, m), or None."""


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on bit for bit."""

    step: int
    config: RunConfig
    theta: Params
    optimiser: Params
    """The outer optimiser's state, flat: 'slot/parameter' to tensor."""
    rng: Tensor
    """State of the generator that samples tasks (uint8)."""


@dataclass(frozen=True)
class Checkpointed:
    """A checkpoint was taken; its tensors are copies on the CPU."""

    step: int
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Changed:
    """Settings were changed while running, from outer step `step` on."""

    step: int
    changes: Mapping[str, Any]
    """Dotted name to (old value, new value)."""
    config: RunConfig


@dataclass(frozen=True)
class Noted:
    """Something worth knowing of the run, from outer step `step` on; one sentence without a full stop."""

    step: int
    text: str


@dataclass(frozen=True)
class Finished:
    """All outer steps were taken."""

    step: int


@dataclass(frozen=True)
class Failed:
    """The run ended early; the last checkpoint is good. `message` says why and what to try."""

    step: int
    message: str


Event = OuterStep | Evaluated | Checkpointed | Changed | Noted | Finished | Failed


@dataclass(frozen=True)
class Change:
    """Sent into a trainer: set these (dotted names, of `config.LIVE`) from the next outer step on."""

    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """Sent into a trainer: take a checkpoint now and, with `evaluate`, try theta on the held-out tasks before."""

    evaluate: bool = False


Command = Change | Look
