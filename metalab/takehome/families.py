"""Which pieces of `tasks` and `acting` say what a run's tasks are, and the file that a script reads them from."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

from metalab.takehome import acting, digits, quadratic, tasks
from metalab.tasks import digit_tasks, mnist
from metalab.tasks.base import Split, TaskFamily
from metalab.tasks.characters import CharacterFamily
from metalab.tasks.cross import Cross
from metalab.tasks.languages import rows_of
from metalab.tasks.mixture import MODES
from metalab.tasks.names import lists_of

TURNED = ("glyphs", "omniglot")
"""Families whose training characters are turned by right angles, too."""
FAMILIES = (
    *("sinusoid", "linear", "mixture", "quadratic", "navigation", "glyphs", "omniglot", "mnist", "cross"),
    *("rotated_mnist", "permuted_mnist", "languages", "names"),
)
"""Those that scripts are written for."""
DIGITS = ("rotated_mnist", "permuted_mnist")
TEXT = ("languages", "names")
SPLITS: tuple[Split, ...] = ("train", "validation")
"""What a script draws tasks from."""
PLAIN_FREQUENCY = (1.0, 1.0)


def data_name(family: TaskFamily) -> str:
    """The file that the script reads; empty where it needs none."""
    if isinstance(family, Cross):
        return f"metalab-{family.train_on}-{family.test_on}.pt"
    read = isinstance(family, CharacterFamily) or family.name in (*DIGITS, *TEXT)
    return f"metalab-{family.name}.pt" if read else ""


def data(family: TaskFamily) -> bytes:
    """What the script reads: training classes (unturned) and held-out ones. Raises DataMissing."""
    import torch

    if isinstance(family, CharacterFamily):
        found = _pictures(family)
    else:
        found = _digits() if family.name in DIGITS else _names(family)
    file = io.BytesIO()
    torch.save(found, file)
    return file.getvalue()


def n_classes(family: TaskFamily) -> str:
    """How the script says how many training classes there are; classification families only."""
    if not family.shuffles_labels:
        return "WAYS"
    return 'len(NAMES["train"]["first"])' if family.tokens else 'len(IMAGES["train"])'


def n_inputs(family: Any) -> str:
    """How the script says how many numbers an input has."""
    if len(family.input_shape) == 3:
        return "28 * 28"
    return {"linear": "DIMENSION", "navigation": "2"}.get(family.name, "1")


def task_constants(family: Any) -> dict[str, Any]:
    """Constants of the script that are no settings of the family."""
    if family.name == "mixture":
        return {"KINDS": [MODES.index(mode) for mode in family.modes]}
    return {"TOKENS": family.input_shape[1]} if family.name == "names" else {}


def task_parts(family: TaskFamily) -> list[str]:
    """The pieces, in order."""
    return TASKS[_key(family)](family)


def _key(family: TaskFamily) -> str:
    return "images" if isinstance(family, CharacterFamily) else family.name


def _images(family: Any) -> list[str]:
    pictures = tasks.IMAGES.format(turned=tasks.TURNED if _turned(family) else "")
    return [pictures, "\nIMAGES = load_images()\n", tasks.CLASSIFICATION_LOSS]


def _sinusoid(family: Any) -> list[str]:
    varied = family.frequency[0] < family.frequency[1]
    plain = family.frequency == PLAIN_FREQUENCY
    frequency = "" if plain else tasks.MANY_FREQUENCIES if varied else tasks.ONE_FREQUENCY
    return _function(tasks.SINUSOID.format(frequency=frequency, wx="x" if plain else "w * x", noise=_noise(family)))


def _function(sample: str) -> list[str]:
    return [tasks.BETWEEN, sample, tasks.REGRESSION_LOSS]


def _noise(family: Any) -> str:
    return tasks.NOISE if family.noise > 0 else ""


def _quadratic(family: Any) -> list[str]:
    optimum = quadratic.LISTED if family.curvatures else quadratic.DRAWN
    own = "curvatures(n_tasks, rng)" if family.query_curvature == "own" else "curvature"
    parts = [] if family.curvatures else [tasks.BETWEEN, quadratic.TURNED if family.turned else quadratic.STRAIGHT]
    return [*parts, quadratic.SAMPLE.format(tasks=optimum, query_curvature=own), quadratic.LOSS]


TASKS: Mapping[str, Callable[[Any], list[str]]] = {
    "sinusoid": _sinusoid,
    "linear": lambda family: _function(tasks.LINEAR.format(noise=_noise(family))),
    "mixture": lambda family: _function(tasks.MIXTURE.format(noise=_noise(family))),
    "images": _images,
    "rotated_mnist": lambda family: [digits.PICTURES, digits.ROTATED, tasks.CLASSIFICATION_LOSS],
    "permuted_mnist": lambda family: [digits.PICTURES, digits.PERMUTED, tasks.CLASSIFICATION_LOSS],
    "languages": lambda family: [tasks.NAMES, tasks.LANGUAGES, tasks.CLASSIFICATION_LOSS],
    "names": lambda family: [tasks.NAMES, tasks.WRITING],
    "navigation": lambda family: [acting.TASKS],
    "quadratic": _quadratic,
}


def _turned(family: CharacterFamily) -> bool:
    return (family.train_on if isinstance(family, Cross) else family.name) in TURNED


def _pictures(family: CharacterFamily) -> dict[str, Any]:
    splits = [*SPLITS, *([family.away] if family.away else [])]
    found = {split: family.images(split) for split in splits}
    if _turned(family):
        found["train"] = found["train"][: len(found["train"]) // 4]
    return {split: images.clone() for split, images in found.items()}


def _digits() -> dict[str, Any]:
    images = mnist.ALL_DIGITS.images("test")
    return {split: images[:, slice(*digit_tasks.PICTURES[split])].clone() for split in SPLITS}


def _names(family: TaskFamily) -> dict[str, Any]:
    import torch

    found = {split: rows_of(split) if family.name == "languages" else lists_of(split) for split in SPLITS}
    letters = found["train"].tokens.to(torch.uint8)
    return {"letters": letters} | {split: {"first": its.first, "count": its.count} for split, its in found.items()}
