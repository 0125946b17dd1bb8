"""Which pieces of `algorithms` say what a run's algorithm does, and what its evaluation goes through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metalab.takehome import algorithms
from metalab.takehome.networks import PREDICT
from metalab.tasks.characters import CharacterFamily
from metalab.training.config import RunConfig
from metalab.training.parallel import tasks_at_once

UNROLLED = ("maml", "anil", "boil", "nil", "meta_sgd", "maml_plus_plus")
"""Those that differentiate the query loss through the inner loop."""
JOINT = ("pretrained", "linear_probe")
BY_SHOTS = ("prototypes", "nil")
"""Those whose evaluation reads more and more examples, and takes no inner steps."""

DESCENDED = "phi[name].add(g, alpha=-INNER_LR)"
DESCENDED_AT = "torch.addcmul(phi[name], {rate}, g, value=-1)"
"""phi - rate * g, rounded once."""


def algorithm_settings(algorithm: Any) -> Sequence[str]:
    """The settings of the algorithm that stand at the head of the script."""
    found = ["inner_lr", "inner_steps", "inner_batch", "inner_steps_eval", "proximal", "cg_steps", "damping"]
    if getattr(algorithm, "multi_step_loss", False):
        found.append("multi_step_until")
    if getattr(algorithm, "anneal_order", False) and algorithm.order == 2:
        found.append("first_order_until")
    return found


def predict_part(config: RunConfig) -> str:
    """How the script predicts: by a linear head on the features, or by cosines."""
    by_cosine = config.algorithm.name == "prototypes" and _by_cosine(config)
    return algorithms.UNIT_FEATURES + "\n" + algorithms.PREDICT_BY_COSINE if by_cosine else PREDICT


def algorithm_parts(config: RunConfig) -> list[str]:
    """The pieces, in order."""
    algorithm: Any = config.algorithm
    name, images = algorithm.name, isinstance(config.family, CharacterFamily)
    parts = [algorithms.TASK_AXIS]
    if name == "prototypes":
        head = algorithms.COSINE if _by_cosine(config) else algorithms.EUCLIDEAN
        return [*parts, algorithms.FIRST_SHOTS, algorithms.PROTOTYPES.format(**head), _init(algorithms.INIT_BODY)]
    parts.append(_inner_loop(algorithm))
    if getattr(algorithm, "inner_batch", 0):
        chosen = algorithms.MINIBATCH_CLASSIFICATION if images else algorithms.MINIBATCH_REGRESSION
        parts.append(algorithms.MINIBATCHES.format(chosen=chosen))
    if name == "maml_plus_plus" and algorithm.learn_rates:
        parts.append(algorithms.RATE_OF_STEP)
    parts += _meta_gradient(config)
    if name == "nil":
        parts += [algorithms.UNIT_FEATURES, algorithms.FIRST_SHOTS, algorithms.VOTES]
    return [*parts, _init(_initial(config))]


def evaluation(config: RunConfig) -> dict[str, str]:
    """What stands in the script's `evaluate`: what it goes through, after which start, and how it predicts."""
    name = config.algorithm.name
    by_shots = name in BY_SHOTS
    return {
        "axis": "0 .. SHOTS examples of every class" if by_shots else "0 .. INNER_STEPS_EVAL inner steps",
        "start": algorithms.START_JOINT if name in JOINT and isinstance(config.family, CharacterFamily) else "",
        "path": "adapt(theta, support)"
        if by_shots
        else "inner_loop(with_task_axis(theta, len(x)), support, INNER_STEPS_EVAL)",
        "predict": "vote" if name == "nil" else "predict",
    }


def _by_cosine(config: RunConfig) -> bool:
    return getattr(config.algorithm, "metric", "euclidean") == "cosine"


def _init(body: str) -> str:
    return algorithms.INIT.format(body=body)


def _initial(config: RunConfig) -> str:
    algorithm: Any = config.algorithm
    if algorithm.name == "maml_plus_plus" and algorithm.learn_rates:
        return algorithms.INIT_MAML_PLUS_PLUS
    if algorithm.name in JOINT and isinstance(config.family, CharacterFamily):
        return algorithms.INIT_JOINT
    return algorithms.INIT_META_SGD if algorithm.learns_rates else algorithms.INIT_PLAIN


def _meta_gradient(config: RunConfig) -> list[str]:
    algorithm: Any = config.algorithm
    name = algorithm.name
    if name == "maml_plus_plus":
        importance = algorithms.IMPORTANCE_MOVES if algorithm.multi_step_loss else algorithms.IMPORTANCE_LAST
        return [importance, algorithms.WEIGHTED.format(exact=algorithms.EXACT if _annealed(algorithm) else "")]
    if name == "reptile":
        return [algorithms.REPTILE]
    if name == "imaml":
        if not algorithm.cg_steps:
            return [algorithms.IMPLICIT.format(**algorithms.FIRST_ORDER)]
        return [algorithms.IMPLICIT.format(**algorithms.EXACTLY), algorithms.CONJUGATE_GRADIENTS]
    if name in JOINT:
        return _joint(config)
    return [algorithms.UNROLLED] if name in UNROLLED else []


def _annealed(algorithm: Any) -> bool:
    return bool(getattr(algorithm, "anneal_order", False)) and algorithm.order == 2


def _joint(config: RunConfig) -> list[str]:
    if not isinstance(config.family, CharacterFamily):
        return [algorithms.JOINT_REGRESSION]
    if config.model.name != "conv4":
        return [algorithms.JOINT_CLASSIFICATION]
    part = algorithms.JOINT_CLASSIFICATION.replace("def meta_gradient", "def part_gradient")
    at_once = tasks_at_once(config.model) or config.meta_batch_size
    told = "one task" if at_once == 1 else f"at most {at_once} tasks"
    return [part, algorithms.JOINT_IN_PARTS.format(at_once=at_once, told=told)]


def _inner_loop(algorithm: Any) -> str:
    unrolled, reptile, proximal = algorithm.name in UNROLLED, algorithm.name == "reptile", algorithm.name == "imaml"
    adam, batched = reptile and algorithm.inner_optimiser == "adam", reptile and algorithm.inner_batch > 0
    rate = _rate(algorithm)
    begin = ("" if batched else algorithms.WHOLE_SET) + ("    seconds = []\n" if adam else "")
    create = ", create_graph=train" if unrolled and algorithm.order == 2 else ""
    return algorithms.INNER_LOOP.format(
        k="k" if adam or batched or rate.endswith("k)") else "_",
        train_argument=_argument(algorithm),
        train_note=_note(algorithm),
        rule=_rule(algorithm, adam=adam),
        begin=begin + (algorithms.FROM_THETA if proximal else ""),
        examples=algorithms.MINIBATCH if batched else "",
        detach=algorithms.DETACH_UNLESS_TRAIN if unrolled else algorithms.DETACH,
        names=_names(algorithm),
        record=algorithms.RECORD if reptile else "",
        create=create + (" and exact" if create and _annealed(algorithm) else ""),
        direction=algorithms.ADAM_DIRECTION if adam else algorithms.PROXIMAL_DIRECTION if proximal else "",
        follow="directions" if adam or proximal else "found",
        descended=DESCENDED if rate == "INNER_LR" else DESCENDED_AT.format(rate=rate),
    )


def _rate(algorithm: Any) -> str:
    if algorithm.name == "maml_plus_plus" and algorithm.learn_rates:
        return "rate(phi, name, k)"
    return 'phi[f"rates.{name}"]' if algorithm.learns_rates else "INNER_LR"


def _names(algorithm: Any) -> str:
    name = algorithm.name
    if name in ("anil", "linear_probe") or (name == "nil" and algorithm.trained_as == "anil"):
        return algorithms.HEAD_NAMES
    if name == "boil":
        return algorithms.BODY_NAMES
    return algorithms.NETWORK_NAMES if _rate(algorithm) != "INNER_LR" else algorithms.ALL_NAMES


def _argument(algorithm: Any) -> str:
    if algorithm.name == "reptile":
        return algorithms.RECORD_ARGUMENT
    if algorithm.name not in UNROLLED:
        return ""
    return algorithms.ANNEALED_ARGUMENT if _annealed(algorithm) else algorithms.TRAIN_ARGUMENT


def _note(algorithm: Any) -> str:
    if algorithm.name == "reptile":
        return algorithms.RECORD_NOTE
    if algorithm.name not in UNROLLED:
        return ""
    return algorithms.ANNEALED_NOTE if _annealed(algorithm) else algorithms.TRAIN_NOTES[algorithm.order]


def _rule(algorithm: Any, *, adam: bool) -> str:
    if algorithm.name == "imaml":
        return algorithms.PROXIMAL_RULE
    if _rate(algorithm).startswith("rate"):
        return algorithms.MAML_PLUS_PLUS_RULE
    if algorithm.learns_rates:
        return algorithms.META_SGD_RULE
    return algorithms.ADAM_RULE if adam else algorithms.PLAIN_RULE
