"""What the page on sensitivity remembers, computes in the background, and says in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from metalab.analysis.adaptation import Race, race
from metalab.analysis.background import Report
from metalab.analysis.challenge import changed, sample_challenge
from metalab.analysis.memorisation import Memorisation, memorise
from metalab.analysis.sensitivity import Grid, Modes, over_modes, over_rates, over_shots_and_steps
from metalab.analysis.sensitivity_waves import AMPLITUDES, PHASES, Away, Spread, away, spread
from metalab.analysis.speed import MOST_STEPS, Speed, identity, measure
from metalab.figures import adaptation, memorisation, sensitivity, sensitivity_waves
from metalab.models.conv4 import Conv4
from metalab.store import Run
from metalab.tasks.characters import CharacterFamily
from metalab.tasks.sinusoid import Sinusoid
from metalab.training.config import ConfigError
from metalab.ui import adapt_entrants, runs
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.background import computed
from metalab.ui.gallery import Pick, Placed
from metalab.ui.i18n import _
from metalab.ui.links import Parameter, escape
from metalab.ui.study import Study

T = TypeVar("T")
VIEWS = ("rates", "away", "ambiguous", "trained", "norm", "shots", "labels")
TASKS = (20, 50, 100, 200, 400)
FIRST_REGRESSION, FIRST_IMAGES = 20, 3
"""Tasks of a first look."""
TRAINED = (1, 2, 3, 5, 10)
"""Inner steps of the runs that are compared by how they were trained."""
UNTOLD = ("evaluate_every", "evaluation_tasks", "device", "seed")
"""Settings in which runs may differ that are compared so."""
STUDY = Study(
    "sensitivity",
    [
        Parameter("view", "rates", choices=VIEWS),
        Parameter("tasks", 0, int, choices=(0, *TASKS), automatic=True),
        Parameter("steps", 0, int, low=0, high=MOST_STEPS, automatic=True),
        Parameter("amplitude", 7.5, float, low=0.1, high=10.0),
        Parameter("phase", 4.5, float, low=0.0, high=2 * math.pi),
        Parameter("half", "left", choices=("left", "right")),
        Parameter("points", 5, int, low=1, high=40),
        Parameter("task", 12, int, low=0, high=2**31 - 1),
    ],
    most=1,
)


def misfit(view: str, entrant: Entrant) -> str:
    """Why the view has nothing to show of this run, in one sentence; empty where it has."""
    algorithm, family = entrant.contender.algorithm, entrant.config.family
    name = escape(entrant.contender.label)
    if view in ("away", "ambiguous") and not isinstance(family, Sinusoid):
        return _("Only sine waves have an amplitude and a phase to move, and two halves: choose them as task family.")
    if view == "norm" and not isinstance(entrant.contender.model, Conv4):
        return _("The network of {name} has no batch normalisation: choose a family of images, with conv4.").format(
            name=name
        )
    if view == "labels" and not isinstance(family, CharacterFamily):
        return _("Only characters have labels that could stay or be shuffled: choose a family of characters.")
    if view in ("rates", "shots") and algorithm.axis == "shot":
        return _("{name} reads its shots and takes no inner steps: choose another run.").format(name=name)
    if view == "rates" and algorithm.alpha is None:
        return _("{name} has learned its inner rates, so that there is none to turn: choose another run.").format(
            name=name
        )
    if view == "trained" and "inner_steps" not in type(algorithm).model_fields:
        return _("{name} takes no inner steps in training: choose another run.").format(name=name)
    return ""


def n_tasks(state: Mapping[str, Any], entrant: Entrant) -> int:
    """Held-out tasks: what was chosen, or as many as take a few seconds."""
    few = 100 if state["view"] == "norm" else 20
    return int(state["tasks"] or (100 if entrant.config.family.kind == "regression" else few))


def inner_steps(state: Mapping[str, Any], entrant: Entrant) -> int:
    """How far the run is tested: what was chosen, or a little beyond training and evaluation."""
    algorithm = entrant.contender.algorithm
    usual = max(algorithm.evaluation_steps, getattr(algorithm, "inner_steps", 1), 5)
    return int(state["steps"] or min(usual, 20))


def _computed(
    view: str,
    entrants: Sequence[Entrant],
    settings: tuple[Any, ...],
    make: Callable[[Report], T],
    told: str,
    later: bool = False,
) -> T | None:
    who = tuple((each.contender.label, each.contender.colour_key, identity(each.contender)) for each in entrants)
    key = (who, entrants[0].config.family.model_dump_json(), settings)
    return computed(f"sensitivity.{view}", key, make, told=told, later=later)


# --- what is computed


def _in_two(
    view: str,
    entrant: Entrant,
    steps: int,
    tasks: int,
    make: Callable[..., T],
    told: str,
) -> T | None:
    """A first look over a few of the tasks, then the whole; None before the first look."""
    first = FIRST_REGRESSION if entrant.config.family.kind == "regression" else FIRST_IMAGES

    def look(report: Report) -> T:
        return make(
            entrant.contender, entrant.config.family, n_tasks=tasks, steps=steps, first=min(first, tasks), report=report
        )

    def whole(report: Report) -> T:
        return make(entrant.contender, entrant.config.family, n_tasks=tasks, steps=steps, report=report)

    begun = _computed(f"{view}.first", [entrant], (tasks, steps, first), look, _("A first look"))
    return None if begun is None else _computed(view, [entrant], (tasks, steps), whole, told, later=True) or begun


def rates(state: Mapping[str, Any], entrant: Entrant) -> Grid | None:
    """The map of rates and steps."""
    tasks, steps = n_tasks(state, entrant), inner_steps(state, entrant)
    return _in_two("rates", entrant, steps, tasks, over_rates, _("Adapting at every rate"))


def shots(state: Mapping[str, Any], entrant: Entrant) -> Grid | None:
    """The map of shots and steps."""
    tasks, steps = n_tasks(state, entrant), inner_steps(state, entrant)

    return _in_two("shots", entrant, steps, tasks, over_shots_and_steps, _("Adapting with more and more shots"))


def modes(state: Mapping[str, Any], entrant: Entrant) -> Modes | None:
    """The ways of normalising."""
    tasks, steps = n_tasks(state, entrant), entrant.contender.algorithm.evaluation_steps
    return _in_two("norm", entrant, steps, tasks, over_modes, _("Adapting with each way of normalising"))


def waves(entrant: Entrant) -> Away | None:
    """The map of amplitude and phase."""
    family, steps = entrant.config.family, entrant.contender.algorithm.evaluation_steps
    assert isinstance(family, Sinusoid)

    def make(report: Report) -> Away:
        return away(entrant.contender, family, steps=steps, report=report)

    return _computed("away", [entrant], (steps,), make, _("Adapting to waves all over the map"))


def labels(entrant: Entrant) -> Memorisation | None:
    """Both trainings, with labels that stay and shuffled ones."""
    family = changed(entrant.config.family, shots=1, queries=3)
    assert isinstance(family, CharacterFamily)

    def make(report: Report) -> Memorisation:
        return memorise(family, report=report)

    told = _("Training twice, with labels that stay and shuffled ones")
    return computed("sensitivity.labels", family.model_dump_json(), make, told=told)


def wave(state: Mapping[str, Any], entrant: Entrant) -> Race:
    """The adaptation to the one wave that is looked at. Raises Problem."""
    ends = {"amplitude": (state["amplitude"],) * 2, "phase": (state["phase"],) * 2}
    steps = min(entrant.contender.algorithm.evaluation_steps, MOST_STEPS)
    try:
        challenge = sample_challenge(changed(entrant.config.family, **ends), state["task"])
        return race([entrant.contender], challenge, steps=steps)
    except ValueError as problem:
        raise runs.Problem(str(problem)) from None


def spreads(state: Mapping[str, Any], entrant: Entrant) -> tuple[Spread, Spread] | None:
    """The functions from points anywhere, and from points in one half."""
    family, steps = entrant.config.family, entrant.contender.algorithm.evaluation_steps
    assert isinstance(family, Sinusoid)
    half, points, task = state["half"], state["points"], state["task"]

    def make(report: Report) -> tuple[Spread, Spread]:
        report(0.0)
        both = [
            spread(entrant.contender, family, where=where, shots=points, steps=steps, seed=task, report=report)
            for where in ("anywhere", half)
        ]
        return both[0], both[1]

    return _computed("ambiguous", [entrant], (steps, half, points, task), make, _("Drawing 200 support sets"))


# --- runs that differ in their inner steps


def siblings(entrant: Entrant) -> dict[int, Run]:
    """Runs with the same settings but for the inner steps of training, by those: the newest of each."""
    own = _told(entrant.config.model_dump(mode="json"))
    kind = own["family"]["name"], own["algorithm"]["name"]
    found: dict[int, Run] = {}
    for run in runs.recent(200):
        if (run.family, run.algorithm) != kind or run.state == "failed":
            continue
        try:
            # Read as this version reads it: an older run lacks the settings that came later.
            settings = run.current.model_dump(mode="json")
        except ConfigError:
            continue
        if _told(settings) == own:
            found.setdefault(int(settings["algorithm"]["inner_steps"]), run)
    return dict(sorted(found.items()))


def _told(settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in settings.items() if name not in UNTOLD}
    algorithm = {k: v for k, v in settings["algorithm"].items() if k not in ("inner_steps", "inner_steps_eval")}
    return kept | {"algorithm": algorithm}


def loaded(found: Mapping[int, Run], entrant: Entrant) -> dict[int, Entrant]:
    """Those of them that have a checkpoint after training began, at their last. Raises Problem."""
    begun = {steps: run for steps, run in found.items() if run.step > 0}
    ways = entrant.config.family.output_size
    return {
        steps: adapt_entrants.entrants([run.id], entrant.config.family.name, ways)[0] for steps, run in begun.items()
    }


def tested(state: Mapping[str, Any], trained: Mapping[int, Entrant]) -> Speed | None:
    """All of them over the same tasks."""
    entrants = list(trained.values())
    tasks, steps = n_tasks(state, entrants[0]), max(inner_steps(state, entrants[0]), *trained)
    contenders, family = [each.contender for each in entrants], entrants[0].config.family

    def make(report: Report) -> Speed:
        return measure(contenders, family, n_tasks=tasks, steps=steps, report=report)

    return _computed("trained", entrants, (tasks, steps), make, _("Testing every run"))


def start_missing(entrant: Entrant, missing: Sequence[int]) -> int:
    """Queue the run with each of these inner steps in training; how many. Raises Problem."""
    with runs.friendly():
        configs = [entrant.config.changed({"algorithm.inner_steps": steps}) for steps in missing]
    return len(runs.start_all(configs))


# --- pictures


def labels_pictures(found: Memorisation) -> list[Placed]:
    """What both trainings know before adaptation, and what they can do after."""
    before, after = memorisation.before(found, _), memorisation.after(found, _)
    return [Placed(before, 400, "whole"), Placed(after, 320, "whole")]


def rates_pictures(found: Grid) -> list[Placed]:
    """The map of rates and steps."""
    return [Placed(sensitivity.rates(found, _), 480, "whole")]


def shots_pictures(found: Grid) -> list[Placed]:
    """The map of shots and steps."""
    return [Placed(sensitivity.shots(found, _), 480, "whole")]


def matrix_pictures(found: Speed, trained: Sequence[int]) -> list[Placed]:
    """A row for each run, a column for each number of steps at test."""
    return [Placed(sensitivity.matrix(found, trained, _), max(300, 160 + 56 * len(trained)), "whole")]


def modes_pictures(found: Modes) -> list[Placed]:
    """A dot for each way of normalising."""
    return [Placed(sensitivity.modes(found, _), 320, "whole")]


def away_pictures(found: Away, state: Mapping[str, Any]) -> list[Placed]:
    """The map of amplitude and phase."""
    place = (state["amplitude"], state["phase"])
    return [Placed(sensitivity_waves.away(found, place, _), 460, "whole")]


def wave_pictures(found: Race) -> list[Placed]:
    """The wave that is looked at."""
    return [Placed(adaptation.functions(found, _), 380, "whole")]


def spread_pictures(found: tuple[Spread, Spread]) -> list[Placed]:
    """Points anywhere, and points in one half, on one scale."""
    reach = max(sensitivity_waves.reach_of(each) for each in found)
    return [Placed(sensitivity_waves.spread(each, reach, _), 380, "half") for each in found]


def take_place(state: dict[str, Any], pick: Pick | None) -> None:
    """Look at the wave of the place that was clicked just now."""
    if pick is None or not pick.data or pick.number == state.get("picked"):
        return
    state["picked"] = pick.number
    row, column = divmod(pick.data[0], sensitivity_waves.PER_ROW)
    if row < len(AMPLITUDES) and column < len(PHASES):
        place = {"amplitude": float(AMPLITUDES[row]), "phase": float(np.round(PHASES[column], 3))}
        STUDY.restart(state, **place, picked=0)
