"""What one does to runs that are there: turn their learning rates, rename, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from metalab.settings import declarations
from metalab.store import COMMAND_LINE, RESUMABLE, Run
from metalab.store.library import KEPT_SECONDS
from metalab.training.config import ConfigError
from metalab.ui import runs
from metalab.ui.controls import setting_control
from metalab.ui.draft import classes
from metalab.ui.i18n import _
from metalab.ui.links import escape, readable

_LOOK_AGAIN_SECONDS = 3
DELETED = "runs.deleted"
"""Session key of the runs that this visitor deleted: nobody need tell them that these are gone."""


def live_rates(chosen: Sequence[Run]) -> None:
    """Sliders for the learning rates of this user's runs that go on or may be resumed; a move counts from then on."""
    ids = [run.id for run in chosen if runs.mine(run) and _changeable(run)]
    if ids:
        st.fragment(_live_rates, run_every=_LOOK_AGAIN_SECONDS)(ids, runs.labels(chosen))


def _live_rates(ids: Sequence[str], named: Mapping[str, str]) -> None:
    found = [run for run in runs.find(ids) if _changeable(run)]
    if not found:
        return
    several = len(named) > 1
    by_id = {run.id: run for run in found}
    chosen = found[0].id
    with st.container(border=True, key="live-rates"):
        columns = st.columns([2, 3, 3] if several else [1, 1], vertical_alignment="center")
        if several:
            with columns[0]:
                key = f"rates.of.{'.'.join(by_id)}"
                label = _("Change while it runs")
                told = _("The run whose learning rates these sliders turn.")
                chosen = st.selectbox(label, list(by_id), format_func=named.__getitem__, key=key, help=told)
        try:
            _rates_of(by_id[chosen], columns[-2:])
        except (runs.Problem, ConfigError) as problem:
            st.error(escape(str(problem)), icon=":material/error:")


def _changeable(run: Run) -> bool:
    return run.active or run.state in RESUMABLE


def _rates_of(run: Run, columns: Sequence[Any]) -> None:
    """A slider in each column; what was last applied is remembered, so that a slider tells when it was moved."""
    applied = st.session_state.setdefault(f"rates.applied.{run.id}", _rates(run))
    found = classes({"family": run.family, "model": run.model, "algorithm": run.algorithm})
    for (name, value), column in zip(applied.items(), columns, strict=False):
        part, _dot, setting = name.rpartition(".")
        declaration = next(each for each in declarations(found[part]) if each.name == setting)
        with column:
            chosen = setting_control(declaration, _begin(run, name, value), key=f"rates.{run.id}.{name}")
        if chosen != value:
            runs.change(run.id, {name: chosen})
            applied[name] = chosen
            said = _("{setting} is {value} from the next outer step on.")
            st.toast(said.format(setting=_(declaration.label), value=readable(chosen)))


def _begin(run: Run, name: str, value: Any) -> Any:
    """Where the slider started when this page first drew it: its stops must not change under the hand."""
    return st.session_state.setdefault(f"rates.begin.{run.id}", {}).setdefault(name, value)


def _rates(run: Run) -> dict[str, Any]:
    data = run.current.model_dump()
    flat = data | {f"algorithm.{name}": value for name, value in data["algorithm"].items()}
    return {name: flat[name] for name in run.current.live}


def manage(chosen: Sequence[Run]) -> None:
    """A menu behind a button: renaming or deleting one's own among the followed runs."""
    st.fragment(_manage)([run.id for run in chosen])


def _manage(ids: Sequence[str]) -> None:
    told = _("Rename or delete those of the runs shown here that are yours.")
    menu = st.popover(
        _("Manage"), icon=":material/more_vert:", key="manage", on_change="rerun", width="stretch", help=told
    )
    if not menu.open:
        return
    found = {run.id: run for run in runs.find(ids)}
    with menu:
        if not found:
            st.info(_("These runs are gone."))
            return
        named = runs.labels(list(found.values()))
        chosen = next(iter(found))
        if len(found) > 1:
            told = _("The run to rename or delete.")
            chosen = st.selectbox(_("Run"), list(found), format_func=named.__getitem__, key="manage.run", help=told)
        run = found[chosen]
        if runs.mine(run):
            _own(run)
        else:
            st.caption(_foreign(run))


def _foreign(run: Run) -> str:
    if run.owner == COMMAND_LINE:
        return _("This run is the command line's: only a browser on the server's own machine can change it.")
    return _("This run is someone else's: you can follow it, but not change it.")


def _own(run: Run) -> None:
    with st.form(f"rename.{run.id}", border=False):
        told = _("What the run is called in every list.")
        name = st.text_input(_("Name"), value=run.name, max_chars=runs.NAME_LENGTH, help=told)
        told = _("Gives the run this name.")
        if st.form_submit_button(_("Rename"), icon=":material/edit:", width="stretch", help=told):
            try:
                runs.rename(run.id, name)
            except runs.Problem as problem:
                st.error(escape(str(problem)), icon=":material/error:")
            else:
                st.rerun()
    told = _("Puts the run into your bin, after a question.")
    if st.button(_("Delete"), icon=":material/delete:", width="stretch", key=f"delete.{run.id}", help=told):
        st.dialog(_("Delete this run?"))(_confirm_delete)(run)


def _confirm_delete(run: Run) -> None:
    said = _("**{name}** leaves every list. For {days} days you can take it back out of the bin on the page Library.")
    days = round(KEPT_SECONDS / 86_400)
    st.markdown(said.format(name=escape(runs.labels([run])[run.id]), days=days))
    told = _("Puts the run into your bin.")
    if st.button(_("Delete"), type="primary", icon=":material/delete:", width="stretch", key="delete.sure", help=told):
        try:
            runs.delete(run.id)
        except runs.Problem as problem:
            st.error(escape(str(problem)), icon=":material/error:")
        else:
            st.session_state.setdefault(DELETED, set()).add(run.id)
            st.rerun()
