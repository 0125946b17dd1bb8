"""A browser's tab without the browser: the page, Streamlit's websocket and the state of its widgets.

Speaks what Streamlit's own front end speaks (ForwardMsg and BackMsg of streamlit.proto), with its cache of large
messages and the reruns that fragments ask for by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from classroom.http import HOST, get

PATIENCE = 60.0
_ASSETS = re.compile(rb'(?:src|href)="\./(static/[^"]+\.(?:js|css))"')
_WHOLE = ""
"""Stands for a run of the whole script where others are told by their fragment."""


@dataclass
class Widget:
    """What stands on the page and can be answered."""

    id: str
    fragment: str
    """Of the run that drew it; empty for the whole script."""
    data: Any = None
    """A component's, as it came: JSON text."""


@dataclass
class Tab:
    """One visitor's tab. `errors` holds whatever a person would have seen go wrong."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    received: int = 0
    """Bytes over the websocket."""
    widgets: dict[str, Widget] = field(default_factory=dict)
    """By the key that the page gave them."""
    patience: float = PATIENCE
    """Seconds for an answer."""
    _path: str = ""
    _query: str = ""
    _page: str = ""
    _socket: ClientConnection | None = None
    _reader: asyncio.Task[None] | None = None
    _cached: dict[str, bytes] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _waiting: dict[str, list[asyncio.Future[float]]] = field(default_factory=dict)
    _repeating: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _states: dict[str, WidgetState] = field(default_factory=dict)

    async def open(self, page: str, query: dict[str, Any] | None = None, *, assets: bool = False) -> float:
        """Load a page, with its scripts and styles where `assets`; seconds until it is all there."""
        began = time.monotonic()
        self._path, self._query = page, urlencode(query or {})
        html = await get(self.port, f"/{page}?{self._query}", self.cookies, "text/html")
        self.cookies |= html.cookies
        addresses = ["/_stcore/health", "/_stcore/host-config"]
        if assets:
            addresses += [f"/{found.decode()}" for found in _ASSETS.findall(html.body)] + ["/metalab/plotly.js"]
        for address in addresses:
            answer = await get(self.port, address, self.cookies)
            if answer.status != 200:
                self.errors.append(f"{address}: {answer.status}")
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self._socket = await connect(
            f"ws://{HOST}:{self.port}/_stcore/stream",
            additional_headers={"Cookie": cookies, "Accept-Language": "en"},
            origin=f"http://{HOST}:{self.port}",  # type: ignore[arg-type]
            subprotocols=[Subprotocol("streamlit"), Subprotocol("PLACEHOLDER_AUTH_TOKEN")],
            compression=None,
            max_size=None,
            open_timeout=self.patience,
            ping_interval=None,  # browsers send none
        )
        self._reader = asyncio.create_task(self._read(self._socket))
        await self.rerun()
        return time.monotonic() - began

    async def close(self, *, rude: bool = False) -> None:
        """Close the tab; where `rude`, as a browser that crashed: the connection ends and no word is said."""
        for task in [*self._repeating.values(), *([self._reader] if self._reader else [])]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._socket is not None:
            if rude:
                self._socket.transport.abort()
            await self._socket.close()

    async def press(self, key: str) -> float:
        """Press a button; seconds until the page has answered in full."""
        return await self._answer(key, lambda state: setattr(state, "trigger_value", True), lasting=False)

    async def send(self, key: str, value: dict[str, Any]) -> float:
        """Set a component's state; seconds until the page has answered in full."""
        return await self._answer(key, lambda state: setattr(state, "json_value", json.dumps(value)), lasting=True)

    async def _answer(self, key: str, fill: Any, *, lasting: bool) -> float:
        widget = self.widgets[key]
        state = WidgetState(id=widget.id)
        fill(state)
        if lasting:
            self._states[widget.id] = state
            return await self.rerun(widget.fragment)
        return await self.rerun(widget.fragment, state)

    async def rerun(self, fragment: str = _WHOLE, *triggers: WidgetState) -> float:
        """Ask for a run of the script, or of one fragment; seconds until it has finished. Raises TimeoutError."""
        done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        self._waiting.setdefault(fragment, []).append(done)
        await self._ask(fragment, triggers)
        return await asyncio.wait_for(done, self.patience) - began

    async def _ask(self, fragment: str, triggers: tuple[WidgetState, ...] = (), *, by_itself: bool = False) -> None:
        message = BackMsg()
        asked = message.rerun_script
        asked.query_string, asked.fragment_id = self._query, fragment
        asked.page_script_hash, asked.page_name = self._page, "" if self._page else self._path
        asked.is_auto_rerun = by_itself
        asked.cached_message_hashes.extend(self._cached)
        asked.widget_states.widgets.extend([*self._states.values(), *triggers])
        asked.context_info.url = f"http://{HOST}:{self.port}/{self._path}"
        asked.context_info.locale, asked.context_info.timezone = "en-US", "UTC"
        asked.context_info.color_scheme = "light"
        assert self._socket is not None
        await self._socket.send(message.SerializeToString())

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                packet = await socket.recv(decode=False)
                self.received += len(packet)
                self._take(packet)
        except ConnectionClosed as problem:
            self.errors.append(f"the websocket closed: {problem}")
            for done in itertools.chain(*self._waiting.values()):
                if not done.done():
                    done.set_exception(EOFError("the websocket closed"))

    def _take(self, packet: bytes) -> None:
        message = ForwardMsg.FromString(packet)
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            message = ForwardMsg.FromString(self._cached[message.ref_hash])
            kind = message.WhichOneof("type")
        elif message.metadata.cacheable:
            self._cached[message.hash] = packet
        if kind == "delta":
            self._draw(message.delta)
        elif kind == "new_session":
            self._running = set(message.metadata.run.fragment_ids) or {_WHOLE}
            if _WHOLE in self._running:
                self._stop_repeating()
        elif kind == "script_finished":
            self._finished(message.script_finished)
        elif kind == "navigation":
            self._page = message.navigation.page_script_hash
        elif kind == "page_info_changed":
            self._query = message.page_info_changed.query_string
        elif kind == "auto_rerun":
            again = self._repeat(message.auto_rerun.fragment_id, message.auto_rerun.interval)
            self._repeating[message.auto_rerun.fragment_id] = asyncio.create_task(again)

    def _draw(self, delta: Delta) -> None:
        if delta.WhichOneof("type") != "new_element":
            return
        element = delta.new_element
        kind = element.WhichOneof("type")
        if kind == "exception":
            self.errors.append(element.exception.message)
        elif kind == "alert" and element.alert.format == Alert.ERROR:
            self.errors.append(element.alert.body)
        elif kind == "button":
            self._keep(element.button.id, delta.fragment_id)
        elif kind == "bidi_component":
            self._keep(element.bidi_component.id, delta.fragment_id, element.bidi_component.json)

    def _keep(self, widget: str, fragment: str, data: Any = None) -> None:
        self.widgets[widget.split("-", 2)[-1]] = Widget(widget, fragment, data)

    def _finished(self, status: ForwardMsg.ScriptFinishedStatus.ValueType) -> None:
        if status == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            return
        if status == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
            self.errors.append("the page's script does not compile")
        now = time.monotonic()
        for fragment in self._running:
            for done in self._waiting.pop(fragment, []):
                if not done.done():
                    done.set_result(now)

    async def _repeat(self, fragment: str, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self._ask(fragment, by_itself=True)

    def _stop_repeating(self) -> None:
        for task in self._repeating.values():
            task.cancel()
        self._repeating.clear()
