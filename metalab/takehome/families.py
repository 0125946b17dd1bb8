"""Which pieces of `tasks` and `acting` say what a run's tasks are, and the file that a script reads them from."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

from metalab.takehome import acting, quadratic, tasks
from metalab.tasks.base import Split, TaskFamily
from metalab.tasks.characters import CharacterFamily
from metalab.tasks.languages import rows_of
from metalab.tasks.mixture import MODES
from metalab.tasks.names import lists_of

TURNED = ("glyphs", "omniglot")
"""Families whose training characters are turned by right angles, too."""
FAMILIES = (
    *("sinusoid", "linear", "mixture", "quadratic", "navigation", "glyphs", "omniglot", "mnist", "languages", "names"),
)
"""Those that scripts are written for."""
TEXT = ("languages", "names")
SPLITS: tuple[Split, ...] = ("train", "validation")
"""What a script draws tasks from."""
PLAIN_FREQUENCY = (1.0, 1.0)


def data_name(family: TaskFamily) -> str:
    """The file that the script reads; empty where it needs none."""
    read = isinstance(family, CharacterFamily) or family.name in TEXT
    return f"metalab-{family.name}.pt" if read else ""


def data(family: TaskFamily) -> bytes:
    """What the script reads: training classes (unturned) and held-out ones. Raises DataMissing."""
    import torch

    found = _pictures(family) if isinstance(family, CharacterFamily) else _names(family)
    file = io.BytesIO()
    torch.save(found, file)
    return file.getvalue()


def n_classes(family: TaskFamily) -> str:
    """How the script says how many training classes there are; classification families only."""
    return 'len(NAMES["train"]["first"])' if family.tokens else 'len(IMAGES["train"])'


def n_inputs(family: Any) -> str:
    """How the script says how many numbers an input has."""
    return {"images": "28 * 28", "linear": "DIMENSION", "navigation": "2"}.get(_key(family), "1")


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
    pictures = tasks.IMAGES.format(turned=tasks.TURNED if family.name in TURNED else "")
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
    "languages": lambda family: [tasks.NAMES, tasks.LANGUAGES, tasks.CLASSIFICATION_LOSS],
    "names": lambda family: [tasks.NAMES, tasks.WRITING],
    "navigation": lambda family: [acting.TASKS],
    "quadratic": _quadratic,
}


def _pictures(family: CharacterFamily) -> dict[str, Any]:
    train = family.images("train")
    if family.name in TURNED:
        train = train[: len(train) // 4]
    return {"train": train.clone(), "validation": family.images("validation").clone()}


def _names(family: TaskFamily) -> dict[str, Any]:
    import torch

    found = {split: rows_of(split) if family.name == "languages" else lists_of(split) for split in SPLITS}
    letters = found["train"].tokens.to(torch.uint8)
    return {"letters": letters} | {split: {"first": its.first, "count": its.count} for split, its in found.items()}
