"""What the Embeddings page remembers, what it has computed, and its words."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Race, race
from metalab.analysis.background import Report
from metalab.analysis.challenge import (
    Challenge,
    changed,
    drawings_challenge,
    goal_challenge,
    makeable,
    points_challenge,
    sample_challenge,
)
from metalab.analysis.embedding import Embedding, over_inner_steps, over_training, tsne
from metalab.analysis.embedding_groups import Learning, compared, learning
from metalab.analysis.embedding_tasks import Attribute, Floats, Tasks, sampled
from metalab.analysis.embedding_views import VIEWS, misfit
from metalab.analysis.embedding_views import View as Vector
from metalab.analysis.memory import Memory
from metalab.analysis.neighbourhood import Agreement, mean_angle
from metalab.figures import embedding as figures
from metalab.figures import embedding_groups, neighbourhood
from metalab.ui import links, own_task
from metalab.ui.adapt_entrants import Entrant, entrants
from metalab.ui.adapt_race import pictures as race_pictures
from metalab.ui.adapt_task import SAMPLED_QUERIES
from metalab.ui.background import computed
from metalab.ui.canvas.strokes import Drawings
from metalab.ui.gallery import Pick, Placed
from metalab.ui.i18n import _
from metalab.ui.links import Parameter
from metalab.ui.study import Study

COUNTS = (50, 100, 200, 400)
FEW = 50
MANY = 200
FIRST_IMAGES, FIRST_OTHERS = 12, 40
"""Tasks of a first look."""
HEAVY = 20_000
"""Parameters from which on fewer tasks are taken at first."""
MOST_STEPS = 20
MOST_CHECKPOINTS = 8
GROUP_DIGITS = COUNTS[-1] // 4
PRINTED = r"[^\x00-\x1f\x7f]*"
"""The names of attributes and labels, such as Japanese_(katakana)."""
STUDY = Study(
    "embeddings",
    [
        Parameter("view", "delta", choices=VIEWS),
        Parameter("over", "steps", choices=("steps", "training")),
        # 0: what suits the run.
        Parameter("steps", 0, int, low=0, high=MOST_STEPS, automatic=True),
        Parameter("tasks", 0, int, choices=(0, *COUNTS), automatic=True),
        Parameter("projection", "pca", choices=("pca", "tsne")),
        Parameter("three", False, bool),
        Parameter("paths", True, bool),
        Parameter("colour", "", pattern=PRINTED, made_of="characters", automatic=True),
        Parameter("label", "", pattern=PRINTED, made_of="characters", automatic=True),
        Parameter("seed", -1, int, low=-1, high=COUNTS[-1] - 1, automatic=True),
        # Which tasks are encircled: bit i of the hexadecimal number is task i.
        Parameter("group", "", pattern="[0-9a-f]*", longest=GROUP_DIGITS, made_of="hexadecimal digits", automatic=True),
        Parameter("compare", False, bool),
        *own_task.parameters(),
    ],
    families=[
        "sinusoid", "linear", "mixture", "navigation", "glyphs", "omniglot", "mnist", "cross", "rotated_mnist",
        "permuted_mnist", "languages", "names",
    ],
    most=1,
    mend=own_task.pair_points,
    without="Its tasks have no attributes that are known by name.",
)  # fmt: skip
_tasks: Memory[Tasks] = Memory(6)


# --- choices


def vector_names() -> dict[Vector, str]:
    """What to call each vector."""
    return {
        "delta": _("Δθ: how far it moves θ"),
        "gradient": _("Gradient at θ"),
        "features": _("Adapted features"),
        "fisher": _("Fisher (Task2Vec)"),
    }


def fit(state: dict[str, Any], entrants: list[Entrant]) -> list[str]:
    """What a link asks of this run in vain: put right, and told."""
    wrong: list[str] = []
    whole = count(state, entrants[0])
    if state["seed"] >= whole:
        wrong.append(links.beyond("seed", state["seed"], whole - 1, _("nothing")))
        state["seed"] = -1
    if int(state["group"] or "0", 16) >> whole:
        expected = _("a hexadecimal number of {n} bits, one for each task").format(n=whole)
        wrong.append(links.refused("group", state["group"], expected, _("nothing")))
        state["group"] = ""
    return wrong


def unsuitable(state: Mapping[str, Any], entrant: Entrant) -> str | None:
    """Why the chosen vector does not suit the run, in one sentence, or None."""
    contender = entrant.contender
    reason = misfit(state["view"], contender.algorithm, Learner(contender.model, entrant.config.family))
    return None if reason is None else _("No such embedding: {reason}.").format(reason=_(reason))


def has_steps(entrant: Entrant) -> bool:
    """Whether there is anything to be seen over inner steps."""
    return entrant.contender.algorithm.axis == "inner step"


def steps(state: Mapping[str, Any], entrant: Entrant) -> int:
    """Inner steps that every task takes."""
    return int(state["steps"] or min(entrant.config.algorithm.evaluation_steps, 10))


def count(state: Mapping[str, Any], entrant: Entrant) -> int:
    """How many tasks."""
    if state["tasks"]:
        return int(state["tasks"])
    return FEW if heavy(entrant) or entrant.config.family.kind == "classification" else MANY


def heavy(entrant: Entrant) -> bool:
    """Whether the network is so large that every computation takes seconds."""
    return sum(value.numel() for value in entrant.contender.theta.values()) > HEAVY


def chosen_attribute(state: Mapping[str, Any], attributes: Sequence[Attribute]) -> int:
    """Which attribute colours the tasks: the first where the chosen one is not among them."""
    names = [attribute.name for attribute in attributes]
    return names.index(state["colour"]) if state["colour"] in names else 0


# --- results


def embedded(state: Mapping[str, Any], entrant: Entrant, new: Challenge | None) -> Embedding | None:
    """The tasks as points: the first few of them as long as the others are computed. None before that."""
    whole = count(state, entrant)
    large = heavy(entrant) or entrant.config.family.kind == "classification"
    few = min(FIRST_IMAGES if large else FIRST_OTHERS, whole)
    first = _embedded(state, entrant, new, few, "embeddings.first")
    return None if first is None else _embedded(state, entrant, new, whole, "embeddings.map", later=True) or first


def _embedded(
    state: Mapping[str, Any], entrant: Entrant, new: Challenge | None, n: int, slot: str, later: bool = False
) -> Embedding | None:
    view: Vector = state["view"]
    k = steps(state, entrant)
    if over_checkpoints(state, entrant):
        some = spread_out(entrant.checkpoints)
        family, ways = entrant.config.family.name, entrant.config.family.output_size

        def train(report: Report) -> Embedding:
            found = entrants([f"{entrant.id}@{step}" for step in some], family, ways)
            stages = [(each.step or 0, each.contender) for each in found]
            last = (stages[-1][0], entrant.contender) if stages[-1][0] == entrant.step else stages[-1]
            return over_training([*stages[:-1], last], _sampled(entrant, n), view, steps=k, report=report)

        key = (*_key(entrant, n), view, k, "training", some)
        return computed(slot, key, train, told=_("Adapting to {n} tasks at every checkpoint").format(n=n), later=later)

    def make(report: Report) -> Embedding:
        return over_inner_steps(entrant.contender, _sampled(entrant, n), view, steps=k, new=new, report=report)

    key = (*_key(entrant, n), view, k, new.key if new else None)
    return computed(slot, key, make, told=_("Adapting to {n} tasks").format(n=n), later=later)


def over_checkpoints(state: Mapping[str, Any], entrant: Entrant) -> bool:
    """Whether the tasks are followed over training."""
    return bool(state["over"] == "training" and len(entrant.checkpoints) > 1)


def spread_out(checkpoints: Sequence[int]) -> tuple[int, ...]:
    """At most MOST_CHECKPOINTS of them, the first and the last among them, denser where training begins."""
    last, n = len(checkpoints) - 1, MOST_CHECKPOINTS
    if last < n:
        return tuple(checkpoints)
    places = sorted({round(last * (i / (n - 1)) ** 2) for i in range(n)})
    return tuple(checkpoints[i] for i in places)


def rearranged(state: Mapping[str, Any], entrant: Entrant, found: Embedding) -> Floats | None:
    """The tasks' places by t-SNE; None while they are computed."""
    dimensions = 3 if state["three"] else 2
    key = (*_key(entrant, found.about.n), found.view, found.axis, found.stages, dimensions)
    told = _("Arranging {n} tasks by t-SNE").format(n=found.about.n)
    return computed("embeddings.tsne", key, lambda report: tsne(found, dimensions, report=report), told=told)


def comparison(state: Mapping[str, Any], entrant: Entrant) -> dict[Vector, tuple[Agreement, ...]] | None:
    """The neighbourhood scores of every vector; None while they are computed."""
    k = steps(state, entrant)

    def make(report: Report) -> dict[Vector, tuple[Agreement, ...]]:
        return compared(entrant.contender, _sampled(entrant, count(state, entrant)), steps=k, report=report)

    key = (*_key(entrant, count(state, entrant)), k)
    return computed("embeddings.compared", key, make, told=_("Embedding the tasks in every way"))


def learned(state: Mapping[str, Any], entrant: Entrant) -> Learning | None:
    """Every task's adaptation curve; None while they are computed."""
    k = steps(state, entrant)

    def make(report: Report) -> Learning:
        return learning(entrant.contender, _sampled(entrant, count(state, entrant)), steps=k, report=report)

    return computed(
        "embeddings.curves", (*_key(entrant, count(state, entrant)), k), make, told=_("Measuring every task's curve")
    )


def raced(state: Mapping[str, Any], entrant: Entrant) -> Race | None:
    """The picked task itself; None while it is computed."""
    family, k, seed = entrant.config.family, steps(state, entrant), state["seed"]

    def make(report: Report) -> Race:
        challenge = sample_challenge(family, seed, queries=SAMPLED_QUERIES[family.kind])
        report(0.5)
        return race([entrant.contender], challenge, steps=k)

    return computed(
        "embeddings.task", (*_key(entrant, count(state, entrant)), k, seed), make, told=_("Adapting to the task")
    )


def _key(entrant: Entrant, n: int) -> tuple[Hashable, ...]:
    contender = entrant.contender
    return contender.key, contender.algorithm.model_dump_json(), entrant.config.family.model_dump_json(), n


def _sampled(entrant: Entrant, n: int) -> Tasks:
    """The first n of the tasks that Adapt samples from the numbers 0, 1, .."""
    family = entrant.config.family
    queries = SAMPLED_QUERIES[family.kind]
    return _tasks.get((family.model_dump_json(), n), lambda: sampled(family, range(n), queries=queries))


# --- picks


def map_revision(state: Mapping[str, Any]) -> int:
    """The map's, whose player begins anew where gradients are looked at: they are largest at theta, and fade."""
    return 2 * state["revision"] + (state["view"] == "gradient" and state["over"] == "steps")


def take_pick(state: dict[str, Any], pick: Pick | None) -> None:
    """Keep the task that was clicked, or the group that was encircled."""
    if pick is None or (map_revision(state), pick.number) == state.get("pick"):
        return
    state["pick"] = map_revision(state), pick.number
    members = [i for i in pick.data if i >= 0]
    if pick.how == "click" and members:
        state["seed"] = members[0]
    elif pick.how == "lasso":
        bits = sum(1 << i for i in set(members))
        state["group"] = f"{bits:x}" if bits else ""


def group(state: Mapping[str, Any], n: int) -> list[int]:
    """The encircled tasks."""
    bits = int(state["group"] or "0", 16)
    return [i for i in range(n) if bits >> i & 1]


def on_adapt(state: Mapping[str, Any], entrant: Entrant) -> dict[str, str]:
    """The link to the picked task on Adapt."""
    family = entrant.config.family
    link = {"family": family.name, "who": f"{entrant.id}@{entrant.step}", "seed": str(state["seed"])}
    if hasattr(family, "shots"):
        link["shots"] = str(family.shots)
    if has_steps(entrant):
        link["steps"] = str(steps(state, entrant))
    return link | ({"ways": str(family.output_size)} if family.kind == "classification" else {})


# --- a person's task


def own_points(entrant: Entrant, points: Sequence[tuple[float, float]]) -> Challenge | None:
    """The task of these points, or goal; None where there is none."""
    family = entrant.config.family
    if not points:
        return None
    if makeable(family) == "goal":
        return goal_challenge(family, points[0])
    return points_challenge(family, points)


def own_drawings(entrant: Entrant, drawings: Drawings) -> Challenge | None:
    """The task of what was drawn; None before every class has an example."""
    if not drawings.ready:
        return None
    return drawings_challenge(changed(entrant.config.family, shots=1), own_task.images(drawings))


def guessed(found: Embedding) -> str:
    """In words: the nearest tasks of a person's own, and what they say of it."""
    assert found.new is not None
    about, places = found.about, list(found.new.nearest)
    names = ", ".join(str(about.seeds[i]) for i in places)
    parts = []
    for attribute in about.attributes:
        near = attribute.values[places]
        if attribute.kind == "number":
            parts.append(f"{figures.titled(attribute)} {float(near.mean()):.2g} ± {float(near.std()):.1g}")
        elif attribute.kind == "angle":
            parts.append(f"{figures.titled(attribute)} {mean_angle(near):.0f}")
        elif attribute.kind == "class":
            parts.append(f"{attribute.name} {attribute.labels[int(near.mean(0).argmax())]}")
    sentence = _("The nearest tasks to yours are {names}, at {far} of the usual distance between two tasks")
    said = sentence.format(names=names, far=f"{float(found.new.distances.mean()):.0%}")
    return said + (_("; by them it has {parts}.").format(parts=", ".join(parts)) if parts else ".")


# --- pictures


def first_words(found: Embedding, whole: int) -> str:
    """That more tasks follow: Markdown."""
    return _("**A first look:** the first {n} tasks; all {whole} follow.").format(n=found.about.n, whole=whole)


def answer(found: Embedding, which: int) -> str:
    """The answer to the page's question in words."""
    said = neighbourhood.sentence(found, which, _)
    if found.about.attributes[which].kind != "set":
        return said
    mixed = _("Each task here mixes several of them and numbers its classes anew, which decides most of where it lies.")
    return f"{said} {mixed}"


def commonest(attribute: Attribute) -> str:
    """The label that most tasks have."""
    return figures.commonest(attribute)


def map_view(state: Mapping[str, Any], found: Embedding, places: Floats | None) -> figures.View:
    """How the points are looked at."""
    return figures.View(
        attribute=chosen_attribute(state, found.about.attributes),
        label=state["label"],
        three=state["three"],
        paths=state["paths"],
        picked=state["seed"] if state["seed"] < found.about.n else -1,
        tsne=places,
    )


def map_pictures(state: Mapping[str, Any], entrant: Entrant, found: Embedding, places: Floats | None) -> list[Placed]:
    """The map, and, once all tasks are there, how well neighbours know the attribute at each stage."""
    view = map_view(state, found, places)
    shown = [Placed(figures.task_map(found, view, _), 540, "whole")]
    if found.about.attributes and len(found.stages) > 1 and found.about.n >= count(state, entrant):
        shown.append(Placed(neighbourhood.neighbourhood(found, view.attribute, _), 320, "whole"))
    return shown


def comparison_picture(
    state: Mapping[str, Any],
    entrant: Entrant,
    found: Mapping[Vector, tuple[Agreement, ...]],
    attributes: Sequence[Attribute],
) -> Placed:
    """Which vector knows the attribute best."""
    which = chosen_attribute(state, attributes)
    each = {view: agreements[which] for view, agreements in found.items()}
    picture = embedding_groups.views(each, vector_names(), entrant.contender.colour_key, _)
    return Placed(picture, 320, "whole")


def group_picture(found: Learning, members: Sequence[int]) -> Placed:
    """How the encircled tasks are learned."""
    return Placed(embedding_groups.group_curves(found, members, _), 340, "whole")


def task_pictures(found: Race) -> list[Placed]:
    """The task itself, as Adapt shows it."""
    first = race_pictures(found, own=False, log=False)[0]
    return [Placed(first.picture, min(first.height, 360), "tall" if first.place == "tall" else "whole")]
