"""Which pieces say what a run's network and algorithm do, and what its evaluation goes through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metalab.takehome import acting, algorithms, joint, letters, networks, quadratic, readers, shots
from metalab.takehome.families import n_classes, n_inputs
from metalab.training.config import RunConfig
from metalab.training.parallel import tasks_at_once

UNROLLED = ("maml", "anil", "boil", "nil", "meta_sgd", "maml_plus_plus")
"""Those that differentiate the query loss through the inner loop."""
JOINT = ("pretrained", "linear_probe", "nearest_neighbour")
"""Those that learn all tasks as one."""
READERS = ("cnp", "in_context")
"""Those whose network reads the support set, with the same weights for every task."""
BY_SHOTS = ("prototypes", "nil", "nearest_neighbour", *READERS, "prompting")
"""Those whose evaluation reads more and more examples, and takes no inner steps."""
ONE_THETA = (*JOINT, "multi_task", *READERS)
"""Those whose meta-gradient does not tell tasks apart."""
NETWORKS = ("mlp", "conv4", "cnp", "transformer", "ngrams", "char_transformer", "policy", "point")

DESCENDED = "phi[name].add(g, alpha=-INNER_LR)"
DESCENDED_AT = "torch.addcmul(phi[name], {rate}, g, value=-1)"
"""phi - rate * g, rounded once."""


def network_parts(config: RunConfig) -> list[str]:
    """The network's pieces, in order."""
    model: Any = config.model
    name = model.name
    activation = networks.ACTIVATIONS[getattr(model, "activation", "relu")]
    inputs = n_inputs(config.family)
    if name in ("cnp", "transformer"):
        return [networks.INIT_LINEAR, readers.SHARED_LINEAR, _reader(config, inputs)]
    if name == "policy":
        return [networks.LINEAR, acting.POLICY.format(activation=activation), *_acting(config.family)]
    if name == "point":
        return [networks.LINEAR, quadratic.POINT, networks.PREDICT]
    start = [networks.INIT_LINEAR, networks.LINEAR]
    if name == "char_transformer":
        in_context = config.algorithm.name == "prompting"
        return [*start, filled(letters.CHAR_TRANSFORMER, letters.IN_CONTEXT if in_context else letters.ALONE)]
    if name == "ngrams":
        return [*start, letters.NGRAMS, _predict(config)]
    if name == "conv4":
        pooled = getattr(model, "downsampling", "") == "max_pool"
        halved = networks.POOLED_HALF if pooled else networks.STRIDED_HALF
        return [*start, networks.CONV4.format(halved=halved, pool=networks.POOL if pooled else ""), _predict(config)]
    acts = config.family.kind == "reinforcement"
    outputs = "WAYS" if classifies(config) else "4" if acts else "1"
    body = networks.MLP.format(inputs=inputs, outputs=outputs, activation=activation)
    return [*start, body, *([acting.POLICY_OF_MLP, *_acting(config.family)] if acts else [_predict(config)])]


def algorithm_settings(config: RunConfig) -> Sequence[str]:
    """The settings of the algorithm that stand at the head of the script."""
    algorithm: Any = config.algorithm
    found = ["inner_steps", "inner_batch", "inner_steps_eval", "proximal", "cg_steps", "damping"]
    found.insert(0, "ridge" if _by_ridge(algorithm) else "inner_lr")
    if algorithm.name == "multi_task" and not classifies(config):
        found.append("training_tasks")
    if getattr(algorithm, "multi_step_loss", False):
        found.append("multi_step_until")
    if _annealed(algorithm):
        found.append("first_order_until")
    return found


def algorithm_parts(config: RunConfig) -> list[str]:
    """The algorithm's pieces, in order."""
    name = config.algorithm.name
    if name in READERS:
        return [*_reading(config), _init(config)]
    start = [algorithms.TASK_AXIS]
    if name == "prompting":
        return [*start, filled(letters.PROMPTING, _over_tasks(config)), _init(config)]
    if name == "prototypes":
        head = shots.COSINE if _by_cosine(config) else shots.EUCLIDEAN
        return [*start, shots.FIRST_SHOTS, shots.PROTOTYPES.format(**head, **_over_tasks(config)), _init(config)]
    if name == "nearest_neighbour":
        keeping = shots.KEEPING.format(**shots.AS_THEY_ARE)
        return [*start, *_joint(config), shots.FIRST_SHOTS, keeping, shots.NEAREST, _init(config)]
    parts = [*start, *_adapting(config), *_meta_gradient(config)]
    if name == "nil":
        keeping = shots.KEEPING.format(**shots.AT_LENGTH_ONE)
        parts += [shots.UNIT_FEATURES, shots.FIRST_SHOTS, keeping, shots.VOTE]
    return [*parts, _init(config)]


def evaluation(config: RunConfig) -> dict[str, str]:
    """What stands in the script's `evaluate`: what it goes through, after which start, and how it predicts."""
    name = config.algorithm.name
    by_shots = name in BY_SHOTS
    shots_read = "0 .. SHOTS examples" + (" of every class" if classifies(config) else "")
    start = ""
    if name in (*JOINT, "multi_task") and classifies(config):
        start = joint.START_JOINT if config.family.shuffles_labels else joint.START_WIDE
    if name == "multi_task" and not classifies(config):
        start = joint.START_HEADS
    return {
        "axis": shots_read if by_shots else "0 .. INNER_STEPS_EVAL inner steps",
        "start": start,
        "path": "adapt(theta, support)"
        if by_shots or _by_ridge(config.algorithm)
        else "inner_loop(with_task_axis(theta, len(x)), support, INNER_STEPS_EVAL)",
        "predict": {"nil": "vote", "nearest_neighbour": "nearest", "prompting": "in_context"}.get(name, "predict"),
    }


def tells_done(config: RunConfig) -> bool:
    """Whether the meta-gradient depends on how many outer steps were done."""
    return config.algorithm.name == "maml_plus_plus" or getattr(config.algorithm, "vary_shots", False)


def tells_tasks_apart(config: RunConfig) -> bool:
    """Whether the meta-gradient gives every task's own, which the natural gradient's squares need."""
    return config.outer_optimiser == "natural" and config.algorithm.name not in ONE_THETA


def classifies(config: RunConfig) -> bool:
    """Whether the tasks' targets are classes."""
    return config.family.kind == "classification"


def filled(text: str, pieces: Mapping[str, str]) -> str:
    """The text with each {key} replaced; for texts with many braces of their own."""
    for key, piece in pieces.items():
        text = text.replace("{" + key + "}", piece)
    return text


# --- the network


def _predict(config: RunConfig) -> str:
    """How the script predicts: by a linear head on the features, or by cosines."""
    by_cosine = config.algorithm.name == "prototypes" and _by_cosine(config)
    return shots.UNIT_FEATURES + "\n" + shots.PREDICT_BY_COSINE if by_cosine else networks.PREDICT


def _reader(config: RunConfig, inputs: str) -> str:
    if config.model.name == "cnp":
        return readers.CNP.format(inputs=inputs)
    of = readers.OF_IMAGES if classifies(config) else readers.OF_POINTS
    return readers.TRANSFORMER.format(**of | {"embedding": of["embedding"].replace("{inputs}", inputs)})


def _acting(family: Any) -> list[str]:
    scaled = acting.NORMALISED if family.normalise else acting.AS_IT_IS
    act = filled(acting.ACT, scaled | {"surrogate": acting.SURROGATES[family.curvature]})
    return [act, acting.BOXES] if family.curvature == "dice" else [act]


# --- the algorithm


def _by_cosine(config: RunConfig) -> bool:
    return getattr(config.algorithm, "metric", "euclidean") == "cosine"


def _by_ridge(algorithm: Any) -> bool:
    return getattr(algorithm, "head", "gradient") == "ridge"


def _annealed(algorithm: Any) -> bool:
    return bool(getattr(algorithm, "anneal_order", False)) and algorithm.order == 2


def _over_tasks(config: RunConfig) -> dict[str, str]:
    return algorithms.EACH_TASKS if tells_tasks_apart(config) else algorithms.MEAN_OF_TASKS


def _unused(config: RunConfig) -> str:
    """The character transformer has parameters that a name by itself does not read."""
    return algorithms.UNUSED if config.model.name == "char_transformer" else ""


def _init(config: RunConfig) -> str:
    return algorithms.INIT.format(body=_initial(config))


def _initial(config: RunConfig) -> str:
    algorithm: Any = config.algorithm
    if algorithm.name == "prototypes":
        return algorithms.INIT_BODY
    if algorithm.name == "maml_plus_plus" and algorithm.learn_rates:
        return algorithms.INIT_MAML_PLUS_PLUS
    if algorithm.name in (*JOINT, "multi_task") and classifies(config):
        return joint.INIT_JOINT.format(n_classes=n_classes(config.family))
    if algorithm.name == "multi_task":
        return joint.INIT_HEADS
    return algorithms.INIT_META_SGD if algorithm.learns_rates else algorithms.INIT_PLAIN


def _meta_gradient(config: RunConfig) -> list[str]:
    algorithm: Any = config.algorithm
    name = algorithm.name
    over = _over_tasks(config) | {"unused": _unused(config)}
    if name == "maml_plus_plus":
        importance = algorithms.IMPORTANCE_MOVES if algorithm.multi_step_loss else algorithms.IMPORTANCE_LAST
        exact = algorithms.EXACT if _annealed(algorithm) else ""
        return [importance, algorithms.WEIGHTED.format(exact=exact, **over)]
    if name == "reptile":
        return [algorithms.REPTILE.format(**over)]
    if name == "imaml":
        if not algorithm.cg_steps:
            return [algorithms.IMPLICIT.format(**algorithms.FIRST_ORDER, **over)]
        return [algorithms.IMPLICIT.format(**algorithms.EXACTLY, **over), algorithms.CONJUGATE_GRADIENTS]
    if name in (*JOINT, "multi_task"):
        return _joint(config)
    return [algorithms.UNROLLED.format(**over)] if name in UNROLLED else []


def _joint(config: RunConfig) -> list[str]:
    """The gradient of what all tasks share; with convolutions in the parts that the run takes on a processor."""
    side_by_side = config.algorithm.name == "multi_task"
    if not classifies(config):
        if side_by_side:
            return [joint.TRAINING_TASKS, joint.SIDE_BY_SIDE.format(tasks=joint.SIDE_BY_SIDE_REGRESSION)]
        return [joint.JOINT_REGRESSION.format(unused=_unused(config))]
    whole = joint.JOINT_CLASSIFICATION
    if side_by_side:
        whole = joint.SIDE_BY_SIDE.format(tasks=joint.SIDE_BY_SIDE_CLASSIFICATION)
    if config.model.name != "conv4":
        return [whole]
    part = whole.replace("def meta_gradient", "def part_gradient")
    at_once = tasks_at_once(config.model) or config.meta_batch_size
    told = "one task" if at_once == 1 else f"at most {at_once} tasks"
    return [part, joint.TASKS_OF, joint.IN_PARTS.format(at_once=at_once, told=told)]


def _reading(config: RunConfig) -> list[str]:
    varied = getattr(config.algorithm, "vary_shots", False)
    if classifies(config):
        first, read, practised = shots.FIRST_SHOTS, shots.READ_CLASSES, shots.VARIED_CLASSES
    else:
        first, read, practised = shots.FIRST_POINTS, shots.READ_POINTS, shots.VARIED_POINTS
    surprised = config.algorithm.name == "cnp"
    loss = shots.QUERY_SURPRISE if surprised else shots.QUERY_LOSS
    text = shots.READING.format(**read, **practised if varied else shots.ALL_SHOTS, **loss)
    return [first, shots.SURPRISE, text] if surprised else [first, text]


# --- the inner loop


def _adapting(config: RunConfig) -> list[str]:
    """How the parameters move from task to task: by inner steps, or a head at once."""
    algorithm: Any = config.algorithm
    if _by_ridge(algorithm):
        return [joint.RIDGE.format(targets=joint.RIDGE_CLASSES if classifies(config) else joint.RIDGE_VALUES)]
    parts = [_inner_loop(config)]
    if getattr(algorithm, "inner_batch", 0):
        chosen = algorithms.MINIBATCH_CLASSIFICATION if classifies(config) else algorithms.MINIBATCH_REGRESSION
        parts.append(algorithms.MINIBATCHES.format(chosen=chosen))
    if algorithm.name == "maml_plus_plus" and algorithm.learn_rates:
        parts.append(algorithms.RATE_OF_STEP)
    return parts


def _inner_loop(config: RunConfig) -> str:
    algorithm: Any = config.algorithm
    unrolled, reptile, proximal = algorithm.name in UNROLLED, algorithm.name == "reptile", algorithm.name == "imaml"
    adam, batched = reptile and algorithm.inner_optimiser == "adam", reptile and algorithm.inner_batch > 0
    fresh = config.family.kind == "reinforcement"
    rate = _rate(algorithm)
    begin = ("" if batched or fresh else algorithms.WHOLE_SET) + ("    seconds = []\n" if adam else "")
    create = ", create_graph=train" if unrolled and algorithm.order == 2 else ""
    examples = algorithms.MINIBATCH.format(support="fresh(support, k)" if fresh else "support") if batched else ""
    return algorithms.INNER_LOOP.format(
        k="k" if adam or batched or fresh or rate.endswith("k)") else "_",
        train_argument=_argument(algorithm),
        train_note=_note(algorithm),
        rule=_rule(algorithm, adam=adam),
        begin=begin + (algorithms.FROM_THETA if proximal else ""),
        examples=examples or (algorithms.FRESH if fresh else ""),
        detach=algorithms.DETACH_UNLESS_TRAIN if unrolled else algorithms.DETACH,
        names=_names(algorithm),
        record=algorithms.RECORD if reptile else "",
        create=create + (" and exact" if create and _annealed(algorithm) else "") + _unused(config),
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
    head_alone = name == "multi_task" and not algorithm.adapt_body
    if head_alone or name in ("anil", "linear_probe") or (name == "nil" and algorithm.trained_as == "anil"):
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
