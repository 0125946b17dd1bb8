"""`python -m metalab runs`: what was trained here, by the command line and the app; `runs rm` removes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from metalab.cli.parsing import BadInput, as_json, one_of, whole
from metalab.cli.stored import RUN_HELP, axis_of, find_run, last_evaluation, metric_of, opened
from metalab.cli.table import figure, table

if TYPE_CHECKING:
    from metalab.store import Run, Store


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="list", help="list (default) or rm")
    parser.add_argument("run_ids", nargs="*", metavar="RUN", help=f"with rm: {RUN_HELP}")
    parser.add_argument("--limit", type=whole(1, 1_000_000), default=50, help="newest runs to list (default 50)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(options: argparse.Namespace) -> int:
    one_of(("list", "rm"), options.action, "action")
    if options.action == "rm" and not options.run_ids:
        raise BadInput("rm: no run was given, expected " + RUN_HELP)
    if options.action == "list" and options.run_ids:
        raise BadInput(f"{options.run_ids[0]!r}: list takes no run, expected 'rm {options.run_ids[0]}'")
    with opened() as store:
        if options.action == "rm":
            return _remove(store, options)
        runs = [_described(store, run) for run in store.runs(options.limit)]
    if options.json:
        print(as_json({"runs": runs}))
    elif runs:
        print(_shown(runs))
    else:
        print(f"no runs in {store.home} yet")
    return 0


def _remove(store: Store, options: argparse.Namespace) -> int:
    # All are looked up before the first is removed: a typing mistake removes nothing.
    chosen = {run.id: run for run in (find_run(store, text) for text in options.run_ids)}
    active = [run for run in chosen.values() if run.state in ("queued", "running")]
    if active:
        raise BadInput(f"run = {active[0].id!r}: is {active[0].state}, expected one that is not in training")
    for run in chosen.values():
        # Who can reach the folder can remove its files: the app's owners guard against other browsers only.
        store.delete(run.id, run.owner)
    print(as_json({"removed": list(chosen)}) if options.json else f"removed {', '.join(chosen)}")
    return 0


def _described(store: Store, run: Run) -> dict[str, Any]:
    return {
        "run": run.id,
        "name": run.name,
        "family": run.family,
        "model": run.model,
        "algorithm": run.algorithm,
        "state": run.state,
        "step": run.step,
        "outer_steps": run.outer_steps,
        "seconds": run.seconds,
        "created": run.created,
        "owner": run.owner,
        "message": run.message,
        "evaluation": _figures(store, run),
    }


def _figures(store: Store, run: Run) -> dict[str, Any] | None:
    seen = last_evaluation(store, run)
    if seen is None:
        return None
    metric = metric_of(run)
    mean = seen.curves[metric].double().mean(0)
    return {
        "metric": metric,
        "step": seen.step,
        "before": float(mean[0]),
        "after": float(mean[-1]),
        "axis": axis_of(run),
        "inner_steps": len(mean) - 1,
    }


def _shown(runs: list[dict[str, Any]]) -> str:
    head = ("id", "name", "family", "model", "algorithm", "state", "step", "of", "held-out tasks")
    names = ("run", "name", "family", "model", "algorithm", "state", "step", "outer_steps")
    return table(head, [(*(str(run[name]) for name in names), _sentence(run["evaluation"])) for run in runs])


def _sentence(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    before, after = (figure(found[when], found["metric"]) for when in ("before", "after"))
    return f"{found['metric']} {before} -> {after} in {found['inner_steps']} {found['axis'].split()[-1]}s"
