"""The head of a page: it names what the page will need, so that the browser has it by then.

A browser hears of the scripts that draw a page's elements only when the first such element has come over the
websocket, and of the chart library when the first chart has; each time the page stands still. Named in the head they
are fetched and compiled while Streamlit itself begins. And where the server is, the browser need not find out by asking
below the page's own address first, which is answered 404 on every page but Home.
"""

from __future__ import annotations

import json
import re
from functools import cache

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metalab.ui.canvas.bridge import asset
from metalab.ui.front import files, named_by_streamlit
from metalab.ui.live import plotly_address

ELEMENTS = (
    *("BidiComponent", "Button", "ButtonGroup", "Checkbox", "Html", "Multiselect", "Progress", "Selectbox", "Slider"),
    "rehype-katex",
)
"""Streamlit's scripts for what pages begin with; each imports others."""
CHARTS = frozenset({"adapt", "decision", "embeddings", "lab", "order", "sensitivity", "speed", "theta"})
"""Pages that begin with a chart."""
MOST = 1 << 20
"""Bytes of a page; Streamlit's has a few thousand."""
_END = b"</head>"
_IMPORTED = re.compile(r'(?:from|import)\s*"\./([^"/]+\.js)"')


class HeadMiddleware:
    """Adds to the head of each page (pure ASGI); everything else passes as it is."""

    def __init__(self, app: ASGIApp, base_path: str = "") -> None:
        self.app = app
        self._base = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks_for_page = scope["type"] == "http" and scope["method"] == "GET"
        if not asks_for_page or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self.app(scope, receive, send)
            return
        name = scope["path"].removeprefix(self._base).strip("/")
        # Streamlit would compress it before it can be added to.
        headers = [(key, value) for key, value in scope["headers"] if key != b"accept-encoding"]
        await self.app({**scope, "headers": headers}, receive, _Page(send, named(self._base, chart=name in CHARTS)))


class _Page:
    """Sends an answer on; a page with `more` in its head."""

    def __init__(self, send: Send, more: bytes) -> None:
        self._send, self._more = send, more
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_page(message):
            self._start = message
        elif self._start is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish(self._start)
        else:
            await self._send(message)

    async def _finish(self, start: Message) -> None:
        body = self._body.replace(_END, self._more + _END, 1)
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-length"] = str(len(body))
        for name in ("etag", "last-modified"):  # they are those of the page without
            if name in headers:
                del headers[name]
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})


def _is_page(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    plain = "content-encoding" not in headers and 0 < int(headers.get("content-length", 0)) <= MOST
    return start["status"] == 200 and plain and headers.get("content-type", "").startswith("text/html")


@cache
def named(base_path: str, chart: bool) -> bytes:
    """The tags: where the server is, the chart library where a page begins with a `chart`, the elements' scripts."""
    given = json.dumps([f"{base_path}/", plotly_address() if chart else None])
    begin = re.sub(r"(?m)^\s*//.*$\n?", "", asset("head.js")).strip()
    tags = [f"<script>({begin})(...{given})</script>"]
    tags += [f'<link rel="modulepreload" crossorigin href=".{path}">' for path in elements()]
    return "".join(tags).encode()


@cache
def elements() -> tuple[str, ...]:
    """Paths of the elements' scripts and all that they import, less what Streamlit's own head names."""
    paths = {file.name: path for path, file in files().items()}
    waiting = [name for name in paths if name.endswith(".js") and name.partition(".")[0] in ELEMENTS]
    found = {path.rpartition("/")[2] for path in named_by_streamlit()}
    besides = []
    while waiting:
        name = waiting.pop()
        if name in paths and name not in found:
            found.add(name)
            besides.append(paths[name])
            waiting += _IMPORTED.findall(files()[paths[name]].read_text(encoding="utf-8"))
    return tuple(sorted(besides))
