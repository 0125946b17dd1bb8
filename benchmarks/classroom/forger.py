"""A tab that sends what no browser of ours would: forged messages, forged values of every widget, raw requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from classroom.http import HOST, get
from classroom.tab import Tab

NASTY: tuple[Any, ...] = (
    *(None, True, 10**18, -1, 1e300, float("nan"), float("inf"), "", "x" * 10_000, "../../etc/passwd", "<script>"),
    *([], [[1, 2, 3]], [[float("nan"), 0.0]], {"points": "many"}, [[0.5, 0.5]] * 2_000, {"a": {"b": {"c": []}}}),
)
FIELDS: Mapping[str, tuple[Any, ...]] = {
    "string_value": ("", "x" * 100_000, "../../etc/passwd", "<script>alert(1)</script>", "\x00"),
    "double_value": (float("nan"), float("inf"), 1e308, -1.0),
    "int_value": (-1, 2**62),
    "bool_value": (True,),
    "trigger_value": (True,),
    "json_value": ("", "[", "[" * 5_000, "null", "NaN", '{"selection": {"rows": [-1, 1000000000]}}'),
}
LISTS: Mapping[str, tuple[Any, ...]] = {
    "double_array_value": ([], [float("nan")], [1e308, -1e308], [1e9] * 100),
    "string_array_value": ([], ["x"], ["../../etc/passwd"] * 1_000),
    "int_array_value": ([], [-1], [2**31] * 1_000),
}

MOST_THROWN = 20_000


async def visitor(port: int) -> dict[str, str]:
    """The cookies of a new visitor. Raises OSError where the server takes none."""
    answer = await get(port, "/", accept="text/html")
    if answer.status != 200:
        raise OSError(f"no new visitor was taken: {answer.status}")
    return answer.cookies


def made_up() -> dict[str, str]:
    """Cookies that no server gave."""
    return {"metalab_user": secrets.token_urlsafe(32)}


class Forger(Tab):
    """A tab that knows the ids of all widgets of its page, and sends bytes as they are."""

    def __init__(self, port: int, visitor: dict[str, str] | None = None) -> None:
        super().__init__(port, visitor or made_up())
        self.ids: dict[str, str] = {}
        """Of every widget on the page, to its kind."""
        self.largest = 0
        """Bytes of the largest message that came."""

    def _take(self, packet: bytes) -> None:
        super()._take(packet)
        self.largest = max(self.largest, len(packet))

    def _draw(self, delta: Delta) -> None:
        super()._draw(delta)
        if delta.WhichOneof("type") == "new_element":
            kind = delta.new_element.WhichOneof("type")
            widget = getattr(getattr(delta.new_element, kind), "id", "") if kind else ""
            if widget:
                self.ids[widget] = kind or ""

    async def throw(self, data: bytes | str) -> None:
        """Send a frame. Raises ConnectionClosed where the server hung up."""
        assert self._socket is not None
        await self._socket.send(data)

    async def throw_message(self, **kind: Any) -> None:
        """Send a message of this kind."""
        await self.throw(BackMsg(**kind).SerializeToString())

    async def rush(self, page: str, times: int) -> None:
        """Open a websocket without a page, ask it for one so often, and wait for nothing. Raises OSError."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self._socket = await connect(
            f"ws://{HOST}:{self.port}/_stcore/stream",
            additional_headers={"Cookie": cookies},
            subprotocols=[Subprotocol("streamlit"), Subprotocol("PLACEHOLDER_AUTH_TOKEN")],
            open_timeout=20,
        )
        for number in range(times):
            await self.throw_message(rerun_script={"page_name": page, "query_string": f"seed={number}"})
        await asyncio.sleep(0.1)

    async def hang_up(self) -> None:
        """End the connection without a word."""
        if self._socket is not None:
            self._socket.transport.abort()
        with contextlib.suppress(Exception):
            await self.close()

    async def forge(self, states: list[WidgetState]) -> bool:
        """A rerun with these states; whether the page was drawn to its end."""
        message = BackMsg()
        message.rerun_script.query_string, message.rerun_script.page_script_hash = self._query, self._page
        message.rerun_script.widget_states.widgets.extend(states)
        done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault("", []).append(done)
        await self.throw(message.SerializeToString())
        with contextlib.suppress(TimeoutError, EOFError):
            await asyncio.wait_for(done, 20)
            return True
        return False

    @property
    def open_(self) -> bool:
        """Whether the server has not hung up."""
        return not any("closed" in error for error in self.errors)


def forged(ids: Mapping[str, str], turn: int) -> list[WidgetState]:
    """Each widget in a state that is none of its own; `turn` chooses which. Nothing is started."""
    states = []
    kinds = [*FIELDS.items(), *LISTS.items()]
    for place, (widget, kind) in enumerate(ids.items()):
        if "start" in widget:
            continue
        state = WidgetState(id=widget)
        if kind == "bidi_component":
            value = NASTY[(turn + place) % len(NASTY)]
            parts = ("points", "drawings", "dials", "lab", "pick", "player", "command")
            inner = {"revision": 1, "seq": turn, "points": value, "support": value, "values": {"rate": value}}
            state.json_value = json.dumps(dict.fromkeys(parts, inner | {"name": "stop", "run": value, "step": value}))
        else:
            name, choices = kinds[(turn + place) % len(kinds)]
            value = choices[turn % len(choices)]
            if name in LISTS:
                getattr(state, name).data.extend(value)
            else:
                setattr(state, name, value)
        states.append(state)
    return states


async def ask(
    port: int,
    target: str,
    *,
    method: str = "GET",
    body: bytes = b"",
    wait: float = 10,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """The status and the body of the answer to a raw request; 0 where there was none."""
    lines = [f"{method} {target} HTTP/1.0", f"Content-Length: {len(body)}"]
    given = {"Host": f"{HOST}:{port}", **(headers or {})}
    lines += [f"{name}: {value}" for name, value in given.items()]
    with contextlib.suppress(OSError, TimeoutError, EOFError):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            answer = await asyncio.wait_for(reader.read(-1), wait)
        finally:
            writer.close()
        head, _, content = answer.partition(b"\r\n\r\n")
        if head:
            return int(head.split(b" ", 2)[1]), content
    return 0, b""


async def hold(port: int, target: str, visitor: Mapping[str, str]) -> tuple[int, asyncio.StreamWriter | None]:
    """Ask for a stream and read nothing but its status; the connection stays open."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port, limit=1024)
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.items())
        lines = [f"GET {target} HTTP/1.1", f"Host: {HOST}:{port}", f"Cookie: {cookie}", "", ""]
        writer.write("\r\n".join(lines).encode())
        status = int((await asyncio.wait_for(reader.readline(), 20)).split(b" ")[1])
    except (OSError, TimeoutError, IndexError):
        return 0, None
    return status, writer


async def flood(tab: Forger, seconds: float, **kind: Any) -> int:
    """Send one message again and again, MOST_THROWN times at most; how many left."""
    sent, data = 0, BackMsg(**kind).SerializeToString()
    with contextlib.suppress(ConnectionClosed, TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                if sent < MOST_THROWN:
                    await tab.throw(data)
                    sent += 1
                if sent % 100 == 0:  # buffers take much before they make anybody wait
                    await asyncio.sleep(0.01)
    return sent
