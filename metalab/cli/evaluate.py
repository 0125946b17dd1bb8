"""`python -m metalab evaluate`: adapt theta of a checkpoint to tasks that training never saw."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from metalab.cli.parsing import BadInput, as_json, one_of, value, whole
from metalab.cli.stored import RUN_HELP, find_run, last_evaluation, opened
from metalab.cli.table import figure, table

if TYPE_CHECKING:
    from metalab.algorithms import Algorithm
    from metalab.params import Params
    from metalab.training.config import RunConfig

SPLITS = ("test", "validation")
OVERRIDES = {
    "inner_steps": "algorithm.inner_steps_eval",
    "inner_lr": "algorithm.inner_lr",
    "ways": "family.ways",
    "shots": "family.shots",
    "queries": "family.queries",
    "device": "device",
}
"""Flags that set something of the run's config for this evaluation."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help=RUN_HELP)
    parser.add_argument("--step", type=whole(0, 10**9), help="the checkpoint after this outer step (default: the last)")
    parser.add_argument(
        "--best-checkpoint",
        metavar="TASKS",
        nargs="?",
        const=600,
        type=whole(2, 100_000),
        help="take the checkpoint that is best on so many tasks of the validation split (600 where no number is given)",
    )
    parser.add_argument("--split", default="test", help="test or validation (default test)")
    parser.add_argument("--tasks", type=whole(2, 100_000), default=600, help="tasks to adapt to (default 600)")
    parser.add_argument("--seed", type=whole(0, 2**31 - 1), default=0, help="which tasks (default 0)")
    parser.add_argument("--inner-steps", metavar="K", help="inner steps on each task (default: the run's)")
    parser.add_argument("--inner-lr", metavar="ALPHA", help="inner learning rate (default: the run's)")
    parser.add_argument(
        "--tune-inner-lr", action="store_true", help="take the inner learning rate that is best on the validation split"
    )
    parser.add_argument(
        "--ways", metavar="N", help="classes to tell apart, where each task gets a head of its own (default: the run's)"
    )
    parser.add_argument("--shots", metavar="N", help="examples to learn from, of each class (default: the run's)")
    parser.add_argument("--queries", metavar="N", help="examples to be tested on, of each class (default: the run's)")
    parser.add_argument(
        "--metric", metavar="NAME", help="loss or the family's own, such as accuracy or return (default: its own)"
    )
    parser.add_argument("--device", metavar="NAME", help="auto, cpu or cuda (default: the run's)")
    parser.add_argument("--threads", type=whole(1, 256), help="threads for conv4's tasks (default: one for each core)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(options: argparse.Namespace) -> int:
    one_of(SPLITS, options.split, "--split")
    if options.tune_inner_lr and (options.inner_lr is not None or options.split != "test"):
        raise BadInput("--tune-inner-lr chooses the rate on the validation split: expected no --inner-lr, --split test")
    if options.best_checkpoint and (options.step is not None or options.split != "test"):
        raise BadInput("--best-checkpoint chooses it on the validation split: expected no --step, --split test")
    with opened() as store:
        run = find_run(store, options.run_id)
        from metalab.cli import measuring

        _check_inner(run.current.algorithm, options)
        config = _overridden(run.current, options)
        config.family.require()
        metric = options.metric or measuring.main_metric(config)
        seen = last_evaluation(store, run)
        if seen is not None:
            one_of(tuple(seen.curves), metric, "--metric")
        kept = store.checkpoints(run.id)
        began, chosen, step = time.perf_counter(), None, options.step
        if options.best_checkpoint:
            thetas = ((each, store.load_theta(run.id, each)) for each in kept)
            tasks, seed = options.best_checkpoint, options.seed
            chosen = measuring.best_checkpoint(config, thetas, metric, tasks, seed, options.threads)
            step = chosen.step
        theta = store.load_theta(run.id, step)
    _check_ways(config, theta)
    tuned = None
    if options.tune_inner_lr:
        tuned = measuring.tune_inner_lr(config, theta, metric, measuring.TUNING_TASKS, options.seed, options.threads)
        config = config.changed({"algorithm.inner_lr": tuned.inner_lr})
    curves = measuring.curves_of(config, theta, options.split, options.tasks, options.seed, options.threads)
    found = asdict(measuring.measured(curves, metric)) | {
        "run": run.id,
        "name": run.name,
        "step": kept[-1] if step is None else step,
        "split": options.split,
        "seed": options.seed,
        "axis": config.algorithm.axis,
        "inner_steps": getattr(config.algorithm, "inner_steps_eval", None),
        "inner_lr": config.algorithm.alpha,
        "shots": getattr(config.family, "shots", None),
        "queries": getattr(config.family, "queries", None),
        "tuned_inner_lr": asdict(tuned) if tuned else None,
        "best_checkpoint": asdict(chosen) if chosen else None,
        "seconds": time.perf_counter() - began,
    }
    print(as_json(found) if options.json else _shown(found))
    return 0


def _check_inner(algorithm: Algorithm, options: argparse.Namespace) -> None:
    """Raises BadInput where inner steps or a rate are asked for that the algorithm does not take or read."""
    if algorithm.axis == "shot" and options.inner_steps is not None:
        raise BadInput(f"--inner-steps: {algorithm.label} takes no inner steps; leave the flag out")
    if algorithm.alpha is None and (options.tune_inner_lr or options.inner_lr is not None):
        flag = "--tune-inner-lr" if options.tune_inner_lr else "--inner-lr"
        why = "has learned its inner learning rates" if algorithm.learns_rates else "takes no inner steps"
        raise BadInput(f"{flag}: {algorithm.label} {why}; leave the flag out")


def _check_ways(config: RunConfig, theta: Params) -> None:
    from metalab.algorithms.joint import Joint, new_task

    algorithm, wanted = config.algorithm, config.family.output_size
    start = new_task(config.family, theta) if isinstance(algorithm, Joint) else theta
    outputs = config.model.outputs(start)
    # Who reads shots without a network made for it answers from features: no head of theta's is asked.
    from_features = algorithm.axis == "shot" and not config.model.reads_support
    if outputs not in (None, wanted) and not from_features:
        raise BadInput(f"--ways = {wanted}: the run's head was trained for {outputs} classes, expected {outputs}")


def _overridden(config: RunConfig, options: argparse.Namespace) -> RunConfig:
    from metalab.training.config import ConfigError

    given = {flag: getattr(options, flag) for flag in OVERRIDES}
    try:
        return config.changed({OVERRIDES[flag]: value(text) for flag, text in given.items() if text is not None})
    except ConfigError as problem:
        message = str(problem)
        for flag, name in OVERRIDES.items():
            message = message.replace(name, "--" + flag.replace("_", "-"), 1)
        raise BadInput(message) from None


def _shown(found: dict[str, Any]) -> str:
    lines = [
        f"run {found['run']} ({found['name']}) after outer step {found['step']}, on {found['tasks']} tasks of the "
        f"{found['split']} split (seed {found['seed']}), shots {found['shots']}, queries {found['queries']}, "
        f"inner lr {found['inner_lr']}"
    ]
    tuned = found["tuned_inner_lr"]
    if tuned:
        grid = ", ".join(f"{lr:g}" for lr in tuned["grid"])
        lines.append(f"the inner lr is the best of {grid} on {tuned['tasks']} tasks of the {tuned['split']} split")
    metric = found["metric"]
    chosen = found["best_checkpoint"]
    if chosen:
        few = f"{chosen['tasks']} tasks of the {chosen['split']} split"
        lines.append(
            f"the checkpoint is the best of {len(chosen['candidates'])} on {few}, averaged over {found['axis']}s"
        )
    steps = zip(found["by_inner_step"], found["ci95"], strict=True)
    rows = [(str(k), figure(mean, metric), f"± {figure(half, metric)}") for k, (mean, half) in enumerate(steps)]
    return "\n".join([*lines, table((found["axis"], metric, "95% interval"), rows)])
