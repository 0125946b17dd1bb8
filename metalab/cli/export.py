"""`python -m metalab export`: a run as a folder of plain files, to keep, plot or hand in."""

from __future__ import annotations

import argparse
import csv
import json
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

from metalab.cli.parsing import BadInput, as_json
from metalab.cli.stored import RUN_HELP, axis_of, find_run, opened

if TYPE_CHECKING:
    from metalab.store import Evaluation, Note, Run

README = """{name}
{rule}
Run {id} of MetaLab: {algorithm} with {model} on {family}, {state} after {step} of {outer_steps} outer steps.
Exported {date}; torch {torch}, Python {python}, {machine}.

config.json          every setting of the run, the seed included
metrics.csv          figures of each outer step: step, name, value
evaluation.csv       the fixed held-out tasks (meta-validation), adapted from theta: outer step, metric, {axis},
                     mean over tasks, half the width of its 95% interval, number of tasks
theta.safetensors    the meta-parameters after outer step {kept}
report.html          its settings, notes and figures as one page, which opens offline
{script}
The same run again, from this folder (same numbers on the same kind of machine):

    python -m metalab train --config config.json
{changes}
Read theta in Python:

    import safetensors.torch
    theta = safetensors.torch.load_file("theta.safetensors")
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help=RUN_HELP)
    parser.add_argument("--to", metavar="DIR", required=True, help="a folder that is empty or does not exist yet")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(options: argparse.Namespace) -> int:
    folder = Path(options.to).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"--to {options.to}: exists already, expected an empty or a new folder")
    with opened() as store:
        run = find_run(store, options.run_id)
        import safetensors.torch

        from metalab.takehome.charts import plotly_js
        from metalab.takehome.report import account, report

        theta, kept = store.load_theta(run.id), store.checkpoints(run.id)[-1]
        metrics, evaluations, notes = store.metrics(run.id), store.evaluations(run.id), store.notes(run.id)
        told_of = account(store, run.id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise BadInput(f"--to {options.to}: cannot be made ({problem.strerror}), expected a new folder") from None
    (folder / "config.json").write_text(json.dumps(run.settings, indent=2) + "\n", encoding="utf-8")
    metrics.to_csv(folder / "metrics.csv", index=False)
    _write_evaluations(folder / "evaluation.csv", evaluations, axis_of(run))
    safetensors.torch.save_file(theta, folder / "theta.safetensors", {"run": run.id, "step": str(kept)})
    (folder / "report.html").write_text(report(told_of, plotly_js(), str), encoding="utf-8")
    told = _write_script(folder, run, notes)
    (folder / "README.txt").write_text(_readme(run, kept, notes, told), encoding="utf-8")
    files = sorted(path.name for path in folder.iterdir())
    if options.json:
        print(as_json({"run": run.id, "folder": str(folder), "files": files}))
    else:
        print(f"wrote {', '.join(files)} into {folder}")
    return 0


def _write_evaluations(path: Path, evaluations: list[Evaluation], axis: str) -> None:
    from metalab.training.evaluation import summarise

    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("step", "metric", axis.replace(" ", "_"), "mean", "ci95", "tasks"))
        for seen in evaluations:
            for metric, values in seen.curves.items():
                summary = summarise(values)
                pairs = zip(summary.mean.tolist(), summary.ci95.tolist(), strict=True)
                rows.writerows((seen.step, metric, k, *pair, len(values)) for k, pair in enumerate(pairs))


def _write_script(folder: Path, run: Run, notes: list[Note]) -> str:
    """The run as a PyTorch script, with the file that it reads; what the README says of it. Raises DataMissing."""
    from metalab.takehome import families
    from metalab.takehome import script as writer

    try:
        text = writer.script(run.config, writer.changes_of(run, notes))
    except writer.NoScript as reason:
        return f"\n{reason}\n"
    name, family = writer.file_name(run.config), run.config.family
    (folder / name).write_text(text, encoding="utf-8")
    told = f"{name:<20} the same run in plain PyTorch, with nothing else to install\n"
    beside = families.data_name(family)
    if beside:
        (folder / beside).write_bytes(families.data(family))
        told += f"{beside:<20} the {'names' if family.tokens else 'pictures'} that this script reads\n"
    return told


def _readme(run: Run, kept: int, notes: list[Note], script: str) -> str:
    import torch

    told = [f"    outer step {note.step}: {note.text}" for note in notes]
    changes = ["", "While it ran, this happened, which the command does not repeat:", "", *told, ""] if told else [""]
    return README.format(
        name=run.name,
        rule="=" * len(run.name),
        id=run.id,
        algorithm=run.algorithm,
        axis=axis_of(run),
        model=run.model,
        family=run.family,
        state=run.state,
        step=run.step,
        outer_steps=run.outer_steps,
        date=time.strftime("%Y-%m-%d"),
        torch=torch.__version__,
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        kept=kept,
        changes="\n".join(changes),
        script=script,
    )
