"""The settings at the head of a script, each with what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metalab.takehome.compose import algorithm_settings, classifies
from metalab.takehome.families import PLAIN_FREQUENCY, data_name, task_constants
from metalab.training.config import RunConfig

Changes = Mapping[int, Mapping[str, float]]
"""After so many outer steps: constants of the script to their new values."""
OF_FAMILY = (
    *("ways", "shots", "queries", "dimension", "amplitude", "phase", "frequency", "slope", "intercept"),
    *("curvatures", "optima", "curvature", "optimum", "query_shift", "noise", "turn", "horizon", "std", "discount"),
)
OF_NETWORK = ("widths", "filters", "width", "layers", "heads", "buckets", "spread")
OF_OUTER = ("outer_lr", "fisher_damping", "fisher_decay", "meta_batch_size", "accumulate", "clip_norm", "outer_steps")

SAID: Mapping[str, str] = {
    "SEED": "fixes the initialisation and the order of tasks",
    "DATA": "what tasks are made of: this file belongs beside the script",
    "WAYS": "classes of a task",
    "SHOTS": "examples to learn from, of each class where there are classes",
    "QUERIES": "examples to be tested on, likewise",
    "TURN": "the largest angle, in degrees",
    "NOISE": "standard deviation of what is added to every y",
    "HORIZON": "time steps after which an episode ends",
    "STD": "of the actions at first, 1 being the largest step",
    "DISCOUNT": "how much a reward counts one time step later",
    "KINDS": "of functions: 0 sine waves, 1 lines, 2 steps",
    "DIMENSION": "numbers in an input, or parameters of a bowl",
    "CURVATURE": "lowest and highest eigenvalue of a bowl",
    "CURVATURES": "of the listed bowls, one after another",
    "QUERY_SHIFT": "how far the query bowl's lowest point lies from the support bowl's",
    "TOKENS": "letters, and the boundary of a name",
    "WIDTHS": "units in each hidden layer",
    "WIDTH": "units in a hidden layer",
    "LAYERS": "one on the other",
    "HEADS": "of attention in each layer",
    "BUCKETS": "letter pieces that are told apart",
    "SPREAD": "how far from zero the point starts",
    "FILTERS": "in each of the four convolutions",
    "STRIDE": "of each convolution",
    "INNER_LR": "alpha",
    "INNER_STEPS": "in meta-training",
    "INNER_BATCH": "examples of an inner step",
    "INNER_STEPS_EVAL": "on held-out tasks",
    "PROXIMAL": "lambda: how strongly phi is held to theta",
    "CG_STEPS": "conjugate-gradient steps for each meta-gradient",
    "DAMPING": "added to lambda in the linear system alone",
    "RIDGE": "lambda of the closed form",
    "TRAINING_TASKS": "each with a head and examples of its own",
    "MULTI_STEP_UNTIL": "from this outer step on, the last inner step's query loss alone counts",
    "FIRST_ORDER_UNTIL": "from this outer step on, gradients are second order",
    "OUTER_LR": "beta",
    "FISHER_DAMPING": "added to every Fisher value",
    "FISHER_DECAY": "what stays of them from one outer step to the next",
    "META_BATCH_SIZE": "tasks of an outer step",
    "ACCUMULATE": "meta-batches averaged into an outer step",
    "CLIP_NORM": "longest meta-gradient that is let through",
    "EVALUATE_EVERY": "outer steps between two looks at the held-out tasks",
    "EVALUATION_TASKS": "held out, the same at every look",
    "CHANGES": "what was changed while the run went on, after how many outer steps",
}


def constants(config: RunConfig, changes: Changes) -> str:
    """A line for each."""
    found: dict[str, Any] = {"SEED": config.seed}
    if data_name(config.family):
        found["DATA"] = data_name(config.family)
    found |= _given(config.family, OF_FAMILY) | task_constants(config.family) | _given(config.model, OF_NETWORK)
    if config.model.name == "conv4":
        found["STRIDE"] = 1 if getattr(config.model, "downsampling", "") == "max_pool" else 2
    found |= _given(config.algorithm, algorithm_settings(config))
    if config.algorithm.trains:
        found |= _given(config, OF_OUTER) | {"EVALUATE_EVERY": config.evaluate_every}
    found["EVALUATION_TASKS"] = config.evaluation_tasks
    for name in _idle(config, found):
        found.pop(name, None)
    if changes:
        found["CHANGES"] = {step: dict(values) for step, values in sorted(changes.items())}
    return "\n" + "\n".join(
        f"{name} = {_literal(value)}" + (f"  # {SAID[name]}" if name in SAID else "") for name, value in found.items()
    )


def _idle(config: RunConfig, found: Mapping[str, Any]) -> list[str]:
    """Those that the script does not read."""
    without = {"FREQUENCY": PLAIN_FREQUENCY, "NOISE": 0.0, "INNER_BATCH": 0, "ACCUMULATE": 1, "CLIP_NORM": 0.0}
    idle = [name for name, value in without.items() if found.get(name) == value]
    if config.family.name == "quadratic":
        drawn, listed = ["CURVATURE", "OPTIMUM"], ["CURVATURES", "OPTIMA"]
        idle = [name for name in idle if name != "NOISE"] + (drawn if found["CURVATURES"] else listed)
    elif config.family.name == "navigation":
        idle.append("CURVATURE")  # of the policy gradient: the text says it
    if config.model.name == "transformer" and not classifies(config):
        idle.append("FILTERS")
    if config.outer_optimiser != "natural":
        idle += ["FISHER_DAMPING", "FISHER_DECAY"]
    return idle


def _given(part: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name.upper(): getattr(part, name) for name in names if hasattr(part, name)}


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value).replace("'", '"')
