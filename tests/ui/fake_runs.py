"""A source of invented runs for the tests of the streams and of the live panel: no training, exact numbers."""

import math
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from metalab.training.jobs import Vitals

INNER_STEPS = 5
GRID = [-5 + 0.25 * i for i in range(41)]
PROBE_TASKS = [
    ("amplitude 1.0, phase 0.3", 1.0, 0.3),
    ("amplitude 3.2, phase 1.4", 3.2, 1.4),
    ("amplitude 4.6, phase 2.6", 4.6, 2.6),
]
SUPPORT_X = [-4.1, -2.2, -0.7, 0.4, 1.9, 3.3, 4.4]


@dataclass
class FakeRun:
    """One invented run: its status, and the log of what happened, which cursors count."""

    id: str
    algorithm: str = "maml"
    state: str = "running"
    step: int = 0
    outer_steps: int = 4000
    owner: str = ""
    epoch: int = 0
    message: str = ""
    queue_place: int | None = None
    accuracy: bool = False
    meta_gradient: bool = False
    away: bool = False
    log: list[tuple[str, Any]] = field(default_factory=list)


class FakeRuns:
    """A `Source` whose runs move only when `advance` is called."""

    alive = True

    def __init__(self, *runs: FakeRun) -> None:
        self.runs = {run.id: run for run in runs}
        self.reads = 0
        self._changed = threading.Condition()

    def advance(self, run_id: str, steps: int, *, every: int = 100) -> None:
        """Do some outer steps of a run: one training point each, an evaluation at each multiple of `every`."""
        run = self.runs[run_id]
        with self._changed:
            if not run.log:
                run.log.append(("evaluation", _evaluation(run)))
            for _ in range(steps):
                run.step += 1
                wobble = 1 + 0.35 * math.sin(12.9898 * run.step) * math.cos(78.233 * run.step)
                run.log.append(("train/loss", (run.step, _after(run) * wobble)))
                if run.meta_gradient:
                    run.log.append(("train/gradient_norm", (run.step, wobble)))
                if run.step % every == 0:
                    run.log.append(("evaluation", _evaluation(run)))
            if run.step >= run.outer_steps:
                run.state = "finished"
            self._changed.notify_all()

    def tick(self, steps: int) -> None:
        """Do some outer steps of every run that is in state running."""
        for run in list(self.runs.values()):
            with self._changed:
                if run.state == "running":
                    self.advance(run.id, steps)

    def set(self, run_id: str, **values: Any) -> None:
        """Change a run's status."""
        with self._changed:
            for name, value in values.items():
                setattr(self.runs[run_id], name, value)
            self._changed.notify_all()

    def note(self, run_id: str, text: str) -> None:
        """Record a change of a setting."""
        with self._changed:
            self.runs[run_id].log.append(("note", {"step": self.runs[run_id].step, "text": text}))
            self._changed.notify_all()

    def reset(self, run_id: str) -> None:
        """Start a run again: its old cursors become worthless."""
        with self._changed:
            run = self.runs[run_id]
            run.log, run.step, run.state, run.epoch = [], 0, "running", run.epoch + 1
            self._changed.notify_all()

    def delete(self, run_id: str) -> None:
        """Forget a run."""
        with self._changed:
            del self.runs[run_id]
            self._changed.notify_all()

    def updates(self, run_id: str, cursor: str | None, owners: Collection[str]) -> dict[str, Any] | None:
        with self._changed:
            self.reads += 1
            run = self.runs.get(run_id)
            if run is None:
                return None
            epoch, place = map(int, cursor.split(":")) if cursor else (run.epoch, 0)
            full = epoch != run.epoch
            news = run.log[0 if full else place :]
            return {
                "cursor": f"{run.epoch}:{len(run.log)}",
                "full": full,
                "run": _status(run, owners),
                "metrics": _metrics(news),
                "evaluations": [content for kind, content in news if kind == "evaluation"],
                "probe": _probe() if cursor is None and not run.accuracy else None,
                "notes": [content for kind, content in news if kind == "note"],
            }

    def wait(self, run_id: str, cursor: str | None, timeout: float) -> None:
        with self._changed:
            run = self.runs.get(run_id)
            if run is not None and cursor == f"{run.epoch}:{len(run.log)}":
                self._changed.wait(timeout)

    def csv(self, run_id: str) -> str | None:
        if run_id not in self.runs:
            return None
        rows = [f"{kind},{content[0]},{content[1]}" for kind, content in self.runs[run_id].log if "/" in kind]
        return "\r\n".join(["metric,outer_step,value", *rows]) + "\r\n"

    def vitals(self) -> Vitals:
        return Vitals(self.alive, running=1, waiting=2, workers=3, silent_seconds=0.5)


def _status(run: FakeRun, owners: Collection[str]) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.id,
        "algorithm": run.algorithm,
        "family": "sinusoid",
        "model": "mlp",
        "state": run.state,
        "step": run.step,
        "outer_steps": run.outer_steps,
        "steps_per_second": 312.5,
        "eta_seconds": (run.outer_steps - run.step) / 312.5,
        "message": run.message,
        "queue_place": run.queue_place,
        "mine": run.owner in {"", *owners},
        "controllable": run.owner in {"", *owners},
    }


def _metrics(news: list[tuple[str, Any]]) -> dict[str, dict[str, list[float]]]:
    series: dict[str, dict[str, list[float]]] = {}

    def add(name: str, step: int, value: float) -> None:
        points = series.setdefault(name, {"step": [], "value": []})
        points["step"].append(step)
        points["value"].append(value)

    for kind, content in news:
        if kind == "evaluation":
            for name, curve in content["curves"].items():
                metric = name.removesuffix("_away")
                place = "validation" if metric == name else "away"
                add(f"{place}/{metric}_before", content["step"], curve["mean"][0])
                add(f"{place}/{metric}_after", content["step"], curve["mean"][-1])
        elif kind != "note":
            add(kind, *content)
    return series


def _learned(run: FakeRun) -> float:
    """How far meta-training has come, between 0 and 1; Reptile is slower here."""
    return 1 - math.exp(-run.step / (500 if run.algorithm == "maml" else 1100))


def _after(run: FakeRun) -> float:
    return 4.3 - 3.85 * _learned(run)


def _evaluation(run: FakeRun) -> dict[str, Any]:
    learned = _learned(run)
    tasks = []
    for i in range(12):
        scale = 0.45 + 1.1 * ((7 * i) % 12) / 11
        start, end = 4.3 * scale * (1 - 0.15 * learned), 4.3 * scale * (1 - 0.9 * learned)
        tasks.append([end + (start - end) * math.exp(-k * (0.25 + learned)) for k in range(INNER_STEPS + 1)])
    curves = {"loss": _curve(tasks)}
    if run.accuracy:
        curves["accuracy"] = _curve([[0.2 + 0.75 * math.exp(-value) for value in task] for task in tasks])
    if run.away:
        curves |= {
            f"{name}_away": _curve([[1.3 * v for v in task] for task in c["tasks"]]) for name, c in curves.items()
        }
    functions = [
        [
            [amplitude * math.sin(x - phase) * (1 - math.exp(-k * (0.1 + learned))) - 0.4 * math.cos(x) for x in GRID]
            for k in range(INNER_STEPS + 1)
        ]
        for _, amplitude, phase in PROBE_TASKS
    ]
    return {"step": run.step, "curves": curves, "functions": None if run.accuracy else functions}


def _curve(tasks: list[list[float]]) -> dict[str, Any]:
    mean = [sum(column) / len(tasks) for column in zip(*tasks, strict=True)]
    half = [
        1.96 * math.sqrt(sum((x - m) ** 2 for x in column) / (len(tasks) - 1) / len(tasks))
        for m, column in zip(mean, zip(*tasks, strict=True), strict=True)
    ]
    low = [m - h for m, h in zip(mean, half, strict=True)]
    return {"mean": mean, "low": low, "high": [m + h for m, h in zip(mean, half, strict=True)], "tasks": tasks}


def _probe() -> dict[str, Any]:
    return {
        "x": GRID,
        "tasks": [
            {
                "label": label,
                "support": {"x": SUPPORT_X, "y": [amplitude * math.sin(x - phase) for x in SUPPORT_X]},
                "truth": [amplitude * math.sin(x - phase) for x in GRID],
            }
            for label, amplitude, phase in PROBE_TASKS
        ],
    }
