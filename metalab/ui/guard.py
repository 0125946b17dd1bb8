"""What a browser may send over Streamlit's websocket and to its upload address, before Streamlit sees it.

Streamlit trusts whoever is connected: any client may empty the caches of the whole server, ask for reruns without
end, or put files into its memory. And to judge a foreign origin it asks the internet for its own address, during
which the whole server waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg

from metalab.log import tell
from metalab.ui.identity import address_of, user_of
from metalab.ui.visitors import TooManyNewcomers, guestbook

STREAM = "/_stcore/stream"
UPLOADS = "/_stcore/upload_file/"
ANSWERED = frozenset({"rerun_script", "stop_script", "app_heartbeat", "backend_operation_request"})
"""The kinds of messages that pages need; the others empty caches, ask for git or switch on what developers use."""
OPERATIONS = frozenset({"deferred_file", "dataframe_chunk"})
"""Of the operations, those that only read what belongs to the session."""
MESSAGES_PER_SECOND = 10.0
"""Of one user, lasting; what comes faster waits in its sender's connection."""
MESSAGES_AT_ONCE = 30
HURRY_SECONDS = 0.002
MOST_HURRIED = 40
"""Messages in a row that were late and there before they were asked for: no page of ours sends so, it is cut off."""
TABS_PER_USER = 10
TABS_IN_TOTAL = 1_000
POLICY_VIOLATION, TRY_LATER, UNSUPPORTED = 1008, 1013, 1003
WHY = {POLICY_VIOLATION: "another site's page", TRY_LATER: "too many tabs"}
"""Why a tab is refused, for the log."""


class GuardMiddleware:
    """Refuses foreign origins, too many tabs, and what no page of ours sends (pure ASGI, no buffering)."""

    def __init__(self, app: ASGIApp, base_path: str = "") -> None:
        self.app = app
        self._stream, self._uploads = base_path + STREAM, base_path + UPLOADS
        self._tabs: Counter[str] = Counter()
        self._paces: dict[str, Pace] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == self._stream:
            await self._tab(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(self._uploads):
            tell("refused", person=user_of(HTTPConnection(scope)), what="upload", why="no page takes files")
            refusal = JSONResponse({"error": "MetaLab takes no uploads."}, status_code=403)
            await refusal(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _tab(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HTTPConnection(scope)
        user = user_of(request)
        refused = 0
        if not own_origin(request):
            refused = POLICY_VIOLATION
        elif self._tabs[user] >= TABS_PER_USER or self._tabs.total() >= TABS_IN_TOTAL:
            refused = TRY_LATER
        if refused:
            tell("refused", person=user, what="websocket", why=WHY[refused])
        elif not _welcome(request):
            refused = TRY_LATER
        if refused:
            await receive()  # the request to connect
            await send({"type": "websocket.close", "code": refused})
            return
        self._tabs[user] += 1
        sieve = Sieve(receive, self._paces.setdefault(user, Pace()))
        try:
            await self.app(scope, sieve, send)
            if sieve.ended:
                with suppress(RuntimeError, OSError):  # it may be closed already
                    await send({"type": "websocket.close", "code": sieve.ended})
        finally:
            self._tabs[user] -= 1
            if not self._tabs[user]:
                del self._tabs[user], self._paces[user]


class Pace:
    """How fast the messages of one user's tabs may come, taken together."""

    def __init__(self) -> None:
        self._room = float(MESSAGES_AT_ONCE)
        self._seen = time.monotonic()
        self._hurried = 0

    async def keep(self, waited: float) -> bool:
        """Wait until there is room for a message that came `waited` seconds after it was asked for.

        False where its sender does nothing but send.
        """
        now = time.monotonic()
        self._room = min(self._room + (now - self._seen) * MESSAGES_PER_SECOND, MESSAGES_AT_ONCE) - 1
        self._seen = now
        late = self._room < 0
        self._hurried = self._hurried + 1 if late and waited < HURRY_SECONDS else 0
        if self._hurried > MOST_HURRIED:
            return False
        if late:
            await asyncio.sleep(-self._room / MESSAGES_PER_SECOND)
        return True


class Sieve:
    """One tab's messages: those that pages need, at a pace that leaves room for others."""

    def __init__(self, receive: Receive, pace: Pace) -> None:
        self._receive, self._pace = receive, pace
        self.ended = 0
        """With which code the connection is to be closed; 0 while it may go on."""

    async def __call__(self) -> Message:
        """The next message that Streamlit may see."""
        while True:
            asked = time.monotonic()
            message = await self._receive()
            if message["type"] != "websocket.receive":
                return message
            if not await self._pace.keep(time.monotonic() - asked):
                self.ended = POLICY_VIOLATION
            elif message.get("bytes") is None:
                self.ended = UNSUPPORTED
            elif needed(message["bytes"]):
                return message
            if self.ended:
                return {"type": "websocket.disconnect", "code": self.ended}


def needed(data: bytes) -> bool:
    """Whether a page of ours may have sent this; what is no message at all is left to Streamlit to refuse."""
    try:
        message = BackMsg.FromString(data)
    except DecodeError:
        return True
    kind = message.WhichOneof("type")
    if kind == "backend_operation_request":
        kind = message.backend_operation_request.WhichOneof("payload")
        known = kind in OPERATIONS
    else:
        known = kind in ANSWERED
    if not known:
        tell("refused", what="message", why=f"no page of ours sends {kind}")
    return known


def _welcome(request: HTTPConnection) -> bool:
    """Whether a tab may be opened: each without a cookie of ours is a visitor of its own, and counts as a new one."""
    try:
        if guestbook().token(request.cookies) is None:
            guestbook().welcome(address_of(request))
    except TooManyNewcomers:
        return False
    return True


def own_origin(request: HTTPConnection) -> bool:
    """Whether a websocket is opened by our own page, by a program, or by an origin that the server's settings name."""
    origin = request.headers.get("origin")
    if origin is None:
        return True
    try:
        asked = urlsplit(origin)
    except ValueError:
        return False
    return asked.netloc == request.headers.get("host") or asked.hostname in _named_hosts()


def _named_hosts() -> set[str | None]:
    from streamlit import config

    origins = config.get_option("server.corsAllowedOrigins") or []
    hosts = {urlsplit(origin if "//" in origin else f"//{origin}").hostname for origin in origins}
    if config.is_manually_set("browser.serverAddress"):
        hosts.add(config.get_option("browser.serverAddress"))
    return hosts - {None}
