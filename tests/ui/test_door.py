"""Connections that are too many or say nothing, on real sockets."""

from __future__ import annotations

import asyncio
import socket

from metalab.ui import door
from metalab.ui.door import Door


class Web(asyncio.Protocol):
    """Like the web server's: `scope` is there once a request is, and a websocket has another protocol."""

    def __init__(self):
        self.scope = self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.scope = {"type": "http"}
        self.transport.write(b"answer")
        if data == b"upgrade":
            self.transport.set_protocol(asyncio.Protocol())

    def connection_lost(self, problem):
        self.scope = None


class Street:
    """A door, a server behind it, and who stands before it."""

    def __init__(self, handles):
        self.door = Door(handles)
        self.writers = []

    async def __aenter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        loop = asyncio.get_running_loop()
        self.door.watch(loop)
        self.server = await loop.create_server(Web, sock=self.socket, backlog=500)
        self.port = self.socket.getsockname()[1]
        return self

    async def __aexit__(self, *_):
        for writer in self.writers:
            writer.close()
        await until(lambda: len(self.door) == 0)
        assert not self.door._addresses
        self.server.close()

    async def connect(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def ask(self, words=b"request"):
        """Whether a new connection that asks is answered."""
        reader, writer = await self.connect()
        try:
            writer.write(words)
            return await asyncio.wait_for(reader.read(6), 5) == b"answer"
        except ConnectionError:
            return False


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def test_there_are_always_handles_to_spare(monkeypatch):
    monkeypatch.setattr(door, "SPARE_HANDLES", 7)

    async def attempt():
        async with Street(7 + 6) as street:
            assert [await street.ask() for _ in range(8)] == [True] * 6 + [False] * 2
            assert len(street.door) == 6
            street.writers[0].close()
            await until(lambda: len(street.door) == 5)
            assert await street.ask()

    asyncio.run(attempt())


def test_where_the_system_gives_few_handles_a_quarter_is_for_connections():
    async def attempt():
        async with Street(12) as street:
            assert [await street.ask() for _ in range(4)] == [True] * 3 + [False]

    asyncio.run(attempt())


def test_one_address_takes_only_so_many(monkeypatch):
    monkeypatch.setattr(door, "MOST_OF_ADDRESS", 3)

    async def attempt():
        async with Street(10_000) as street:
            assert [await street.ask() for _ in range(5)] == [True] * 3 + [False] * 2
            street.writers[0].close()
            await until(lambda: len(street.door) == 2)
            assert await street.ask()

    asyncio.run(attempt())


def test_websockets_that_have_ended_count_no_more(monkeypatch):
    """They end without a word to the door."""
    monkeypatch.setattr(door, "MOST_OF_ADDRESS", 3)
    monkeypatch.setattr(door, "SWEEP_SECONDS", 0.0)

    async def attempt():
        async with Street(10_000) as street:
            for _ in range(12):
                assert await street.ask(b"upgrade")
                street.writers[-1].close()
                await street.writers[-1].wait_closed()
                await until(lambda: any(each.is_closing() for each in street.door._open))
            monkeypatch.setattr(door, "MOST_OF_ADDRESS", 0)
            assert not await street.ask()  # and sweeps

    asyncio.run(attempt())


def test_whoever_asks_finds_a_place_among_many_that_say_nothing(monkeypatch):
    monkeypatch.setattr(door, "MOST_OF_ADDRESS", 4)

    async def attempt():
        async with Street(10_000) as street:
            assert await street.ask()
            silent = [(await street.connect())[0] for _ in range(8)]
            await until(lambda: sum(reader.at_eof() for reader in silent) == 5)
            assert [reader.at_eof() for reader in silent] == [True] * 5 + [False] * 3  # the oldest went
            assert [await street.ask() for _ in range(4)] == [True] * 3 + [False]
            assert len(street.door) == 4

    asyncio.run(attempt())


def test_who_says_nothing_is_cut_off_and_who_has_asked_is_not(monkeypatch):
    monkeypatch.setattr(door, "SILENT_SECONDS", 0.1)

    async def attempt():
        async with Street(10_000) as street:
            silent, _ = await street.connect()
            assert await street.ask()
            assert await street.ask(b"upgrade")
            assert await asyncio.wait_for(silent.read(1), 5) == b""
            await asyncio.sleep(0.25)  # further looks change nothing, and find the end of what became a websocket
            assert len(street.door) == 2

    asyncio.run(attempt())
