"""Where the settings start for a family and an algorithm: the papers' values, or what was measured to work.

The one table that sliders, presets and the command line start from. A family or algorithm that is not
listed keeps the defaults of its declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Values = Mapping[str, Any]

# Finn et al. 2017, section 5.1; Nichol et al. 2018, section 4.1, whose 1,000 steps per task are not needed here.
SINUSOID: Mapping[str, Values] = {
    "maml": {"algorithm": {"inner_lr": 0.01, "inner_steps": 1, "inner_steps_eval": 10}},
    "reptile": {
        "algorithm": {"inner_lr": 0.02, "inner_steps": 16, "inner_steps_eval": 32},
        "outer_optimiser": "sgd",
        "outer_lr": 0.3,
        "schedule": "linear",
    },
    # After 10 steps 0.13 on held-out tasks, at MAML's rate and step 0.46 (3,000 outer steps).
    "anil": {"algorithm": {"inner_lr": 0.1, "inner_steps": 5, "inner_steps_eval": 10}},
    "boil": {"algorithm": {"inner_lr": 0.01, "inner_steps": 1, "inner_steps_eval": 10}},
    # Learned for one step, as in the paper: after it 0.29, where MAML has 0.66; further steps diverge.
    "meta_sgd": {"algorithm": {"inner_lr": 0.01, "inner_steps": 1, "inner_steps_eval": 1}},
    "maml_plus_plus": {
        "algorithm": {"inner_lr": 0.01, "inner_steps": 5, "inner_steps_eval": 5},
        "schedule": "cosine",
    },
    # At 0.01 and without damping, runs diverged: the gradient does not see whether the inner loop bears the curvature.
    "imaml": {
        "algorithm": {
            "inner_lr": 0.005,
            "inner_steps": 16,
            "inner_steps_eval": 16,
            "proximal": 2.0,
            "cg_steps": 5,
            "damping": 10.0,
        },
        "schedule": "cosine",
    },
    "pretrained": {"algorithm": {"inner_lr": 0.01, "inner_steps_eval": 10}},
    "linear_probe": {"algorithm": {"inner_lr": 0.02, "inner_steps_eval": 10}},
    # Shared features grow large: from 0.005 on the new head diverges.
    "multi_task": {"algorithm": {"inner_lr": 0.002, "inner_steps_eval": 10}},
    "cnp": {"schedule": "cosine"},
    "in_context": {"schedule": "cosine", "outer_steps": 3_000},
    "scratch": {"algorithm": {"inner_lr": 0.01, "inner_steps_eval": 10}},
}

# Where an outer step holds no inner ones.
PLAIN: Values = {"outer_lr": 3e-3, "schedule": "cosine", "meta_batch_size": 8}

CHARACTERS: Mapping[str, Values] = {
    "maml": {
        "algorithm": {"inner_lr": 0.4, "inner_steps": 1, "inner_steps_eval": 3},
        "outer_lr": 3e-3,
        "schedule": "cosine",
        "meta_batch_size": 8,
    },
    "anil": {"algorithm": {"inner_lr": 0.4, "inner_steps": 1, "inner_steps_eval": 3}, **PLAIN},
    "boil": {"algorithm": {"inner_lr": 0.4, "inner_steps": 1, "inner_steps_eval": 3}, **PLAIN},
    "nil": {"algorithm": {"inner_lr": 0.4, "inner_steps": 1}, **PLAIN},
    # Rates that were learned for one step are tested with one.
    "meta_sgd": {"algorithm": {"inner_lr": 0.4, "inner_steps": 1, "inner_steps_eval": 1}, **PLAIN},
    "maml_plus_plus": {
        "algorithm": {"inner_lr": 0.4, "inner_steps": 2, "inner_steps_eval": 2, "multi_step_until": 200},
        **PLAIN,
    },
    # The paper's hold; it takes 16 inner steps and 5 of conjugate gradients, for which a processor is too slow. Without
    # damping the loss rose again within 40 outer steps: 45% on held-out Omniglot after 70, with it 62% after 80.
    "imaml": {
        "algorithm": {
            "inner_lr": 0.2,
            "inner_steps": 5,
            "inner_steps_eval": 5,
            "proximal": 2.0,
            "cg_steps": 2,
            "damping": 10.0,
        },
        **PLAIN,
    },
    # Plain gradient descent at a large rate: after a minute 85% on held-out Omniglot, Adam at the paper's rate 55%.
    "reptile": {
        "algorithm": {"inner_lr": 0.5, "inner_steps": 5, "inner_steps_eval": 20, "inner_batch": 10},
        "outer_optimiser": "sgd",
        "outer_lr": 1.0,
        "schedule": "linear",
        "meta_batch_size": 5,
    },
    "pretrained": {"algorithm": {"inner_lr": 0.1, "inner_steps_eval": 10}, **PLAIN},
    "prototypes": PLAIN,
    "nearest_neighbour": PLAIN,
    "linear_probe": {"algorithm": {"inner_lr": 0.5, "inner_steps_eval": 10}, **PLAIN},
    "multi_task": {"algorithm": {"inner_lr": 0.5, "inner_steps_eval": 10}, **PLAIN},
    "in_context": {"schedule": "cosine", "meta_batch_size": 16},
    "scratch": {"algorithm": {"inner_lr": 0.1, "inner_steps_eval": 10}},
}

# All characters told apart by one joint head, of which a meta-batch shows one in a hundred: Adam moves the rows of the
# absent as far as the others. On Omniglot its loss is after 400 steps where chance is, 8.4, and the nearest neighbour
# right in 27% of held-out 5-way 1-shot queries; by plain descent the loss is 8.1, and 53% are right.
JOINTLY: Values = {"outer_optimiser": "sgd", "outer_lr": 1.0}
MANY_CLASSES: Mapping[str, Values] = {
    **CHARACTERS,
    **{key: {**CHARACTERS[key], **JOINTLY} for key in ("pretrained", "linear_probe", "nearest_neighbour")},
}

# Below 2 / the highest curvature the inner loop converges; a tenth of 1 / curvature shows it in a dozen steps.
QUADRATIC: Mapping[str, Values] = {
    "maml": {"algorithm": {"inner_lr": 0.1, "inner_steps": 1, "inner_steps_eval": 20}, "outer_lr": 0.01},
    "reptile": {
        "algorithm": {"inner_lr": 0.1, "inner_steps": 5, "inner_steps_eval": 20},
        "outer_optimiser": "sgd",
        "outer_lr": 0.3,
        "schedule": "linear",
    },
    "anil": {"algorithm": {"inner_lr": 0.1, "inner_steps": 1, "inner_steps_eval": 20}, "outer_lr": 0.01},
    "meta_sgd": {"algorithm": {"inner_lr": 0.1, "inner_steps": 5, "inner_steps_eval": 5}, "outer_lr": 0.01},
    "maml_plus_plus": {"algorithm": {"inner_lr": 0.1, "inner_steps": 5, "inner_steps_eval": 5}, "outer_lr": 0.01},
    "imaml": {"algorithm": {"inner_lr": 0.1, "inner_steps": 20, "inner_steps_eval": 20}, "outer_lr": 0.01},
    "pretrained": {"algorithm": {"inner_lr": 0.1, "inner_steps_eval": 20}, "outer_lr": 0.01},
    "scratch": {"algorithm": {"inner_lr": 0.1, "inner_steps_eval": 20}},
}

# Finn et al. 2017, section 5.3, with Adam in place of a trust region: at this rate 300 steps are stable, at 0.01
# with inner steps of 2.0 a run diverged. Steps beyond those trained for overshoot.
NAVIGATION: Mapping[str, Values] = {
    "maml": {"algorithm": {"inner_lr": 1.0, "inner_steps": 1, "inner_steps_eval": 1}},
    "reptile": {
        "algorithm": {"inner_lr": 0.1, "inner_steps": 3, "inner_steps_eval": 2},
        "outer_optimiser": "sgd",
        "outer_lr": 1.0,
    },
    "pretrained": {"algorithm": {"inner_lr": 1.0, "inner_steps_eval": 1}},
    "scratch": {"algorithm": {"inner_lr": 1.0, "inner_steps_eval": 1}},
}

NETWORK: Mapping[str, str] = {"cnp": "cnp", "in_context": "transformer", "prompting": "char_transformer"}
"""The networks of the algorithms that do not go with any; others take what suits the family."""

STEPPING = ("maml", "anil", "boil", "meta_sgd", "maml_plus_plus")
"""Take the same inner steps."""
TEXT: Mapping[str, Values] = {
    **{key: {"algorithm": {"inner_lr": 0.4, "inner_steps": 1, "inner_steps_eval": 5}} for key in STEPPING},
    "reptile": {
        "algorithm": {"inner_lr": 0.4, "inner_steps": 5, "inner_steps_eval": 10, "inner_batch": 10},
        "outer_optimiser": "sgd",
        "outer_lr": 1.0,
        "schedule": "linear",
    },
    **{key: {"algorithm": {"inner_lr": 0.4, "inner_steps_eval": 10}} for key in ("pretrained", "scratch")},
    **{key: {"algorithm": {"inner_lr": 0.5, "inner_steps_eval": 10}} for key in ("linear_probe", "multi_task")},
}
# With larger inner steps names are worse after ten of them than after three, and before any they are noise.
WRITING: Mapping[str, Values] = {
    **{key: {"algorithm": {"inner_lr": 0.1, "inner_steps": 3, "inner_steps_eval": 10}} for key in STEPPING},
    "reptile": {
        "algorithm": {"inner_lr": 0.1, "inner_steps": 5, "inner_steps_eval": 10},
        "outer_optimiser": "sgd",
        "outer_lr": 1.0,
        "schedule": "linear",
    },
    "pretrained": {"algorithm": {"inner_lr": 0.05, "inner_steps_eval": 10}},
    "scratch": {"algorithm": {"inner_lr": 0.3, "inner_steps_eval": 10}},
}


@dataclass(frozen=True)
class Start:
    """Where the runs of a family start."""

    model: str
    """The network that suits its tasks."""
    algorithms: Mapping[str, Values]
    """Settings for each algorithm."""
    run: Values = field(default_factory=dict)
    """Settings of the outer loop, whatever the algorithm."""
    models: Mapping[str, Values] = field(default_factory=dict)
    """Settings for each network."""


FUNCTION = Start("mlp", SINUSOID)
PICTURES = Start(
    "conv4",
    MANY_CLASSES,
    {"outer_steps": 2_000, "evaluate_every": 50, "evaluation_tasks": 20},
    {"conv4": {"filters": 32}},
)
DIGITS = Start("conv4", CHARACTERS, PICTURES.run, PICTURES.models)
# Convolutions look for neighbours, and shuffled pixels have none.
PIXELS = Start("mlp", CHARACTERS, PICTURES.run, {"mlp": {"widths": (128, 64)}})

ACTING = Start(
    "policy",
    NAVIGATION,
    {
        "outer_lr": 6e-3,
        "schedule": "cosine",
        "clip_norm": 1.0,
        "meta_batch_size": 20,
        "outer_steps": 300,
        "evaluate_every": 20,
        "evaluation_tasks": 40,
    },
)

LANGUAGES = Start(
    "ngrams",
    TEXT,
    {
        "outer_lr": 1e-2,
        "schedule": "cosine",
        "meta_batch_size": 8,
        "outer_steps": 2_000,
        "evaluate_every": 50,
        "evaluation_tasks": 50,
    },
)
NAMES = Start(
    "char_transformer",
    WRITING,
    {
        "outer_lr": 3e-3,
        "schedule": "cosine",
        "meta_batch_size": 8,
        "outer_steps": 2_000,
        "evaluate_every": 50,
        "evaluation_tasks": 30,
    },
)

FAMILY: Mapping[str, Start] = {
    "sinusoid": FUNCTION,
    "linear": FUNCTION,
    "mixture": FUNCTION,
    "quadratic": Start("point", QUADRATIC, {"outer_steps": 2_000}),
    "navigation": ACTING,
    "glyphs": PICTURES,
    "omniglot": PICTURES,
    "mnist": DIGITS,
    "cross": PICTURES,
    "rotated_mnist": DIGITS,
    "permuted_mnist": PIXELS,
    "languages": LANGUAGES,
    "names": NAMES,
}
"""One line for each family."""


def recommended(family: str | None, algorithm: str | None, model: str | None = None) -> dict[str, Any]:
    """Nested settings to start from, `model` included where the caller has not chosen one."""
    begin = FAMILY.get(family or "", FUNCTION)
    chosen = model or NETWORK.get(algorithm or "", begin.model)
    start = {**begin.run, **begin.algorithms.get(algorithm or "", {})}
    return start | {"model": {"name": chosen, **begin.models.get(chosen, {})}}
