"""How many connections the server takes, and how long one may say nothing.

The web server bounds neither: whoever opens ten thousand connections leaves no handle for files either, and runs in
training end, since nothing of them can be written.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from metalab.log import tell

SPARE_HANDLES = 1_024
"""For files, and for the connections that are refused."""
MOST_AT_ONCE = 64
"""Connections that are taken between two answers."""
MOST_OF_ADDRESS = 2_000
"""Connections: a class of a hundred behind one address has a thousand."""
SWEEP_SECONDS = 0.2
"""So often at most it is looked which of too many have ended already."""
SILENT_SECONDS = 15.0
"""So long after it was opened a connection must have brought a whole request."""


class Door:
    """Counts the connections of one event loop's servers, and closes those that are too many or say nothing."""

    def __init__(self, handles: int) -> None:
        """`handles`: files and sockets that this process may have open at once."""
        self._handles = handles
        self._open: dict[asyncio.Transport, str] = {}
        self._addresses: Counter[str] = Counter()
        self._silent: dict[str, dict[asyncio.Transport, Any]] = {}
        """Of each address the connections that had brought no request when they were last looked at, oldest first."""
        self._swept = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on the connections of servers that are made on this loop count."""
        plain = loop.create_server

        async def create_server(factory: Callable[[], Any], *given: Any, **named: Any) -> asyncio.Server:
            most = max(self._handles - SPARE_HANDLES, self._handles // 4)
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
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        now = time.monotonic()
        if self._crowd(address, most) and now - self._swept > SWEEP_SECONDS:
            self._swept = now
            for each in [each for each in self._open if each.is_closing()]:
                self._forget(each)
        crowd = self._crowd(address, most)
        if crowd and not self._cut_oldest(crowd):
            tell("refused", person=address, what="connection", why="too many are open")
            transport.abort()
            return
        self._open[transport] = address
        self._addresses[address] += 1
        self._silent.setdefault(address, {})[transport] = protocol
        asyncio.get_running_loop().call_later(SILENT_SECONDS, self._look, transport, protocol)

    def _crowd(self, address: str, most: int) -> str:
        """Which address has too many for one more of `address`; empty where there is room."""
        if len(self._open) >= most:
            return self._addresses.most_common(1)[0][0]
        return address if self._addresses[address] >= MOST_OF_ADDRESS else ""

    def _cut_oldest(self, address: str) -> bool:
        """Close the connection of an address that has said nothing for longest; False where each has asked."""
        silent = self._silent.get(address, {})
        while silent:
            transport = next(iter(silent))
            if _says_nothing(transport, silent.pop(transport)):
                transport.abort()
                self._forget(transport)
                return True
        return False

    def _look(self, transport: asyncio.Transport, protocol: Any) -> None:
        """Close a connection that has brought no request yet. One that became a websocket has another protocol now,
        which does not tell when it ends."""
        if transport.is_closing():
            self._forget(transport)
        elif _says_nothing(transport, protocol):
            transport.abort()
        else:
            asyncio.get_running_loop().call_later(SILENT_SECONDS, self._look, transport, protocol)

    def _forget(self, transport: asyncio.Transport) -> None:
        address = self._open.pop(transport, None)
        if address is not None:
            self._silent[address].pop(transport, None)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address], self._silent[address]


def _says_nothing(transport: asyncio.Transport, protocol: Any) -> bool:
    """Whether a connection has brought no request: the web server's protocol then has no scope yet."""
    return transport.get_protocol() is protocol and getattr(protocol, "scope", protocol) is None
