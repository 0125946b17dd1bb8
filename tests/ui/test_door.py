"""Connections that are too many or say nothing, on real sockets; those that say half with the real web server."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import uvicorn

from metalab.ui import door
from metalab.ui.door import Door


class Web(asyncio.Protocol):
    """Like the web server's: each request makes a `cycle`, and a websocket has another protocol."""

    def __init__(self):
        self.cycle = self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.cycle = SimpleNamespace(response_complete=data == b"whole")
        self.transport.write(b"answer")
        if data == b"upgrade":
            self.transport.set_protocol(asyncio.Protocol())

    def connection_lost(self, problem):
        self.cycle = None


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
        assert self.door._silent == {door.EVERYBODY: {}}
        self.server.close()

    async def connect(self, address="127.0.0.1"):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
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


def look(at):
    """At each connection, as happens every SILENT_SECONDS."""
    for transport in list(at._open):
        protocol = transport.get_protocol()
        at._look(transport, protocol if hasattr(protocol, "cycle") else None)


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


def test_where_the_system_gives_few_handles_half_are_for_connections():
    async def attempt():
        async with Street(12) as street:
            assert [await street.ask() for _ in range(8)] == [True] * 6 + [False] * 2

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


def test_in_a_full_house_the_oldest_that_says_nothing_goes_wherever_it_comes_from(monkeypatch):
    """A class at one address that all have asked, and one silent connection of each of many others."""
    monkeypatch.setattr(door, "SPARE_HANDLES", 0)

    async def attempt():
        async with Street(8) as street:
            assert [await street.ask() for _ in range(5)] == [True] * 5
            silent = [(await street.connect(f"127.0.0.{number}"))[0] for number in (4, 3, 2)]
            await until(lambda: len(street.door) == 8)
            for gone in (1, 2, 3):
                assert await street.ask()
                await until(lambda n=gone: [reader.at_eof() for reader in silent] == [True] * n + [False] * (3 - n))
            assert not await street.ask()

    asyncio.run(attempt())


def test_an_address_with_too_many_makes_room_among_its_own_even_in_a_full_house(monkeypatch):
    monkeypatch.setattr(door, "SPARE_HANDLES", 0)
    monkeypatch.setattr(door, "MOST_OF_ADDRESS", 3)

    async def attempt():
        async with Street(4) as street:
            assert [await street.ask() for _ in range(3)] == [True] * 3
            reader, _ = await street.connect("127.0.0.2")
            await until(lambda: len(street.door) == 4)
            assert not await street.ask()
            assert not reader.at_eof()

    asyncio.run(attempt())


def test_a_network_of_the_newer_internet_protocol_counts_as_one_address(monkeypatch):
    monkeypatch.setattr(door, "MOST_OF_ADDRESS", 2)

    class Line(asyncio.Transport):
        """A connection whose peer has a given address."""

        def __init__(self, address):
            super().__init__({"peername": (address, 1, 0, 0)})
            self.cut, self.protocol = False, SimpleNamespace(cycle=SimpleNamespace(response_complete=False))

        def get_protocol(self):
            return self.protocol

        def is_closing(self):
            return self.cut

        def abort(self):
            self.cut = True

    async def attempt():
        ours, lines = Door(100), [Line(f"2001:db8:1:{end}") for end in ("2::1", "2:ffff::9", "2::3", "3::1")]
        for line in lines:
            ours._opened(line, line.protocol, 100)
        assert [line.cut for line in lines] == [False, False, True, False]

    asyncio.run(attempt())


def test_in_a_crowd_who_has_been_answered_and_then_asked_nothing_makes_room_too(monkeypatch):
    monkeypatch.setattr(door, "MOST_OF_ADDRESS", 3)

    async def attempt():
        async with Street(10_000) as street:
            readers = [(await street.connect())[0] for _ in range(3)]
            for writer, words in zip(street.writers, (b"request", b"whole", b"upgrade"), strict=True):
                writer.write(words)
            assert [await reader.read(6) for reader in readers] == [b"answer"] * 3
            assert not await street.ask()  # it may be about to ask again
            look(street.door)
            assert await street.ask()
            await until(lambda: [reader.at_eof() for reader in readers] == [False, True, False])
            street.writers[2].close()
            await until(lambda: any(each.is_closing() for each in street.door._open))
            look(street.door)  # finds the end of what became a websocket

    asyncio.run(attempt())


# --- with the real web server

ASK = b"GET /%s HTTP/1.1\r\nHost: here\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n"


@asynccontextmanager
async def web(ended):
    """A door and the port of a web server behind it; the answer of `/live` ends after `ended`, as do websockets."""

    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await ended.wait()
            await send({"type": "websocket.send", "text": "end"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/live":
            await send({"type": "http.response.body", "body": b"begin", "more_body": True})
            await ended.wait()
        await send({"type": "http.response.body", "body": b"end"})

    loop = asyncio.get_running_loop()
    watching = Door(10_000)
    watching.watch(loop)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, lifespan="off", log_level="critical", timeout_keep_alive=60, http="h11")
        server = uvicorn.Server(config)
        serving = loop.create_task(server.serve(sockets=[listening]))
        await until(lambda: server.started)
        yield watching, listening.getsockname()[1]
        server.should_exit = server.force_exit = True
        await serving


def test_half_of_a_second_request_holds_no_connection_and_what_is_live_is_never_cut():
    async def attempt():
        ended, writers = asyncio.Event(), []

        async def asks(port, words, until_):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            writer.write(words)
            await asyncio.wait_for(reader.readuntil(until_), 5)
            return reader

        async with web(ended) as (watching, port):
            live = await asks(port, ASK % b"live" + b"\r\n", b"begin")
            tab = await asks(port, ASK % b"tab" + UPGRADE % (b"A" * 22 + b"=="), b"\r\n\r\n")
            half = await asks(port, ASK % b"" + b"\r\n", b"0\r\n\r\n")
            writers[-1].write(ASK % b"")
            look(watching)
            await asyncio.sleep(0.01)
            assert len(watching) == 3, "it may be about to ask"
            for _ in range(3):
                look(watching)
                await asyncio.sleep(0.01)
            with suppress(ConnectionError):
                assert await asyncio.wait_for(half.read(), 5) == b""
            assert len(watching) == 2
            ended.set()
            assert await asyncio.wait_for(live.readuntil(b"end"), 5)
            assert await asyncio.wait_for(tab.readuntil(b"end"), 5)
            for writer in writers:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    asyncio.run(attempt())


def test_the_second_part_of_an_answer_does_not_wait_until_the_first_is_acknowledged():
    async def attempt():
        async with Street(40) as street:
            assert await street.ask()
            (transport,) = street.door._open
            connection = transport.get_extra_info("socket")
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    asyncio.run(attempt())
