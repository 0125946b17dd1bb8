"""What the Decision page remembers, what it has computed, and its words."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from metalab.analysis.background import Report
from metalab.analysis.challenge import Challenge, sample_challenge
from metalab.analysis.decision import Decision, explain, misfit
from metalab.analysis.influence import Influence, influence
from metalab.analysis.layers import Layer, stack
from metalab.figures import decision as figures
from metalab.figures import decision_queries, decision_words
from metalab.figures import layers as layer_figures
from metalab.store import Run
from metalab.ui import links
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.adapt_task import SAMPLED_QUERIES
from metalab.ui.background import computed
from metalab.ui.gallery import Pick, Placed
from metalab.ui.i18n import _
from metalab.ui.links import Parameter
from metalab.ui.study import Study

MOST_STEPS = 20
MOST_QUERIES = 200
EDGE = 5.0
"""Predictions of a function are asked for between minus and plus this."""
READERS = frozenset({"in_context", "cnp", "prompting"})
"""Algorithms whose networks read the support set as a whole."""
FUNCTIONS = ("sinusoid", "linear", "mixture")
STUDY = Study(
    "decision",
    [
        Parameter("seed", 1, int, low=0, high=2**31 - 1),
        # 0: what suits the run.
        Parameter("steps", 0, int, low=0, high=MOST_STEPS, automatic=True),
        Parameter("query", 0, int, low=0, high=MOST_QUERIES - 1),
        Parameter("at_x", 0.0, float, low=-EDGE, high=EDGE),
    ],
    families=[
        "glyphs", "omniglot", "mnist", "cross", "rotated_mnist", "permuted_mnist", "languages", *FUNCTIONS,
    ],
    family="glyphs",
    most=1,
    without="There is no single answer that an example could have pulled.",
)  # fmt: skip


def fit(state: dict[str, Any], entrants: list[Entrant]) -> list[str]:
    """What a link asks of this run in vain: put right, and told."""
    if is_function(entrants[0]) or state["query"] < count(entrants[0]):
        return []
    asked, state["query"] = state["query"], 0
    return [links.beyond("query", asked, count(entrants[0]) - 1, "0")]


def suits(run: Run) -> bool:
    """Whether answers of this run can be taken apart."""
    return run.family in FUNCTIONS or run.algorithm not in READERS


def unsuitable(entrant: Entrant) -> str | None:
    """Why an answer of this run cannot be taken apart, in one sentence, or None."""
    if is_function(entrant):
        if entrant.config.family.input_shape == (1,):
            return None
        return _("These functions have several inputs: there is no line along which to draw them.")
    reason = misfit(entrant.contender.algorithm, entrant.contender.model)
    return None if reason is None else _("Nothing to explain: {reason}.").format(reason=_(reason))


def is_function(entrant: Entrant) -> bool:
    """Whether its answers are numbers instead of classes."""
    return entrant.config.family.kind == "regression"


def has_steps(entrant: Entrant) -> bool:
    """Whether it takes inner steps."""
    return entrant.contender.algorithm.axis == "inner step"


def steps(state: Mapping[str, Any], entrant: Entrant) -> int:
    """Inner steps that it takes."""
    return int(state["steps"] or min(entrant.config.algorithm.evaluation_steps, MOST_STEPS))


def count(entrant: Entrant) -> int:
    """How many queries a task has."""
    family = entrant.config.family
    return SAMPLED_QUERIES[family.kind] * family.output_size


# --- results


def begun(state: Mapping[str, Any], entrant: Entrant) -> object | None:
    """What the page begins with: None while it is computed."""
    return influenced(state, entrant) if entrant.config.family.kind == "regression" else explained(state, entrant)


def explained(state: Mapping[str, Any], entrant: Entrant) -> Decision | None:
    """One answer taken apart; None while it is computed."""
    k, query = steps(state, entrant), min(state["query"], count(entrant) - 1)

    def make(report: Report) -> Decision:
        return explain(entrant.contender, _challenge(state, entrant), query=query, steps=k, report=report)

    key = (*_key(state, entrant), query)
    return computed("decision.explained", key, make, told=_("Taking the answer apart"))


def influenced(state: Mapping[str, Any], entrant: Entrant) -> Influence | None:
    """How the function hangs on its support points; None while it is computed."""
    k = steps(state, entrant)

    def make(report: Report) -> Influence:
        return influence(entrant.contender, _challenge(state, entrant), steps=k, report=report)

    return computed("decision.influence", _key(state, entrant), make, told=_("Nudging every support point"))


def layered(state: Mapping[str, Any], entrant: Entrant) -> tuple[Layer, ...] | None:
    """The network's layers; None while they are computed."""
    k = steps(state, entrant)

    def make(report: Report) -> tuple[Layer, ...]:
        report(0.0)
        return stack(entrant.contender, _challenge(state, entrant), steps=k)

    return computed("decision.layers", _key(state, entrant), make, told=_("Measuring the layers"))


def _challenge(state: Mapping[str, Any], entrant: Entrant) -> Challenge:
    family = entrant.config.family
    return sample_challenge(family, state["seed"], queries=SAMPLED_QUERIES[family.kind])


def _key(state: Mapping[str, Any], entrant: Entrant) -> tuple[Hashable, ...]:
    contender = entrant.contender
    settings = (contender.algorithm.model_dump_json(), entrant.config.family.model_dump_json())
    return contender.key, *settings, state["seed"], steps(state, entrant)


# --- picks and pictures


def take_pick(state: dict[str, Any], pick: Pick | None) -> bool:
    """Keep the query that was clicked; whether one was."""
    if pick is None or not pick.data or pick.picture != "queries" or pick.number == state.get("pick"):
        return False
    state["pick"] = pick.number
    state["query"] = min(max(pick.data[0], 0), MOST_QUERIES - 1)
    return True


def query_names(found: Decision) -> list[str]:
    """What to call the queries in a menu: names themselves, images by their numbers."""
    if not found.tokens:
        return [_("image {number}").format(number=i + 1) for i in range(len(found.query_x))]
    from metalab.tasks.cldr import decode

    return [decode(row) for row in found.query_x]


def answer(found: Decision) -> str:
    """The answer to the page's question in words."""
    return decision_words.answer(found, _)


def pulled(found: Influence, x: float) -> str:
    """The same for a function."""
    return layer_figures.pulled(found, x, _)


def pictures(found: Decision) -> list[Placed]:
    """An answer taken apart."""
    if found.tokens:
        shown = [Placed(figures.letters(found, _), 320, "half"), Placed(figures.probabilities(found, _), 320, "half")]
        return [*shown, Placed(figures.similarities(found, _), 360, "whole")]
    place = "half" if len(found.support_y) <= figures.FEW else "whole"
    return [
        Placed(figures.pixels(found, _), 300, "whole"),
        Placed(figures.similarities(found, _), 400, place),
        Placed(figures.probabilities(found, _), 400 if place == "half" else 320, place),
    ]


def queries(found: Decision) -> Placed:
    """All query images, to choose one."""
    return Placed(decision_queries.queries(found, _), place="whole")


def pull_picture(found: Influence, x: float) -> Placed:
    """A function and what pulls it."""
    return Placed(layer_figures.pull(found, x, _), 460, "whole")


def network(found: tuple[Layer, ...], entrant: Entrant) -> Placed:
    """The network as layers."""
    contender = entrant.contender
    picture = layer_figures.network(found, contender.label, contender.colour_key, _)
    return Placed(picture, layer_figures.height_of(found), "whole")
