"""What the page on sweeps remembers, how its plan is read, and what it says of a sweep."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from metalab.algorithms import ALGORITHMS
from metalab.analysis.sweep import Table, Tried, influence, level_with_best, table, unpacked
from metalab.figures.speed import spelled
from metalab.figures.sweep import heatmap, parallel, scattered
from metalab.settings import Declaration
from metalab.store import sweeps as disk
from metalab.store.sweeps import Sweep, SweepNotFound
from metalab.tasks import FAMILIES
from metalab.training.config import set_dotted
from metalab.training.service import service
from metalab.training.sweeps import MOST_AXES, MOST_TRIALS, Plan, parse_plan, sweeps
from metalab.ui import draft as drafts
from metalab.ui import runs
from metalab.ui.cells import cell
from metalab.ui.gallery import Placed
from metalab.ui.i18n import _, ngettext
from metalab.ui.identity import acting_on, current_owners
from metalab.ui.links import OF_RUN_ID, RUN_ID, Parameter, escape, readable
from metalab.ui.study import Study

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "assets" / "examples" / "sweep-sinusoid.json"
METHODS = ("grid", "random", "optuna")
FIRST = ("algorithm.inner_lr", "algorithm.inner_steps", "algorithm.inner_steps_eval", "outer_lr")
"""Settings that vary at first, the first two that an algorithm has."""
UNVARIED = frozenset({"device", "evaluate_every", "evaluation_tasks", "outer_steps"})
_RANGE = re.compile(r"\s*(\S+)\s+to\s+(\S+)\s*")
OF_VARY = "letters, digits, spaces and . , : ; = | + -"
STUDY = Study(
    "sweeps",
    [
        Parameter("algorithm", "maml", choices=tuple(ALGORITHMS)),
        Parameter("outer_steps", 300, int, low=1, high=100_000),
        Parameter("seed", 0, int, low=0, high=2**31 - 1),
        Parameter("vary", "", pattern=r"[\w .,:;=|+-]*", longest=600, made_of=OF_VARY, automatic=True),
        Parameter("method", "grid", choices=METHODS),
        Parameter("trials", 12, int, low=2, high=MOST_TRIALS),
        Parameter("sweep", "", pattern=rf"({RUN_ID})?", made_of=OF_RUN_ID, automatic=True),
    ],
    most=1,
)


# --- the plan


def declared(state: Mapping[str, Any]) -> dict[str, Declaration]:
    """The settings that can vary, by dotted name."""
    names = drafts.start(state["family"], state["algorithm"]).names
    return {name: each for name, each in drafts.declared(names) if name not in UNVARIED}


def varied(state: Mapping[str, Any], known: Mapping[str, Declaration]) -> dict[str, str]:
    """Which settings vary, and over what, as it is typed."""
    found = dict(part.split("=", 1) for part in state["vary"].split("|") if "=" in part)
    found = {name: text for name, text in found.items() if name in known}
    if found:
        return dict(list(found.items())[:MOST_AXES])
    return {name: suggestion(state, name, known[name]) for name in [n for n in FIRST if n in known][:2]}


def as_text(axes: Mapping[str, str]) -> str:
    """`varied` for the link."""
    return "|".join(f"{name}={text}" for name, text in axes.items())


def suggestion(state: Mapping[str, Any], name: str, declaration: Declaration) -> str:
    """Values to begin with, about what is recommended."""
    begin = drafts.start(state["family"], state["algorithm"]).values.get(name, declaration.default)
    if declaration.choices:
        return ", ".join(map(str, declaration.choices))
    if declaration.type is bool:
        return "false, true"
    if declaration.type not in (int, float):
        return ",".join(map(str, begin)) if isinstance(begin, tuple | list) else str(begin)
    low = -math.inf if declaration.low is None else declaration.low
    high = math.inf if declaration.high is None else declaration.high
    whole = declaration.type is int
    tried = [begin / 3, begin, begin * 3] if begin else [0, 1, 2]
    if whole and begin:
        tried = [begin / 2, begin, begin * 2] if begin > 2 else [1, 2, 4]
    places = sorted({min(max(round(v) if whole else float(f"{v:.1g}"), low), high) for v in tried})
    return ", ".join(_number(int(v) if whole else v) for v in places)


def _number(value: float) -> str:
    return readable(value).replace(",", "")


def axis_of(name: str, text: str, declaration: Declaration) -> dict[str, Any]:
    """A setting's axis as it was typed: values parted by commas (lists by semicolons), or "low to high".

    Raises Problem.
    """
    label = _(declaration.label)
    spread = _RANGE.fullmatch(text)
    if spread:
        low, high = (_parsed(part, declaration, label) for part in spread.groups())
        if isinstance(low, bool) or not isinstance(low, int | float):
            raise runs.Problem(_("{setting} takes no range: give its values.").format(setting=label))
        whole = declaration.type is int
        return {"name": name, "low": low, "high": high, "log": declaration.scale == "log", "whole": whole}
    parts = re.split(r";" if declaration.type is tuple else r"[,;]", text)
    values = [_parsed(part.strip(), declaration, label) for part in parts if part.strip()]
    if not values:
        raise runs.Problem(_("{setting} has no values: give some, parted by commas.").format(setting=label))
    return {"name": name, "values": list(dict.fromkeys(map(_hashable, values)))}


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _parsed(text: str, declaration: Declaration, label: str) -> Any:
    wrong = runs.Problem(_("{setting}: {value} is no value for it.").format(setting=label, value=repr(text[:30])))
    try:
        if declaration.choices:
            return next(choice for choice in declaration.choices if str(choice) == text)
        if declaration.type is bool:
            return {"true": True, "false": False}[text.lower()]
        if declaration.type is tuple:
            return [float(part) if declaration.is_range else int(part) for part in text.split(",")]
        return text if declaration.type is str else declaration.type(text)
    except (ValueError, KeyError, StopIteration):
        raise wrong from None


def plan_of(state: Mapping[str, Any], axes: Mapping[str, str]) -> Plan:
    """The checked plan. Raises Problem."""
    known = declared(state)
    draft = drafts.start(state["family"], state["algorithm"])
    base: dict[str, Any] = {part: {"name": name} for part, name in draft.names.items()}
    steps = int(state["outer_steps"])
    set_dotted(base, "outer_steps", steps)
    set_dotted(base, "evaluate_every", max(1, steps // 4))
    set_dotted(base, "seed", int(state["seed"]))
    data = {
        "base": base,
        "axes": [axis_of(name, text, known[name]) for name, text in axes.items()],
        "method": state["method"],
        "trials": int(state["trials"]),
    }
    with runs.friendly():
        return parse_plan(data)


# --- sweeps that are there


def start(plan: Plan) -> str:
    """Begin; the new sweep's id. Raises Problem."""
    with runs.friendly():
        return sweeps(service()).start(plan, runs.person()).id


def everybody() -> list[Sweep]:
    """The newest sweeps."""
    return disk.listed(service().store)


def look(sweep_id: str) -> tuple[Sweep, Table] | None:
    """A sweep and what it found so far; None where it is gone."""
    store = service().store
    try:
        sweep = disk.get(store, sweep_id)
    except SweepNotFound:
        return None
    return sweep, table(store, sweep)


@cache
def example() -> tuple[Table, dict[str, Any]]:
    """The sweep that comes with MetaLab."""
    return unpacked(EXAMPLE.read_text(encoding="utf-8"))


def unknown(state: dict[str, Any], there: Sequence[Sweep]) -> list[str]:
    """The sentence about a sweep that is none of those that are there; the newest is looked at instead."""
    asked, ids = state["sweep"], [sweep.id for sweep in there]
    if asked in ids:
        return []
    state["sweep"] = ids[0] if ids else ""
    if not asked:
        return []
    told = (
        _("Sweep {sweep} is not here (any more): the newest one is shown.")
        if ids
        else _("Sweep {sweep} is not here (any more), and no other: an example is shown.")
    )
    return [told.format(sweep=asked)]


def state_of(sweep: Sweep) -> str:
    """Running, interrupted, stopped or finished."""
    if sweep.state != "running":
        return sweep.state
    feeder = sweeps(service())
    return "running" if feeder.feeds(sweep.id) or feeder.elsewhere(sweep) else "interrupted"


def mine(sweep: Sweep) -> bool:
    """Whether this visitor may stop, resume and delete it."""
    return sweep.owner in current_owners()


def command(sweep: Sweep, name: str) -> None:
    """Stop, resume or delete a sweep. Raises Problem."""
    feeder, user = sweeps(service()), acting_on(sweep.owner)
    try:
        with runs.friendly():
            runs.person()  # whoever is in charge now is held to no limits
            if name == "delete":
                feeder.stop(sweep.id, user)
                disk.delete(service().store, sweep.id, user)
            else:
                {"stop": feeder.stop, "resume": feeder.resume}[name](sweep.id, user)
    except SweepNotFound as problem:
        raise runs.Problem(str(problem)) from None


# --- words and pictures


def labels(names: Sequence[str], base: Mapping[str, Any]) -> list[str]:
    """The settings' names as people read them."""
    parts = {part: base.get(part, {}) for part in ("family", "algorithm", "model")}
    family = parts["family"].get("name", "sinusoid")
    algorithm = parts["algorithm"].get("name", "maml")
    known: dict[str, Declaration] = {}
    if family in FAMILIES and algorithm in ALGORITHMS:
        model = parts["model"].get("name")
        known = dict(drafts.declared(drafts.start(family, algorithm, model).names))
    return [_(known[name].label) if name in known else name for name in names]


def unit(base: Mapping[str, Any]) -> str:
    """What the loss of the sweep's family is."""
    name = base.get("family", {}).get("name", "sinusoid")
    return FAMILIES[name](name=name).loss_name if name in FAMILIES else "loss"


def verdict(found: Table, names: Sequence[str]) -> str:
    """The answer to the page's question."""
    ranked = found.ranked
    if not ranked:
        return _("No trial has a result yet: each is judged once it is trained to its end.")
    best = ranked[0]
    values = ", ".join(f"{escape(name)} **{_spelled(value)}**" for name, value in zip(names, best.values, strict=True))
    sentence = _("Best of {n}: {values}, with a held-out {metric} of **{result}** (±{ci}, 95%) after adaptation.")
    said = [
        sentence.format(
            n=len(ranked),
            values=values,
            metric=_(found.metric),
            result=spelled(best.result, found.metric),
            ci=spelled(best.ci95, found.metric),
        )
    ]
    level = level_with_best(found)
    if level:
        told = ngettext(
            "{n} other trial cannot be told from it: the 95% interval of the difference includes zero.",
            "{n} other trials cannot be told from it: the 95% interval of the difference includes zero.",
            level,
        )
        said.append(told.format(n=level))
    elif len(ranked) > 1:
        said.append(_("Every other trial is worse by more than chance leaves open."))
    shares = influence(found)
    if shares and level < len(ranked) - 1:  # else no difference is known to be one
        first = max(shares, key=lambda each: shares[each])
        told = _("{setting} matters most: alone it explains {share} of the differences.")
        said.append(told.format(setting=escape(names[found.settings.index(first)]), share=f"{shares[first]:.0%}"))
    return " ".join(said)


def pictures(found: Table, names: Sequence[str], base: Mapping[str, Any], *, grid: bool) -> list[Placed]:
    """Parallel coordinates, and a map of the two settings that matter most; nothing before there is a result."""
    if not found.ranked:
        return []
    shown = [Placed(parallel(found, names, unit(base), _), 380, "whole")]
    shares = influence(found)
    several = [name for i, name in enumerate(found.settings) if len({row.values[i] for row in found.ranked}) > 1]
    order = sorted(several, key=lambda name: -shares.get(name, 0.0))
    called = dict(zip(found.settings, names, strict=True))
    if grid and len(order) >= 2:
        shown.append(Placed(heatmap(found, order[0], order[1], called, unit(base), _), 360, "whole"))
    else:
        numeric = [name for name in order if _numbers(found.ranked, found.settings.index(name))]
        place = "whole" if len(numeric) == 1 else "half"
        shown += [Placed(scattered(found, name, called[name], unit(base), _), 320, place) for name in numeric[:4]]
    return shown


def _numbers(trials: Sequence[Tried], i: int) -> bool:
    """Whether the trials' values of the setting at place `i` are numbers."""
    return all(isinstance(row.values[i], int | float) and not isinstance(row.values[i], bool) for row in trials)


def rows(found: Table, names: Sequence[str]) -> dict[str, list[Any]]:
    """The sortable table's columns; accuracies are in percent."""
    columns: dict[str, list[Any]] = {_("Trial"): [row.place + 1 for row in found.rows]}
    for i, name in enumerate(names):
        numbers = _numbers(found.rows, i)
        columns[name] = [row.values[i] if numbers else str(row.values[i]) for row in found.rows]
    columns[_("Result")] = [cell(row.result, found.metric) for row in found.rows]
    columns[_("± 95%")] = [cell(row.ci95, found.metric) for row in found.rows]
    columns[_("State")] = [_state_name(row.state) for row in found.rows]
    if any(row.message for row in found.rows):
        columns[_("Why")] = [_(row.message) if row.message else "" for row in found.rows]
    return columns


def _state_name(state: str) -> str:
    own = {"refused": _("Refused"), "gone": _("Deleted")}
    return own.get(state) or runs.state_name(state)


def _spelled(value: Any) -> str:
    return readable(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
