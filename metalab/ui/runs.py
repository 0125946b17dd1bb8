"""What pages need of runs: lists, names, starting and commanding them, and problems in one friendly sentence.

Lists come straight from the store, so that Home draws before torch is loaded; whatever starts or commands a
run goes through the training service.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from metalab import places
from metalab.store import COMMAND_LINE, EXAMPLE, Run, RunNotFound, Store, StoreError
from metalab.ui.i18n import _, ngettext
from metalab.ui.identity import acting_on, current_owners, current_user, in_charge
from metalab.ui.links import escape, flat
from metalab.ui.live import Command, LiveRun

if TYPE_CHECKING:
    from metalab.training.config import RunConfig

NAME_LENGTH = 80
NAMESAKES = 100
"""Among so many of the newest runs two of one name get their numbers, on every page."""
_stores: dict[Path, Store] = {}
_lock = threading.Lock()

_UNTOLD = frozenset({"evaluate_every", "evaluation_tasks", "device"})
"""Settings that say how a run is looked at and where it computes, not what it learns: no name tells them."""

_STATE_COLOURS: Mapping[str, Any] = {
    "running": "green",
    "queued": "orange",
    "paused": "orange",
    "interrupted": "orange",
    "failed": "red",
    "finished": "blue",
}


class Problem(RuntimeError):
    """What a person asked for cannot be done; the message is one sentence for that person."""


@contextmanager
def friendly() -> Iterator[None]:
    """Turn every expected error of the engine into a Problem with the same sentence."""
    from metalab.tasks.base import DataMissing
    from metalab.training.config import ConfigError
    from metalab.training.service import CommandError

    expected = (ConfigError, DataMissing, CommandError, RunNotFound, PermissionError, StoreError, places.PlaceError)
    try:
        yield
    except expected as problem:
        raise Problem(str(problem)) from None


def act(do: Callable[[], object]) -> None:
    """Do it and show the page anew, or say why not."""
    try:
        do()
    except Problem as problem:
        st.error(escape(str(problem)), icon=":material/error:")
    else:
        st.rerun()


# --- looking


def store() -> Store:
    """The store of this process's home. Raises StoreError, PlaceError."""
    home = places.home()
    with _lock:
        if home not in _stores:
            _stores[home] = Store(home)
        return _stores[home]


def recent(limit: int, family: str | None = None) -> list[Run]:
    """The newest runs of everybody, on a family or on any; empty, with a message on the page, where no store opens."""
    try:
        return store().runs(limit, family=family)
    except (StoreError, places.PlaceError) as problem:
        st.error(escape(str(problem)), icon=":material/error:")
        return []


def find(run_ids: Sequence[str]) -> list[Run]:
    """Those of the runs that exist, in the order of their ids."""
    found = (store().find(run_id) for run_id in run_ids)
    return [run for run in found if run is not None]


def mine(run: Run) -> bool:
    """Whether the visitor whose page is drawn now may command the run."""
    return run.owner in current_owners()


def foreign(run: Run) -> str:
    """Whose run it is, in words; empty for one that this visitor's browser started."""
    if run.owner == COMMAND_LINE:
        return _("command line")
    if run.owner == EXAMPLE:
        return _("example")
    return "" if mine(run) else _("someone else's")


def numbered(listed: Sequence[Run]) -> dict[str, str]:
    """A name for each run: wherever there are several of one name, they have their number."""
    if not listed:
        return {}
    everybody = {run.id: run.name for run in [*store().runs(NAMESAKES), *listed]}
    names = Counter(everybody.values())
    return {run.id: run.name if names[run.name] == 1 else f"{run.name} #{run.number}" for run in listed}


def labels(chosen: Sequence[Run]) -> dict[str, str]:
    """A name for each of a few runs that are compared: namesakes add the settings in which they differ."""
    named = numbered(chosen)
    for name in {run.name for run in chosen}:
        namesakes = [run for run in chosen if run.name == name]
        settings = {run.id: dict(flat(run.settings)) for run in namesakes}
        keys = [key for key in settings[namesakes[0].id] if key not in _UNTOLD]
        differing = [key for key in keys if len({str(s.get(key)) for s in settings.values()}) > 1]
        told = {run.id: ", ".join(_spelled(key, settings[run.id].get(key)) for key in differing) for run in namesakes}
        if 1 <= len(differing) <= 2 and len(set(told.values())) == len(namesakes):
            named |= {run.id: f"{named[run.id]} ({told[run.id]})" for run in namesakes}
    return named


def live_runs(chosen: Sequence[Run]) -> list[LiveRun]:
    """The runs as the live panel wants them."""
    from metalab.algorithms import ALGORITHMS

    named, axes = labels(chosen), {name: algorithm.axis for name, algorithm in ALGORITHMS.items()}
    return [
        LiveRun(run.id, named[run.id], run.algorithm, _order(run), axes.get(run.algorithm, "inner step"))
        for run in chosen
    ]


def subtitle(run: Run) -> str:
    """What a run is, in one line of Markdown: parts, seed, whose it is and since when."""
    parts = f"{run.family} · {run.model} · {_('seed {n}').format(n=run.settings.get('seed', 0))}"
    return f"{escape(parts)} · {foreign(run) or _('yours')} · {_ago(time.time() - run.created)}"


def show_state(run: Run) -> None:
    """The state as a badge, and how far the run is."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(state_name(run.state), color=_STATE_COLOURS.get(run.state, "gray"))
        st.caption(_("outer step {step} of {steps}").format(step=f"{run.step:,}", steps=f"{run.outer_steps:,}"))


def state_name(state: str) -> str:
    """A run's state as a word in the page's language."""
    return {
        "queued": _("Queued"),
        "running": _("Running"),
        "paused": _("Paused"),
        "finished": _("Finished"),
        "stopped": _("Stopped"),
        "failed": _("Failed"),
        "interrupted": _("Interrupted"),
    }[state]


# --- doing


def start_all(configs: Sequence[Mapping[str, Any] | RunConfig]) -> list[str]:
    """Check all configs, then queue a run of this page's user for each; their ids. Raises Problem."""
    with friendly():
        from metalab.training.config import parse_config
        from metalab.training.service import service

        checked, user = [parse_config(config) for config in configs], person()
        return [service().start(config, user) for config in checked]


def person() -> str:
    """This page's user as the service knows them: free of its limits while they are in charge of the server."""
    from metalab.training.service import service

    user = current_user()
    service().quotas.free(user, in_charge())
    return user


def obey(command: Command) -> str:
    """Do what a transport button asked; the id of the run to follow from now on. Raises Problem."""
    with friendly():
        from metalab.training.service import service

        user, serving = _acting(command.run_id), service()
        if command.name == "reset":
            return serving.reset(command.run_id, user)
        {"resume": serving.resume, "pause": serving.pause, "step": serving.step, "stop": serving.stop}[command.name](
            command.run_id, user
        )
        return command.run_id


def change(run_id: str, changes: Mapping[str, Any]) -> None:
    """Set learning rates of a run of this page's visitor. Raises Problem."""
    with friendly():
        from metalab.training.service import service

        service().change(run_id, changes, _acting(run_id))


def rename(run_id: str, name: str) -> None:
    """Raises Problem."""
    with friendly():
        try:
            store().rename(run_id, name, _acting(run_id))
        except ValueError as problem:
            raise Problem(str(problem)) from None


def delete(run_id: str) -> None:
    """Raises Problem."""
    with friendly():
        from metalab.training.service import service

        service().delete(run_id, _acting(run_id))


# --- within


def _acting(run_id: str) -> str:
    """The name under which this page's visitor commands the run."""
    run, user = store().find(run_id), person()
    return acting_on(run.owner) if run is not None else user


def _order(run: Run) -> int:
    return int(run.settings["algorithm"].get("order", 2))


def _spelled(key: str, value: Any) -> str:
    return f"{key.rpartition('.')[2]} {value}"


def _ago(seconds: float) -> str:
    days, hours, minutes = (int(seconds // size) for size in (86_400, 3_600, 60))
    if days >= 1:
        return ngettext("{n} day ago", "{n} days ago", days).format(n=days)
    if hours >= 1:
        return ngettext("{n} hour ago", "{n} hours ago", hours).format(n=hours)
    if minutes >= 1:
        return ngettext("{n} minute ago", "{n} minutes ago", minutes).format(n=minutes)
    return _("just now")
