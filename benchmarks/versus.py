"""The engine against what one would use instead, on the same tasks with the same theta: ratios of one run.

    python benchmarks/versus.py                            every workload, every peer that is installed
    python benchmarks/versus.py --only W1,W4 --repeats 9   some of them
    python benchmarks/versus.py --check                    compares what they compute, and times nothing

A unit is the meta-gradient of one fixed meta-batch and the outer step along it (Adam, for Reptile plain descent), or
an adaptation; drawing tasks is nobody's part of it. The engine's unit is a run's own outer step, which also measures
the accuracy, the meta-gradient's norm and how far the tasks agree. It is eager; the peer "metalab compiled" has its
setting `compiled`, once the compiler is done. Everybody lives in a process of its own with two threads, and blocks of
all go in turn, so that a slow moment falls on all; medians count.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from peers import ENGINE, PEERS, Answer, load, work_of  # noqa: E402

BLOCK_SECONDS = 0.3
REST_SECONDS = 0.25
"""Between two blocks: threads that wait for work in a loop have gone to sleep by then."""
LIMIT_SECONDS = 300.0
THREADS = 2


def serve(peer: str, pipe: Connection, threads: int, device: str) -> None:
    """Reply to ("prepare", workload), ("answer", workload) and ("time", units) until the pipe closes."""
    import torch

    torch.set_num_threads(threads)
    job = None
    try:
        module = load(peer)
        pipe.send("")
    except ImportError as problem:
        pipe.send(f"{peer} is left out: {problem}; see benchmarks/peers/requirements.txt")
        return
    while True:
        try:
            what, value = pipe.recv()
        except EOFError:
            return
        if what == "prepare":
            started = time.perf_counter()
            job = module.job(work_of(value, device))
            if job is not None:
                job.unit()
            warm_up = time.perf_counter() - started
            pipe.send(None if job is None else warm_up)
        elif what == "answer":
            job = module.job(work_of(value, device))
            pipe.send(None if job is None else dict(job.answer()))
        else:
            assert job is not None
            started = time.perf_counter()
            for _ in range(value):
                job.unit()
            if device == "cuda":
                torch.cuda.synchronize()
            pipe.send((time.perf_counter() - started) / value)


class Contestant:
    """A peer in its process."""

    def __init__(self, peer: str, threads: int, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.peer = peer
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(peer, theirs, threads, device), daemon=True)
        self._process.start()
        theirs.close()
        self.problem: str = self._pipe.recv()
        self.warm_up = 0.0
        self.units = 1
        self.seconds: list[float] = []

    def prepare(self, workload: str) -> bool:
        """Whether it can do the workload; it is warm then."""
        self.seconds = []
        warm_up = self.ask("prepare", workload)
        if warm_up is None:
            return False
        self.warm_up = warm_up
        once = self.ask("time", 1)
        self.units = max(1, round(BLOCK_SECONDS / once))
        self.ask("time", max(1, self.units // 2))
        return True

    def measure(self) -> None:
        time.sleep(REST_SECONDS)
        self.seconds.append(self.ask("time", self.units))

    def ask(self, what: str, value: Any) -> Any:
        self._pipe.send((what, value))
        if not self._pipe.poll(LIMIT_SECONDS):
            raise TimeoutError(f"{self.peer}: no answer to {what} {value} within {LIMIT_SECONDS:.0f} s")
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.terminate()


def distance(found: Answer, expected: Answer) -> float:
    """The largest difference of an entry, relative to the length of that entry. Raises ValueError for other entries."""
    import numpy as np

    if found.keys() != expected.keys():
        raise ValueError(f"computed {sorted(found)}, expected {sorted(expected)}")
    gaps = (float(np.linalg.norm(found[name] - value)) for name, value in expected.items())
    lengths = (float(np.linalg.norm(value)) for value in expected.values())
    return max(gap / max(length, 1e-12) for gap, length in zip(gaps, lengths, strict=True))


def measured(workload: str, contestants: Sequence[Contestant], repeats: int) -> dict[str, Any]:
    """Medians in milliseconds of all who can do the workload, and theirs over ours."""
    able = [one for one in contestants if one.prepare(workload)]
    for _ in range(repeats):
        for one in able:
            one.measure()
    medians = {one.peer: 1e3 * statistics.median(one.seconds) for one in able}
    return {
        "milliseconds": medians,
        "ratios": {peer: value / medians[ENGINE] for peer, value in medians.items() if peer != ENGINE},
        "warm_up_seconds": {one.peer: one.warm_up for one in able},
    }


def compared(workload: str, contestants: Sequence[Contestant]) -> dict[str, Any]:
    """How far each one's meta-gradient (or predictions, or losses) is from ours, relatively."""
    answers = {one.peer: one.ask("answer", workload) for one in contestants}
    ours = answers.pop(ENGINE)
    return {"differences": {peer: distance(found, ours) for peer, found in answers.items() if found is not None}}


def row(workload: str, found: Mapping[str, Any], peers: Sequence[str]) -> str:
    """A line of a Markdown table."""
    if "differences" in found:
        cells = [f"{found['differences'][p]:.1e}" if p in found["differences"] else "" for p in peers if p != ENGINE]
        return f"| {workload} | {' | '.join(cells)} |"
    ms, ratios = found["milliseconds"], found["ratios"]
    cells = [f"{ms[p]:.3g} ({ratios[p]:.2f})" if p in ratios else "" for p in peers if p != ENGINE]
    return f"| {workload} | {ms[ENGINE]:.3g} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    from metalab.training.bench import WORKLOADS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAMES", default=",".join(WORKLOADS), help="workloads, e.g. W1,W4")
    others = ",".join(peer for peer in PEERS if not peer.startswith(ENGINE))
    parser.add_argument("--peers", metavar="NAMES", default=others, help=f"who takes part (default: {others})")
    parser.add_argument("--repeats", type=int, default=9, help="timed blocks of each (default 9)")
    parser.add_argument("--threads", type=int, default=THREADS, help=f"threads of each (default {THREADS})")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where everybody computes (default cpu)"
    )
    parser.add_argument("--check", action="store_true", help="compare what they compute instead of how fast")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    os.environ.update({name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")})
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # the others want some of the GPU, too

    names, wanted = options.only.split(","), [ENGINE, *options.peers.split(",")]
    if unknown := sorted({*names} - {*WORKLOADS} | {*wanted} - {*PEERS}):
        parser.error(f"{', '.join(unknown)}: expected workloads of {', '.join(WORKLOADS)}, peers of {', '.join(PEERS)}")
    contestants = [Contestant(peer, options.threads, options.device) for peer in dict.fromkeys(wanted)]
    try:
        for absent in (one for one in contestants if one.problem):
            print(absent.problem, file=sys.stderr)
        there = [one for one in contestants if not one.problem]
        peers = [one.peer for one in there]
        results = {}
        if not options.json:
            head = peers[1:] if options.check else [f"{ENGINE}, ms", *(f"{peer}, ms (ratio)" for peer in peers[1:])]
            print(f"| | {' | '.join(head)} |\n|---|{'---|' * len(head)}")
        for name in names:
            results[name] = compared(name, there) if options.check else measured(name, there, options.repeats)
            if not options.json:
                print(row(name, results[name], peers), flush=True)
        if options.json:
            machine = {"cores": os.cpu_count(), "threads": options.threads, "device": options.device}
            print(json.dumps({"workloads": results, **machine}))
    finally:
        for one in contestants:
            one.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
