"""The results in README.md: meta-train on the command line, evaluate on meta-test tasks, print a table.

    python benchmarks/results.py                       # all, about 45 minutes on 2 cores
    python benchmarks/results.py sinusoid              # 5 minutes
    METALAB_DATA=... python benchmarks/results.py omniglot

Each line is two commands anyone can run by hand; they are printed before their figures. Published numbers:
Finn et al. 2017 (arXiv:1703.03400), figure 5 and table 1; Nichol et al. 2018 (arXiv:1803.02999), table 1.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One row: how it is trained and evaluated, and what was published for it."""

    title: str
    train: str
    evaluate: str
    steps: tuple[int, ...]
    """Inner steps that are shown."""
    published: str


PAPER = "--outer-steps 70000 --evaluate-every 1000 --seed 0"
OMNIGLOT = "--family omniglot --seed 0"
ROWS = {
    "sinusoid": [
        Result(
            "Sinusoid, 5-shot MSE: MAML",
            f"--family sinusoid --algorithm maml {PAPER}",
            "--shots 5 --inner-steps 10 --tasks 600 --best-checkpoint 4000",
            (1, 5, 10),
            ".67 / .38 / .35",
        ),
        Result(
            "Sinusoid, 5-shot MSE: pre-trained, fine-tuned with the best rate of a grid",
            f"--family sinusoid --algorithm pretrained {PAPER}",
            "--shots 5 --inner-steps 10 --tasks 600 --best-checkpoint 4000 --tune-inner-lr",
            (1, 5, 10),
            "2.41 / 2.23 / 2.19",
        ),
    ],
    "omniglot": [
        Result(
            "Omniglot 5-way 1-shot accuracy: MAML, second order",
            f"{OMNIGLOT} --algorithm maml --outer-steps 12000 --evaluate-every 500 --set family.queries=5",
            "--inner-steps 3 --tasks 600 --queries 15",
            (1, 3),
            "98.7 ± .4 (60,000 steps of 32 tasks)",
        ),
        Result(
            "Omniglot 5-way 1-shot accuracy: Reptile (transductive)",
            f"{OMNIGLOT} --algorithm reptile --outer-steps 20000 --evaluate-every 1000",
            "--inner-steps 20 --tasks 600 --queries 15",
            (5, 20),
            "97.68 ± .04 (100,000 steps of 5 tasks)",
        ),
    ],
}


def metalab(command: str, arguments: str) -> dict:
    """Run one command of the command line and return the JSON object it ends with."""
    line = [sys.executable, "-m", "metalab", command, *shlex.split(arguments), "--json"]
    print("$ python -m metalab", command, arguments, file=sys.stderr, flush=True)
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(names: list[str]) -> None:
    unknown = sorted(set(names) - set(ROWS))
    if unknown:
        sys.exit(f"{unknown[0]!r}: expected {' or '.join(ROWS)}")
    print("| what | inner steps | here (95% interval) | published | outer steps | minutes |")
    print("|---|---|---|---|---|---|")
    for row in [row for name in names or ROWS for row in ROWS[name]]:
        run = metalab("train", row.train)
        found = metalab("evaluate", f"{run['run']} {row.evaluate} --seed 1")
        figures = " / ".join(f"{found['by_inner_step'][k]:.4f} ± {found['ci95'][k]:.4f}" for k in row.steps)
        steps = " / ".join(str(k) for k in row.steps)
        print(
            f"| {row.title} | {steps} | {figures} | {row.published} | {run['steps']:,} | {run['seconds'] / 60:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
