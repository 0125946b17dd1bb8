"""What flows where in an algorithm, as data for a small diagram: from, what happens on the way, to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Edge(NamedTuple):
    """An arrow of the diagram. The order in which boxes are first named is their order from left to right."""

    start: str
    label: str
    """One line, or two for an arrow that leads on."""
    end: str


Flow = tuple[Edge, ...]

FLOWS: Mapping[str, Flow] = {
    "gradient-based": (
        Edge("θ", "inner steps\nsupport set", "φ"),
        Edge("φ", "predicts\nquery set", "loss"),
        Edge("loss", "outer step", "θ"),
    ),
    "metric-based": (
        Edge("θ", "compares\nsupport set", "distances"),
        Edge("distances", "predict\nquery set", "loss"),
        Edge("loss", "outer step", "θ"),
    ),
    "model-based": (
        Edge("θ", "reads\nsupport set", "context"),
        Edge("context", "predicts\nquery set", "loss"),
        Edge("loss", "outer step", "θ"),
    ),
    "transfer": (
        Edge("loss", "all training\ntasks", "θ"),
        Edge("θ", "fine-tuning\nsupport set", "φ"),
        Edge("φ", "predicts\nquery set", "answers"),
    ),
    "baseline": (
        Edge("θ", "inner steps\nsupport set", "φ"),
        Edge("φ", "predicts\nquery set", "answers"),
    ),
}
"""The usual flow of each kind of algorithm."""

TOWARDS_ADAPTED: Flow = (
    Edge("θ", "inner steps\nall examples", "φ"),
    Edge("φ", "outer step: θ moves towards φ", "θ"),
)
"""Reptile's: no loss after adaptation, the adapted parameters themselves pull."""
