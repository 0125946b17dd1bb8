"""One task that contenders adapt to: sampled from the family's meta-test split, or made by a person."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError
from torch import Tensor

from metalab.settings import Settings, explain
from metalab.tasks.base import Examples, TaskFamily
from metalab.tasks.cldr import encode, normalised
from metalab.tasks.names import MOST_SHOTS, to_predict
from metalab.tasks.navigation import HALF
from metalab.training.start import stream

S = TypeVar("S", bound=Settings)
MOST_POINTS = 100
LARGEST = 1e3
"""Coordinates of a person's points lie within plus and minus this."""
MOST_NAMES = MOST_SHOTS
MOST_EXAMPLES = 25
"""Examples of one class in a person's drawings."""


@dataclass(frozen=True, eq=False)
class Challenge:
    """One task (task axis T = 1) and what is known of it."""

    family: TaskFamily
    support: Examples
    query_x: Tensor | None
    """(1, q, *input_shape), or None where nothing is asked."""
    query_y: Tensor | None
    """Their targets, or None where nobody knows them."""
    truth: NDArray[np.float32] | None
    """The noiseless function at the family's probe inputs (m,), where there is one."""
    title: str
    key: Hashable
    """Equal for equal tasks."""
    class_names: tuple[str, ...] = ()
    """What the classes are called, where people know them by names."""
    temperature: float = 0.7
    """How boldly names are written, for families of names."""
    draw: int = 0
    """Fixes the chances with which names are written."""


def sample_challenge(
    family: TaskFamily, seed: int, *, shots: int | None = None, queries: int | None = None
) -> Challenge:
    """A task of the meta-test split, the same for the same seed. Raises DataMissing, ValueError for bad settings."""
    family.require()
    family = changed(family, shots=shots, queries=queries)
    batch = family.sample(1, "test", stream(seed, "test"))
    support, query = batch.support, batch.query
    if family.kind == "classification":
        support, query = _by_class(support), _by_class(query)
    x = family.probe_x
    truth = None if x is None or family.kind != "regression" else family.truth(batch.info, x)[0, :, 0].numpy()
    return Challenge(
        family, support, query.x, query.y, truth, family.describe(batch.info, 0),
        ("sample", family.model_dump_json(), seed), family.class_names(batch.info, 0),
    )  # fmt: skip


def makeable(family: TaskFamily) -> Literal["points", "drawings", "goal", "names", ""]:
    """What a person can make a task of this family from: a function's points, drawings, a goal, names, or nothing."""
    if family.tokens:
        return "names"
    if family.kind == "reinforcement":
        return "goal"
    shape = family.input_shape
    if family.kind == "regression" and shape == (1,) and family.output_size == 1:
        return "points"
    if family.kind == "classification" and len(shape) == 3 and shape[0] == 1:
        return "drawings"
    return ""


def goal_challenge(family: TaskFamily, goal: tuple[float, float], *, shots: int | None = None) -> Challenge:
    """The task of a goal (x, y) in the plane; by chance its trajectories have what those of task 0 have.

    Raises ValueError for another family, or a goal outside the square in which goals lie.
    """
    if family.kind != "reinforcement":
        raise ValueError(f"goal: expected a family in which a point is moved, not {family.name!r}")
    if not all(math.isfinite(v) and abs(v) <= HALF for v in goal):
        raise ValueError(f"goal {tuple(goal)!r}: expected two numbers from -{HALF:g} to {HALF:g}")
    family = changed(family, shots=shots)
    batch = family.sample(1, "test", stream(0, "test"))
    place = torch.tensor(goal)
    support, query = (Examples(each.x, place.expand(each.y.shape)) for each in (batch.support, batch.query))
    title = family.describe({"goal": place[None]}, 0)
    return Challenge(family, support, query.x, query.y, None, title, ("goal", family.model_dump_json(), tuple(goal)))


def points_challenge(family: TaskFamily, points: Sequence[tuple[float, float]]) -> Challenge:
    """The task of a function's points (x, y), for a regression family with one input and one output.

    Raises ValueError for another family, no points, more than 100, or coordinates beyond plus and minus 1000.
    """
    if makeable(family) != "points":
        raise ValueError(f"points: expected a family of functions of one variable, not {family.name!r}")
    if not 1 <= len(points) <= MOST_POINTS:
        raise ValueError(f"{len(points)} points: expected 1 to {MOST_POINTS}")
    for point in points:
        if len(point) != 2 or not all(math.isfinite(v) and abs(v) <= LARGEST for v in point):
            raise ValueError(f"point {tuple(point)!r}: expected two numbers within -{LARGEST:g} and {LARGEST:g}")
    support = torch.tensor([list(map(float, point)) for point in points])[None]
    family = changed(family, shots=len(points))
    return Challenge(
        family, Examples(support[..., :1], support[..., 1:]), None, None, None, "",
        ("points", family.model_dump_json(), tuple(map(tuple, points))),
    )  # fmt: skip


def drawings_challenge(
    family: TaskFamily, drawings: Sequence[Sequence[ArrayLike]], query: ArrayLike | None = None
) -> Challenge:
    """The task of a person's drawings: drawings[class] are the examples of a class, (height, width) in [0, 1], 1 ink.

    Raises ValueError where the family's images or its number of ways differ, or a class has no example.
    """
    if makeable(family) != "drawings":
        raise ValueError(f"drawings: expected a family of grey images, not {family.name!r}")
    if len(drawings) != family.output_size:
        raise ValueError(f"drawings of {len(drawings)} classes: expected {family.output_size}, one for each output")
    images, labels = [], []
    for label, examples in enumerate(drawings):
        if not 1 <= len(examples) <= MOST_EXAMPLES:
            raise ValueError(f"class {label + 1} has {len(examples)} drawings: expected 1 to {MOST_EXAMPLES}")
        images += [_image(example, family, f"class {label + 1}") for example in examples]
        labels += [label] * len(examples)
    x = torch.stack(images)[None]
    asked = None if query is None else _image(query, family, "the query")[None, None]
    digest = hashlib.sha256(x.numpy().tobytes())
    digest.update(b"" if asked is None else asked.numpy().tobytes())
    return Challenge(
        family, Examples(x, torch.tensor(labels)[None]), asked, None, None, "",
        ("drawings", family.model_dump_json(), tuple(labels), digest.hexdigest()),
    )  # fmt: skip


def names_challenge(family: TaskFamily, names: Sequence[str]) -> Challenge:
    """The task of writing names like a person's.

    Raises ValueError for another family, no names or more than 30, one that is given twice, or what is no name.
    """
    if family.kind != "generation" or not family.tokens:
        raise ValueError(f"names: expected a family in which names are written, not {family.name!r}")
    found = _different(names, MOST_NAMES)
    x, y = to_predict(torch.from_numpy(encode(found)))
    family = changed(family, shots=len(found))
    return Challenge(
        family, Examples(x[None], y[None]), None, None, None, "", ("names", family.model_dump_json(), tuple(found))
    )


def words_challenge(family: TaskFamily, words: Sequence[Sequence[str]], query: str = "") -> Challenge:
    """The task of telling a person's lists of names apart: words[class] are its names; `query` is asked if not empty.

    Raises ValueError for another family or number of lists, an empty list, a name given twice, or what is no name.
    """
    if family.kind != "classification" or not family.tokens:
        raise ValueError(f"names: expected a family in which languages are told apart, not {family.name!r}")
    if len(words) != family.output_size:
        raise ValueError(f"{len(words)} lists of names: expected {family.output_size}, one for each output")
    for label, names in enumerate(words):
        if not names:
            raise ValueError(f"list {label + 1} has no name: expected one or more")
    found = _different([name for names in words for name in names], MOST_NAMES * len(words))
    y = torch.tensor([label for label, names in enumerate(words) for _name in names])
    asked = None if not query else torch.from_numpy(encode([normalised(query)]))[None]
    return Challenge(
        family, Examples(torch.from_numpy(encode(found))[None], y[None]), asked, None, None, "",
        ("words", family.model_dump_json(), tuple(found), tuple(y.tolist()), query),
    )  # fmt: skip


def _different(names: Sequence[str], most: int) -> list[str]:
    found = [normalised(name) for name in names]
    if not 1 <= len(found) <= most:
        raise ValueError(f"{len(found)} names: expected 1 to {most}")
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is there twice: expected different names")
    return found


def changed(settings: S, **values: Any) -> S:
    """The settings with those of `values` that are not None, checked again. Raises ValueError in one sentence."""
    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        return settings
    try:
        return type(settings).model_validate(settings.model_dump() | given)
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def _by_class(examples: Examples) -> Examples:
    order = examples.y[0].argsort(stable=True)
    return Examples(examples.x[:, order], examples.y[:, order])


def _image(drawing: ArrayLike, family: TaskFamily, name: str) -> Tensor:
    pixels = np.asarray(drawing, dtype=np.float32)
    if pixels.shape != family.input_shape[1:]:
        raise ValueError(f"{name}: a drawing of shape {pixels.shape}, expected {family.input_shape[1:]}")
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(f"{name}: pixels from {pixels.min()} to {pixels.max()}, expected numbers in [0, 1]")
    return torch.from_numpy(pixels.copy())[None]
