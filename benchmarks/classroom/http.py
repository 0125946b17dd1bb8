"""Just enough HTTP over asyncio: one request a connection, and event streams that are hardly parsed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

HOST = "127.0.0.1"
LARGEST = 64 * 2**20
"""Bytes of one answer, or of one event."""
_COOKIE = re.compile(rb"^set-cookie: *([^;\r\n]+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """What a GET brought."""

    status: int
    head: bytes
    body: bytes

    @property
    def cookies(self) -> dict[str, str]:
        """Those that the server set."""
        pairs = (found.decode().partition("=") for found in _COOKIE.findall(self.head))
        return {name: value for name, _equals, value in pairs}


async def get(port: int, path: str, cookies: dict[str, str] | None = None, accept: str = "*/*") -> Answer:
    """The whole answer. Raises OSError, EOFError where the server hangs up."""
    async with _asked(port, path, cookies or {}, accept, "HTTP/1.0") as (reader, head):
        return Answer(_status(head), head, await reader.read(-1))


@contextlib.asynccontextmanager
async def _asked(
    port: int, path: str, cookies: dict[str, str], accept: str, version: str
) -> AsyncIterator[tuple[asyncio.StreamReader, bytes]]:
    reader, writer = await asyncio.open_connection(HOST, port, limit=LARGEST)
    try:
        lines = [f"GET {path} {version}", f"Host: {HOST}:{port}", f"Accept: {accept}", "Accept-Encoding: gzip"]
        if cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in cookies.items()))
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
        yield reader, await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _status(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


@dataclass
class Follower:
    """One viewer of a run's event stream: when its updates came and how old the newest outer step in each was."""

    port: int
    run_id: str
    cookies: dict[str, str]
    arrivals: list[float] = field(default_factory=list)
    """On the clock of time.monotonic."""
    ages: list[float] = field(default_factory=list)
    """Seconds from the run's writing of its news to their arrival, one for each update but the first."""
    problem: str = ""
    ended: bool = False
    """Whether the server said that nothing more will come."""

    async def follow(self) -> None:
        """Read until cancelled, or until the server ends the stream."""
        try:
            path = f"/metalab/runs/{self.run_id}/events"
            async with _asked(self.port, path, self.cookies, "text/event-stream", "HTTP/1.1") as (reader, head):
                if _status(head) != 200:
                    raise OSError(f"the stream was refused: {head.splitlines()[0].decode()}")
                while not self.ended:
                    # Frames end with an empty line, and JSON holds no raw newline: chunks need not be taken apart.
                    self._take(await reader.readuntil(b"\n\n"))
        except (OSError, EOFError) as problem:
            self.problem = str(problem) or type(problem).__name__

    def _take(self, frame: bytes) -> None:
        place = frame.find(b'"updated":')
        if place < 0:  # a heartbeat, or the end
            self.ended = b"event: end" in frame
            return
        written = float(frame[place + 10 : frame.index(b",", place)])
        if self.arrivals:
            self.ages.append(time.time() - written)
        self.arrivals.append(time.monotonic())
