"""A run as one file of plain PyTorch: the same tasks, initialisation, inner loop and outer optimiser.

The text is put together from readable pieces, which `families` and `compose` choose, so that the script says
only what the run does. On a processor its losses are the run's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from metalab.store import Note, Run
from metalab.takehome import outer
from metalab.takehome.compose import (
    JOINT,
    NETWORKS,
    READERS,
    UNROLLED,
    algorithm_parts,
    classifies,
    evaluation,
    network_parts,
    tells_done,
    tells_tasks_apart,
)
from metalab.takehome.constants import Changes, constants
from metalab.takehome.families import FAMILIES, data_name, task_parts
from metalab.takehome.joint import TASKS_OF
from metalab.training.config import LIVE, RunConfig

METHODS = (*UNROLLED, "reptile", "imaml", "prototypes", *JOINT, "multi_task", *READERS, "prompting", "scratch")
OPTIMISERS = {"adam": "Adam", "sgd": "SGD", "natural": ""}
"""What torch calls them; who takes natural-gradient steps stands in the script."""

CONVOLVING = ("conv4", "transformer")

HEADER = '''"""{algorithm} on {family}, in one file.

    python {file}

It needs {needs}.
The same seed draws the same tasks and the same initial parameters as in MetaLab, the same inner and outer steps
follow, and the losses are the same{exactly}.

{paper}
{url}
"""
'''
EXACTLY = " on a processor"
ROUNDED = (
    " up to rounding: numbers may be added up in another order, on other numbers of\n"
    "cores above all, and over many outer steps such differences grow"
)

FIGURES = {
    "classification": ("loss", "accuracy"),
    "regression": ("loss",),
    "generation": ("loss", "perplexity"),
    "reinforcement": ("loss", "return"),
}
"""What a look at held-out tasks shows, by the family's kind."""
IMPORTS = {"math.": "import math", "Path(": "from pathlib import Path"}
_CHANGED = re.compile(r"(\w+) changed from (\S+) to (\S+)")


class NoScript(ValueError):
    """No script says what this run does; the message is one sentence that says why and what to take instead."""


def file_name(config: RunConfig) -> str:
    """What the script is called, e.g. maml_sinusoid.py."""
    return f"{_key(config)}_{config.family.name}.py"


def refusal(config: RunConfig) -> str | None:
    """Why no script is written for the run, in one sentence, or None where one is."""
    algorithm, model, take = config.algorithm, config.model, "take its config, which the command line trains again"
    reason = None
    if algorithm.name not in METHODS:
        reason = f"No script is written for the algorithm {algorithm.name}"
    elif config.family.name not in FAMILIES:
        reason = f"No script is written for the family {config.family.name}"
    elif model.name not in NETWORKS:
        reason = f"No script is written for the network {model.name}"
    elif config.outer_optimiser not in OPTIMISERS:
        reason = f"No script is written for the outer optimiser {config.outer_optimiser}"
    elif getattr(model, "batch_norm", "transductive") != "transductive":
        reason = "Scripts normalise query images together (transductive batch normalisation), which this run does not"
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
        ("Tasks", task_parts(config.family)),
        ("Network", network_parts(config)),
        ("Algorithm", algorithm_parts(config)),
        ("Outer loop", _outer(config, bool(changes))),
    ]
    text = ""
    for title, parts in sections:
        text += f"\n\n# ---- {title} ----\n\n\n"
        text += "\n".join(part.lstrip("\n") if n == 0 else part for n, part in enumerate(parts))
    return "\n".join([_header(config), _imports(text), constants(config, changes or {})]) + text


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
        exactly=ROUNDED if config.model.name in CONVOLVING or config.family.kind == "reinforcement" else EXACTLY,
        paper=card.paper,
        url=card.url,
    )


def _imports(text: str) -> str:
    """What the text uses."""
    own = [line for used, line in IMPORTS.items() if used in text]
    functional = ["from torch.nn import functional as F"] if re.search(r"\bF\.\w", text) else []
    return "\n".join([*own, *([""] if own else []), "import torch", *functional])


def _outer(config: RunConfig, changed: bool) -> list[str]:
    names = FIGURES[config.family.kind] + (("negative_log_likelihood",) if config.algorithm.name == "cnp" else ())
    evaluate = outer.EVALUATE.format(
        found=", ".join(f'"{name}": []' for name in names),
        figures="".join(outer.FIGURES[name] for name in names),
        **evaluation(config),
    )
    threads = "" if config.model.name == "conv4" else outer.ONE_THREAD
    if not config.algorithm.trains:
        return [outer.STREAM, evaluate, outer.NO_TRAIN.format(threads=threads)]
    natural = config.outer_optimiser == "natural"
    accumulates, done = config.accumulate > 1, ", step" if tells_done(config) else ""
    step, schedule = outer.NATURAL if natural else outer.STEP, outer.SCHEDULES[config.schedule]
    train = outer.TRAIN.format(
        optimiser=outer.FISHER if natural else outer.OPTIMISER.format(kind=OPTIMISERS[config.outer_optimiser]),
        away=outer.AWAY if config.family.away else "",
        changes=outer.CHANGES if changed else "",
        looked_away=outer.LOOKED_AWAY if config.family.away else "",
        gradient=outer.GRADIENT[natural, accumulates].format(done=done),
        clip=outer.CLIP if config.clip_norm > 0 else "",
        step=step.format(schedule=schedule),
        metric=config.family.metric,
        form=".1%" if classifies(config) else ".4f",
        threads=threads,
    )
    return [outer.STREAM, evaluate, *(_natural(config) if natural else []), train]


def _natural(config: RunConfig) -> list[str]:
    """What a natural-gradient step needs, beside the meta-gradient."""
    done = ", done" if tells_done(config) else ""
    if tells_tasks_apart(config):
        return [outer.NATURAL_STEP, outer.SQUARES_OF_TASKS.format(done=done)]
    in_parts = config.model.name == "conv4"  # there meta_gradient brings it along
    squares = outer.SQUARES_ONE_BY_ONE.format(done=done)
    return [outer.NATURAL_STEP, *([] if in_parts else [TASKS_OF]), squares]
