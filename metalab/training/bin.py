"""The bin of a store as the service keeps it: what was deleted while it trained, and what has lain there too long."""

from __future__ import annotations

import logging
import math
import time

from metalab.store import RunNotFound, Store, StoreError, library

LOOK_SECONDS = 3600.0
"""So often at most the bin is looked through, whenever a run ends or is deleted."""

log = logging.getLogger(__name__)


class Bin:
    """Not to be used by two threads at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = -math.inf
        self.empty()

    def put(self, run_id: str, owner: str) -> None:
        """Put a run there that does not train. Raises as `library.put_into_bin`."""
        library.put_into_bin(self._store, run_id, owner)
        self.empty()

    def clear_away(self, run_id: str, owner: str, *, deleted: bool) -> None:
        """Put a run there whose training has ended, where it was `deleted` meanwhile, and empty what is old."""
        try:
            if deleted:
                library.put_into_bin(self._store, run_id, owner)
            self.empty()
        except (RunNotFound, ValueError, StoreError):
            log.exception("Run %s could not be put into the bin.", run_id)

    def empty(self) -> None:
        """Remove what has been there for too long; looks once in a while."""
        now = time.monotonic()
        if now - self._seen > LOOK_SECONDS:
            self._seen = now
            library.empty_bin(self._store)
