"""A run as one file of plain PyTorch: the same tasks, initialisation, inner loop and outer optimiser.

The text is put together from readable pieces (`tasks`, `networks`, `algorithms`, `outer`), so that the script says
only what the run does. On a processor its losses are the run's.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from metalab.store import Note, Run
from metalab.takehome import networks, outer, tasks
from metalab.takehome.compose import JOINT, UNROLLED, algorithm_parts, algorithm_settings, evaluation, predict_part
from metalab.tasks.base import TaskFamily
from metalab.tasks.characters import CharacterFamily
from metalab.training.config import LIVE, RunConfig

FAMILIES = ("sinusoid", "linear", "glyphs", "omniglot", "mnist")
TURNED = ("glyphs", "omniglot")
"""Families whose training characters are turned by right angles, too."""
NETWORKS = ("mlp", "conv4")
METHODS = (*UNROLLED, "reptile", "imaml", "prototypes", *JOINT, "scratch")
OPTIMISERS = {"adam": "Adam", "sgd": "SGD"}
PLAIN_FREQUENCY = (1.0, 1.0)
Changes = Mapping[int, Mapping[str, float]]
"""After so many outer steps: constants of the script to their new values."""

HEADER = '''"""{algorithm} on {family}, in one file.

    python {file}

It needs {needs}. The same seed draws the same tasks and the same initial
parameters as in MetaLab, the same inner and outer steps follow, and the losses are the same{exactly}.

{paper}
{url}
"""
'''
EXACTLY = " on a processor"
ROUNDED = (
    ",\nup to rounding: on other numbers of cores convolutions may be added up in another order, and over many"
    "\nouter steps such differences grow"
)

SAID: Mapping[str, str] = {
    "SEED": "fixes the initialisation and the order of tasks",
    "DATA": "the pictures: this file belongs beside the script",
    "WAYS": "classes of a task",
    "SHOTS": "examples to learn from, of each class where there are classes",
    "QUERIES": "examples to be tested on, likewise",
    "NOISE": "standard deviation of what is added to every y",
    "WIDTHS": "units in each hidden layer",
    "FILTERS": "in each of the four convolutions",
    "STRIDE": "of each convolution",
    "INNER_LR": "alpha",
    "INNER_STEPS": "in meta-training",
    "INNER_BATCH": "examples of an inner step",
    "INNER_STEPS_EVAL": "on held-out tasks",
    "PROXIMAL": "lambda: how strongly phi is held to theta",
    "CG_STEPS": "conjugate-gradient steps for each meta-gradient",
    "DAMPING": "added to lambda in the linear system alone",
    "MULTI_STEP_UNTIL": "from this outer step on, the last inner step's query loss alone counts",
    "FIRST_ORDER_UNTIL": "from this outer step on, gradients are second order",
    "OUTER_LR": "beta",
    "META_BATCH_SIZE": "tasks of an outer step",
    "ACCUMULATE": "meta-batches averaged into an outer step",
    "CLIP_NORM": "longest meta-gradient that is let through",
    "EVALUATE_EVERY": "outer steps between two looks at the held-out tasks",
    "EVALUATION_TASKS": "held out, the same at every look",
    "CHANGES": "what was changed while the run went on, after how many outer steps",
}
_CHANGED = re.compile(r"(\w+) changed from (\S+) to (\S+)")


class NoScript(ValueError):
    """No script says what this run does; the message is one sentence that says why and what to take instead."""


def file_name(config: RunConfig) -> str:
    """What the script is called, e.g. maml_sinusoid.py."""
    return f"{_key(config)}_{config.family.name}.py"


def data_name(family: TaskFamily) -> str:
    """The file of pictures that the script reads; empty where it needs none."""
    return f"metalab-{family.name}.pt" if isinstance(family, CharacterFamily) else ""


def refusal(config: RunConfig) -> str | None:
    """Why no script is written for the run, in one sentence, or None where one is."""
    algorithm, model, take = config.algorithm, config.model, "take its config, which the command line trains again"
    reason = None
    if algorithm.name not in METHODS:
        reason = f"Scripts are written for the algorithms {', '.join(METHODS)} and not for {algorithm.name}"
    elif config.family.name not in FAMILIES:
        reason = f"Scripts are written for the families {', '.join(FAMILIES)} and not for {config.family.name}"
    elif model.name not in NETWORKS:
        reason = f"Scripts are written for the networks {' and '.join(NETWORKS)} and not for {model.name}"
    elif getattr(model, "batch_norm", "transductive") != "transductive":
        reason = "Scripts are written for transductive batch normalisation alone"
    elif config.outer_optimiser not in OPTIMISERS:
        reason = f"Scripts step with {' or '.join(OPTIMISERS)} and not with {config.outer_optimiser}"
    elif getattr(algorithm, "head", "gradient") == "ridge":
        reason = "Scripts fit a new head by gradient steps alone"
    elif algorithm.name == "meta_sgd" and algorithm.learns_rates and not getattr(algorithm, "inner_steps", 1):
        reason = "Without an inner step Meta-SGD has no rates to learn"
    return f"{reason}: {take}." if reason else None


def changes_of(run: Run, notes: Sequence[Note]) -> Changes:
    """What was changed while the run went on. Raises NoScript where its notes do not tell it exactly."""
    found: dict[int, dict[str, float]] = {}
    now: dict[str, float | None] = {name: _value(run.config, name) for name in LIVE}
    for note in notes:
        match = _CHANGED.fullmatch(note.text)
        name = next((name for name in LIVE if match and name.rpartition(".")[2] == match[1]), None)
        if match and name:
            value = float(match[3])
            now[name] = value
            found.setdefault(note.step, {})[match[1].upper()] = value
    if now != {name: _value(run.current, name) for name in LIVE}:
        raise NoScript("How this run's learning rates were changed while it ran is not known exactly: take its config.")
    return found


def script(config: RunConfig, changes: Changes | None = None) -> str:
    """The script's text. Raises NoScript."""
    reason = refusal(config)
    if reason:
        raise NoScript(reason)
    sections = [
        ("", [_header(config), _imports(config), _constants(config, changes or {})]),
        ("Tasks", _tasks(config.family)),
        ("Network", _network(config)),
        ("Algorithm", algorithm_parts(config)),
        ("Outer loop", _outer(config, bool(changes))),
    ]
    text = ""
    for title, parts in sections:
        text += f"\n\n# ---- {title} ----\n\n\n" if title else ""
        text += "\n".join(part.lstrip("\n") if n == 0 else part for n, part in enumerate(parts))
    return text


def data(family: CharacterFamily) -> bytes:
    """The pictures that the script reads: training classes (unturned) and held-out ones. Raises DataMissing."""
    import torch

    train = family.images("train")
    if family.name in TURNED:
        train = train[: len(train) // 4]
    file = io.BytesIO()
    torch.save({"train": train.clone(), "validation": family.images("validation").clone()}, file)
    return file.getvalue()


def _key(config: RunConfig) -> str:
    first_order = config.algorithm.name == "maml" and getattr(config.algorithm, "order", 2) == 1
    return "fomaml" if first_order else config.algorithm.name


def _value(config: RunConfig, name: str) -> float | None:
    part, _dot, setting = name.rpartition(".")
    return getattr(getattr(config, part) if part else config, setting, None)


def _header(config: RunConfig) -> str:
    card, beside = config.algorithm.card, data_name(config.family)
    return HEADER.format(
        algorithm=config.algorithm.label,
        family=config.family.title.lower() if config.family.kind == "regression" else config.family.title,
        file=file_name(config),
        needs=f"torch, and {beside} in the same folder" if beside else "torch and nothing else",
        exactly=EXACTLY if config.model.name == "mlp" else ROUNDED,
        paper=card.paper,
        url=card.url,
    )


def _imports(config: RunConfig) -> str:
    lines = ["import math"]
    if data_name(config.family):
        lines.append("from pathlib import Path")
    lines += ["", "import torch", "from torch.nn import functional as F"]
    return "\n".join(lines)


def _constants(config: RunConfig, changes: Changes) -> str:
    family, model, algorithm = config.family, config.model, config.algorithm
    found: dict[str, Any] = {"SEED": config.seed}
    if data_name(family):
        found["DATA"] = data_name(family)
    wanted = ("ways", "shots", "queries", "dimension", "amplitude", "phase", "frequency", "slope", "intercept", "noise")
    found |= _given(family, wanted)
    found |= _given(model, ("widths", "filters"))
    if model.name == "conv4":
        found["STRIDE"] = 1 if getattr(model, "downsampling", "") == "max_pool" else 2
    found |= _given(algorithm, algorithm_settings(algorithm))
    if algorithm.trains:
        found |= _given(config, ("outer_lr", "meta_batch_size", "accumulate", "clip_norm", "outer_steps"))
        found["EVALUATE_EVERY"] = config.evaluate_every
    found["EVALUATION_TASKS"] = config.evaluation_tasks
    idle = {"FREQUENCY": PLAIN_FREQUENCY, "NOISE": 0.0, "INNER_BATCH": 0, "ACCUMULATE": 1, "CLIP_NORM": 0.0}
    found = {name: value for name, value in found.items() if name not in idle or value != idle[name]}
    if changes:
        found["CHANGES"] = {step: dict(values) for step, values in sorted(changes.items())}
    return "\n" + "\n".join(
        f"{name} = {_literal(value)}" + (f"  # {SAID[name]}" if name in SAID else "") for name, value in found.items()
    )


def _given(part: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name.upper(): getattr(part, name) for name in names if hasattr(part, name)}


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value).replace("'", '"')


def _tasks(family: Any) -> list[str]:
    if isinstance(family, CharacterFamily):
        pictures = tasks.IMAGES.format(turned=tasks.TURNED if family.name in TURNED else "")
        return [pictures, "\nIMAGES = load_images()\n", tasks.CLASSIFICATION_LOSS]
    noise = tasks.NOISE if family.noise > 0 else ""
    if family.name == "linear":
        sample = tasks.LINEAR.format(noise=noise)
    else:
        varied = family.frequency[0] < family.frequency[1]
        plain = family.frequency == PLAIN_FREQUENCY
        frequency = "" if plain else tasks.MANY_FREQUENCIES if varied else tasks.ONE_FREQUENCY
        sample = tasks.SINUSOID.format(frequency=frequency, wx="x" if plain else "w * x", noise=noise)
    return [tasks.BETWEEN, sample, tasks.REGRESSION_LOSS]


def _network(config: RunConfig) -> list[str]:
    family, model = config.family, config.model
    if model.name == "conv4":
        pooled = getattr(model, "downsampling", "") == "max_pool"
        body = networks.CONV4.format(
            halved=networks.POOLED_HALF if pooled else networks.STRIDED_HALF, pool=networks.POOL if pooled else ""
        )
    else:
        images = isinstance(family, CharacterFamily)
        inputs = "28 * 28" if images else "DIMENSION" if family.name == "linear" else "1"
        body = networks.MLP.format(
            inputs=inputs,
            outputs="WAYS" if images else "1",
            activation=networks.ACTIVATIONS[getattr(model, "activation", "relu")],
        )
    return [networks.INIT_LINEAR, body, predict_part(config)]


def _outer(config: RunConfig, changed: bool) -> list[str]:
    images = isinstance(config.family, CharacterFamily)
    found = '"loss": [], "accuracy": []' if images else '"loss": []'
    evaluate = outer.EVALUATE.format(found=found, accuracy=outer.ACCURACY if images else "", **evaluation(config))
    threads = outer.ONE_THREAD if config.model.name == "mlp" else ""
    if not config.algorithm.trains:
        return [outer.STREAM, evaluate, outer.NO_TRAIN.format(threads=threads)]
    gradient = outer.ACCUMULATED if config.accumulate > 1 else outer.ONE_GRADIENT
    train = outer.TRAIN.format(
        optimiser=OPTIMISERS[config.outer_optimiser],
        changes=outer.CHANGES if changed else "",
        gradient=gradient.format(done=", step" if config.algorithm.name == "maml_plus_plus" else ""),
        clip=outer.CLIP if config.clip_norm > 0 else "",
        schedule=outer.SCHEDULES[config.schedule],
        metric=config.family.metric,
        form=".1%" if images else ".4f",
        threads=threads,
    )
    return [outer.STREAM, evaluate, train]
