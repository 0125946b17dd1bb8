"""What the page on theta remembers, computes in the background, and says in words."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from metalab.analysis.background import Report
from metalab.analysis.bootstrap import Band, apart
from metalab.analysis.landscape import Landscape, landscape
from metalab.analysis.theta import Best, Starts, starts
from metalab.analysis.theta_layers import Layers, frozen_curve, layers, layers_of
from metalab.figures import landscape as maps
from metalab.figures import theta as pictures
from metalab.figures.sensitivity import counted
from metalab.figures.style import number
from metalab.figures.theta import layer_name, told
from metalab.store import Run
from metalab.tasks import FAMILIES
from metalab.tasks.base import HIGHER_IS_BETTER
from metalab.tasks.sinusoid import Sinusoid
from metalab.ui import links
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.background import computed
from metalab.ui.gallery import Placed
from metalab.ui.i18n import _, ngettext
from metalab.ui.links import OF_RUN_ID, RUN_ID, Parameter, escape
from metalab.ui.order import NO_INNER_GRADIENT
from metalab.ui.study import Study

VIEWS = ("function", "layers", "landscape")
TASKS = (8, 16, 32, 64, 128)
FIRST_LOOK = 8
"""Tasks that large networks adapt to first, so that something is seen soon."""
MOST_STEPS = 30
USUAL_STEPS = 10
NEAR = 1 / 3
"""Who lies nearer to the mean of all tasks than this share of its size begins near it."""
WAVES = r"""\begin{aligned}
f^*(x) &= \mathbb{E}[\,y \mid x\,] \\
&= \mathbb{E}[A]\, \tfrac{\sin(\Delta/2)}{\Delta/2}\, \sin(x - \bar\varphi)"""
CHANCE = r"\mathbb{E}\,[\text{accuracy of } f_\theta] \le \tfrac{1}{N}"
LAYERS = r"""\begin{aligned}
\text{moved}_l &= \lVert \phi_K^l - \theta^l \rVert \,/\, \lVert \theta^l \rVert \\
\mathrm{CKA} &= \frac{\lVert Y^\top X \rVert_F^2}{\lVert X^\top X \rVert_F \, \lVert Y^\top Y \rVert_F}
\end{aligned}"""
STUDY = Study(
    "theta",
    [
        Parameter("view", "function", choices=VIEWS),
        Parameter("tasks", 0, int, choices=(0, *TASKS), automatic=True),
        Parameter("steps", 0, int, low=0, high=MOST_STEPS, automatic=True),
        Parameter(
            "frozen", (), tuple, item=str, pattern=r"[a-z0-9]{1,20}", longest=20, made_of="small letters and digits"
        ),
        Parameter("run", "", pattern=RUN_ID, made_of=OF_RUN_ID, automatic=True),
        Parameter("plane", "tasks", choices=("tasks", "directions")),
        Parameter("on", "support", choices=("support", "query")),
        Parameter("seed", 0, int, low=0, high=9999),
    ],
    families=[name for name, family in FAMILIES.items() if family.kind in ("regression", "classification")],
    most=4,
    without="Navigation's losses depend on chance at every step, and names are written, not answered.",
)


def fit(state: dict[str, Any], entrants: list[Entrant]) -> list[str]:
    """What a link asks of these runs in vain: put right, and told."""
    wrong: list[str] = [*links.unknown_run(state, [entrant.id for entrant in entrants])]
    options = list(layer_options(entrants))
    for name in [name for name in state["frozen"] if name not in options]:
        expected = _("one of {choices}").format(choices=", ".join(options))
        wrong.append(links.refused("frozen", name, expected, _("nothing")))
    state["frozen"] = tuple(name for name in state["frozen"] if name in options)
    return wrong


def suits(run: Run) -> bool:
    """Whether the run has an inner loop."""
    return run.algorithm not in NO_INNER_GRADIENT


def _large(entrants: Sequence[Entrant]) -> bool:
    return entrants[0].config.family.kind == "classification"


def own_tasks(entrants: Sequence[Entrant]) -> int:
    """As many tasks as take a few seconds."""
    return 16 if _large(entrants) else 64


def n_tasks(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> int:
    """On how many tasks."""
    return int(state["tasks"] or own_tasks(entrants))


def own_steps(entrants: Sequence[Entrant]) -> int:
    """As many as any of the runs is evaluated with, within reason."""
    return min(max(entrant.contender.algorithm.evaluation_steps for entrant in entrants), USUAL_STEPS)


def inner_steps(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> int:
    """How far the inner loops go."""
    return int(state["steps"] or own_steps(entrants))


def layer_options(entrants: Sequence[Entrant]) -> dict[str, str]:
    """The layers that every chosen network has, and what they are called."""
    known = [list(layers_of(entrant.contender.theta)) for entrant in entrants]
    return {
        name: name if name.isdigit() else layer_name(name, _)
        for name in known[0]
        if name != "joint" and all(name in others for others in known)
    }


def _key(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> tuple[Hashable, ...]:
    who = tuple((each.contender.key, each.contender.label, each.contender.twin) for each in entrants)
    family = entrants[0].config.family.model_dump_json()
    return who, family, inner_steps(state, entrants), state["seed"]


def _same(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> dict[str, int]:
    return {"steps": inner_steps(state, entrants), "n_tasks": n_tasks(state, entrants), "seed": state["seed"]}


def begun(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> Starts | None:
    """Before and after adaptation, of large networks over a few tasks first; None while it is computed."""
    whole = n_tasks(state, entrants)
    if not _large(entrants) or whole <= FIRST_LOOK:
        return _begun(state, entrants, "theta.starts", whole)
    first = _begun(state, entrants, "theta.starts.first", FIRST_LOOK)
    return None if first is None else _begun(state, entrants, "theta.starts", whole, later=True) or first


def _begun(
    state: Mapping[str, Any], entrants: Sequence[Entrant], slot: str, tasks: int, later: bool = False
) -> Starts | None:
    contenders, family = [e.contender for e in entrants], entrants[0].config.family
    same = _same(state, entrants) | {"n_tasks": tasks}

    def make(report: Report) -> Starts:
        return starts(contenders, family, **same, report=report)

    key = (*_key(state, entrants), tasks)
    return computed(slot, key, make, told=_("Adapting to {n} tasks").format(n=tasks), later=later)


def layered(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> list[Layers] | None:
    """Every contender layer by layer; None while it is computed."""
    family, same = entrants[0].config.family, _same(state, entrants)

    def make(report: Report) -> list[Layers]:
        return [
            layers(entrant.contender, family, **same, report=_shared(report, i, len(entrants)))
            for i, entrant in enumerate(entrants)
        ]

    key = (*_key(state, entrants), same["n_tasks"])
    return computed("theta.layers", key, make, told=_("Freezing one layer after another"))


def with_frozen(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> list[Band] | None:
    """Every contender's adaptation curve with the chosen layers frozen; None while it is computed."""
    family, same, frozen = entrants[0].config.family, _same(state, entrants), tuple(state["frozen"])

    def make(report: Report) -> list[Band]:
        return [
            frozen_curve(e.contender, family, frozen=frozen, **same, report=_shared(report, i, len(entrants)))
            for i, e in enumerate(entrants)
        ]

    key = (*_key(state, entrants), same["n_tasks"], frozen)
    return computed("theta.frozen", key, make, told=_("Adapting with the chosen layers frozen"), later=True)


def mapped(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> Landscape | None:
    """The plane of the chosen run and its losses; None while they are computed."""
    entrant, large = whose(state, entrants), _large(entrants)
    chosen: dict[str, Any] = {"plane": state["plane"], "on": state["on"]}
    size = {"n_tasks": 4 if large else 8, "grid": 17 if large else 33, "steps": inner_steps(state, entrants)}

    def make(report: Report) -> Landscape:
        more = {**chosen, **size, "seed": state["seed"]}
        return landscape(entrant.contender, entrant.config.family, **more, report=report)

    key = (*_key(state, [entrant]), *chosen.values(), *size.values())
    return computed("theta.landscape", key, make, told=_("The loss at {n} points").format(n=size["grid"] ** 2))


def whose(state: Mapping[str, Any], entrants: Sequence[Entrant]) -> Entrant:
    """The run whose plane is looked at: the chosen one, or the first."""
    return next((entrant for entrant in entrants if entrant.id == state["run"]), entrants[0])


def _shared(report: Report, i: int, n: int) -> Report:
    return lambda fraction: report((i + fraction) / n)


# --- pictures


def start_pictures(found: Starts) -> list[Placed]:
    """f_theta, and before and after."""
    drawn = [Placed(pictures.before_and_after(found, _), 90 + 56 * len(found.starts), "whole")]
    if found.best is not None and all(start.function is not None for start in found.starts):
        drawn.insert(0, Placed(pictures.functions(found, _), 400, "whole"))
    return drawn


def layer_pictures(
    state: Mapping[str, Any], entrants: Sequence[Entrant], found: Sequence[Layers], curves: Sequence[Band] | None
) -> list[Placed]:
    """Movement, CKA, and what freezing does."""
    family = entrants[0].config.family
    drawn = [pictures.frozen(found, family.metric, family.loss_name, _)]
    if curves is not None:
        drawn.append(pictures.chosen(found, curves, state["frozen"], family.metric, family.loss_name, _))
    drawn.append(pictures.movement(found, _))
    if any(each.similarity is not None for each in found):
        drawn.append(pictures.similarity(found, _))
    return [Placed(picture, 320) for picture in drawn]


def map_pictures(found: Landscape, entrant: Entrant) -> list[Placed]:
    """The plane, once for each task and once for all."""
    who = entrant.contender
    return [Placed(picture, 400) for picture in maps.pictures(found, who.label, who.colour_key, _)]


# --- words


def formula(view: str, entrants: Sequence[Entrant]) -> str:
    """The rule behind the view, in LaTeX: of the best that never adapts, as the family has it."""
    family = entrants[0].config.family
    if view == "layers":
        return LAYERS
    if view == "landscape":
        return r"\mathcal{L}_i(\theta + x\,u + y\,v)"
    if family.kind == "classification":
        return CHANCE if family.shuffles_labels else r"f_\theta \;\longrightarrow\; f_{\phi_K}"
    if not isinstance(family, Sinusoid) or tuple(family.frequency) != (1.0, 1.0):
        return r"f^*(x) = \mathbb{E}[\,y \mid x\,]"
    usual = family.model_copy(update={"shots": Sinusoid().shots, "queries": Sinusoid().queries}) == Sinusoid()
    return WAVES + (r" \\ &= -\tfrac{5.1}{\pi} \cos x" if usual else "") + r"\end{aligned}"


def start_words(entrants: Sequence[Entrant]) -> str:
    """Three sentences on what theta knows by itself."""
    if entrants[0].config.family.kind == "classification":
        return _(
            "Where every task numbers its classes anew, no network can be right more often than chance, 1/N, before "
            "it has seen a task: there is no function to hold θ against. "
            "What meta-training puts into θ are features, and a place from which a few steps sort any new classes. "
            "So the upper dot of each pair says nothing of how good θ is, and the lower one, after adaptation, does."
        )
    return _(
        "Before it has seen a task, a network can do no better than the mean of all tasks. "
        "Joint training goes there, and adapting has to begin from a compromise. "
        "Meta-training may begin near that mean or far from it: its θ is made for where a few steps from it lead, "
        "not for what it predicts by itself."
    )


def start_verdict(found: Starts) -> str:
    """What theta is, in Markdown."""
    if found.best is not None:
        said = _("Whoever never adapts cannot get below **{loss}**, by predicting the mean of all tasks.")
        sentences = [said.format(loss=number(found.best.loss))]
        parts = [f"**{escape(start.label)}** {number(start.distance or 0.0)}" for start in found.starts]
        said = _("So far from that lies f with θ (root mean square): {parts}.")
        sentences.append(said.format(parts=", ".join(parts)))
        sentences += [_near(found, found.best), _best_after(found)]
        return " ".join(filter(None, sentences))
    if found.chance is not None:
        said = _(
            "Every task numbers its classes anew, so that before adaptation nobody can get more than **{chance}** "
            "right on average over all tasks."
        )
        return f"{said.format(chance=told(found.chance, 'accuracy'))} {_best_after(found)}"
    return _best_after(found)


def _near(found: Starts, best: Best) -> str:
    """Who begins near the mean of all tasks."""
    size = float(np.sqrt(np.mean(best.mean**2)))
    near = [start.label for start in found.starts if (start.distance or 0.0) <= NEAR * size]
    if not near:
        return ""
    said = ngettext(
        "{names} begins near that mean, whose own size is {size}.",
        "{names} begin near that mean, whose own size is {size}.",
        len(near),
    )
    return said.format(names=", ".join(f"**{escape(name)}**" for name in near), size=number(size))


def _best_after(found: Starts) -> str:
    ends = [float(start.after.mean) for start in found.starts]
    best = found.starts[int(np.nanargmax(ends) if found.metric == "accuracy" else np.nanargmin(ends))]
    said = _("What θ is good for shows after {steps}: **{name}** comes from {before} to {after}.").format(
        steps=counted(found.steps, _),
        name=escape(best.label),
        before=told(float(best.before.mean), found.metric),
        after=told(float(best.after.mean), found.metric),
    )
    level = [
        escape(start.label)
        for start in found.starts
        if start is not best and not apart(_ends(start.after), _ends(best.after))
    ]
    if level:
        more = _("Not to be told from it, as the 95% interval of the difference includes zero: {names}.")
        said += " " + more.format(names=", ".join(level))
    return said


def _ends(band: Band) -> tuple[float, float, float]:
    return float(band.mean), float(band.low), float(band.high)


def layer_verdict(found: Sequence[Layers], metric: str) -> str:
    """Rapid learning or feature reuse, in Markdown."""
    return "  \n".join(_layer_words(each, metric) for each in found)


def _layer_words(each: Layers, metric: str) -> str:
    free, head, nothing = (float(each.frozen.mean[i]) for i in (0, -2, -1))
    ends = [(float(each.frozen.mean[i]), float(each.frozen.low[i]), float(each.frozen.high[i])) for i in (0, -2, -1)]
    share = kept(each)
    if not apart(ends[0], ends[2]):
        said = _(
            "**{name}**: whether the inner loop gains anything here cannot be told: {nothing} without adaptation, "
            "{free} with it."
        )
    elif not (free > nothing if metric in HIGHER_IS_BETTER else free < nothing):
        said = _("**{name}**: the inner loop gains nothing here, from {nothing} without adaptation to {free}.")
    elif share < 0 and not apart(ends[1], ends[2]):
        said = _(
            "**{name}**: the head alone adapting cannot be told from no adaptation ({head}; {nothing}), while all "
            "layers together come to {free}: {judged}."
        )
    elif share < 0:
        said = _(
            "**{name}**: with the head alone adapting it becomes worse, {head} instead of {nothing} without "
            "adaptation, while all layers together come to {free}: {judged}."
        )
    else:
        said = _(
            "**{name}**: with the head alone adapting the inner loop keeps {share} of what it gains ({head} instead "
            "of {free}; {nothing} without adaptation): {judged}."
        )
    return said.format(
        name=escape(each.label),
        share=told(share, "accuracy"),
        head=told(head, metric),
        free=told(free, metric),
        nothing=told(nothing, metric),
        judged=_judged(share),
    )


def kept(each: Layers) -> float:
    """The share of the inner loop's gain that is left where the head alone adapts; NaN where nothing is gained."""
    free, head, nothing = (float(each.frozen.mean[i]) for i in (0, -2, -1))
    return (head - nothing) / (free - nothing) if free != nothing else float("nan")


def _judged(share: float) -> str:
    if share >= 0.8:
        return _("mostly **feature reuse**")
    if share < 0:
        return _("here the **body has to learn**")
    if share <= 0.3:
        return _("mostly **rapid learning** in the body")
    return _("both feature reuse and learning in the body")


def map_verdict(found: Landscape) -> str:
    """What the plane shows, in Markdown."""
    mean = found.losses[-1]
    here = float(mean[np.abs(found.y).argmin(), np.abs(found.x).argmin()])
    said = _(
        "The plane holds **{share}** of the squared way from θ to φ over {n} tasks. At θ their mean {on} loss is "
        "{here}; the least on the plane is {least}."
    )
    return said.format(
        share=f"{100 * found.share:.0f}%",
        n=len(found.paths),
        on=_("support") if found.on == "support" else _("query"),
        here=number(here),
        least=number(float(np.nanmin(mean))),
    )
