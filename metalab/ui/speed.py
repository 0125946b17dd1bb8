"""What the page on adaptation speed remembers, computes in the background, and says in words."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metalab.analysis.background import Report
from metalab.analysis.speed import (
    COSTS,
    MOST_STEPS,
    SLIGHT,
    Comparison,
    Speed,
    Standing,
    identity,
    level_range,
    measure,
    usual_level,
)
from metalab.analysis.speed_shots import Practice, Shots, over_shots, practice
from metalab.figures import speed as pictures
from metalab.figures import speed_shots
from metalab.figures.speed import cost_in_words, metric_title, roughly, saved_in_words, spelled
from metalab.training.service import service
from metalab.ui import links
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.background import computed
from metalab.ui.dials import Dial, Reading
from metalab.ui.gallery import Pick, Placed
from metalab.ui.i18n import _, ngettext
from metalab.ui.links import OF_RUN_ID, RUN_ID, Parameter, escape
from metalab.ui.study import Study

TASKS = (50, 100, 200, 400, 600)
LOOKS = {"regression": (50,)}
LARGE_LOOKS = (8, 50)
"""So many tasks are adapted to first, so that something is seen soon: of functions, and where networks are larger."""
FEWEST_STEPS = 3
"""Fewer make no curve."""
VIEWS = ("steps", "shots", "training")
LEVEL_STOPS = 120
ADAPT = Path(__file__).resolve().parents[2] / "pages" / "adapt.py"
STUDY = Study(
    "speed",
    [
        Parameter("tasks", 600, int, choices=TASKS),
        Parameter("steps", 0, int, low=0, high=MOST_STEPS, automatic=True),
        Parameter("level", 0.0, float, low=-1e6, high=1e6, automatic=True),
        Parameter("cost", "steps", choices=COSTS),
        Parameter("view", "steps", choices=VIEWS),
        Parameter("run", "", pattern=RUN_ID, made_of=OF_RUN_ID, automatic=True),
        Parameter("log", False, bool),
    ],
    most=5,
)


def fit(state: dict[str, Any], entrants: list[Entrant]) -> list[str]:
    """What a link asks of these runs in vain: put right, and told."""
    wrong: list[str] = [*links.unknown_run(state, [entrant.id for entrant in entrants])]
    if entrants[0].config.family.metric == "accuracy" and not 0 <= state["level"] <= 1:
        expected = _("{number} from {low} to {high}").format(number=_("a number"), low=0, high=1)
        wrong.append(links.refused("level", state["level"], expected, _("the default")))
        state["level"] = 0.0
    return wrong


def inner_steps(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> int:
    """How far those go that take inner steps: what was chosen, or as far as most of them are evaluated."""
    stepping = [each.contender.algorithm for each in entrants if each.contender.algorithm.axis == "inner step"]
    usual = sorted(algorithm.evaluation_steps for algorithm in stepping) or [1]
    return int(state["steps"] or min(max(usual[(len(usual) - 1) // 2], FEWEST_STEPS), MOST_STEPS))


def looks(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> list[int]:
    """Over how many tasks at first, then, and in the end."""
    first = LOOKS.get(entrants[0].config.family.kind, LARGE_LOOKS)
    return [*(count for count in first if count < state["tasks"]), state["tasks"]]


def measured(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> tuple[Speed, Speed] | None:
    """The curves over the first few tasks, and over as many as there are already, all in the end; None before that."""
    found: list[Speed] = []
    for place, n_tasks in enumerate(looks(state, entrants)):
        look = _measured(state, entrants, n_tasks, f"speed.look{place}", later=place > 0)
        if look is None:
            break
        found.append(look)
    return (found[0], found[-1]) if found else None


def _measured(
    state: Mapping[str, Any], entrants: Sequence[Entrant], n_tasks: int, slot: str, later: bool
) -> Speed | None:
    contenders, family = [each.contender for each in entrants], entrants[0].config.family
    steps = inner_steps(state, entrants)

    def make(report: Report) -> Speed:
        return measure(contenders, family, n_tasks=n_tasks, steps=steps, report=report)

    told = _("Adapting to {n} held-out tasks").format(n=n_tasks)
    return computed(slot, (*_key(entrants), n_tasks, steps), make, told=told, later=later)


def shots(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> Shots | None:
    """The figures over the numbers of shots, for the first few tasks, for more, and for all; None before that."""
    found = None
    for place, n_tasks in enumerate(looks(state, entrants)):
        look = _shots(state, entrants, n_tasks, f"speed.shots.look{place}", later=place > 0)
        if look is None:
            break
        found = look
    return found


def _shots(state: Mapping[str, Any], entrants: Sequence[Entrant], n_tasks: int, slot: str, later: bool) -> Shots | None:
    contenders, family = [each.contender for each in entrants], entrants[0].config.family
    steps = inner_steps(state, entrants)

    def make(report: Report) -> Shots:
        return over_shots(contenders, family, n_tasks=n_tasks, steps=steps, report=report)

    told = _("Adapting to {n} held-out tasks with more and more shots").format(n=n_tasks)
    return computed(slot, (*_key(entrants), n_tasks, steps), make, told=told, later=later)


def practised(entrant: Entrant) -> Practice | None:
    """What the run stored of itself as it trained: None while it is read, and where it stored nothing."""
    family, store = entrant.config.family, service().store

    def make(_report: Report) -> Practice | None:
        looks = [(seen.step, seen.curves[family.metric]) for seen in store.evaluations(entrant.id)]
        return practice(family.metric, family.loss_name, looks)

    key = (str(store.home), entrant.id, store.version(entrant.id))
    return computed("speed.training", key, make, told=_("Reading what the run stored"))


def _key(entrants: Sequence[Entrant]) -> tuple[Any, ...]:
    who = tuple((each.contender.label, each.contender.colour_key, identity(each.contender)) for each in entrants)
    return who, entrants[0].config.family.model_dump_json()


# --- the level


def level_dial(state: Mapping[str, Any], speed: Speed) -> tuple[Dial, int]:
    """The level that is asked about, from the worst mean to the best, and the dial's revision.

    Made from the curves over the first few tasks, so that it stays as it is when the others are done.
    """
    low, high = level_range(speed)
    scale, unit = (100, " (%)") if speed.metric == "accuracy" else (1, "")
    usual = _rounded(min(max(state["level"] or usual_level(speed), low), high) * scale)
    stops = {_rounded(value * scale) for value in np.linspace(low, high, LEVEL_STOPS)} | {usual}
    told = _("The level that every contender has to reach: drag it, and the line in the picture follows.")
    label = _("Level: {metric}").format(metric=metric_title(speed.metric, speed.loss_name, _) + unit)
    parts = (state["revision"], state["family"], speed.metric, [curve.label for curve in speed.curves])
    return Dial("level", label, tuple(sorted(stops)), usual, help=told), zlib.crc32(repr(parts).encode())


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def beyond(state: Mapping[str, Any], speed: Speed) -> str:
    """That the level which is asked for is not where these curves run, and which one is taken: Markdown, or nothing."""
    low, high = level_range(speed)
    nearest = min(max(state["level"], low), high)
    if not state["level"] or _rounded(nearest) == _rounded(state["level"]):
        return ""
    told = _("**No curve comes to {asked}**, so the level stands at the nearest that can be chosen, {nearest}.")
    return told.format(asked=spelled(state["level"], speed.metric), nearest=spelled(nearest, speed.metric))


def level_at(reading: Reading, speed: Speed) -> float:
    """Where the dial stands, in the metric's unit."""
    return reading.values["level"] / (100 if speed.metric == "accuracy" else 1)


# --- words


def verdict(speed: Speed, comparison: Comparison) -> str:
    """Who is faster, by how much, and whether the difference is real: Markdown."""
    leader, second = comparison.leader, comparison.runner_up
    level = spelled(comparison.level, speed.metric)

    def words(value: float) -> str:
        return cost_in_words(value, comparison, speed, _)

    if leader is None:
        return _("**Nobody reaches {level}** within the picture: move the level.").format(level=level)
    name = escape(leader.label)
    said = {"name": name, "level": level, "cost": words(leader.value), "n": speed.n_tasks}
    own = {"interval": _interval(leader.low, leader.high, comparison)}
    if second is None:
        sentence = _("**{name} reaches {level} after {cost}** ({interval}, over {n} tasks).")
        return sentence.format(**said, **own)
    other = escape(second.label)
    if not np.isfinite(second.value):
        if leader.value == 0:
            return _("**Only {name} reaches {level}**, at once; over these {n} tasks nobody else does.").format(**said)
        sentence = _(
            "**Only {name} reaches {level}**, after {cost} ({interval}); over these {n} tasks nobody else does."
        )
        return sentence.format(**said, **own)
    said |= {"other": other}
    why = escape(pictures.endless(second, leader, _))
    readers = {curve.label for curve in speed.curves if curve.axis != speed.axis}
    if comparison.cost != "seconds" and leader.label in readers:
        if second.label in readers:
            sentence = _("**{name} and {other} take no inner steps: both are at {level} at once.**")
        else:
            sentence = _("**{name} takes no inner steps: it is at {level} at once.** {other} gets there after {cost}.")
        return f"{sentence.format(**said | {'cost': words(second.value)})} {why}".strip()
    return f"{_between(speed, comparison, leader, second)} {why}".strip()


def _between(speed: Speed, comparison: Comparison, leader: Standing, second: Standing) -> str:
    """Who of two that reach the level is faster: the first, neither, or it cannot be told."""
    said = {
        "name": escape(leader.label),
        "other": escape(second.label),
        "level": spelled(comparison.level, speed.metric),
        "cost": cost_in_words(second.behind, comparison, speed, _),
        "n": speed.n_tasks,
        "interval": _interval(second.behind_low, second.behind_high, comparison),
    }
    if second.value == leader.value == 0:
        sentence = _("**{name} and {other} are at {level} before they adapt:** choose a level farther on.")
        return sentence.format(**said)
    if second.real:
        sentence = _(
            "**{name} is faster: to reach {level} it needs {saved} than {other}.** Over these {n} tasks the "
            "difference is real ({interval})."
        )
        if comparison.cost == "seconds":
            sentence += " " + _("The clock's own chance, on this server now, is not in the interval.")
        return sentence.format(**said, saved=saved_in_words(second.behind, comparison, speed, _))
    if second.alike:
        sentence = _(
            "**{name} and {other} are equally fast:** to reach {level} they differ by {cost}, and over these {n} tasks "
            "surely by no more than {share} of what {other} needs ({interval})."
        )
        return sentence.format(**said, share=f"{SLIGHT:.0%}")
    told = _("**Which of {name} and {other} is faster cannot be told:** to reach {level} they differ by {cost}.")
    if not (np.isinf(second.behind_low) and np.isinf(second.behind_high)):
        told = _(
            "**Which of {name} and {other} is faster cannot be told:** to reach {level} they differ by {cost}, and "
            "over these {n} tasks that may be chance ({interval})."
        )
    return told.format(**said)


def _interval(low: float, high: float, comparison: Comparison) -> str:
    """A 95% interval of a cost, or of a difference of two; one of its ends may be infinite."""
    scale = 1000 if comparison.cost == "seconds" else 1
    if np.isfinite(low) and np.isfinite(high):
        words = _("95% interval {low} to {high}")
    elif np.isfinite(low):
        words = _("95% interval: {low} or more, for in some resamples of the tasks the level is never reached")
    else:
        words = _("95% interval: {high} or less, for in some resamples of the tasks the level is never reached")
    return words.format(low=roughly(low * scale), high=roughly(high * scale))


def shots_verdict(found: Shots) -> str:
    """Who is best with the fewest shots and with the most, whether that is real, and who diverges: Markdown."""
    said = []
    percent = 100 if found.metric == "accuracy" else 1
    unit = " " + _("percentage points") if percent == 100 else ""
    leads = [(count, lead) for count in found.counts if (lead := found.lead(count)) is not None]
    for count, (first, gap, low, high) in dict((leads[0], leads[-1])).items() if leads else ():
        told = ngettext(
            "With {count} shot **{name}** is best; the next is worse by {gap} (95% interval {low} to {high}).",
            "With {count} shots **{name}** is best; the next is worse by {gap} (95% interval {low} to {high}).",
            count,
        )
        if low <= 0:
            told = ngettext(
                "With {count} shot it cannot be told who is best: {name} is ahead of the next by {gap}, which may be "
                "chance (95% interval {low} to {high}).",
                "With {count} shots it cannot be told who is best: {name} is ahead of the next by {gap}, which may be "
                "chance (95% interval {low} to {high}).",
                count,
            )
        said.append(
            told.format(
                count=count,
                name=escape(found.curves[first].label),
                gap=roughly(gap * percent) + unit,
                low=roughly(low * percent),
                high=roughly(high * percent),
            )
        )
    for curve in found.curves:
        gone = [str(count) for count, finite in zip(found.counts, curve.finite, strict=True) if not finite]
        if gone:
            told = ngettext(
                "**{name}** diverges on some tasks with {counts} shot: its rate is too large for so few examples.",
                "**{name}** diverges on some tasks with {counts} shots: its rate is too large for so few examples.",
                1 if gone == ["1"] else len(gone) + 1,
            )
            said.append(told.format(name=escape(curve.label), counts=", ".join(gone)))
    return " ".join(said)


def lost(speed: Speed) -> str:
    """Who left the range of numbers, or nothing."""
    names = [curve.label for curve in speed.curves if not curve.finite]
    if not names:
        return ""
    sentence = _("Diverged on some tasks: {names}. Its mean is no number from there on; take fewer inner steps.")
    return sentence.format(names=", ".join(names))


# --- pictures


def step_pictures(state: Mapping[str, Any], speed: Speed, comparison: Comparison) -> list[Placed]:
    """The curves, who is first, who is better on the whole, what a step gains."""
    shown = [Placed(pictures.curves(speed, comparison, _, log=state["log"]), 420, "whole")]
    tall = 110 + 62 * len(speed.curves)
    if len(speed.curves) > 1:
        shown.append(Placed(pictures.arrivals(speed, comparison, _), tall, "half"))
        shown.append(Placed(pictures.areas(speed, comparison, _), tall, "half"))
    shown.append(Placed(pictures.step_gains(speed, _), 300, "whole"))
    return shown


def shot_pictures(state: Mapping[str, Any], found: Shots) -> list[Placed]:
    """The one picture over shots."""
    return [Placed(speed_shots.over_shots(found, _, log=state["log"]), 460, "whole")]


def training_pictures(found: Practice, entrant: Entrant) -> list[Placed]:
    """The heatmap of a run."""
    return [Placed(speed_shots.as_trained(found, entrant.contender.label, _), 460, "whole")]


def opened(pick: Pick | None, entrant: Entrant, state: dict[str, Any]) -> dict[str, str] | None:
    """The link to Adapt at the checkpoint and inner step of a cell that was clicked just now; else None."""
    if pick is None or not pick.data or pick.number == state.get("picked"):
        return None
    state["picked"] = pick.number
    outer, inner = divmod(pick.data[0], speed_shots.PLACES)
    step = min(entrant.checkpoints, key=lambda kept: abs(kept - outer))
    link = {"family": state["family"], "who": f"{entrant.id}@{step}", "step": str(inner)}
    if entrant.config.family.kind == "classification":
        link["ways"] = str(entrant.config.family.output_size)
    return link
