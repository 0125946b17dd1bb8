"""A run's meta-gradient as a library of machine code: what the process does that `compiled` starts.

The meta-gradient is traced as it stands, with its inner loop, its derivatives and the means over tasks, into one flat
graph of tensor operations (`torch.fx`), which torch's inductor and a C++ compiler translate. Nothing is written twice,
and what a graph cannot tell (numbers that steer the program, random draws) is refused with the reason.

    python -m metalab.training.translating   reads a request (JSON) from stdin and answers with one line of JSON
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from metalab.params import Params
from metalab.tasks.base import Examples, TaskBatch
from metalab.training.compiled import (
    EVALUATION,
    MANIFEST,
    NotCompiled,
    Refused,
    described,
    evaluates,
    in_short,
    inputs,
    loaded,
    regrouped,
)
from metalab.training.config import RunConfig, parse_config
from metalab.training.evaluation import FEWEST, curves
from metalab.training.outer import ENTRIES, Aggregate, differentiated
from metalab.training.start import initialise, stream

LONGEST = 4_000
"""Operations of a graph that is translated still: beyond, the compiler takes minutes."""
TOLERANCE = 1e-2
"""How far the library's gradients may be from the eager ones, relative to their length: rounding through ReLUs and
max-pooling is far below, another result far above."""


def _moments(x: Tensor, mean: Tensor | None, variance: Tensor | None, momentum: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of each column of x, in operations that inductor knows."""
    middle = x.mean(0)
    return middle, (x - middle).square().mean(0)


DECOMPOSED = {torch.ops.aten.batch_norm_update_stats.default: _moments}


def traced(config: RunConfig, theta: Params, batch: TaskBatch, done: int) -> tuple[GraphModule, dict[str, list[str]]]:
    """The graph of `outer.differentiated` from `inputs` to a flat list, and the names that the list stands for."""
    found = dict[str, list[str]]()

    def flat(theta: Params, tasks: TaskBatch) -> list[Tensor]:
        whole = differentiated(config, theta, tasks, done, in_rows=False)
        entries = {part: getattr(whole, part) for part in ENTRIES}
        found.update({part: list(values) for part, values in entries.items()})
        return [value for values in entries.values() for value in values.values()]

    return _graph(flat, theta, batch), found


def traced_evaluation(config: RunConfig, theta: Params, batch: TaskBatch) -> tuple[GraphModule, list[str]]:
    """The graph of `evaluation.curves`, and the names of its list."""
    found = list[str]()

    def flat(theta: Params, tasks: TaskBatch) -> list[Tensor]:
        measured = curves(config.learner, config.algorithm, theta, tasks, config.algorithm.evaluation_steps)
        found[:] = measured
        return list(measured.values())

    return _graph(flat, theta, batch), found


def _graph(function: Callable[[Params, TaskBatch], list[Tensor]], theta: Params, batch: TaskBatch) -> GraphModule:
    """What the function does, from `inputs` on. Raises Refused."""
    from torch.fx.experimental.proxy_tensor import make_fx

    names = sorted(theta)

    def flat(*tensors: Tensor) -> list[Tensor]:
        x, y, query_x, query_y = tensors[len(names) :]
        tasks = TaskBatch(Examples(x, y), Examples(query_x, query_y))
        return function(dict(zip(names, tensors, strict=False)), tasks)

    given = inputs(theta, batch)
    try:
        flat(*given)  # what is worked out once and kept for later calls is no part of the graph
    except KeyError as missing:
        raise Refused(f"it depends on more of its tasks than their examples ({missing})") from missing
    graph = make_fx(flat, decomposition_table=DECOMPOSED)(*given)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    _check(graph)
    return graph


def _check(graph: GraphModule) -> None:
    operations = [node for node in graph.graph.nodes if node.op == "call_function"]
    for node in operations:
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise Refused(f"each call draws random numbers ({node.target})")
    if len(operations) > LONGEST:
        raise Refused(
            f"its {len(operations):,} operations are too many (at most {LONGEST:,}): take fewer inner steps or tasks"
        )


def translated(graph: GraphModule, given: Sequence[Tensor], path: Path) -> None:
    """Let inductor and the C++ compiler make the library `path` of a graph of inputs like `given`."""
    import torch._inductor

    # One thread for each call: tasks share the processor by `parallel`, not by the library.
    wanted = {"cpp.threads": 1, "aot_inductor.enable_line_tables": False, "aot_inductor.enable_frame_pointer": False}
    known = torch._inductor.list_options()  # the last two are for smaller libraries, and not in every torch
    options = {name: value for name, value in wanted.items() if name in known}
    with torch.no_grad():
        program = torch.export.export(graph, tuple(given))
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)


def prepare(config: RunConfig, sizes: Sequence[int], folder: Path, done: int) -> None:
    """Make `folder`: a library for each number of tasks in `sizes`, tried out, and its manifest. Raises NotCompiled.

    The manifest is there before the evaluations are begun: whatever comes of these, the meta-gradient is ready.
    """
    theta = initialise(config)
    parts: dict[str, Any] = {}
    names: dict[str, list[str]] = {}
    for n_tasks in sizes:
        batch, other = (_part(config, n_tasks, max(sizes), split) for split in ("train", "validation"))
        graph, names = traced(config, theta, batch, done)
        path = folder / f"{n_tasks}.pt2"
        translated(graph, inputs(theta, batch), path)
        expected = differentiated(config, theta, TaskBatch(other.support, other.query), done)
        compare(regrouped(loaded(path, 1)(inputs(theta, other)), names, n_tasks), expected)
        parts[str(n_tasks)] = described(inputs(theta, batch))
    manifest: dict[str, Any] = {"names": names, "parts": parts}
    _write(folder, manifest)
    if evaluates(config):
        try:
            manifest[EVALUATION] = _evaluation(config, theta, folder)
        except NotCompiled as problem:  # so it would be the next time
            manifest[EVALUATION] = {"refused": str(problem)}
        _write(folder, manifest)


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    """Whole or not at all: this process may be ended at any time."""
    draft = folder / f"{MANIFEST}.draft"
    draft.write_text(json.dumps(manifest), encoding="utf-8")
    draft.replace(folder / MANIFEST)


def _evaluation(config: RunConfig, theta: Params, folder: Path) -> dict[str, Any]:
    """Make the library of evaluations, tried out; what the manifest says of it. Raises NotCompiled."""
    batch, other = (
        config.family.sample(FEWEST, split, stream(config.seed, split)) for split in ("train", "validation")
    )
    graph, names = traced_evaluation(config, theta, batch)
    path = folder / f"{EVALUATION}.pt2"
    given = inputs(theta, batch)
    translated(graph, given, path)
    found = dict(zip(names, loaded(path, 1)(inputs(theta, other)), strict=True))
    expected = curves(config.learner, config.algorithm, theta, other, config.algorithm.evaluation_steps)
    for name, curve in expected.items():  # a loss may be a thousand times an accuracy
        agree({name: found[name]}, {name: curve}, f"{EVALUATION}, {name}")
    return {"names": names, "given": described(given)}


def _part(config: RunConfig, n_tasks: int, most: int, split: Any) -> TaskBatch:
    """A part as a meta-batch is cut into: where there are several, a slice of a larger one."""
    whole = config.meta_batch_size
    batch = config.family.sample(max(whole, most), split, stream(config.seed, split))
    return batch if n_tasks == whole else batch.tasks(0, n_tasks)


def compare(found: Aggregate, expected: Aggregate) -> None:
    """Raises NotCompiled where what was found is not what was expected, but for rounding."""
    for part in ("gradient", "metrics", "statistics"):
        agree(getattr(found, part), getattr(expected, part), part)


def agree(found: Params, expected: Params, what: str) -> None:
    """As `compare`, of entries that are taken together; `what` they are."""
    ours, theirs = _row(found), _row(expected)
    off = float((ours - theirs).norm() / theirs.norm().clamp(min=1e-12)) if theirs.numel() else 0.0
    if not off <= TOLERANCE:
        raise NotCompiled(f"its result differs from the eager one by {off:.2g} of its length ({what})")


def _row(entries: Params) -> Tensor:
    return torch.cat([entries[name].double().flatten() for name in sorted(entries)] or [torch.zeros(0)])


def main() -> None:
    """Serve the one request on stdin; stdin's end is that of who asked, and ends this process, too."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(10)  # the run and the pages go first
    torch.set_num_threads(1)
    try:
        prepare(parse_config(request["config"]), request["sizes"], Path(request["folder"]), request["done"])
        answer.write("{}\n")
    except Refused as problem:
        _write(Path(request["folder"]), {"refused": str(problem)})
        answer.write("{}\n")
    except Exception as problem:
        answer.write(json.dumps({"problem": in_short(problem)}) + "\n")
    answer.flush()
    os._exit(0)  # whatever threads a compiler left behind


def _end_with_stdin() -> None:
    sys.stdin.read()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # the C++ compiler with it
    os._exit(1)


if __name__ == "__main__":
    main()
