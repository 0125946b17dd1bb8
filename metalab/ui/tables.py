"""A run's metrics as a file: written one at a time and sent to a few at once.

A long history is a second of work and megabytes of text. A hundred of them asked for together, or by somebody who
never reads the answer, would hold up the live streams or fill the memory.
"""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from metalab.ui.stream import Source

PER_USER, IN_TOTAL = 2, 8
SENDING_SECONDS = 60.0
"""After which an answer that is not read is given up."""


class TooManyTables(Exception):
    """So many are written or sent now; the text says so and what to do."""


class Table(Response):
    """A table that gives its place back when it is sent, or when nobody reads it."""

    media_type = "text/csv; charset=utf-8"

    def __init__(self, tables: "Tables", user: str, text: str, headers: dict[str, str]) -> None:
        super().__init__(text, headers=headers)
        self._tables, self._user = tables, user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(SENDING_SECONDS):
                    await super().__call__(scope, receive, send)
        finally:
            self._tables.give_back(self._user)


class Tables:
    """Those that are being written or sent."""

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="metalab-table")
        self._users: Counter[str] = Counter()

    async def answer(self, source: Source, run_id: str, user: str, headers: dict[str, str]) -> Table | None:
        """The run's metrics; None if there is no such run. Raises TooManyTables."""
        if self._users[user] >= PER_USER or self._users.total() >= IN_TOTAL:
            raise TooManyTables("This server already sends many tables. Try again in a few seconds.")
        self._users[user] += 1
        try:
            text = await asyncio.get_running_loop().run_in_executor(self._writer, source.csv, run_id)
        except BaseException:
            self.give_back(user)
            raise
        if text is None:
            self.give_back(user)
            return None
        return Table(self, user, text, headers)

    def give_back(self, user: str) -> None:
        """One of the user's tables is gone."""
        self._users[user] -= 1
        self._users += Counter()  # drops users without tables
