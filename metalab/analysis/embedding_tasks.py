"""Tasks to be embedded: the meta-test tasks of given numbers, what is known of each, and how they look to nobody's eye.

sampled(family, seeds) -> Tasks: support sets in one batch, attributes, and the raw inputs as vectors
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metalab.analysis.challenge import changed
from metalab.tasks.base import Examples, TaskBatch, TaskFamily
from metalab.tasks.mixture import MODES
from metalab.training.start import stream

Floats = NDArray[np.float32]
INK = 0.5
"""A pixel darker than this, where 1 is ink, counts as ink."""
CURVE = (16, 48)
"""Height and width of the small picture of a curve."""
SHOWN = 5
"""Classes that a small picture of characters shows."""


@dataclass(frozen=True, eq=False)
class Attribute:
    """Something that is known of every task and that no network is told."""

    name: str
    """In plain words, e.g. "amplitude"."""
    kind: Literal["number", "angle", "class", "set"]
    """A number; an angle, of which 180 and -180 degrees are the same; one label; or several labels of equal rank, as
    the alphabets of a task's characters."""
    values: Floats
    """(T,) numbers or degrees; else (T, labels): the share of each label in each task, rows of sum one."""
    labels: tuple[str, ...] = ()
    unit: str = ""

    @property
    def main(self) -> NDArray[np.int64]:
        """(T,) the label with the largest share, the first where there are several. Labelled attributes only."""
        return self.values.argmax(1)


@dataclass(frozen=True, eq=False)
class Described:
    """What a figure says of T tasks."""

    seeds: tuple[int, ...]
    """Their numbers."""
    titles: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    pictures: NDArray[np.bool_] | None
    """(T, height, width) a small picture of each task: its curve, its characters; None where there is none."""

    @property
    def n(self) -> int:
        """T."""
        return len(self.seeds)


@dataclass(frozen=True, eq=False)
class Tasks:
    """T tasks of one family's meta-test split, each as Adapt samples it from its number."""

    family: TaskFamily
    about: Described
    batch: TaskBatch
    raw: Floats | None
    """(T, d) the support set itself as a vector; None where it says nothing of the task, as noise to act with."""

    @property
    def n(self) -> int:
        """T."""
        return self.about.n


def sampled(family: TaskFamily, seeds: Sequence[int], *, shots: int | None = None, queries: int | None = None) -> Tasks:
    """The tasks of these numbers, equal to those of `sample_challenge`. Raises DataMissing, ValueError."""
    if not seeds:
        raise ValueError("no task numbers: expected one or more")
    family.require()
    family = changed(family, shots=shots, queries=queries)
    each = [family.sample(1, "test", stream(seed, "test")) for seed in seeds]
    batch = TaskBatch(
        Examples(*(torch.cat(parts) for parts in zip(*(one.support for one in each), strict=True))),
        Examples(*(torch.cat(parts) for parts in zip(*(one.query for one in each), strict=True))),
        {name: _joined([one.info[name] for one in each]) for name in each[0].info},
    )
    titles = tuple(family.describe(batch.info, i) for i in range(batch.n_tasks))
    about = Described(tuple(seeds), titles, attributes(family, batch), pictures(family, batch))
    return Tasks(family, about, batch, raw(family, batch.support))


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    return [entry for part in parts for entry in part]


def attributes(family: TaskFamily, batch: TaskBatch) -> tuple[Attribute, ...]:
    """What is known of the tasks, the most telling first; nothing that all of them share."""
    info = batch.info
    found: list[Attribute] = []
    for name in ("amplitude", "phase", "frequency", "slope", "intercept"):
        if name in info:
            found += _numbers(name, info[name])
    if "angle" in info:
        found.append(Attribute("angle", "angle", info["angle"].float().numpy()))
    if "goal" in info:
        x, y = info["goal"].double().unbind(-1)
        found.append(Attribute("goal angle", "angle", torch.rad2deg(torch.atan2(y, x)).float().numpy()))
        found += _numbers("goal distance", torch.hypot(x, y))
    if "optimum" in info:
        found += _numbers("optimum", info["optimum"])
    if "mode" in info:
        found.append(_labelled("kind of function", [(MODES[int(mode)],) for mode in info["mode"]]))
    if "language" in info:
        found.append(_labelled("language", [(language,) for language in info["language"]]))
    if "kind" in info:
        found.append(_labelled("kind of name", [(kind,) for kind in info["kind"]]))
    if "languages" in info:
        found.append(_labelled("languages", info["languages"]))
    if "names" in info:
        found.append(_labelled("alphabets", [[alphabet(name) for name in task] for task in info["names"]]))
    if family.kind == "classification" and not family.tokens and len(family.input_shape) == 3:
        found += _numbers("ink", 100 * (batch.support.x > INK).flatten(1).double().mean(1))
    units = {"phase": "radians", "angle": "degrees", "goal angle": "degrees", "ink": "% of the pixels"}
    named = [Attribute(a.name, a.kind, a.values, a.labels, units.get(a.name, "")) for a in found]
    return tuple(a for a in named if np.ptp(a.values, axis=0).max() > 0)


def alphabet(name: str) -> str:
    """That of a character, e.g. 'Greek' of 'Greek 7, turned 90°'; a digit's is all digits'."""
    return name.partition(",")[0].rpartition(" ")[0] or "digits"


def _numbers(name: str, values: Tensor) -> list[Attribute]:
    """One attribute for each column of values (T,) or (T, d)."""
    columns = values.reshape(len(values), -1).T
    names = [name] if len(columns) == 1 else [f"{name} {i + 1}" for i in range(len(columns))]
    return [Attribute(each, "number", column.float().numpy()) for each, column in zip(names, columns, strict=True)]


def _labelled(name: str, tasks: Sequence[Sequence[str]]) -> Attribute:
    labels = sorted({label for task in tasks for label in task})
    place = {label: i for i, label in enumerate(labels)}
    shares = np.zeros((len(tasks), len(labels)), np.float32)
    for row, task in zip(shares, tasks, strict=True):
        for label in task:
            row[place[label]] += 1 / len(task)
    single = all(len(set(task)) == 1 for task in tasks)
    return Attribute(name, "class" if single else "set", shares, tuple(labels))


def pictures(family: TaskFamily, batch: TaskBatch) -> NDArray[np.bool_] | None:
    """Small pictures (T, height, width): the true curve, or one example of each of a task's first classes."""
    probe_x = family.probe_x
    if family.kind == "regression" and probe_x is not None and probe_x.shape[1] == 1:
        places = torch.linspace(0, len(probe_x) - 1, CURVE[1]).round().long()
        y = family.truth(batch.info, probe_x[places])[..., 0].double().numpy()
        low, high = float(y.min()), float(y.max())
        row = ((high - y) / max(high - low, 1e-9) * (CURVE[0] - 1)).round().astype(int)
        return np.arange(CURVE[0])[None, :, None] == row[:, None]
    if family.kind != "classification" or family.tokens or len(family.input_shape) != 3:
        return None
    shown = []
    for x, y in zip(batch.support.x, batch.support.y, strict=True):
        firsts = [int((y == label).nonzero()[0]) for label in range(min(family.output_size, SHOWN))]
        # Half the size, by the darkest of four pixels: lines are thin.
        small = torch.nn.functional.max_pool2d(x[firsts].amax(1), 2) > INK
        shown.append(torch.nn.functional.pad(small, (0, 2, 1, 1)).permute(1, 0, 2).flatten(1).numpy())
    return np.stack(shown)


def raw(family: TaskFamily, support: Examples) -> Floats | None:
    """The support sets as vectors (T, d), without any network.

    Points (x, y) sorted by x; the mean image; how often each letter stands in the names.
    """
    x, y = support
    if family.kind == "reinforcement":
        return None
    if family.tokens:
        counts = torch.nn.functional.one_hot(x.flatten(1), family.input_shape[-1]).double()
        counts[..., 0] = 0  # what fills a name's row up
        counts = counts.sum(1)
        return (counts / counts.sum(1, keepdim=True).clamp_min(1)).float().numpy()
    if family.kind == "classification":
        return x.mean(1).flatten(1).float().numpy()
    if x.flatten(2).shape[2] == 1:
        order = x.flatten(1).argsort(1)
        x, y = (part.gather(1, order[..., None].expand_as(part)) for part in (x.flatten(2), y.flatten(2)))
    return torch.cat([x.flatten(1), y.flatten(1)], 1).float().numpy()
