"""What the Adapt page remembers, what its link carries, and its dials."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from metalab.analysis.adaptation import Contender
from metalab.figures.style import contender_colour
from metalab.settings import Declaration, Settings, declarations
from metalab.tasks import FAMILIES
from metalab.ui import links
from metalab.ui.adapt_entrants import MOST_CONTENDERS, SCRATCH, Entrant
from metalab.ui.canvas.strokes import MAX_SHOTS
from metalab.ui.dials import Dial, Reading, log_stops, whole_stops
from metalab.ui.i18n import _
from metalab.ui.links import LONGEST_RUN_AT, OF_RUN_AT, RUN_AT, Parameter, readable
from metalab.ui.own_task import handed, pair_points, points_parameters

MOST_STEPS = 50
OWN_WAYS = (3, 4, 5)
_REMEMBERED = "adapt.state"
_PAGE = "adapt"
_MENUS = "adapt.menus"


def schema() -> list[Parameter]:
    """What a link to this page carries."""
    return [
        Parameter("family", next(iter(FAMILIES)), choices=tuple(FAMILIES)),
        Parameter("ways", 5, int, low=2, high=20),
        # Empty: the newest of each algorithm.
        Parameter(
            "who",
            (),
            tuple,
            item=str,
            pattern=rf"{SCRATCH}|{RUN_AT}",
            longest=LONGEST_RUN_AT,
            made_of=OF_RUN_AT,
            most=MOST_CONTENDERS,
            automatic=True,
        ),
        Parameter("mode", "sample", choices=("sample", "own")),
        Parameter("seed", 1, int, low=0, high=2**31 - 1),
        # 0 takes what the first contender was trained with.
        Parameter("shots", 0, int, low=0, high=100, automatic=True),
        Parameter("steps", 0, int, low=0, high=MOST_STEPS, automatic=True),
        Parameter("rates", (), tuple, item=float, low=0, high=2, most=MOST_CONTENDERS, automatic=True),
        Parameter("together", False, bool),
        Parameter("log", False, bool),
        Parameter("step", -1, int, low=-1, high=MOST_STEPS, automatic=True),
        *points_parameters(),
        # How names are written.
        Parameter("temperature", 0.7, float, low=0.1, high=2),
        Parameter("draw", 0, int, low=0, high=2**31 - 1),
    ]


def begin() -> tuple[dict[str, Any], list[str]]:
    """The page's state, and a sentence for each wrong value of a link that was just opened.

    A link that this page did not write itself wins over what the session remembers. Drawings do not fit a link: those
    that another page has handed over stand on the pads.
    """
    drawn = handed()
    if _REMEMBERED in st.session_state and not links.is_news(_PAGE):
        state = st.session_state[_REMEMBERED]
        if drawn is not None:
            state |= {"drawn": drawn, "revision": state["revision"] + 1}
        return state, []
    here = links.own_parameters()
    links.know(_PAGE, here)
    state, warnings = links.read_state(schema())
    state["revision"] = st.session_state.get(_REMEMBERED, {}).get("revision", 0) + 1
    state["asked"], state["drawn"] = frozenset(here), drawn
    warnings += _unfold(state)
    restart_menus()
    st.session_state[_REMEMBERED] = state
    return state, warnings


def _unfold(state: dict[str, Any]) -> list[str]:
    """What the link says in one word, as the page uses it: checkpoints and rates by contender, points as pairs.

    Returns a sentence for each value that belongs to nothing.
    """
    named = [name.partition("@") for name in state["who"]]
    names = [name for name, _at, _step in named]
    state["who"] = list(dict.fromkeys(names))
    state["at"] = {name: int(step) for name, _at, step in named if step and name != SCRATCH}
    state["alpha"] = {name: rate for name, rate in zip(names, state["rates"], strict=False) if rate > 0}
    unpaired = pair_points(state)
    state["points"] = list(zip(state["x"], state["y"], strict=True))
    state["signature"], state["turn"], state["fresh"] = None, 0, True
    said = []
    if len(state["who"]) < len(names):
        said.append(_("who names a contender twice in the link: it races once."))
    if any(step and name == SCRATCH for name, _at, step in named):
        said.append(_("{name} has no checkpoints: the one in the link is left out.").format(name=SCRATCH))
    if len(state["rates"]) > len(names):
        sentence = _("rates has {rates} numbers in the link for {names} contenders in who: the rest is left out.")
        said.append(sentence.format(rates=len(state["rates"]), names=len(names)))
    return said + unpaired


def fit(state: dict[str, Any], found: Sequence[Entrant]) -> list[str]:
    """Bring what a link that was just opened asks for to what these contenders can do; a sentence for each change."""
    if not state["asked"]:
        return []
    state["asked"] = frozenset()
    said = []
    for entrant in found:
        label, step, rate = entrant.contender.label, state["at"].get(entrant.id), state["alpha"].get(entrant.id)
        if step is not None and step != entrant.step:
            sentence = _("{run} has no checkpoint after outer step {step} of the link: that after {other} is taken.")
            said.append(sentence.format(run=label, step=readable(step), other=readable(entrant.step or 0)))
            state["at"][entrant.id] = entrant.step
        if rate is not None:
            said += _fit_rate(state, entrant, rate)
    most, steps = most_shots(state, found), inner_steps(state, found)
    if state["shots"] > most:
        sentence = _("shots = {shots} in the link: here at most {most} are possible; {most} is used.")
        said.append(sentence.format(shots=state["shots"], most=most))
        state["shots"] = most
    if state["step"] > steps and steppers(found):
        sentence = _("step = {step} in the link: there are {steps} inner steps; the last one is shown.")
        said.append(sentence.format(step=state["step"], steps=steps))
        state["step"] = -1
    return said


def _fit_rate(state: dict[str, Any], entrant: Entrant, rate: float) -> list[str]:
    label, algorithm = entrant.contender.label, type(entrant.contender.algorithm)
    if entrant.contender.algorithm.alpha is None:
        del state["alpha"][entrant.id]
        return [_("{run} has no inner learning rate to be set: the one in the link is left out.").format(run=label)]
    declared = setting_of(algorithm, "inner_lr")
    held = min(max(rate, declared.low or rate), declared.high or rate)
    if held == rate:
        return []
    state["alpha"][entrant.id] = held
    sentence = _("The inner learning rate of {run} is {rate} in the link, beyond its range: {held} is used.")
    return [sentence.format(run=label, rate=readable(rate), held=readable(held))]


def linked(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state as the link's parameters."""
    rates = [state["alpha"].get(name, 0.0) for name in state["who"]]
    return {**state} | {
        "who": tuple(at_checkpoints(state)),
        "rates": tuple(rates) if any(rates) else (),
        "x": tuple(x for x, _y in state["points"]),
        "y": tuple(y for _x, y in state["points"]),
    }


def at_checkpoints(state: Mapping[str, Any]) -> list[str]:
    """Who races, as runs with the checkpoints that were chosen."""
    return [f"{name}@{state['at'][name]}" if name in state["at"] else name for name in state["who"]]


def write_link(state: Mapping[str, Any]) -> dict[str, str]:
    """Make the address say the state; the parameters of the link."""
    written = links.write_state(schema(), linked(state))
    links.know(_PAGE, written)
    return written


def settled(state: dict[str, Any], reading: Reading) -> bool:
    """Whether no slider or point is being moved: a link for each place on the way would fill the browser's history."""
    signature = (tuple(sorted(reading.values.items())), tuple(state["points"]))
    changed, points = signature != state["signature"], state["signature"] and signature[1] != state["signature"][1]
    state["signature"] = signature
    return not (changed and (reading.moving or points))


def menu(name: str, value: Any) -> str:
    """The key of one of the page's menus, which stands at `value` at first."""
    key = f"adapt.menu.{st.session_state.get(_MENUS, 0)}.{name}"
    st.session_state.setdefault(key, value)
    return key


def own_ways(family: str) -> list[int]:
    """The ways that are offered even where no run has them: of OWN_WAYS those that the family's tasks can have."""
    declared = next((each for each in declarations(FAMILIES[family]) if each.name == "ways"), None)
    most = declared.high if declared else None
    return [ways for ways in OWN_WAYS if most is None or ways <= most]


def restart_menus() -> None:
    """Let every menu stand where the state says at the next run."""
    st.session_state[_MENUS] = st.session_state.get(_MENUS, 0) + 1


def choose_family(state: dict[str, Any], family: str) -> None:
    """Take another family: what was set for the former one's contenders says nothing of this one's."""
    if family != state["family"]:
        state |= {"family": family, "steps": 0, "shots": 0, "alpha": {}, "at": {}, "fresh": False}


# --- dials


def setting_of(cls: type[Settings], name: str) -> Declaration:
    """How a setting was declared: its label, help and range."""
    return next(declaration for declaration in declarations(cls) if declaration.name == name)


def checkpoint_dials(state: Mapping[str, Any], found: Sequence[Entrant]) -> tuple[list[Dial], int]:
    """One for each run with more than one checkpoint, and their revision."""
    dials = [
        Dial(
            entrant.id,
            entrant.contender.label,
            tuple(float(step) for step in entrant.checkpoints),
            float(entrant.step or 0),
            help=_("Outer step of the checkpoint that θ is taken from."),
            colour=colour_here(entrant.contender),
        )
        for entrant in found
        if len(entrant.checkpoints) > 1
    ]
    return dials, _revision(state, dials)


def dials_of(state: Mapping[str, Any], found: Sequence[Entrant]) -> tuple[list[Dial], int]:
    """Inner steps, shots and α, where they stand now, and their revision."""
    first = found[0].config
    counted = (first.family.kind == "regression" or first.family.tokens) and state["mode"] == "own"
    dials = []
    if steppers(found):
        dials.append(
            Dial(
                "steps",
                _("Inner steps"),
                whole_stops(1, MOST_STEPS),
                float(inner_steps(state, found)),
                help=_("How many gradient steps each contender takes on the support set."),
            )
        )
    if not counted:
        declared = setting_of(type(first.family), "shots")
        most = most_shots(state, found)
        dials.append(
            Dial(
                "shots",
                _(declared.label),
                whole_stops(1, most),
                float(shots(state, found)),
                help=_(declared.help),
            )
        )
    with_rate = rated(found)
    if state["together"] and with_rate:
        rate = state["alpha"].get(with_rate[0].id, _own_rate(with_rate[0]))
        dials.append(_alpha_dial("alpha:", _("Inner learning rate α"), with_rate[0], rate, colour=False))
    else:
        dials += [
            _alpha_dial(
                f"alpha:{entrant.id}",
                _("α of {contender}").format(contender=entrant.contender.label),
                entrant,
                state["alpha"].get(entrant.id, _own_rate(entrant)),
            )
            for entrant in with_rate
        ]
    return dials, _revision(state, dials)


def steppers(found: Sequence[Entrant]) -> list[Entrant]:
    """Those that take inner steps."""
    return [entrant for entrant in found if entrant.contender.algorithm.axis == "inner step"]


def rated(found: Sequence[Entrant]) -> list[Entrant]:
    """Those whose inner learning rate can be moved."""
    return [entrant for entrant in found if entrant.contender.algorithm.alpha is not None]


def inner_steps(state: Mapping[str, Any], found: Sequence[Entrant]) -> int:
    """Inner steps that every contender takes that takes any."""
    first = next(iter(steppers(found)), found[0])
    return int(state["steps"] or min(first.config.algorithm.evaluation_steps, MOST_STEPS))


def shots(state: Mapping[str, Any], found: Sequence[Entrant]) -> int:
    """Support examples (of each class)."""
    return min(int(state["shots"] or getattr(found[0].config.family, "shots", 1)), most_shots(state, found))


def most_shots(state: Mapping[str, Any], found: Sequence[Entrant]) -> int:
    """The most support examples (of each class) that a task of this mode can have."""
    family = found[0].config.family
    if state["mode"] == "own" and family.kind == "classification":
        return MAX_SHOTS
    return int(setting_of(type(family), "shots").high or MOST_STEPS)


def _alpha_dial(name: str, label: str, entrant: Entrant, rate: float, *, colour: bool = True) -> Dial:
    algorithm, own = entrant.contender.algorithm, _own_rate(entrant)
    declared = setting_of(type(algorithm), "inner_lr")
    note = ""
    if colour and abs(rate - own) > 1e-12:
        note = _("was {rate:g}").format(rate=own)
    return Dial(
        name,
        label,
        log_stops(declared.low or 1e-4, declared.high or 2.0, own, rate),
        rate,
        help=_(declared.help),
        colour=colour_here(entrant.contender) if colour else None,
        note=note,
    )


def _own_rate(entrant: Entrant) -> float:
    return entrant.contender.algorithm.alpha or 0.0


def _revision(state: Mapping[str, Any], dials: Sequence[Dial]) -> int:
    """Another number whenever the dials are others, so that the browser takes up their places afresh."""
    parts = (state["revision"], state["turn"], state["family"], state["mode"], [dial.name for dial in dials])
    return zlib.crc32(repr(parts).encode())


def take(state: dict[str, Any], reading: Reading, found: Sequence[Entrant]) -> None:
    """Keep where the dials were moved to."""
    if not reading.moved:
        return
    for name, value in reading.values.items():
        kind, _colon, whose = name.partition(":")
        if kind != "alpha":
            state[name] = int(value)
        else:
            names = [whose] if whose else [entrant.id for entrant in found]
            state["alpha"] |= dict.fromkeys(names, value)


def turn(state: dict[str, Any]) -> None:
    """Begin a new revision of the dials."""
    state["turn"] += 1


def colour_here(contender: Contender) -> str:
    """The contender's colour on this visitor's page, light or dark."""
    return contender_colour(contender.colour_key, dark=is_dark())


def is_dark() -> bool:
    """Whether this visitor's page is dark."""
    return st.context.theme.type == "dark"
