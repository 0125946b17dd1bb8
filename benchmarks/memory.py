"""How much memory meta-training takes: flat over steps, against the inner steps, and against what was foretold.

python benchmarks/memory.py flat                  # 20,000 meta-steps of W1 and 500 of W4: does the process grow?
python benchmarks/memory.py steps                 # the peak of an outer step against the inner steps
python benchmarks/memory.py foretold              # what the guard before a run expects, beside what was taken
python benchmarks/memory.py flat --seconds 60     # at most so long for each workload; says how far it came

Each measurement is a process of its own on one thread, and what is counted is its resident size as Linux tells it
(VmRSS, and VmHWM for the peak). `--json` prints one JSON object as the last line.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

STEPS = {"W1": 20_000, "W4": 500}
"""Meta-steps of a workload of `python -m metalab bench`."""
WARM = {"W1": 1_000, "W4": 25}
"""Of them, how many are warm-up."""
INNER = (5, 10, 20)
KINDS: Mapping[str, Mapping[str, Any]] = {
    "first order": {"order": 1},
    "second order": {"order": 2},
    "second, 4 kept": {"order": 2, "steps_kept": 4},
    "second, 1 kept": {"order": 2, "steps_kept": 1},
}
LARGE: Sequence[tuple[str, str, dict[str, Any], int]] = (
    ("MLP 1024-1024, 32 tasks, 10 inner steps", "W1", {"model.widths": [1024, 1024], "meta_batch_size": 32}, 10),
    (
        "MLP 40-40, 128 tasks, 100 + 200 points, 20 steps",
        "W1",
        {"family.shots": 100, "family.queries": 200, "meta_batch_size": 128},
        20,
    ),
    ("conv4-64, 5-way, 4 tasks, 5 steps", "W4", {}, 5),
    ("conv4-64 max-pool, 5-way, 4 tasks, 2 steps", "W4", {"model.downsampling": "max_pool"}, 2),
    ("conv4-32, 20-way, 8 tasks, 2 steps", "W4", {"family.ways": 20, "model.filters": 32, "meta_batch_size": 8}, 2),
)


@dataclass(frozen=True)
class Flat:
    """The resident size of one workload's process, in MB."""

    workload: str
    meta_steps: int
    after_warm_up: float
    most_after: float
    at_end: float
    seconds: float

    @property
    def growth(self) -> float:
        """Of the largest size after warm-up over the one right then, as a share."""
        return self.most_after / self.after_warm_up - 1


def flat(name: str, seconds: float) -> Flat:
    """Train a workload and look at the process now and then."""
    config, steps, warm = config_of(name, {}), STEPS[name], WARM[name]
    began, seen, first = time.monotonic(), list[float](), 0.0
    for done, _ in enumerate(outer_steps(config, steps), start=1):
        if done == warm:
            gc.collect()
            first = resident()
        elif done > warm and (done % max(1, steps // 100) == 0 or done == steps):
            seen.append(resident())
        if time.monotonic() - began > seconds and seen:
            break
    return Flat(name, done, first, max(seen), seen[-1], time.monotonic() - began)


def peak(name: str, changes: Mapping[str, Any]) -> dict[str, float]:
    """MB that a process grows by in two outer steps of so changed a workload, and milliseconds of the second."""
    from metalab.training.memory import needed

    config = config_of(name, changes)
    foretold = needed(config, 1) / 1e6
    # What a process holds that has taken outer steps at all is not the workload's.
    for _ in outer_steps(config_of("W1", {}), 3):
        pass
    gc.collect()
    before, times = resident(), list[float]()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    last = time.perf_counter()
    for _ in outer_steps(config, 2):
        times.append(time.perf_counter() - last)
        last = time.perf_counter()
    return {"taken": resident("VmHWM") - before, "foretold": foretold, "milliseconds": 1e3 * times[1]}


def config_of(name: str, changes: Mapping[str, Any]) -> Any:
    """A workload of the bench with some settings changed, looked at as rarely as can be."""
    from metalab.training.bench import WORKLOADS
    from metalab.training.config import parse_config

    # A small inner rate: a run that diverges ends, whatever its size.
    rare = {"outer_steps": 1_000_000, "evaluate_every": 100_000, "evaluation_tasks": 2, "algorithm.inner_lr": 1e-4}
    return parse_config(WORKLOADS[name].config).changed({**rare, **changes})


def outer_steps(config: Any, n: int) -> Iterator[None]:
    """Take n outer steps on one thread, as a run would."""
    import torch

    from metalab.training.events import OuterStep
    from metalab.training.trainer import train

    torch.set_num_threads(1)
    events, done = train(config, threads=1), 0
    for event in events:
        if isinstance(event, OuterStep):
            yield
            done += 1
            if done == n:
                break
    events.close()


def resident(which: str = "VmRSS") -> float:
    """This process's resident size in MB, or its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(which))


def apart(*words: str) -> Any:
    """What a process of its own measures."""
    done = subprocess.run(
        [sys.executable, __file__, "measure", *words], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT
    )
    return json.loads(done.stdout.splitlines()[-1])


def told_flat(options: argparse.Namespace) -> list[dict[str, Any]]:
    from metalab.cli.table import table

    names = options.only.split(",") if options.only else list(STEPS)
    found = [Flat(**apart("flat", name, str(options.seconds))) for name in names]
    rows = [
        (
            f.workload,
            f"{f.meta_steps:,}",
            f"{f.after_warm_up:.1f}",
            f"{f.most_after:.1f}",
            f"{f.at_end:.1f}",
            f"{100 * f.growth:.2f}%",
            f"{f.seconds:.0f}",
        )
        for f in found
    ]
    head = ("", "meta-steps", "MB after warm-up", "most since", "at the end", "growth", "seconds")
    print(table(head, rows))
    return [asdict(one) | {"growth": one.growth} for one in found]


def told_steps(options: argparse.Namespace) -> list[dict[str, Any]]:
    from metalab.cli.table import table

    found = []
    for name in options.only.split(",") if options.only else STEPS:
        rows = []
        for kind, changes in KINDS.items():
            cells = []
            for inner in INNER:
                given = {f"algorithm.{key}": value for key, value in changes.items()} | {"algorithm.inner_steps": inner}
                one = apart("peak", name, json.dumps(given))
                found.append({"workload": name, "kind": kind, "inner_steps": inner, **one})
                cells.append(f"{one['taken']:.0f} MB {one['milliseconds']:.4g} ms")
            rows.append((kind, *cells))
        print(table((name, *(f"K = {inner}" for inner in INNER)), rows), end="\n\n")
    return found


def told_foretold(options: argparse.Namespace) -> list[dict[str, Any]]:
    from metalab.cli.table import table

    found = []
    for what, name, changes, inner in LARGE:
        for order in (1, 2):
            given = {**changes, "algorithm.inner_steps": inner, "algorithm.order": order}
            found.append({"what": f"{what}, order {order}", **apart("peak", name, json.dumps(given))})
    rows = [
        (f["what"], f"{f['foretold']:,.0f}", f"{f['taken']:,.0f}", f"{f['foretold'] / f['taken']:.2f}") for f in found
    ]
    print(table(("", "MB foretold", "MB taken", "foretold / taken"), rows))
    return found


def main() -> int:
    if sys.argv[1:2] == ["measure"]:
        what, name, more = sys.argv[2:]
        print(json.dumps(asdict(flat(name, float(more))) if what == "flat" else peak(name, json.loads(more))))
        return 0
    tables: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
        "flat": told_flat,
        "steps": told_steps,
        "foretold": told_foretold,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(tables))
    parser.add_argument("--only", help="workloads, e.g. W1 (flat, steps)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="at most so long for each workload (flat)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    found = tables[options.what](options)
    if options.json:
        print(json.dumps({options.what: found}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
