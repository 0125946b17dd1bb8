"""`python -m metalab bench`: how fast this machine meta-trains and adapts."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

from metalab.cli.parsing import as_json, one_of, whole
from metalab.cli.table import table

HOW = (
    "Median over repeats, taken in turn after a warm-up. A meta-step is a whole outer step of a run: tasks sampled, "
    "meta-gradient, outer step, check for finite numbers. Sampling %: drawing the tasks, of a meta-step's time."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = HOW
    parser.add_argument("--only", metavar="NAMES", help="workloads to measure, e.g. W1,W4 (default: all)")
    parser.add_argument("--repeats", type=whole(1, 1_000), default=9, help="timed blocks of each (default 9)")
    parser.add_argument(
        "--threads", type=whole(1, 256), help="threads for conv4's tasks and for W6 (default: one for each core)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="time meta-steps and evaluations once they are compiled, where they can be",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(options: argparse.Namespace) -> int:
    import torch

    from metalab.training.bench import WORKLOADS, bench

    known = list(WORKLOADS)
    given = known if options.only is None else options.only.split(",")
    names = list(dict.fromkeys(one_of(known, name.strip(), "--only") for name in given))
    device = one_of(("auto", "cpu", "cuda"), options.device, "--device")
    timings = list(bench(names, options.repeats, options.threads, device, compiled=options.compiled))
    if options.json:
        machine = {"torch": torch.__version__, "cores": os.cpu_count(), "threads": options.threads, "device": device}
        print(as_json({"workloads": [asdict(timing) for timing in timings], "how": HOW, **machine}))
        return 0
    head = ("", "a second", "unit", "ms", "slowest", "fastest", "sampling %", "warm-up s", "what")
    rows = [
        (
            t.name,
            f"{t.per_second:.4g}",
            t.unit,
            f"{t.milliseconds:.4g}",
            f"{t.slowest:.4g}",
            f"{t.fastest:.4g}",
            "" if t.sampling_percent is None else f"{t.sampling_percent:.1f}",
            f"{t.warm_up_seconds:.2f}",
            t.what,
        )
        for t in timings
    ]
    print(table(head, rows))
    for t in timings:
        if t.note:
            print(f"{t.name}: {t.note}")
    print(HOW)
    return 0
