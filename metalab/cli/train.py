"""`python -m metalab train`: one run from start to end in this process, kept like the app's."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from metalab.cli import configuring
from metalab.cli.measuring import main_metric, measured
from metalab.cli.parsing import BadInput, as_json, whole
from metalab.cli.progress import Progress
from metalab.cli.stored import RUN_HELP, find_run, last_evaluation
from metalab.cli.table import figure, table
from metalab.store import COMMAND_LINE, Run, Store
from metalab.training.service import CommandError, Service

INTERRUPTED = 130
EXIT_CODES = {"finished": 0, "stopped": INTERRUPTED, "interrupted": INTERRUPTED}
"""By the run's last state; any other is 1."""
BESIDE_RESUME = frozenset({"resume", "threads", "json", "debug", "set"})
POLL_SECONDS = 0.1


def arguments(parser: argparse.ArgumentParser) -> None:
    configuring.add_flags(parser)
    own = parser.add_argument_group("this command")
    own.add_argument("--name", help="what the run is called in lists")
    own.add_argument("--resume", metavar="RUN", help=f"go on with a run from its last checkpoint: {RUN_HELP}")
    own.add_argument("--threads", type=whole(1, 256), help="threads for conv4's tasks (default: one for each core)")
    own.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(options: argparse.Namespace) -> int:
    store = Store()
    service = Service(store, workers=1, threads=options.threads)
    try:
        with _stop_on_signal() as asked:
            before = _created(service, options) if options.resume is None else _resumed(service, options)
            print(f"run {before.id} ({before.name}) in {store.home}; Ctrl-C stops it", file=sys.stderr)
            start = 0 if options.resume is None else max(store.checkpoints(before.id), default=0)
            run = _followed(service, before.id, start, asked)
        found = _described(store, run, run.step - start, run.seconds - before.seconds)
    finally:
        service.close()
    if run.message:
        print(f"metalab: {run.message}", file=sys.stderr)
    print(as_json(found) if options.json else _shown(found))
    return EXIT_CODES.get(run.state, 1)


def _created(service: Service, options: argparse.Namespace) -> Run:
    config = configuring.configured(options)
    return service.store.get(service.start(config, COMMAND_LINE, options.name or ""))


def _resumed(service: Service, options: argparse.Namespace) -> Run:
    given = [name for name, text in vars(options).items() if name not in BESIDE_RESUME and text is not None]
    if given or options.set:
        flag = "--set" if options.set else "--" + given[0].replace("_", "-")
        raise BadInput(f"{flag}: a run resumes with its own settings, expected only --threads or --json with --resume")
    run = find_run(service.store, options.resume)
    # Who can reach the folder can train its runs: the app's owners guard against other browsers only.
    service.resume(run.id, run.owner)
    return run


def _followed(service: Service, run_id: str, start: int, asked: threading.Event) -> Run:
    """Show how far the run is, from outer step `start` on, until it ends, and stop it once `asked`."""
    store, run = service.store, service.store.get(run_id)
    metric = main_metric(run.config)
    progress = Progress(run.outer_steps if run.config.algorithm.trains else 0, start)
    told = len(store.notes(run_id))
    while run.active:
        if asked.is_set():
            with suppress(CommandError):  # it has just ended by itself
                service.stop(run.id, run.owner)
        run = service.wait(run.id, POLL_SECONDS)
        if progress.due or not run.active:
            for note in store.notes(run_id)[told:]:
                progress.say(f"outer step {note.step}: {note.text}")
                told += 1
        if progress.due:
            progress.draw(run.step, _before_and_after(store, run, metric))
    progress.finish(run.step, _before_and_after(store, run, metric))
    return run


def _described(store: Store, run: Run, steps: int, seconds: float) -> dict[str, Any]:
    seen, evaluation = last_evaluation(store, run), None
    if seen is not None:
        figures = asdict(measured(seen.curves, main_metric(run.config)))
        evaluation = figures | {"axis": run.config.algorithm.axis, "split": "validation", "step": seen.step}
    return {
        "run": run.id,
        "name": run.name,
        "state": run.state,
        "message": run.message,
        "steps": run.step,
        "seconds": seconds,
        "cpu_seconds": time.process_time(),
        "steps_per_second": steps / seconds if seconds > 0 else 0.0,
        "evaluation": evaluation,
    }


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C or SIGTERM; the next one interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _before_and_after(store: Store, run: Run, metric: str) -> str:
    seen = last_evaluation(store, run)
    if seen is None:
        return ""
    mean = seen.curves[metric].double().mean(0)
    return f"held-out {metric} {figure(float(mean[0]), metric)} -> {figure(float(mean[-1]), metric)}"


def _shown(found: dict[str, Any]) -> str:
    lines = [
        f"run {found['run']} ({found['name']}): {found['state']} after {found['steps']} outer steps, "
        f"{found['seconds']:.1f} s, {found['steps_per_second']:.4g} steps/s"
    ]
    seen = found["evaluation"]
    if seen:
        metric = seen["metric"]
        lines.append(f"{seen['tasks']} held-out tasks (meta-validation) at outer step {seen['step']}:")
        pairs = enumerate(zip(seen["by_inner_step"], seen["ci95"], strict=True))
        rows = [(str(k), figure(mean, metric), f"± {figure(half, metric)}") for k, (mean, half) in pairs]
        lines.append(table((seen["axis"], metric, "95% interval"), rows))
    return "\n".join(lines)
