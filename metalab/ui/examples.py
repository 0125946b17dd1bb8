"""Example runs that come with MetaLab (assets/examples), so that a page shows something before anybody has trained."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from metalab.store import EXAMPLE, CheckpointError, Run
from metalab.store.bundle import unpack
from metalab.training.config import ConfigError
from metalab.training.service import service
from metalab.ui import adapt_entrants

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"
"""<family>-<number>-<algorithm>.safetensors; made by benchmarks/examples.py."""
log = logging.getLogger(__name__)
_lock = threading.Lock()


def candidates(family: str, suits: Callable[[Run], bool], asked: Sequence[str] = ()) -> list[Run]:
    """Runs of the family that have begun and that suit, the newest first; where there is none, the examples.

    There are many at most, and those that are `asked` for among them however old they are.
    """
    with _lock:  # two visitors at once would put them there twice
        found = [run for run in adapt_entrants.candidates(family, asked) if suits(run)]
        if not found and _install(family):
            found = [run for run in adapt_entrants.candidates(family, asked) if suits(run)]
    return found


def _install(family: str) -> bool:
    """Put the family's example runs into the store where they are not there yet; whether any was put there."""
    store = service().store
    if any(run.family == family for run in store.runs(1000, EXAMPLE)):
        return False
    put = 0
    # The last that is made is the newest: the numbers count backwards from what is to be seen first.
    for path in sorted(EXAMPLES.glob(f"{family}-*.safetensors"), reverse=True):
        try:
            unpack(store, path)
            put += 1
        except (CheckpointError, ConfigError, OSError):
            log.exception("The example run %s could not be read.", path.name)
    return put > 0
