"""What the page on sensitivity remembers, computes in the background, and says in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from metalab.analysis.adaptation import Race, race
from metalab.analysis.background import Report
from metalab.analysis.challenge import changed, sample_challenge
from metalab.analysis.sensitivity import Grid, Modes, over_modes, over_rates, over_shots_and_steps
from metalab.analysis.sensitivity_waves import AMPLITUDES, PHASES, Away, Spread, away, spread
from metalab.analysis.speed import MOST_STEPS, Speed, identity, measure
from metalab.figures import adaptation, sensitivity, sensitivity_waves
from metalab.figures.speed import roughly, spelled
from metalab.figures.style import number
from metalab.models.conv4 import Conv4
from metalab.store import Run
from metalab.tasks.sinusoid import Sinusoid
from metalab.ui import adapt_entrants, runs
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.background import computed
from metalab.ui.gallery import Pick, Placed
from metalab.ui.i18n import _
from metalab.ui.links import Parameter, escape
from metalab.ui.study import Study

T = TypeVar("T")
VIEWS = ("rates", "away", "ambiguous", "trained", "norm", "shots")
TASKS = (20, 50, 100, 200, 400)
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
        Parameter("points", 10, int, low=1, high=40),
        Parameter("task", 10, int, low=0, high=2**31 - 1),
    ],
    most=1,
)


def names() -> dict[str, str]:
    """The views, in words."""
    return {
        "rates": _("Rate and steps"),
        "away": _("Unlike training"),
        "ambiguous": _("Half the points"),
        "trained": _("Training steps"),
        "norm": _("Batch norm"),
        "shots": _("Shots"),
    }


def questions() -> dict[str, str]:
    """What each view answers, in its three sentences."""
    return {
        "rates": _(
            "From one θ, every inner learning rate and number of inner steps is tried on the same held-out tasks. "
            "Along the direction in which a support loss bends most, by λ, a step of rate α multiplies the distance to "
            "the optimum by 1 − αλ: beyond 2/λ it grows. "
            "The dashed line is 2/λ of the middle task at θ, the zone holds 80 % of the tasks."
        ),
        "away": _(
            "The run practised on waves inside the box. "
            "Each place of the map is a wave of that amplitude and phase, to which θ adapts from a few points; the "
            "colour is what is left of it, as a share of its own mean square. "
            "Click a place to see its wave below: outside the box θ is a worse start, and the same steps do not reach."
        ),
        "ambiguous": _(
            "One wave, and 200 support sets from it: the line is the mean of what was learned, the band its middle "
            "90 %. "
            "Where points lie, they hold the function near the truth, whichever they are. "
            "Where none lies, only what meta-training taught can fill the gap, and the width says how sure that is."
        ),
        "trained": _(
            "Each row is a run that was meta-trained with k inner steps, each column a test with k′. "
            "A run is at its best near the steps that its θ was made for, and may lose again beyond them. "
            "All cells are means over the same held-out tasks."
        ),
        "norm": _(
            "Batch normalisation centres each channel by a mean and scales it by a variance: of which images is a "
            "choice. "
            "Over all query images together, every query tells something about the others' classes; with the support "
            "set and one query alone, or with averages from training, it cannot. "
            "The gap between them is what transduction gives away, on the same θ and the same tasks."
        ),
        "shots": _(
            "The support sets grow: fewer shots are the first of more, and the query sets stay the same. "
            "Every column starts from the same θ, so that its lowest cell says what θ knows without any example. "
            "More steps help only where there are examples enough to bear them."
        ),
    }


FORMULAS = {
    "rates": r"\phi_{k+1} - \phi^* \approx (I - \alpha H)(\phi_k - \phi^*), \quad \alpha < \frac{2}{\lambda_{\max}(H)}",
    "away": r"\text{error} = \frac{\sum_j (f_{\phi_K}(x_j) - y_j)^2}{\sum_j y_j^2}, \quad y = A \sin(x - \varphi)",
    "ambiguous": r"S_1, \ldots, S_{200} \sim p(S \mid \text{task}), \quad f_{\phi_K(\theta, S_r)}(x)",
    "trained": r"E_{k k'} = \tfrac{1}{T} \textstyle\sum_i \mathcal{L}^{\mathrm{query}}_i"
    r"\big(\phi_{i,k'}(\theta^{(k)})\big)",
    "norm": r"\hat h = \gamma \, \frac{h - \mu_B}{\sqrt{\sigma_B^2 + \epsilon}} + \beta",
    "shots": r"\phi_{k+1} = \phi_k - \alpha \nabla \frac{1}{n} \sum_{j=1}^{n} \ell(x_j, y_j; \phi_k)",
}


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
    view: str, entrants: Sequence[Entrant], settings: tuple[Any, ...], make: Callable[[Report], T], told: str
) -> T | None:
    who = tuple((each.contender.label, each.contender.colour_key, identity(each.contender)) for each in entrants)
    return computed(
        f"sensitivity.{view}", (who, entrants[0].config.family.model_dump_json(), settings), make, told=told
    )


# --- what is computed


def rates(state: Mapping[str, Any], entrant: Entrant) -> Grid | None:
    """The map of rates and steps."""
    tasks, steps = n_tasks(state, entrant), inner_steps(state, entrant)

    def make(report: Report) -> Grid:
        return over_rates(entrant.contender, entrant.config.family, n_tasks=tasks, steps=steps, report=report)

    return _computed("rates", [entrant], (tasks, steps), make, _("Adapting at every rate"))


def shots(state: Mapping[str, Any], entrant: Entrant) -> Grid | None:
    """The map of shots and steps."""
    tasks, steps = n_tasks(state, entrant), inner_steps(state, entrant)

    def make(report: Report) -> Grid:
        return over_shots_and_steps(entrant.contender, entrant.config.family, n_tasks=tasks, steps=steps, report=report)

    return _computed("shots", [entrant], (tasks, steps), make, _("Adapting with more and more shots"))


def modes(state: Mapping[str, Any], entrant: Entrant) -> Modes | None:
    """The ways of normalising."""
    tasks, steps = n_tasks(state, entrant), entrant.contender.algorithm.evaluation_steps

    def make(report: Report) -> Modes:
        return over_modes(entrant.contender, entrant.config.family, n_tasks=tasks, steps=steps, report=report)

    return _computed("norm", [entrant], (tasks, steps), make, _("Adapting with each way of normalising"))


def waves(entrant: Entrant) -> Away | None:
    """The map of amplitude and phase."""
    family, steps = entrant.config.family, entrant.contender.algorithm.evaluation_steps
    assert isinstance(family, Sinusoid)

    def make(report: Report) -> Away:
        return away(entrant.contender, family, steps=steps, report=report)

    return _computed("away", [entrant], (steps,), make, _("Adapting to waves all over the map"))


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
    found: dict[int, Run] = {}
    for run in runs.recent(200):
        steps = run.settings["algorithm"].get("inner_steps")
        if steps is not None and _told(run.settings) == own and run.state != "failed":
            found.setdefault(int(steps), run)
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


# --- words and pictures


def rates_verdict(found: Grid) -> str:
    """The best rate against the run's own, and where it diverges: Markdown."""
    row, column = found.best
    rate, own = float(found.rows[row]), found.trained[0]
    best = spelled(float(found.values[row, column]), found.metric)
    told = _("**The best rate at test is α = {rate}, after {steps} inner steps ({best}); it was trained with {own}.**")
    said = told.format(rate=number(rate), steps=column, best=best, own=number(own))
    if found.limits is None:
        return said + " " + _("Where the loss changes from step to step, or Adam takes them, no such line can be told.")
    middle = float(found.limits[1])
    if own <= middle:
        told = _(
            "Its own rate lies below 2/λ = {limit} of the middle task, {times} times its rate: from there on a step "
            "overshoots along the steepest direction."
        )
    else:
        told = _(
            "Its own rate lies beyond 2/λ = {limit} of the middle task, {times} times its rate: the line is drawn for "
            "the curvature at θ, and the first step leaves it."
        )
    return said + " " + told.format(limit=number(middle), times=roughly(middle / own))


def ready_words(trained: Sequence[int]) -> str:
    """Which runs there are to compare: Markdown."""
    if not trained:
        return _("No run with these settings has begun to train yet.")
    told = _("With these settings, and else the same, runs have trained with **k = {steps}** inner steps.")
    return told.format(steps=", ".join(map(str, trained)))


def away_verdict(found: Away) -> str:
    """How much worse it is outside the box: Markdown."""
    inside, outside = found.median(inside=True), found.median(inside=False)
    told = _(
        "**Inside the box {inside} of a wave is left after {steps} inner steps, outside {outside}: {times} times as "
        "much** (medians over the map)."
    )
    return told.format(
        inside=_share(inside), outside=_share(outside), times=roughly(outside / inside), steps=found.steps
    )


def _share(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 1 else number(value) + " ×"


def spread_verdict(found: tuple[Spread, Spread]) -> str:
    """How far the functions fall apart where no point lies: Markdown."""
    whole, half = found
    seen, unseen = half.width(seen=True), half.width(seen=False)
    told = _(
        "**Where no point lies the functions are {times} times as far apart as where points lie** ({unseen} against "
        "{seen}); with points anywhere they are {whole} apart."
    )
    return told.format(
        times=roughly(unseen / seen) if seen > 0 else "∞",
        unseen=number(unseen),
        seen=number(seen),
        whole=number(whole.width(seen=True)),
    )


def modes_verdict(found: Modes) -> str:
    """What transduction gives away: Markdown."""
    gap = found.gap("support_plus_one")
    told = _(
        "**All query images together are worth {gap} percentage points of accuracy** against the support set and one "
        "query alone (95 % interval {low} to {high}, paired over {n} tasks)."
    )
    mean, low, high = (roughly(100 * float(part)) for part in (gap.mean, gap.low, gap.high))
    said = told.format(gap=mean, low=low, high=high, n=found.n_tasks)
    if found.calibrated:
        said += " " + _("This θ has no running averages: they were taken from 40 meta-training tasks.")
    return said


def rates_pictures(found: Grid) -> list[Placed]:
    return [Placed(sensitivity.rates(found, _), 480, "whole")]


def shots_pictures(found: Grid) -> list[Placed]:
    return [Placed(sensitivity.shots(found, _), 480, "whole")]


def matrix_pictures(found: Speed, trained: Sequence[int]) -> list[Placed]:
    return [Placed(sensitivity.matrix(found, trained, _), 160 + 56 * len(trained), "whole")]


def modes_pictures(found: Modes) -> list[Placed]:
    return [Placed(sensitivity.modes(found, _), 320, "whole")]


def away_pictures(found: Away, state: Mapping[str, Any]) -> list[Placed]:
    place = (state["amplitude"], state["phase"])
    return [Placed(sensitivity_waves.away(found, place, _), 460, "whole")]


def wave_pictures(found: Race) -> list[Placed]:
    return [Placed(adaptation.functions(found, _), 380, "whole")]


def spread_pictures(found: tuple[Spread, Spread]) -> list[Placed]:
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
