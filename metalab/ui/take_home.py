"""Take it home: a run's script, report, settings and numbers, behind one button on any page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st
from streamlit.elements.lib.mutable_popover_container import PopoverContainer

from metalab.store import Run
from metalab.tasks.base import DataMissing
from metalab.training.config import ConfigError
from metalab.ui import runs
from metalab.ui.i18n import _
from metalab.ui.links import escape
from metalab.ui.routes import base_path


@dataclass(frozen=True)
class File:
    """Something to download."""

    label: str
    name: str
    """Of the file."""
    text: str
    mime: str
    icon: str
    help: str


def take_home(run_ids: Sequence[str], key: str) -> None:
    """A button that opens the downloads of these runs; `key` tells several on one page apart."""
    take_home_later(lambda: run_ids, key)


def take_home_later(run_ids: Callable[[], Sequence[str]], key: str) -> None:
    """The same for runs that are chosen further down on the page: asked for when the button is pressed."""
    st.fragment(_take_home)(run_ids, key)


def take_home_files(files: Callable[[], Sequence[File]], key: str) -> None:
    """The same button for a page without runs; `files` is asked when it is pressed."""
    st.fragment(_take_files)(files, key)


def _take_files(files: Callable[[], Sequence[File]], key: str) -> None:
    menu = _menu(key, _("What this page shows, as files."))
    if menu.open:
        with menu:
            for file in files():
                _download(
                    file.label,
                    file.text,
                    file.name,
                    file.mime,
                    key=f"{key}.{file.name}",
                    icon=file.icon,
                    help_=file.help,
                )


def _menu(key: str, told: str) -> PopoverContainer:
    return st.popover(
        _("Take it home"), icon=":material/download:", key=key, on_change="rerun", width="stretch", help=told
    )


def _take_home(run_ids: Callable[[], Sequence[str]], key: str) -> None:
    menu = _menu(key, _("A script, a report, the settings and the numbers of the runs shown here."))
    if not menu.open:
        return
    with menu:
        found = {run.id: run for run in runs.find(run_ids())}
        if not found:
            st.info(_("No run is chosen here: choose one on this page, or start one on Train."), icon=":material/info:")
            return
        chosen = next(iter(found))
        if len(found) > 1:
            named = runs.labels(list(found.values()))
            told = _("Whose files are offered.")
            chosen = st.selectbox(_("Run"), list(found), format_func=named.__getitem__, key=f"{key}.run", help=told)
        _files(found[chosen], f"{key}.{chosen}")


def _files(run: Run, key: str) -> None:
    """The downloads of one run, each made when it is pressed."""
    _script(run, key)
    _download(
        _("Report (HTML)"),
        partial(_report, run.id),
        f"metalab-{run.id}.html",
        "text/html",
        key=f"{key}.report",
        icon=":material/article:",
        help_=_("Settings, figures and held-out results in one file that opens without a network."),
    )
    _download(
        _("Config as JSON"),
        json.dumps(run.settings, indent=2),
        f"metalab-{run.id}.json",
        "application/json",
        key=f"{key}.config",
        icon=":material/data_object:",
        help_=_("All settings of the run, for the command line's --config."),
    )
    st.link_button(
        _("Metrics as CSV"),
        f"{base_path()}/metalab/runs/{run.id}/metrics.csv",
        icon=":material/table:",
        width="stretch",
        help=_("Every number that the run recorded, by outer step."),
    )


def _script(run: Run, key: str) -> None:
    """The script, and the file that it reads; or one sentence on why there is none."""
    from metalab.takehome import families
    from metalab.takehome import script as writer
    from metalab.training.service import service

    try:
        text = writer.script(run.config, writer.changes_of(run, service().store.notes(run.id)))
    except (writer.NoScript, ConfigError) as reason:
        st.caption(escape(_(str(reason))))
        return
    _download(
        _("PyTorch script"),
        text,
        writer.file_name(run.config),
        "text/x-python",
        key=f"{key}.script",
        icon=":material/code:",
        help_=_("The run as one file that needs nothing but torch, and gives the same losses."),
    )
    family = run.config.family
    beside = families.data_name(family)
    if not beside:
        return
    try:
        family.require()
    except DataMissing as problem:
        st.caption(escape(_(problem.in_short)))
        return
    _download(
        _("Names for the script") if family.tokens else _("Pictures for the script"),
        partial(families.data, family),
        beside,
        "application/octet-stream",
        key=f"{key}.data",
        icon=":material/text_fields:" if family.tokens else ":material/image:",
        help_=_("What its tasks are made of, as a file of tensors: put it beside the script."),
    )


def _download(
    label: str, data: str | Callable[[], str | bytes], name: str, mime: str, *, key: str, icon: str, help_: str
) -> None:
    st.download_button(
        label, data, name, mime, key=key, icon=icon, help=help_, on_click="ignore", width="stretch", type="secondary"
    )


def _report(run_id: str) -> str:
    """Called when the button is pressed, beside the page: English, as every file that leaves it."""
    from metalab.takehome.charts import plotly_js
    from metalab.takehome.report import account, report
    from metalab.training.service import service

    return report(account(service().store, run_id), plotly_js(), str)
