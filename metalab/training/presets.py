"""Runs that are ready to start: what Home offers.

Each is a few nested settings over the recommended ones, so that this module imports no torch. They are short
enough to end while a class watches: about a minute on one processor core for sine waves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """One or more runs that belong in one picture; `title` and `summary` are for a person."""

    title: str
    summary: str
    configs: tuple[Mapping[str, Any], ...]
    """What `parse_config` takes, one for each run."""


PRESETS: dict[str, Preset] = {
    "sine-waves": Preset(
        "Learn to learn sine waves",
        "MAML finds a start from which ten points are enough to guess a whole sine wave.",
        ({"family": "sinusoid", "algorithm": "maml", "outer_steps": 5_000},),
    ),
    "characters": Preset(
        "Learn new characters from one example",
        "A small convolutional network learns to tell five characters apart that it has seen only once.",
        ({"family": "glyphs", "algorithm": "maml", "model": "conv4", "outer_steps": 600, "evaluate_every": 25},),
    ),
    "reptile-against-maml": Preset(
        "Reptile against MAML",
        "Two algorithms on the same sine waves, in one picture: who adapts better?",
        (
            {"family": "sinusoid", "algorithm": "maml", "outer_steps": 3_000},
            {"family": "sinusoid", "algorithm": "reptile", "outer_steps": 3_000},
        ),
    ),
    "meta-multi-task-transfer": Preset(
        "Meta-learning, multi-task or transfer?",
        "The same sine waves practised in three ways: to be adapted from (MAML), side by side, and all as one.",
        (
            {"family": "sinusoid", "algorithm": "maml", "outer_steps": 3_000},
            {"family": "sinusoid", "algorithm": "multi_task", "outer_steps": 3_000},
            {"family": "sinusoid", "algorithm": "pretrained", "outer_steps": 3_000},
        ),
    ),
}
