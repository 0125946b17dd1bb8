"""What a meta-step costs against its size: time, the arithmetic's own cost, and whether anything grows faster than it.

python benchmarks/cost.py                           # the tables
python benchmarks/cost.py --to FOLDER --json        # and cost.html, cost.csv, cost.json in FOLDER
python benchmarks/cost.py --only "characters: ways" --repeats 9

Every size is an outer step of a run on one thread; sizes are timed in turn, and the median block counts. The
arithmetic of a meta-step is the number of floating-point operations of its matrix products (torch's FlopCounterMode, on
tensors without numbers). Its own cost, the dashed line, is that number at the rate at which the largest size of the
same row is computed here: where the measured line lies above it, smaller sizes pay for something other than arithmetic
(calls, Python); were it below, time would grow faster than the arithmetic does.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch.utils.flop_counter import FlopCounterMode

from metalab.cli.parsing import as_json
from metalab.cli.table import table
from metalab.figures.style import INK, SOFT, axis, colour_of, layout, line
from metalab.tasks.base import Examples, TaskBatch
from metalab.training.bench import WORKLOADS
from metalab.training.config import RunConfig, parse_config
from metalab.training.events import OuterStep
from metalab.training.outer import differentiated
from metalab.training.parallel import Workers
from metalab.training.start import initialise, place, stream
from metalab.training.trainer import train

BLOCK_SECONDS = 0.25
SMALL = {"model.filters": 32, "algorithm.inner_steps": 2}
"""The characters' workload W4 with half the filters and two inner steps: every sweep then takes seconds."""
SWEEPS: Mapping[str, tuple[str, Mapping[str, Any], str, Sequence[int]]] = {
    "sine waves: meta-batch": ("W1", {}, "meta_batch_size", (1, 4, 16, 32, 64, 128)),
    "sine waves: inner steps": ("W1", {}, "algorithm.inner_steps", (1, 2, 5, 10, 20)),
    "characters: meta-batch": ("W4", SMALL, "meta_batch_size", (1, 2, 4, 8, 16)),
    "characters: inner steps": ("W4", SMALL, "algorithm.inner_steps", (1, 2, 5, 10)),
    "characters: ways": ("W4", SMALL, "family.ways", (2, 5, 10, 20)),
    "characters: filters": ("W4", SMALL, "model.filters", (8, 16, 32, 64, 128)),
}
TICKS = [digit * 10.0**power for power in range(-2, 5) for digit in (1, 2, 5)]
FASTER = 1.15
"""Growth beyond the arithmetic's that is told."""


@dataclass(frozen=True)
class Row:
    """One size of a sweep."""

    sweep: str
    size: int
    milliseconds: float
    """The median block's, for a meta-step."""
    gigaflops: float
    """Billions of operations of a meta-step."""
    rate: float
    """Of them, how many in a second."""
    arithmetic: float
    """Milliseconds that they take at the rate of the sweep's largest size."""


class Timed:
    """A run that is warm, timed a block at a time."""

    def __init__(self, config: RunConfig) -> None:
        rare = {"outer_steps": 1_000_000, "evaluate_every": 100_000, "evaluation_tasks": 2}
        self._events = train(config.changed(rare), threads=1)
        self._steps = (event for event in self._events if isinstance(event, OuterStep))
        self.seconds: list[float] = []
        for _ in range(3):
            took = self._take(1)
        self._block = max(1, round(BLOCK_SECONDS / took))

    def measure(self) -> None:
        """Time one block."""
        self.seconds.append(self._take(self._block))

    def _take(self, n: int) -> float:
        began = time.perf_counter()
        for _ in range(n):
            next(self._steps)
        return (time.perf_counter() - began) / n

    def close(self) -> None:
        """End the run."""
        self._events.close()


def operations(config: RunConfig) -> float:
    """Floating-point operations of the matrix products of a meta-step."""
    sample = config.family.sample(1, "train", stream(0, "train"))
    theta = {name: value.to("meta") for name, value in initialise(config).items()}
    total = 0
    for n in Workers(config.model, place(config), 1).sizes(config.meta_batch_size):
        support, query = (
            Examples(*(torch.empty(n, *value.shape[1:], dtype=value.dtype, device="meta") for value in part))
            for part in (sample.support, sample.query)
        )
        with FlopCounterMode(display=False) as counted:
            differentiated(config, theta, TaskBatch(support, query), 0)
        total += counted.get_total_flops()
    return float(total)


def sweep(name: str, repeats: int) -> list[Row]:
    """Measure every size of a sweep, in turn."""
    workload, given, setting, sizes = SWEEPS[name]
    base = parse_config(WORKLOADS[workload].config).changed(dict(given))
    configs = [base.changed({setting: size}) for size in sizes]
    counted = [operations(config) for config in configs]
    timed = [Timed(config) for config in configs]
    for _ in range(repeats):
        for one in timed:
            one.measure()
    seconds = [statistics.median(one.seconds) for one in timed]
    for one in timed:
        one.close()
    rate = counted[-1] / seconds[-1]
    return [
        Row(name, size, 1e3 * took, flops / 1e9, flops / took, 1e3 * flops / rate)
        for size, took, flops in zip(sizes, seconds, counted, strict=True)
    ]


def verdict(rows: Sequence[Row]) -> str:
    """Whether time grows faster than the arithmetic up to the largest size."""
    best, last = max(rows, key=lambda row: row.rate), rows[-1]
    if best.rate <= FASTER * last.rate:
        return "no faster than the arithmetic"
    return f"{100 * (best.rate / last.rate - 1):.0f}% faster than the arithmetic from {best.size} to {last.size}"


def further(rows: Sequence[Row]) -> list[str]:
    """Milliseconds for each unit of size since the size before: constant where time grows in proportion."""
    grown = [(b.milliseconds - a.milliseconds) / (b.size - a.size) for a, b in itertools.pairwise(rows)]
    return ["-", *(f"{each:.3g}" for each in grown)]


def figure(found: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """One panel for each sweep, both axes logarithmic."""
    columns = min(3, len(found))
    lines = -(-len(found) // columns)
    looks, data, titles = dict[str, Any](), list[dict[str, Any]](), list[dict[str, Any]]()
    for place_, (name, rows) in enumerate(found.items()):
        across, down = place_ % columns, place_ // columns
        n = "" if place_ == 0 else str(place_ + 1)
        x = [(across + 0.14) / columns, (across + 0.97) / columns]
        top = 1 - down / lines
        y = [top - 0.76 / lines, top - 0.1 / lines]
        sizes = [row.size for row in rows]
        ticks = {"tickvals": sizes, "ticktext": [str(size) for size in sizes]}
        looks[f"xaxis{n}"] = axis(name.split(": ")[1], type="log", domain=x, anchor=f"y{n}", **ticks)
        looks[f"yaxis{n}"] = axis("ms a meta-step", type="log", domain=y, anchor=f"x{n}", tickvals=TICKS)
        shared = {"type": "scatter", "xaxis": f"x{n}", "yaxis": f"y{n}", "x": sizes, "showlegend": place_ == 0}
        measured = {"mode": "lines+markers", "line": line(colour_of("maml")), "marker": {"size": 7}}
        data.append({**shared, **measured, "y": [row.milliseconds for row in rows], "name": "measured"})
        own = {"mode": "lines", "line": line(SOFT, 2, "dash"), "name": "the arithmetic's own cost"}
        data.append({**shared, **own, "y": [row.arithmetic for row in rows]})
        label = {"text": f"<b>{name}</b>", "xref": "paper", "yref": "paper", "showarrow": False}
        titles.append(label | {"x": x[0], "y": y[1] + 0.02, "xanchor": "left", "yanchor": "bottom"})
    legend = {"orientation": "h", "x": 0, "y": 0.03, "font": {"color": INK}}
    size = {"height": 330 * lines + 60, "margin": {"l": 20, "r": 20, "t": 20, "b": 40}, "plot_bgcolor": "white"}
    return {
        "data": data,
        "layout": layout(**looks, **size, paper_bgcolor="white", annotations=titles, showlegend=True, legend=legend),
    }


def kept(folder: Path, found: Mapping[str, Sequence[Row]]) -> None:
    """Write the picture and the tables into `folder`."""
    from plotly.io import to_html

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cost.html").write_text(
        to_html(figure(found), include_plotlyjs=True, config={"displayModeBar": False}), encoding="utf-8"
    )
    rows = [asdict(row) for part in found.values() for row in part]
    (folder / "cost.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    with (folder / "cost.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(SWEEPS), help="a sweep; may be given more than once")
    parser.add_argument("--repeats", type=int, default=5, help="timed blocks of each size (default 5)")
    parser.add_argument("--to", type=Path, help="folder for cost.html, cost.csv and cost.json")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: sweep(name, options.repeats) for name in options.only or SWEEPS}
    head = ("size", "ms a meta-step", "arithmetic alone, ms", "GFLOP", "GFLOP/s", "ms for each further")
    for name, rows in found.items():
        print(f"{name}: time grows {verdict(rows)}")
        cells = [
            (
                str(r.size),
                *(f"{v:.4g}" for v in (r.milliseconds, r.arithmetic, r.gigaflops)),
                f"{r.rate / 1e9:.3g}",
                more,
            )
            for r, more in zip(rows, further(rows), strict=True)
        ]
        print(table(head, cells), end="\n\n")
    if options.to:
        kept(options.to, found)
    if options.json:
        print(as_json({name: [asdict(row) for row in rows] for name, rows in found.items()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
