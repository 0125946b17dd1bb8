"""Where the settings start for a family and an algorithm: the papers' values, or what was measured to work.

The one table that sliders, presets and the command line start from. A family or algorithm that is not
listed keeps the defaults of its declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IMAGES = ("glyphs", "omniglot")

Values = Mapping[str, Any]

MODEL: Mapping[str, str] = {"sinusoid": "mlp", "glyphs": "conv4", "omniglot": "conv4"}

# Finn et al. 2017, section 5.1; Nichol et al. 2018, section 4.1, whose 1,000 steps per task are not needed here.
SINUSOID: Mapping[str, Values] = {
    "maml": {"algorithm": {"inner_lr": 0.01, "inner_steps": 1, "inner_steps_eval": 10}},
    "reptile": {
        "algorithm": {"inner_lr": 0.02, "inner_steps": 16, "inner_steps_eval": 32},
        "outer_optimiser": "sgd",
        "outer_lr": 0.3,
        "schedule": "linear",
    },
    "pretrained": {"algorithm": {"inner_lr": 0.01, "inner_steps_eval": 10}},
    "scratch": {"algorithm": {"inner_lr": 0.01, "inner_steps_eval": 10}},
}

CHARACTERS: Mapping[str, Values] = {
    "maml": {
        "algorithm": {"inner_lr": 0.4, "inner_steps": 1, "inner_steps_eval": 3},
        "outer_lr": 3e-3,
        "schedule": "cosine",
        "meta_batch_size": 8,
    },
    # Plain gradient descent with a large rate: at equal time 81% on held-out Omniglot, Adam at the paper's rate 55%.
    "reptile": {
        "algorithm": {"inner_lr": 0.3, "inner_steps": 5, "inner_steps_eval": 20, "inner_batch": 10},
        "outer_optimiser": "sgd",
        "outer_lr": 1.0,
        "schedule": "linear",
        "meta_batch_size": 5,
    },
    "pretrained": {
        "algorithm": {"inner_lr": 0.1, "inner_steps_eval": 10},
        "outer_lr": 3e-3,
        "schedule": "cosine",
        "meta_batch_size": 8,
    },
    "scratch": {"algorithm": {"inner_lr": 0.1, "inner_steps_eval": 10}},
}
FOR_CHARACTERS: Values = {
    "model": {"filters": 32},
    "outer_steps": 2_000,
    "evaluate_every": 50,
    "evaluation_tasks": 20,
}


def recommended(family: str | None, algorithm: str | None, model: str | None = None) -> dict[str, Any]:
    """Nested settings to start from, `model` included where the caller has not chosen one."""
    images = family in IMAGES
    start: dict[str, Any] = {key: value for key, value in FOR_CHARACTERS.items() if key != "model"} if images else {}
    start |= (CHARACTERS if images else SINUSOID).get(algorithm or "", {})
    chosen = model or MODEL.get(family or "", "mlp")
    start["model"] = {"name": chosen}
    if images and chosen == "conv4":
        start["model"] |= FOR_CHARACTERS["model"]
    return start
