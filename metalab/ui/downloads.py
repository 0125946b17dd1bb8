"""Data that is not on this machine: where to put it, fetching it with progress, or taking another family."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import streamlit as st

from metalab.tasks import FAMILIES
from metalab.tasks.base import DataMissing
from metalab.tasks.omniglot import download as download_omniglot
from metalab.ui.i18n import _
from metalab.ui.links import escape

Progress = Callable[[int, int], None]
SOURCES: Mapping[str, Callable[[Progress], None]] = {"omniglot": download_omniglot}
"""How a family's data is fetched; a family that is not listed has nothing to fetch."""
_MEGABYTE = 1_000_000
_LOOK_AGAIN_SECONDS = 0.5

_LOG = logging.getLogger(__name__)
_downloads: dict[str, Download] = {}
_lock = threading.Lock()


@dataclass
class Download:
    """One family's download, for everybody on this server."""

    done: int = 0
    total: int = 0
    over: bool = False
    problem: str = ""


def missing(family: str) -> str:
    """What the family lacks on this machine and what to do, in the engine's words; empty where it lacks nothing."""
    try:
        FAMILIES[family](name=family).require()
    except DataMissing as problem:
        return str(problem)
    return ""


def missing_data_card(family: str, problem: str, *, instead: str) -> bool:
    """Say what is missing and offer to fetch it; True where the family `instead` was chosen in its place."""
    with st.container(border=True, key="missing-data"):
        title = _(FAMILIES[family].title)
        st.markdown(f"#### :material/folder_off: {_('{family} is not on this machine').format(family=title)}")
        st.markdown(escape(problem))
        if family in SOURCES:
            st.fragment(_fetching, run_every=_LOOK_AGAIN_SECONDS if _going_on(family) else None)(family)
        other = _(FAMILIES[instead].title)
        return st.button(
            _("Take {family} instead").format(family=other),
            icon=":material/swap_horiz:",
            key="missing-data.instead",
            help=_(FAMILIES[instead].summary),
        )


def _fetching(family: str) -> None:
    with _lock:
        download = _downloads.get(family)
    if download is None or download.problem:
        if download is not None:
            st.error(escape(download.problem), icon=":material/cloud_off:")
        if st.button(_("Download"), type="primary", icon=":material/download:", key="missing-data.download"):
            _begin(family)
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


def _going_on(family: str) -> bool:
    with _lock:
        download = _downloads.get(family)
    return download is not None and not download.over


def _begin(family: str) -> None:
    """Fetch in the background; a second press joins the download that goes on."""
    with _lock:
        going_on = _downloads.get(family)
        if going_on is not None and not going_on.over:
            return
        download = _downloads[family] = Download()

    def progress(done: int, total: int) -> None:
        download.done, download.total = done, total

    def work() -> None:
        try:
            SOURCES[family](progress)
        except DataMissing as problem:
            download.problem = str(problem)
        except Exception:
            _LOG.exception("The download for %s failed.", family)
            download.problem = "The download failed; the server's log says why."
        finally:
            download.over = True

    threading.Thread(target=work, name=f"metalab-download-{family}", daemon=True).start()
