"""How many connections the server takes, and how long one may say nothing.

The web server bounds neither: whoever opens ten thousand connections leaves no handle for files either, and runs in
training end, since nothing of them can be written.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from metalab.log import tell
from metalab.ui.addresses import network_of

SPARE_HANDLES = 1_024
"""For files, and for the connections that are refused."""
MOST_AT_ONCE = 64
"""Connections that are taken between two answers."""
MOST_OF_ADDRESS = 2_000
"""Connections: a class of a hundred behind one address has a thousand. Addresses of one network are one."""
SWEEP_SECONDS = 0.2
"""So often at most it is looked which of too many have ended already."""
SILENT_SECONDS = 15.0
"""So long after it was opened, or was seen with its last answer complete, a connection must have brought a whole
request."""
EVERYBODY = "everybody"


class Silent(NamedTuple):
    """A connection that said nothing when it was last looked at: as long as it brings no request, it has this cycle."""

    protocol: Any
    cycle: Any
    """What the web server makes for each request; None before the first."""

    def still(self, transport: asyncio.Transport) -> bool:
        """Whether it has brought no whole request since; one that became a websocket has another protocol now."""
        now: Any = transport.get_protocol()
        return now is self.protocol and now.cycle is self.cycle


class Door:
    """Counts the connections of one event loop's servers, and closes those that are too many or say nothing."""

    def __init__(self, handles: int) -> None:
        """`handles`: files and sockets that this process may have open at once."""
        self._handles = handles
        self._open: dict[asyncio.Transport, str] = {}
        self._addresses: Counter[str] = Counter()
        self._silent: dict[str, dict[asyncio.Transport, Silent]] = {EVERYBODY: {}}
        """Of each address, and of all together, the connections that said nothing, first the one that began first."""
        self._swept = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on the connections of servers that are made on this loop count."""
        plain = loop.create_server

        async def create_server(factory: Callable[[], Any], *given: Any, **named: Any) -> asyncio.Server:
            most = max(self._handles - SPARE_HANDLES, self._handles // 2)
            waiting = named.get("backlog", 100)
            # The loop takes as many at once as may wait, and meanwhile answers nobody.
            named["backlog"] = min(waiting, MOST_AT_ONCE)
            server = await plain(partial(self._made, factory, most), *given, **named)
            if "sock" in named:
                named["sock"].listen(waiting)
            return server

        setattr(loop, "create_server", create_server)  # noqa: B010 (no attribute of the class)

    def _made(self, factory: Callable[[], Any], most: int) -> Any:
        """A protocol of the web server's that tells of its connection."""
        protocol = factory()
        made, lost = protocol.connection_made, protocol.connection_lost

        def connection_made(transport: asyncio.Transport) -> None:
            _send_at_once(transport)
            made(transport)
            self._opened(transport, protocol, most)

        def connection_lost(problem: Exception | None) -> None:
            self._forget(protocol.transport)
            lost(problem)
            del protocol.connection_made, protocol.connection_lost  # they hold the protocol, and it holds them

        protocol.connection_made, protocol.connection_lost = connection_made, connection_lost
        return protocol

    def _opened(self, transport: asyncio.Transport, protocol: Any, most: int) -> None:
        peer = transport.get_extra_info("peername")
        address = network_of(str(peer[0])) if isinstance(peer, tuple) else ""
        now = time.monotonic()
        if self._crowded(address, most) and now - self._swept > SWEEP_SECONDS:
            self._swept = now
            for each in [each for each in self._open if each.is_closing()]:
                self._forget(each)
        if self._crowded(address, most) and not self._make_room(address):
            tell("refused", person=address, what="connection", why="too many are open")
            transport.abort()
            return
        self._open[transport] = address
        self._addresses[address] += 1
        self._is_silent(transport, Silent(protocol, None))
        asyncio.get_running_loop().call_later(SILENT_SECONDS, self._look, transport, protocol)

    def _crowded(self, address: str, most: int) -> bool:
        """Whether there is no room for one more of `address`."""
        return len(self._open) >= most or self._addresses[address] >= MOST_OF_ADDRESS

    def _make_room(self, address: str) -> bool:
        """Close a silent connection: one of `address` where that has too many, otherwise one of the address that has
        most, or of any. False where all have asked."""
        if self._addresses[address] >= MOST_OF_ADDRESS:
            return self._cut_oldest(address)
        return self._cut_oldest(self._addresses.most_common(1)[0][0]) or self._cut_oldest(EVERYBODY)

    def _cut_oldest(self, address: str) -> bool:
        """Close the connection of an address that has said nothing for longest; False where each has asked."""
        silent = self._silent.get(address, {})
        while silent:
            transport, found = next(iter(silent.items()))
            if found.still(transport):
                transport.abort()
                self._forget(transport)
                return True
            self._has_asked(transport)
        return False

    def _look(self, transport: asyncio.Transport, protocol: Any) -> None:
        """Close a connection that has brought no whole request since the last look: half a one stops the web server's
        own clock. One that became a websocket does not tell when it ends."""
        before = self._silent[EVERYBODY].get(transport)
        if transport.is_closing() or transport not in self._open:
            self._forget(transport)
        elif before and before.still(transport):
            transport.abort()
        else:
            self._has_asked(transport)
            now: Any = transport.get_protocol()
            if now is protocol and now.cycle.response_complete:
                self._is_silent(transport, Silent(now, now.cycle))
            asyncio.get_running_loop().call_later(SILENT_SECONDS, self._look, transport, protocol)

    def _is_silent(self, transport: asyncio.Transport, found: Silent) -> None:
        for whose in (self._open[transport], EVERYBODY):
            self._silent.setdefault(whose, {})[transport] = found

    def _has_asked(self, transport: asyncio.Transport) -> None:
        for whose in (self._open[transport], EVERYBODY):
            self._silent[whose].pop(transport, None)

    def _forget(self, transport: asyncio.Transport) -> None:
        if transport not in self._open:
            return
        self._has_asked(transport)
        address = self._open.pop(transport)
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address], self._silent[address]


def _send_at_once(transport: asyncio.Transport) -> None:
    """Keep the system from holding the second part of an answer back until the first is acknowledged: 40 ms for every
    script, style and message. asyncio sees to it only for sockets that name their protocol, which Streamlit's do not.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):  # the peer has gone already
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
