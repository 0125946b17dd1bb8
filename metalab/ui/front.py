"""Streamlit's own scripts and styles out of memory, compressed once.

A browser that opens its first page asks for some sixty of them. Streamlit reads each from disk through a pool of
threads and sends it as it is: with a class that joins at once, seconds of the processor and megabytes of the network.
Their names carry a hash of what they hold, so that a browser asks once.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

KINDS = {".js": b"text/javascript; charset=utf-8", ".css": b"text/css; charset=utf-8"}
_NAMED = re.compile(r'"\./(static/[^"]+)"')


class FrontMiddleware:
    """Answers requests for the front end's scripts and styles (pure ASGI); everything else goes on."""

    def __init__(self, app: ASGIApp, base_path: str = "") -> None:
        self.app = app
        self._base = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(self._base) if scope["type"] == "http" else ""
        if path not in files() or scope["method"] != "GET" or not _plain(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        body = packed(path) if path in _ready else await asyncio.to_thread(packed, path)
        headers = [
            (b"content-type", KINDS[files()[path].suffix]),
            (b"content-encoding", b"gzip"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"public, max-age=31536000, immutable"),
            (b"vary", b"Accept-Encoding"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


_ready: set[str] = set()
"""Paths that are compressed already."""


@cache
def files() -> dict[str, Path]:
    """The scripts and styles below Streamlit's /static/, by the path of their addresses: nothing else is ever read."""
    folder = _folder()
    found = (path for path in (folder / "static").rglob("*") if path.suffix in KINDS)
    return {f"/{path.relative_to(folder).as_posix()}": path for path in found}


@cache
def packed(path: str) -> bytes:
    """A file of `files()`, compressed."""
    body = gzip.compress(files()[path].read_bytes(), compresslevel=6, mtime=0)
    _ready.add(path)
    return body


def pack_first(also: Iterable[str] = ()) -> None:
    """Compress what every page begins with, and `also` these of `files()`, before anybody asks."""
    for path in (*named_by_streamlit(), *also):
        packed(path)


def named_by_streamlit() -> list[str]:
    """Those of `files()` that the head of Streamlit's page names."""
    named = _NAMED.findall((_folder() / "index.html").read_text(encoding="utf-8"))
    return [f"/{name}" for name in named if f"/{name}" in files()]


def _plain(headers: Headers) -> bool:
    """Whether the request is one of a browser that opens a page: it takes gzip and wants the whole file."""
    return "gzip" in headers.get("accept-encoding", "") and "range" not in headers


def _folder() -> Path:
    import streamlit

    return Path(streamlit.__file__).parent / "static"
