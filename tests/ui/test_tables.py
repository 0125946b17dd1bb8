"""Tables of metrics: a few at once, and each gives its place back however it ends."""

from __future__ import annotations

import asyncio
import threading

import pytest

from metalab.ui import tables
from metalab.ui.tables import Tables, TooManyTables


class Slow:
    """A source whose tables come when the gate opens."""

    def __init__(self):
        self.gate = threading.Event()

    def csv(self, run_id):
        self.gate.wait(10)
        return "metric,outer_step,value\n" if run_id == "r1" else None


async def until_asked(given, n):
    while given._users.total() < n:
        await asyncio.sleep(0)


def test_a_user_has_two_at_once_and_all_have_eight():
    async def ask():
        source, given = Slow(), Tables()
        asked = [asyncio.create_task(given.answer(source, "r1", f"user {n // 2}", {})) for n in range(8)]
        await until_asked(given, 8)
        for user in ("user 0", "somebody else"):
            with pytest.raises(TooManyTables, match="already sends many tables"):
                await given.answer(source, "r1", user, {})
        source.gate.set()
        for table in await asyncio.gather(*asked):
            await table({"type": "http"}, None, sent)
        assert given._users.total() == 0
        assert (await given.answer(source, "r1", "user 0", {})).body == b"metric,outer_step,value\n"

    async def sent(_message):
        pass

    asyncio.run(ask())


def test_a_run_that_is_not_there_and_a_reader_who_never_reads_give_their_places_back(monkeypatch):
    monkeypatch.setattr(tables, "SENDING_SECONDS", 0.01)

    async def ask():
        source, given = Slow(), Tables()
        source.gate.set()
        assert await given.answer(source, "another", "ada", {}) is None
        table = await given.answer(source, "r1", "ada", {})
        assert given._users.total() == 1
        await table({"type": "http"}, None, never)
        assert given._users.total() == 0

    async def never(_message):
        await asyncio.sleep(10)

    asyncio.run(ask())
