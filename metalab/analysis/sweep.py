"""What a sweep found: which values of its settings reached what, and which settings matter."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metalab.analysis.bootstrap import apart
from metalab.analysis.catalogue import metric_of
from metalab.store import Run, Store, library
from metalab.store.sweeps import Sweep
from metalab.tasks.base import HIGHER_IS_BETTER
from metalab.training.evaluation import summarise
from metalab.training.sweeps import is_over

LEFT = "Adaptation diverged on a held-out task: there is no mean."


@dataclass(frozen=True)
class Tried:
    """One trial."""

    place: int
    values: tuple[Any, ...]
    """Of the sweep's settings, in their order."""
    run: str
    state: str
    """The run's, or "refused" where there is none, "gone" where it was deleted."""
    result: float
    """The metric after adaptation, mean over held-out tasks, as last looked at; NaN where there is none yet."""
    ci95: float
    """Half the width of its 95% interval."""
    message: str = ""
    """Why it was refused, failed or has no result, in one sentence."""
    over: bool = True
    """Whether it is trained no further, also when the sweep is resumed."""


@dataclass(frozen=True)
class Table:
    """A sweep's trials that were begun."""

    metric: str
    settings: tuple[str, ...]
    """Dotted names."""
    log: tuple[bool, ...]
    """Whether each setting is best seen on a logarithmic axis."""
    size: int
    """How many trials there will be."""
    rows: tuple[Tried, ...]
    """In the order of their places."""

    @property
    def higher(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric in HIGHER_IS_BETTER

    @property
    def ranked(self) -> tuple[Tried, ...]:
        """The finished ones with a result, the best first: what was trained for less is no match for them."""
        known = [row for row in self.rows if row.state == "finished" and math.isfinite(row.result)]
        return tuple(sorted(known, key=lambda row: -row.result if self.higher else row.result))

    @property
    def done(self) -> int:
        """Trials that are over, one way or another."""
        return sum(row.over for row in self.rows)


def table(store: Store, sweep: Sweep) -> Table:
    """A sweep with what its runs found so far."""
    axes: Sequence[Mapping[str, Any]] = sweep.plan["axes"]
    names = tuple(str(axis["name"]) for axis in axes)
    runs = {trial.run: store.find(trial.run) for trial in sweep.trials if trial.run}
    found = [run for run in runs.values() if run is not None]
    looks = library.last_looks(store, found)
    metric = metric_of(str(sweep.plan["base"].get("family", {}).get("name", "sinusoid")))
    rows = []
    for trial in sweep.trials:
        run: Run | None = runs.get(trial.run)
        result, ci95, message = math.nan, math.nan, trial.message
        if run is not None and run.id in looks and metric in looks[run.id].curves:
            summary = summarise(looks[run.id].curves[metric])
            result, ci95 = float(summary.mean[-1]), float(summary.ci95[-1])
            if run.state == "finished" and not math.isfinite(result):
                message = LEFT
        state = run.state if run else "gone" if trial.run else "refused"
        values = tuple(_plain(trial.changes.get(name)) for name in names)
        if run is not None and run.state == "failed":
            message = run.message
        over = is_over(sweep, state)
        rows.append(Tried(trial.place, values, trial.run if run else "", state, result, ci95, message, over))
    return Table(metric, names, tuple(_log(axis) for axis in axes), _size(sweep), tuple(rows))


@dataclass(frozen=True, eq=False)
class Landscape:
    """The results over two settings of a grid: the mean over whatever else varies."""

    x: tuple[Any, ...]
    y: tuple[Any, ...]
    mean: NDArray[np.float64]
    """(len(y), len(x)); NaN where nothing was reached."""
    trials: NDArray[np.int64]
    """(len(y), len(x)): how many results each mean is of."""


def landscape(found: Table, x: str, y: str) -> Landscape:
    """Over the values of settings `x` and `y` that were tried, in their order."""
    i, j = found.settings.index(x), found.settings.index(y)
    columns, rows = (_ordered([row.values[n] for row in found.rows]) for n in (i, j))
    total, count = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)), np.int64)
    for row in found.ranked:
        place = rows.index(row.values[j]), columns.index(row.values[i])
        total[place] += row.result
        count[place] += 1
    with np.errstate(invalid="ignore"):
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return Landscape(tuple(columns), tuple(rows), mean, count)


def influence(found: Table) -> dict[str, float]:
    """How far the result depends on each setting alone: the share of its variance between the setting's values.

    Values are sorted and cut into at most four groups; 0 where nothing follows from the setting, 1 where all does.
    Losses count by their logarithms. Empty with fewer than four results.
    """
    ranked = found.ranked
    if len(ranked) < 4:
        return {}
    y = np.array([row.result for row in ranked])
    if not found.higher and (y > 0).all():
        y = np.log(y)
    whole = y.var()
    out = {}
    for n, name in enumerate(found.settings):
        values = [row.values[n] for row in ranked]
        order = _ordered(values)
        places = np.array([order.index(value) for value in values])
        groups = places * min(4, len(order)) // len(order)
        between = sum((groups == g).mean() * (y[groups == g].mean() - y.mean()) ** 2 for g in set(groups.tolist()))
        out[name] = float(between / whole) if whole > 0 else 0.0
    return out


def level_with_best(found: Table) -> int:
    """How many other trials cannot be told from the best, by the 95% interval of the difference (bootstrap.apart)."""
    ends = [(row.result, row.result - row.ci95, row.result + row.ci95) for row in found.ranked]
    return sum(not apart(ends[0], each) for each in ends[1:])


def _ordered(values: Sequence[Any]) -> list[Any]:
    """The different values, numbers by size and others as they come."""
    different = list(dict.fromkeys(values))
    numbers = all(isinstance(value, int | float) for value in different)
    return sorted(different) if numbers else different


def _size(sweep: Sweep) -> int:
    axes, method = sweep.plan["axes"], sweep.plan.get("method", "grid")
    return math.prod(len(axis["values"]) for axis in axes) if method == "grid" else int(sweep.plan["trials"])


def _log(axis: Mapping[str, Any]) -> bool:
    if not axis.get("values"):
        return bool(axis.get("log"))
    values = [value for value in axis["values"] if isinstance(value, int | float) and not isinstance(value, bool)]
    return len(values) == len(axis["values"]) and min(values) > 0 and max(values) / min(values) >= 8


def _plain(value: Any) -> Any:
    """Lists, which JSON makes of ranges and widths, as text."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def packed(found: Table, plan: Mapping[str, Any]) -> str:
    """A finished sweep as JSON, without its runs: how the example comes with MetaLab."""
    rows = [
        {
            "place": row.place,
            "values": row.values,
            "state": row.state,
            "result": row.result if math.isfinite(row.result) else None,
            "ci95": row.ci95 if math.isfinite(row.ci95) else None,
        }
        for row in found.rows
    ]
    return json.dumps({"plan": plan, "metric": found.metric, "rows": rows}, indent=1) + "\n"


def unpacked(text: str) -> tuple[Table, dict[str, Any]]:
    """What `packed` wrote: the table, and its plan."""
    data = json.loads(text)
    axes = data["plan"]["axes"]
    rows = tuple(
        Tried(
            row["place"],
            tuple(row["values"]),
            "",
            row["state"],
            math.nan if row["result"] is None else row["result"],
            math.nan if row["ci95"] is None else row["ci95"],
        )
        for row in data["rows"]
    )
    names = tuple(axis["name"] for axis in axes)
    return Table(data["metric"], names, tuple(_log(axis) for axis in axes), len(rows), rows), data["plan"]
