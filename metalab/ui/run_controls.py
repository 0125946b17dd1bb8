"""The left side of Train: everything that determines a run, by menu and slider, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.base import Learner
from metalab.models import MODELS
from metalab.settings import Settings
from metalab.tasks import FAMILIES
from metalab.ui import draft as drafts
from metalab.ui.controls import settings_controls
from metalab.ui.draft import Draft
from metalab.ui.i18n import _


def part_menus(begin: Draft, key: str) -> Draft:
    """Menus for family, algorithm and network; the draft to which the settings' controls start."""
    family = _menu(_("Task family"), FAMILIES, begin.names["family"], f"{key}.family")
    unfit = _unfit_algorithms(family)
    algorithm = _menu(_("Algorithm"), ALGORITHMS, begin.names["algorithm"], f"{key}.algorithm", misfits=unfit)
    model = _network_menu(begin, family, algorithm, key)
    names = {"family": family, "algorithm": algorithm, "model": model}
    return begin if names == dict(begin.names) else drafts.start(family, algorithm, model)


def _network_menu(begin: Draft, family: str, algorithm: str, key: str) -> str:
    """The menu of networks; when another algorithm is chosen that cannot go with the current one, it moves and says so.

    Who chooses such a network afterwards is told by the checks of the whole run.
    """
    state, misfits = st.session_state, _misfits(family, algorithm)
    advised = drafts.start(family, algorithm).names["model"]
    asked = begin.names["model"]
    given = {"family": family, "algorithm": algorithm}.items() <= begin.names.items()
    first = asked if given or (family == begin.names["family"] and asked not in misfits) else advised
    # A menu that moves is a new menu: one with a key of its own keeps where it stands.
    turn = state.get(f"{key}.model.turn", 0)
    current = state.get(f"{key}.model.{family}.{turn}", first)
    changed = state.get(f"{key}.model.for", algorithm) != algorithm
    state[f"{key}.model.for"] = algorithm
    moved = changed and current in misfits and advised not in misfits
    if moved:
        first, turn = advised, turn + 1
        state[f"{key}.model.turn"] = turn
    chosen = _menu(_("Network"), MODELS, first, f"{key}.model.{family}.{turn}", misfits=misfits)
    if moved:
        sentence = _("{algorithm} does not go with the network {before}: {now} is taken.")
        names = {"before": MODELS[current].title, "now": MODELS[advised].title}
        st.caption(sentence.format(algorithm=_(ALGORITHMS[algorithm].title), **{k: _(v) for k, v in names.items()}))
    return chosen


def all_settings(begin: Draft, key: str) -> Draft:
    """The controls of every setting, a tab for each part of the run; the draft as it stands now."""
    key = ".".join([key, *begin.names.values()])
    titles = {
        "algorithm": _("Algorithm"),
        "": _("Outer loop"),
        "family": _("Tasks"),
        "model": _("Network"),
    }
    found = drafts.classes(begin.names)
    advised = drafts.start(**begin.names)
    values: dict[str, Any] = {}
    for (part, _title), tab in zip(titles.items(), st.tabs(list(titles.values())), strict=True):
        with tab:
            drawn = settings_controls(found[part], begin.of_part(part), f"{key}.{part}", hidden=advised.of_part(part))
            values |= {f"{part}.{name}" if part else name: value for name, value in drawn.items()}
    return Draft(begin.names, values)


def _menu(
    label: str,
    parts: Mapping[str, type[Settings]],
    begin: str,
    key: str,
    misfits: Mapping[str, str] | None = None,
) -> str:
    """A menu of titles; the help says what each is."""

    def title(name: str) -> str:
        text = _(parts[name].title) or name
        return _("{part} (does not fit)").format(part=text) if (misfits or {}).get(name) else text

    names = list(parts)
    described = "\n".join(f"- **{_(part.title)}**: {_(part.summary)}" for part in parts.values())
    return st.selectbox(label, names, index=names.index(begin), format_func=title, key=key, help=described)


def _unfit_algorithms(family: str) -> dict[str, str]:
    """Why algorithms learn the family's tasks with no network, by name."""
    tasks = FAMILIES[family](name=family)
    reasons = {name: cls(name=name).misfit_with_family(tasks) for name, cls in ALGORITHMS.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _misfits(family: str, algorithm: str) -> dict[str, str]:
    """Why networks cannot learn the family's tasks with the algorithm, by name, as far as their defaults go."""
    tasks, method = FAMILIES[family](name=family), ALGORITHMS[algorithm](name=algorithm)
    networks = {name: model(name=name) for name, model in MODELS.items()}
    reasons = {name: method.misfit(Learner(n, tasks)) for name, n in networks.items()}
    return {name: reason for name, reason in reasons.items() if reason}
