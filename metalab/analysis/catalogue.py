"""All stored runs as one searchable list: what each is, what people said of it, and how well it does.

Runs are looked for in plain words and in conditions on settings and results: "reptile 5-shot inner_lr<0.05 loss<0.5".
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.algorithms import ALGORITHMS
from metalab.analysis.bootstrap import apart
from metalab.models import MODELS
from metalab.store import Evaluation, Run, Store, library
from metalab.store.library import Marks
from metalab.tasks import FAMILIES
from metalab.tasks.base import HIGHER_IS_BETTER
from metalab.training.evaluation import summarise

MOST_RUNS = 500
"""The newest of everybody, and as many of one's own: a class makes hundreds in a lesson."""
RESULT = "result"
SIGNS = {"=": operator.eq, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}
_CONDITION = re.compile(r"([\w.]+)(<=|>=|=|<|>)(.+)")


@dataclass(frozen=True, eq=False)
class Result:
    """What a run's newest look at its held-out tasks found: (K + 1,) after 0 .. K inner steps, or shots."""

    metric: str
    mean: NDArray[np.float64]
    ci95: NDArray[np.float64]
    """Half the width of the mean's 95% interval over tasks."""
    tasks: int
    step: int
    """Outer steps taken by then."""

    @property
    def before(self) -> float:
        return float(self.mean[0])

    @property
    def after(self) -> float:
        return float(self.mean[-1])

    @property
    def higher(self) -> bool:
        """Whether more is better."""
        return self.metric in HIGHER_IS_BETTER


@dataclass(frozen=True, eq=False)
class Entry:
    """One run of the list."""

    run: Run
    marks: Marks
    result: Result | None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Dotted names to values, of the config that it was started with."""
        return dict(_flat(self.run.settings))

    @cached_property
    def words(self) -> str:
        """Everything about it that a word of a search may be part of, in small letters."""
        run = self.run
        titles = [
            getattr(found.get(name), "title", "")
            for found, name in ((FAMILIES, run.family), (ALGORITHMS, run.algorithm), (MODELS, run.model))
        ]
        said = [run.id, run.name, run.family, run.algorithm, run.model, run.state, self.marks.remark, *titles]
        return "\n".join([*said, *self.marks.tags]).lower()


def catalogue(store: Store, people: Collection[str], limit: int = MOST_RUNS) -> list[Entry]:
    """The newest runs of everybody, and of the one who asks as `people`; the newest first. Raises StoreError."""
    found = {run.id: run for owner in (None, *people) for run in store.runs(limit, owner)}
    runs = sorted(found.values(), key=lambda run: -run.number)
    marks = library.marks(store, runs, people)
    looks = library.last_looks(store, runs)
    return [Entry(run, marks[run.id], _result(run, looks.get(run.id))) for run in runs]


def search(entries: Sequence[Entry], text: str) -> list[Entry]:
    """Those that every word and condition of `text` fits. Raises ValueError for a condition on a name nobody has."""
    found = list(entries)
    for word in text.split():
        condition = _CONDITION.fullmatch(word)
        if condition is None:
            found = [entry for entry in found if word.lower() in entry.words]
            continue
        name, sign, value = condition.groups()
        if entries and all(_value(entry, name) is None for entry in entries):
            raise ValueError(f"{name!r}: no run here has a setting or result of that name")
        found = [entry for entry in found if _fits(_value(entry, name), sign, value)]
    return found


def best(entries: Sequence[Entry], family: str) -> Entry | None:
    """The run of the family whose newest result is best; None where none has one."""
    known = [entry for entry in entries if entry.run.family == family and entry.result is not None]
    finite = [entry for entry in known if entry.result and np.isfinite(entry.result.after)]
    if not finite:
        return None
    return min(finite, key=lambda entry: _ascending(entry.result))


def level_with(top: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """Of its family those whose newest result cannot be told from that of `top` (bootstrap.apart)."""
    return [
        entry
        for entry in entries
        if entry is not top
        and entry.run.family == top.run.family
        and entry.result is not None
        and top.result is not None
        and math.isfinite(entry.result.after)
        and not apart(_ends(entry.result), _ends(top.result))
    ]


def _ends(result: Result) -> tuple[float, float, float]:
    half = float(result.ci95[-1])
    return result.after, result.after - half, result.after + half


@dataclass(frozen=True)
class Difference:
    """A setting or a result in which runs differ: one text for each run."""

    name: str
    values: tuple[str, ...]


def differences(entries: Sequence[Entry]) -> list[Difference]:
    """The settings in which these runs differ, in the order of the config; a dash where a run has no such setting."""
    names = list(dict.fromkeys(name for entry in entries for name in entry.settings))
    found = [Difference(name, tuple(_text(entry.settings.get(name)) for entry in entries)) for name in names]
    return [each for each in found if len(set(each.values)) > 1]


def shared(entries: Sequence[Entry]) -> int:
    """How many settings these runs have in common."""
    names = {name for entry in entries for name in entry.settings}
    return len(names) - len(differences(entries))


def _result(run: Run, seen: Evaluation | None) -> Result | None:
    if seen is None:
        return None
    metric = metric_of(run.family)
    curve = seen.curves.get(metric)
    if curve is None:
        return None
    found = summarise(curve)
    return Result(metric, found.mean.numpy(), found.ci95.numpy(), len(curve), seen.step)


@lru_cache(maxsize=64)
def metric_of(family: str) -> str:
    """What says best how well tasks of a family are solved; the loss of one that this version does not know."""
    known = FAMILIES.get(family)
    return known(name=family).metric if known else "loss"


def _ascending(result: Result | None) -> float:
    assert result is not None
    return -result.after if result.higher else result.after


def _value(entry: Entry, name: str) -> Any:
    """What an entry has under a setting's dotted name or its last part, or among its results; None for nothing."""
    result = entry.result
    if result is not None and name in (RESULT, result.metric):
        return result.after
    own = {
        "step": entry.run.step,
        "stars": entry.marks.stars,
        "state": entry.run.state,
        "tag": entry.marks.tags or None,
    }
    if name in own:
        return own[name]
    if name in ("family", "algorithm", "model"):
        return entry.settings.get(f"{name}.name")
    if name in entry.settings:
        return entry.settings[name]
    return next((value for key, value in entry.settings.items() if key.rpartition(".")[2] == name), None)


def _fits(value: Any, sign: str, wanted: str) -> bool:
    if isinstance(value, tuple):
        return sign == "=" and wanted.lower() in value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return sign == "=" and value is not None and _text(value).lower() == wanted.lower()
    try:
        number = float(wanted)
    except ValueError:
        return False
    return SIGNS[sign](value, number)


def _flat(nested: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in nested.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", _text(value) if isinstance(value, list) else value))
    return found


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
