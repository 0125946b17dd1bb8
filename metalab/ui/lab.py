"""What the Lab page remembers, what its link carries, its dials and its words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from metalab.analysis.quadratic_lab import BENDS, LABELS, PROXIMALS, Bowl, Lab, Setup, lab
from metalab.figures.quadratic_lab import HALF, View
from metalab.figures.style import fixed, number
from metalab.ui import links
from metalab.ui.canvas.lab import Arrangement
from metalab.ui.dials import Dial, Reading, log_stops, whole_stops
from metalab.ui.i18n import _, ngettext
from metalab.ui.links import Parameter
from metalab.ui.take_home import File

FEWEST, MOST = 2, 5
BOWLS = (
    Bowl(-2.2, -1.2, 3.0, 0.6, 25),
    Bowl(2.3, -1.6, 0.5, 2.0, 60),
    Bowl(0.6, 2.4, 1.2, 0.3, 100),
    Bowl(-2.4, 1.6, 0.8, 0.8, 0),
    Bowl(2.6, 1.0, 2.5, 0.4, 150),
)
"""The tasks at first, of which three are there."""
BEGIN = BOWLS[:3]
RATES = (0.01, 2.0)
MOST_STEPS = 20
_REMEMBERED = "lab.state"
_PAGE = "lab"


def schema() -> list[Parameter]:
    """What a link to this page carries."""
    edge: dict[str, Any] = {"low": -HALF, "high": HALF}
    bend: dict[str, Any] = {"low": BENDS[0], "high": BENDS[1]}
    many: dict[str, Any] = {"item": float, "least": FEWEST, "most": MOST}
    return [
        Parameter("x", tuple(bowl.x for bowl in BEGIN), tuple, **many, **edge),
        Parameter("y", tuple(bowl.y for bowl in BEGIN), tuple, **many, **edge),
        Parameter("first", tuple(bowl.first for bowl in BEGIN), tuple, **many, **bend),
        Parameter("second", tuple(bowl.second for bowl in BEGIN), tuple, **many, **bend),
        Parameter("turn", tuple(bowl.turn for bowl in BEGIN), tuple, **many, low=0, high=180),
        Parameter("theta", (-3.0, 3.0), tuple, item=float, least=2, most=2, **edge),
        Parameter("inner_lr", 0.3, float, low=RATES[0], high=RATES[1]),
        Parameter("inner_steps", 3, int, low=1, high=MOST_STEPS),
        Parameter("proximal", 1.0, float, low=PROXIMALS[0], high=PROXIMALS[1]),
        Parameter("outer_lr", 0.5, float, low=RATES[0], high=RATES[1]),
        Parameter("algorithm", "maml", choices=tuple(LABELS)),
        Parameter("inner", False, bool),
    ]


def begin() -> tuple[dict[str, Any], list[str]]:
    """The page's state, and a sentence for each wrong value of a link that was just opened.

    A link that this page did not write itself wins over what the session remembers.
    """
    if _REMEMBERED in st.session_state and not links.is_news(_PAGE):
        return st.session_state[_REMEMBERED], []
    links.know(_PAGE, links.own_parameters())
    values, warnings = links.read_state(schema())
    return _remember(values, warnings)


def _remember(values: dict[str, Any], warnings: list[str]) -> tuple[dict[str, Any], list[str]]:
    rows = [values.pop(name) for name in ("x", "y", "first", "second", "turn")]
    if len({len(row) for row in rows}) > 1:
        warnings.append(_("x, y, first, second and turn differ in length in the link: the shortest counts."))
    state = values | {"bowls": tuple(Bowl(*numbers) for numbers in zip(*rows, strict=False))}
    state["revision"] = st.session_state.get(_REMEMBERED, {}).get("revision", 0) + 1
    st.session_state[_REMEMBERED] = state
    return state, warnings


def linked(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state as the link's parameters."""
    bowls: tuple[Bowl, ...] = state["bowls"]
    columns = {name: tuple(getattr(bowl, name) for bowl in bowls) for name in ("x", "y", "first", "second", "turn")}
    return {**state, **columns}


def write_link(state: Mapping[str, Any]) -> None:
    """Make the address say the state."""
    written = links.write_state(schema(), linked(state))
    links.know(_PAGE, written)


def restart(state: dict[str, Any], **changes: Any) -> None:
    """Take other values than the browser's, and put every control and handle to them."""
    state |= changes
    state["revision"] += 1


def reset(state: dict[str, Any]) -> None:
    """As on the first opening."""
    fresh = {parameter.name: parameter.default for parameter in schema()}
    restart(state, **{name: value for name, value in fresh.items() if name in state}, bowls=BEGIN)


def choose_count(state: dict[str, Any], count: int | None) -> None:
    """Take away the last tasks, or add some; None leaves them."""
    if count is not None and count != len(state["bowls"]):
        restart(state, bowls=(*state["bowls"][:count], *BOWLS[len(state["bowls"]) : count]))


def make_alike(state: dict[str, Any]) -> None:
    """Give every task the first one's bowl, about its own optimum."""
    first: Bowl = state["bowls"][0]
    restart(state, bowls=tuple(replace(first, x=bowl.x, y=bowl.y) for bowl in state["bowls"]))


def menu(state: Mapping[str, Any], name: str, value: Any) -> str:
    """The key of one of the page's menus, which stands at `value` at first."""
    key = f"lab.menu.{state['revision']}.{name}"
    st.session_state.setdefault(key, value)
    return key


def arrangement(state: Mapping[str, Any]) -> Arrangement:
    """What lies on the map, as far as the state knows."""
    return Arrangement(state["bowls"], state["theta"])


def take(state: dict[str, Any], placed: Arrangement, reading: Reading) -> None:
    """Keep where things were dragged and where the dials were moved to."""
    state |= {"bowls": placed.bowls, "theta": placed.start}
    if reading.moved:
        state |= reading.values | {"inner_steps": int(reading.values["inner_steps"])}


def dials(state: Mapping[str, Any]) -> list[Dial]:
    """alpha, k, lambda and beta, where they stand now."""
    alpha, proximal, beta = state["inner_lr"], state["proximal"], state["outer_lr"]
    return [
        Dial(
            "inner_lr",
            _("Inner learning rate α"),
            log_stops(*RATES, alpha),
            alpha,
            help=_("How far one inner step moves. MAML, FOMAML and Reptile depend on it."),
        ),
        Dial(
            "inner_steps",
            _("Inner steps k"),
            whole_stops(1, MOST_STEPS),
            float(state["inner_steps"]),
            help=_("How many inner steps MAML, FOMAML and Reptile take on each task."),
        ),
        Dial(
            "proximal",
            _("Proximal strength λ"),
            log_stops(*PROXIMALS, proximal),
            proximal,
            help=_("How strongly iMAML holds the adapted parameters to θ; its inner loop is run to its end."),
        ),
        Dial(
            "outer_lr",
            _("Outer learning rate β"),
            log_stops(*RATES, beta),
            beta,
            help=_("How far an outer step follows the meta-gradient. It changes the paths, not where they end."),
        ),
    ]


def computed(state: Mapping[str, Any]) -> Lab:
    """Formulas and engine on what lies on the map."""
    return lab(Setup(state["bowls"], state["inner_lr"], int(state["inner_steps"]), state["proximal"]))


def view(state: Mapping[str, Any]) -> View:
    """What is looked at."""
    return View(np.array(state["theta"], dtype=float), state["outer_lr"], state["algorithm"], state["inner"])


def convergence(found: Lab) -> str:
    """Below which alpha the inner loop converges, and what happens beyond."""
    setup = found.setup
    if not setup.diverging:
        sentence = _("The inner loops converge: $\\alpha$ is below $2/\\lambda_{{\\max}} = {limit}$.")
        return sentence.format(limit=number(setup.limit))
    worst = max(setup.diverging, key=lambda i: setup.bowls[i].steepest)
    steep = setup.bowls[worst].steepest
    here = [str(i + 1) for i in setup.diverging]
    tasks = ngettext("task {numbers}", "tasks {numbers}", len(here)).format(numbers=", ".join(here))
    return _(
        "The inner loop **diverges** on {tasks}: $\\alpha = {alpha}$ is not below $2/\\lambda_{{\\max}} = {limit}$. "
        "Along the steepest axis of task {worst} each step takes φ {factor} times as far from the optimum."
    ).format(
        tasks=tasks,
        alpha=number(setup.inner_lr),
        limit=number(2 / steep),
        worst=worst + 1,
        factor=number(abs(1 - setup.inner_lr * steep)),
    )


def table(found: Lab) -> str:
    """The fixed points of formula and engine as a Markdown table."""
    head = (_("Algorithm"), _("Formula"), _("Engine"), _("Largest difference"))
    rows = ["| " + " | ".join(head) + " |", "|---|---|---|---|"]
    for rule in found.rules.values():
        cells = [_(rule.label), "–", "–", "–"]
        if rule.determined:
            gap = number(float(f"{rule.difference:.0e}"))
            cells[1:] = [_place(rule.formula), _place(rule.engine), gap]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def files(state: Mapping[str, Any]) -> list[File]:
    """What can be taken home: the settings with the tasks, and the fixed points of formula and engine."""
    found = computed(state)
    return [
        File(
            _("Settings as JSON"),
            "metalab-lab.json",
            json.dumps({parameter.name: linked(state)[parameter.name] for parameter in schema()}, indent=2),
            "application/json",
            ":material/data_object:",
            _("The tasks and every setting of this page."),
        ),
        File(
            _("Fixed points as CSV"),
            "metalab-lab-fixed-points.csv",
            points_csv(found),
            "text/csv",
            ":material/table:",
            _("Where each algorithm comes to rest, by formula and by the engine, with all digits."),
        ),
    ]


def remarks(found: Lab, outer_lr: float) -> list[str]:
    """What the table cannot say: who has no fixed point to tell, and whose outer loop does not arrive at it."""
    rules = list(found.rules.values())
    vague = [rule.label for rule in rules if not rule.determined]
    away = [rule.label for rule in rules if rule.determined and not rule.arrives(outer_lr)]
    said = []
    if vague:
        sentence = _(
            "No fixed point can be told in 64-bit numbers for {names}: the weights vanish, or one direction swamps "
            "the others."
        )
        said.append(sentence.format(names=", ".join(map(_, vague))))
    if away:
        sentence = ngettext(
            "From θ the outer loop of {names} runs away from the fixed point: β is too large, or it repels.",
            "From θ the outer loops of {names} run away from their fixed points: β is too large, or they repel.",
            len(away),
        )
        said.append(sentence.format(names=", ".join(map(_, away))))
    return said


def points_csv(found: Lab) -> str:
    """The fixed points as a table; nothing where one cannot be told."""
    rows = [["algorithm", "formula_theta_1", "formula_theta_2", "engine_theta_1", "engine_theta_2"]]
    for name, rule in found.rules.items():
        places = [*rule.formula, *rule.engine] if rule.determined else [""] * 4
        rows.append([name, *map(str, places)])
    return "\r\n".join(",".join(row) for row in rows) + "\r\n"


def _place(place: Any) -> str:
    return "(" + ", ".join(fixed(float(part), 4) for part in place) + ")"
