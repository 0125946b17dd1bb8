"""The HTTP routes that the app serves beside its pages: live streams, downloads, plotly.js, health.

Other origins' pages cannot read any of it: requests that a browser marks as cross-site are refused, and no
answer carries a CORS header.
"""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from metalab.log import tell
from metalab.takehome.charts import plotly_js, whole_plotly_js
from metalab.ui.health import health as how_it_does
from metalab.ui.identity import owners_of, user_of
from metalab.ui.stream import RUNS_PER_STREAM, Hub, TooManyStreams, Update, Viewer, split_cursors
from metalab.ui.tables import Tables, TooManyTables

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CURSOR_CHARACTERS = 1024
_NEVER_CACHED = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class EventStream(StreamingResponse):
    """A stream of server-sent events that gives its place back however it ends."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, viewer: Viewer, first: Sequence[Update]) -> None:
        super().__init__(hub.messages(viewer, first), headers={**_NEVER_CACHED, "X-Accel-Buffering": "no"})
        self._hub, self._viewer = hub, viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.leave(self._viewer)


def routes(hub: Hub, base_path: str = "") -> list[Route]:
    """Everything below /metalab/. `base_path` is Streamlit's server.baseUrlPath, such as "/lab"."""

    tables = Tables()

    async def events(request: Request) -> Response:
        return await _events(hub, request)

    async def metrics(request: Request) -> Response:
        return await _metrics(hub, tables, request)

    async def health(request: Request) -> Response:
        status, body = await how_it_does(hub.source.vitals if hub.source else None, hub.counts())
        return JSONResponse(body, status_code=status, headers=_NEVER_CACHED)

    return [
        Route(f"{base_path}/metalab/runs/{{run_ids}}/events", events),
        Route(f"{base_path}/metalab/runs/{{run_id}}/metrics.csv", metrics),
        Route(f"{base_path}/metalab/plotly-cartesian.js", partial(_plotly, pack_plotly_js)),
        Route(f"{base_path}/metalab/plotly.js", partial(_plotly, pack_whole_plotly_js)),
        Route(f"{base_path}/metalab/health", health),
    ]


def base_path() -> str:
    """Streamlit's server.baseUrlPath as the beginning of an address: "" or "/lab"."""
    from streamlit import config

    path = (config.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{path}" if path else ""


async def _events(hub: Hub, request: Request) -> Response:
    """Follow one run, or several with their ids joined by commas: browsers open few connections to a host."""
    run_ids = request.path_params["run_ids"].split(",")
    refused = _refused(hub, request, run_ids)
    if refused is not None:
        return refused
    place = request.headers.get("last-event-id") or request.query_params.get("cursor", "")
    if len(place) > _CURSOR_CHARACTERS:
        return _problem(400, f"The cursor has {len(place)} characters, at most {_CURSOR_CHARACTERS} are allowed.")
    try:
        cursors = split_cursors(place, len(run_ids))
    except ValueError as error:
        return _problem(400, f"{error}.")
    try:
        viewer = hub.join(run_ids, cursors, user_of(request), owners_of(request))
    except TooManyStreams as error:
        return _problem(429, str(error))
    try:
        return EventStream(hub, viewer, await hub.first(viewer))
    except BaseException as error:  # a cancelled request must give its place back too
        hub.leave(viewer)
        if isinstance(error, LookupError):
            return _problem(404, str(error))
        raise


async def _metrics(hub: Hub, tables: Tables, request: Request) -> Response:
    """All metrics of one run as a CSV file."""
    run_id = request.path_params["run_id"]
    refused = _refused(hub, request, [run_id])
    if refused is not None:
        return refused
    assert hub.source is not None
    headers = {**_NEVER_CACHED, "Content-Disposition": f'attachment; filename="metalab-{run_id}.csv"'}
    try:
        table = await tables.answer(hub.source, run_id, user_of(request), headers)
    except TooManyTables as error:
        return _problem(429, str(error))
    return table or _problem(404, f"There is no run {run_id!r}. It may have been deleted.")


async def _plotly(pack: Callable[[], tuple[bytes, bytes, str]], request: Request) -> Response:
    """plotly.js from this server, so that charts work offline; compressed once, then cached."""
    plain, packed, tag = await asyncio.to_thread(pack)
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "ETag": tag,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, media_type="text/javascript", headers={**headers, "Content-Encoding": "gzip"})
    return Response(plain, media_type="text/javascript", headers=headers)


@cache
def pack_plotly_js() -> tuple[bytes, bytes, str]:
    """What draws lines and maps, the same compressed, and its entity tag; made once."""
    return _packed(plotly_js())


@cache
def pack_whole_plotly_js() -> tuple[bytes, bytes, str]:
    """The whole of plotly.js, likewise."""
    return _packed(whole_plotly_js())


def _packed(text: str) -> tuple[bytes, bytes, str]:
    plain = text.encode()
    return plain, gzip.compress(plain, compresslevel=6, mtime=0), f'"{hashlib.sha256(plain).hexdigest()[:16]}"'


def _refused(hub: Hub, request: Request, run_ids: Sequence[str]) -> Response | None:
    """The answer to a request that may not be served, or None."""
    if not _same_origin(request):
        tell("refused", person=user_of(request), what=request.url.path, why="another site's page")
        return _problem(403, "Only MetaLab's own pages may read this address.")
    if not 1 <= len(run_ids) <= RUNS_PER_STREAM:
        return _problem(400, f"The address names {len(run_ids)} runs, expected 1 to {RUNS_PER_STREAM}.")
    if len(set(run_ids)) != len(run_ids):
        return _problem(400, "The address names a run twice.")
    for run_id in run_ids:
        if not _RUN_ID.fullmatch(run_id):
            return _problem(404, f"{run_id[:64]!r} is not a run's id: expected up to 64 letters, digits, - and _.")
    if not hub.connected:
        return _problem(503, "The training service is still starting. Try again in a few seconds.")
    return None


def _same_origin(request: Request) -> bool:
    """Whether the request comes from our own pages, an address bar or a program, not from another site's page."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _problem(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status_code=status, headers=_NEVER_CACHED)
