"""What the Library remembers, its list of runs, the comparison of a few, and the bin."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metalab.algorithms import ALGORITHMS
from metalab.analysis.catalogue import Entry, best, catalogue, differences, level_with, search, shared
from metalab.figures.library import compared
from metalab.figures.speed import spelled
from metalab.settings import declarations
from metalab.store import Run, library
from metalab.store.people import disk_bytes
from metalab.tasks import FAMILIES
from metalab.training.config import RunConfig
from metalab.training.quotas import GIGABYTE, size_in_words
from metalab.training.service import service
from metalab.ui import examples, own_task, runs
from metalab.ui.cells import cell, formats, unit
from metalab.ui.gallery import Placed
from metalab.ui.i18n import _, ngettext
from metalab.ui.identity import acting_on, current_owners, current_user
from metalab.ui.links import Parameter, escape
from metalab.ui.study import Study

MOST = 4
"""Runs that are compared."""
ALL = "all"
VIEWS = ("runs", "start", "bin")
PAGES = Path(__file__).resolve().parents[2] / "pages"
STUDY = Study(
    "library",
    [
        Parameter("view", "runs", choices=VIEWS),
        Parameter("q", "", pattern=r"[^\x00-\x1f\x7f]*", longest=120, made_of="characters"),
        Parameter("of", ALL, choices=(ALL, *FAMILIES)),
        Parameter("algorithm", ALL, choices=(ALL, *ALGORITHMS)),
        Parameter("mine", False, bool),
        Parameter("starred", False, bool),
        Parameter("task", 1, int, low=0, high=9_999),
        *own_task.parameters(),
        Parameter("steps", 5, int, low=1, high=50),
        Parameter("checkpoints", 1, int, choices=(1, 3, 10)),
    ],
    most=MOST,
    mend=own_task.pair_points,
)


# --- the list


def found_runs(state: Mapping[str, Any]) -> tuple[list[Entry], list[Entry], str]:
    """All runs, those that the filters leave, and what is wrong with the search."""
    store = service().store
    examples.candidates("sinusoid", lambda _run: True)
    with runs.friendly():
        everything = catalogue(store, current_owners())
    left = [
        entry
        for entry in everything
        if state["of"] in (ALL, entry.run.family)
        and state["algorithm"] in (ALL, entry.run.algorithm)
        and (not state["mine"] or runs.mine(entry.run))
        and (not state["starred"] or entry.marks.stars)
    ]
    try:
        return everything, search(left, state["q"]), ""
    except ValueError as problem:
        return everything, left, str(problem)


def unknown(state: dict[str, Any], everything: Sequence[Entry]) -> list[str]:
    """Leaves out the runs that are not here (any more), with a sentence for each that a link just opened names."""
    here = {entry.run.id for entry in everything}
    lost = [run_id for run_id in state["who"] if run_id not in here and state["asked"]]
    state["who"], state["asked"] = [run_id for run_id in state["who"] if run_id in here], False
    told = _("Run {run} of the link is not here (any more): it is left out.")
    return [told.format(run=run_id) for run_id in lost]


def verdict(everything: Sequence[Entry], left: Sequence[Entry], family: str) -> str:
    """The answer to the page's question, in a sentence or two."""
    listed = ngettext("**{n} run** is listed", "**{n} runs** are listed", len(left)).format(n=len(left))
    said = [_("{listed} of {all}.").format(listed=listed, all=len(everything))]
    families = [family] if family != ALL else list(dict.fromkeys(entry.run.family for entry in left))
    for name in families[:3]:
        top = best(left, name)
        if top is None or top.result is None:
            continue
        result = top.result
        sentence = _(
            "On {family} the best is **{run}**: {metric} {after} (±{ci}, 95%) over {tasks} held-out tasks, "
            "from {before} before adaptation."
        )
        level = len(level_with(top, left))
        told = ngettext("{n} other run cannot be told from it.", "{n} other runs cannot be told from it.", level)
        more = " " + told.format(n=level) if level else ""
        said.append(
            sentence.format(
                family=_title(FAMILIES, name).lower(),
                run=escape(runs.numbered([top.run])[top.run.id]),
                metric=_(result.metric),
                after=spelled(result.after, result.metric),
                ci=spelled(float(result.ci95[-1]), result.metric),
                tasks=result.tasks,
                before=spelled(result.before, result.metric),
            )
            + more
        )
    return "\n- ".join(said)


def rows(entries: Sequence[Entry]) -> dict[str, list[Any]]:
    """The table's columns; accuracies are in percent."""
    named = runs.numbered([entry.run for entry in entries])
    now = time.time()

    def figure(entry: Entry, name: str) -> float | None:
        result = entry.result
        if result is None:
            return None
        value = {"before": result.before, "after": result.after, "ci": float(result.ci95[-1])}[name]
        return cell(value, result.metric)

    return {
        _("Run"): [named[entry.run.id] for entry in entries],
        _("After"): [figure(entry, "after") for entry in entries],
        _("± 95%"): [figure(entry, "ci") for entry in entries],
        _("Before"): [figure(entry, "before") for entry in entries],
        _("Measured by"): [unit(entry.result.metric) if entry.result else None for entry in entries],
        _("Task family"): [_title(FAMILIES, entry.run.family) for entry in entries],
        _("Algorithm"): [_algorithm(entry.run) for entry in entries],
        _("Stars"): [entry.marks.stars for entry in entries],
        _("Outer steps"): [entry.run.step for entry in entries],
        _("State"): [runs.state_name(entry.run.state) for entry in entries],
        _("Tags"): [list(entry.marks.tags) for entry in entries],
        _("Whose"): [runs.foreign(entry.run) or _("yours") for entry in entries],
        _("Hours ago"): [round((now - entry.run.created) / 3600, 1) for entry in entries],
    }


def table_formats(entries: Sequence[Entry]) -> dict[str, Any] | None:
    """How the table writes them."""
    metrics = {entry.result.metric for entry in entries if entry.result}
    return formats(metrics, (_("After"), _("± 95%"), _("Before")))


def _algorithm(run: Run) -> str:
    if run.algorithm == "maml" and run.settings["algorithm"].get("order") == 1:
        return "FOMAML"
    return _title(ALGORITHMS, run.algorithm)


def _title(known: Mapping[str, Any], name: str) -> str:
    return _(known[name].title) if name in known else name


# --- a few runs side by side


def difference_table(chosen: Sequence[Entry]) -> dict[str, list[str]]:
    """What differs between the runs: results first, then settings; a column for each run."""
    labels = runs.labels([entry.run for entry in chosen])
    named = {f"{part}.{each.name}" if part else each.name: each.label for part, each in _declared(chosen)}
    found = {_("What"): [_("result after adaptation"), _("outer steps taken")]}
    for entry in chosen:
        result = entry.result
        after = (
            f"{spelled(result.after, result.metric)} ± {spelled(float(result.ci95[-1]), result.metric)}"
            if result
            else "–"
        )
        found[labels[entry.run.id]] = [after, f"{entry.run.step:,}"]
    for difference in differences(chosen):
        found[_("What")].append(_(named.get(difference.name, difference.name)))
        for entry, value in zip(chosen, difference.values, strict=True):
            found[labels[entry.run.id]].append(value)
    return found


def _declared(chosen: Sequence[Entry]) -> list[tuple[str, Any]]:
    parts: dict[str, list[type]] = {"family": [], "algorithm": [], "model": [], "": [RunConfig]}
    from metalab.training.config import PARTS

    for entry in chosen:
        for part in PARTS:
            cls = PARTS[part].get(entry.run.settings[part]["name"])
            if cls is not None:
                parts[part].append(cls)
    return [(part, each) for part, classes in parts.items() for cls in classes for each in declarations(cls)]


def alike(chosen: Sequence[Entry]) -> str:
    """How much the runs have in common."""
    n = shared(chosen)
    return ngettext("{n} further setting is the same.", "{n} further settings are the same.", n).format(n=n)


def comparison(chosen: Sequence[Entry]) -> list[Placed]:
    """The runs' last adaptation curves; nothing where they have none of one metric and axis."""
    known = [entry for entry in chosen if entry.result is not None]
    metrics = {entry.result.metric for entry in known if entry.result}
    axes = {ALGORITHMS[entry.run.algorithm].axis for entry in known if entry.run.algorithm in ALGORITHMS}
    if len(metrics) != 1 or len(axes) != 1:
        return []
    labels = runs.labels([entry.run for entry in known])
    family = FAMILIES.get(known[0].run.family)
    unit = family(name=known[0].run.family).loss_name if family else "loss"
    who = [_algorithm(entry.run) for entry in known]
    # An algorithm that is there once needs no further name: long ones do not fit beside the lines.
    names = [name if who.count(name) == 1 else labels[e.run.id] for name, e in zip(who, known, strict=True)]
    return [Placed(compared(known, names, unit, axes.pop(), _), 360, "whole")]


# --- acting


def star(run_id: str, on: bool) -> None:
    """Raises Problem."""
    with runs.friendly():
        library.star(service().store, run_id, current_user(), on)


def describe(run: Run, tags: str, remark: str) -> None:
    """Raises Problem."""
    with runs.friendly():
        try:
            library.describe(service().store, run.id, acting_on(run.owner), library.clean_tags(tags), remark)
        except ValueError as problem:
            raise runs.Problem(str(problem)) from None


def binned() -> list[Run]:
    """What this visitor has in the bin."""
    return library.bin_of(service().store, current_owners())


def bin_told(n: int) -> str:
    """Where the deleted runs are that the list does not show."""
    said = ngettext(
        "{n} run that you deleted is in your bin: you can take it back.",
        "{n} runs that you deleted are in your bin: you can take them back.",
        n,
    )
    return said.format(n=n)


def restore(run: Run) -> None:
    """Raises Problem."""
    with runs.friendly():
        library.restore(service().store, run.id, acting_on(run.owner))


def empty_bin() -> None:
    """Remove what this visitor has in the bin for good. Raises Problem."""
    with runs.friendly():
        library.empty_bin_of(service().store, current_owners())


def taken() -> str:
    """How much of the disk this visitor's runs take, in a sentence."""
    used, allowed = disk_bytes(service().store, current_user()), service().quotas.of(runs.person()).disk
    if allowed is None:
        return _("Your runs take {used} on the disk, those in the bin included.").format(used=size_in_words(used))
    said = _("Your runs take {used} of {allowed} that are allowed here, those in the bin included.")
    return said.format(used=size_in_words(used), allowed=size_in_words(allowed * GIGABYTE))
