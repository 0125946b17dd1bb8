"""Train the sweep that comes with MetaLab: `python benchmarks/example_sweep.py`, about a minute on one core."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from metalab.analysis.sweep import packed, table
from metalab.store import Store, sweeps
from metalab.training.service import Service
from metalab.training.sweeps import Sweeps, parse_plan

TARGET = Path(__file__).resolve().parents[1] / "assets" / "examples" / "sweep-sinusoid.json"
PLAN = {
    "base": {
        "family": {"name": "sinusoid"},
        "algorithm": {"name": "maml"},
        "outer_steps": 400,
        "evaluate_every": 400,
        "device": "cpu",
    },
    "axes": [
        {"name": "algorithm.inner_lr", "values": [0.003, 0.01, 0.03, 0.1]},
        {"name": "algorithm.inner_steps", "values": [1, 2, 5]},
    ],
}


def main() -> None:
    """Into a home that is thrown away; only the table is kept."""
    with tempfile.TemporaryDirectory() as home:
        serving = Service(Store(Path(home)), workers=1, threads=1)
        sweep = Sweeps(serving).start(parse_plan(PLAN), "example")
        while sweeps.get(serving.store, sweep.id).state == "running":
            time.sleep(0.2)
        found = table(serving.store, sweeps.get(serving.store, sweep.id))
        TARGET.write_text(packed(found, PLAN), encoding="utf-8")
        serving.close()


if __name__ == "__main__":
    main()
