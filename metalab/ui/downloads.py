"""Data that is not on this machine: where to put it, fetching it with progress, or taking another family."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st
from pydantic import ValidationError

from metalab.tasks import FAMILIES, mnist, omniglot
from metalab.tasks.base import DataMissing, TaskFamily
from metalab.tasks.fetching import Progress
from metalab.ui.i18n import _
from metalab.ui.links import escape

Sets = tuple[str, ...]
SOURCES: Mapping[str, Callable[[Progress], None]] = {"omniglot": omniglot.download, "mnist": mnist.download}
"""How each data set is fetched that a family may need."""
_MEGABYTE = 1_000_000
_LOOK_AGAIN_SECONDS = 0.5

_LOG = logging.getLogger(__name__)
_downloads: dict[Sets, Download] = {}
_lock = threading.Lock()


@dataclass
class Download:
    """One download of what a family needs, for everybody on this server."""

    done: int = 0
    total: int = 0
    over: bool = False
    problem: str = ""


def missing(family: str, settings: Mapping[str, Any] | None = None) -> str:
    """Where to put what the family lacks on this machine, in the engine's words; empty where it lacks nothing."""
    try:
        _family(family, settings).require()
    except DataMissing as problem:
        return problem.in_short
    return ""


def _family(name: str, settings: Mapping[str, Any] | None) -> TaskFamily:
    """The family with these settings; with its defaults where they are wrong, which is said elsewhere."""
    try:
        return FAMILIES[name].model_validate({**(settings or {}), "name": name})
    except ValidationError:
        return FAMILIES[name](name=name)


def missing_data_card(family: str, problem: str, *, instead: str, settings: Mapping[str, Any] | None = None) -> bool:
    """Say what is missing and offer to fetch it; True where the family `instead` was chosen in its place."""
    sets = _family(family, settings).data_sets
    with st.container(border=True, key="missing-data"):
        title = _(FAMILIES[family].title)
        st.markdown(f"#### :material/folder_off: {_('{family} is not on this machine').format(family=title)}")
        st.markdown(escape(problem))
        if sets:
            st.fragment(_fetching, run_every=_LOOK_AGAIN_SECONDS if _going_on(sets) else None)(sets)
        other = _(FAMILIES[instead].title)
        return st.button(
            _("Take {family} instead").format(family=other),
            icon=":material/swap_horiz:",
            key="missing-data.instead",
            help=_(FAMILIES[instead].summary),
        )


def _fetching(sets: Sets) -> None:
    with _lock:
        download = _downloads.get(sets)
    if download is None or download.problem:
        if download is not None:
            st.error(escape(download.problem), icon=":material/cloud_off:")
        told = _("Fetches it to that place, and checks that it is whole.")
        if st.button(_("Download"), type="primary", icon=":material/download:", key="missing-data.download", help=told):
            _begin(sets)
            st.rerun()
        return
    if download.over:
        st.rerun()
    megabytes = f"{download.done / _MEGABYTE:.1f}"
    if download.total:
        text = _("{done} of {total} MB").format(done=megabytes, total=f"{download.total / _MEGABYTE:.1f}")
    else:
        text = _("{done} MB").format(done=megabytes)
    st.progress(min(1.0, download.done / download.total) if download.total else 0.0, text=text)


def _going_on(sets: Sets) -> bool:
    with _lock:
        download = _downloads.get(sets)
    return download is not None and not download.over


def _begin(sets: Sets) -> None:
    """Fetch in the background; a second press joins the download that goes on."""
    with _lock:
        going_on = _downloads.get(sets)
        if going_on is not None and not going_on.over:
            return
        download = _downloads[sets] = Download()

    def progress(done: int, total: int) -> None:
        download.done, download.total = done, total

    def work() -> None:
        try:
            for name in sets:
                SOURCES[name](progress)
        except DataMissing as problem:
            download.problem = problem.in_short
        except Exception:
            _LOG.exception("The download of %s failed.", ", ".join(sets))
            download.problem = "The download failed; the server's log says why."
        finally:
            download.over = True

    threading.Thread(target=work, name=f"metalab-download-{sets[0]}", daemon=True).start()
