"""Make the example runs that come with MetaLab: train them from their recommended settings, pack them into assets.

python benchmarks/examples.py              # all, some minutes of one core
python benchmarks/examples.py sinusoid
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from metalab.store import Store
from metalab.store.bundle import pack
from metalab.training.config import parse_config
from metalab.training.service import Service

FOLDER = Path(__file__).resolve().parents[1] / "assets" / "examples"


@dataclass(frozen=True)
class Example:
    """A run to train, and how many of its checkpoints are kept."""

    settings: dict[str, Any]
    kept: int


FUNCTIONS = {"family": "sinusoid", "outer_steps": 6000, "evaluate_every": 500}
GLYPHS = {"family": "glyphs", "outer_steps": 600, "evaluate_every": 200, "model": {"name": "conv4", "filters": 16}}
RUNS: dict[str, list[Example]] = {
    "sinusoid": [
        Example({**FUNCTIONS, "algorithm": "maml"}, 7),
        Example({**FUNCTIONS, "algorithm": "reptile", "outer_steps": 3000, "evaluate_every": 250}, 7),
        Example({**FUNCTIONS, "algorithm": "pretrained"}, 7),
        Example({**FUNCTIONS, "algorithm": {"name": "maml", "order": 1}}, 7),
        Example({**FUNCTIONS, "algorithm": "anil"}, 7),
    ],
    "glyphs": [
        Example({**GLYPHS, "algorithm": "maml"}, 4),
        Example({**GLYPHS, "algorithm": "reptile"}, 4),
        Example({**GLYPHS, "algorithm": "anil"}, 4),
        Example({**GLYPHS, "algorithm": "prototypes"}, 4),
    ],
    "navigation": [Example({"family": "navigation", "algorithm": "maml", "outer_steps": 200, "evaluate_every": 50}, 5)],
    "languages": [Example({"family": "languages", "algorithm": "maml", "outer_steps": 1200, "evaluate_every": 300}, 2)],
}


def make(family: str, number: int, example: Example, serving: Service) -> None:
    """Train one and pack it."""
    config, store = parse_config(example.settings), serving.store
    run_id = serving.start(config, "examples")
    serving.wait(run_id)
    steps = store.checkpoints(run_id)
    kept = sorted({steps[round(i * (len(steps) - 1) / (example.kept - 1))] for i in range(example.kept)})
    label = config.algorithm.label
    path = FOLDER / f"{family}-{number}-{label.lower().replace('+', 'p').replace(' ', '-')}.safetensors"
    pack(store, run_id, path, kept, f"Example: {label} · {config.family.title}")
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, {store.get(run_id).seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"of {', '.join(RUNS)} (default: all)")
    options = parser.parse_args()
    unknown = sorted(set(options.families) - set(RUNS))
    if unknown:
        parser.error(f"{unknown[0]!r}: expected some of {', '.join(RUNS)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, closing(Store(Path(home))) as store:
        serving = Service(store, workers=1)
        for family in options.families or RUNS:
            for number, example in enumerate(RUNS[family], 1):
                make(family, number, example, serving)
        serving.close()


if __name__ == "__main__":
    main()
