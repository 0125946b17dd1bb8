"""What app.py puts around the pages: HTTP routes, middleware, the start-up work and the last word on errors."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from starlette.middleware import Middleware
from starlette.routing import Route

from metalab import log, places
from metalab.allocator import keep_freed_memory
from metalab.places import PlaceError
from metalab.store import StoreError, people
from metalab.training.quotas import from_environment
from metalab.ui import front, head, runs, teacher, visitors
from metalab.ui import routes as http
from metalab.ui.door import Door
from metalab.ui.front import FrontMiddleware
from metalab.ui.guard import GuardMiddleware
from metalab.ui.head import HeadMiddleware
from metalab.ui.identity import IdentityMiddleware, listens_beyond_loopback, short_id
from metalab.ui.stream import Hub

MAIN_SCRIPT = Path(__file__).with_name("main.py").resolve()
HUB = Hub()
TURN_SECONDS = 2.5e-4
"""How long a thread that computes in Python may keep the others waiting; with Python's own 5 ms and ten pages that are
drawn at once, whoever answers requests would have each of its many turns after 50 ms. A trainer, too, has a turn
between any two of its calls: beside thirty people who move sliders it keeps 54% of its rate, and 51% with 1 ms."""
HANDLES = 8_192
"""Files and sockets that the server may have open at once, where the system lets it."""

_LOG = logging.getLogger(__name__)


def routes() -> list[Route]:
    """The routes below /metalab/, fed by this server's hub."""
    return http.routes(HUB, http.base_path())


def middleware() -> list[Middleware]:
    """The middleware around every request."""
    base_path = http.base_path()
    return [
        Middleware(FrontMiddleware, base_path=base_path),
        Middleware(HeadMiddleware, base_path=base_path),
        Middleware(GuardMiddleware, base_path=base_path),
        Middleware(IdentityMiddleware),
    ]


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Warm up beside the first page, and end the live streams when the server is told to stop.

    Raises TokenError where the teacher's token cannot be used, ConfigError where a limit cannot be read, KeyFileError
    where the home's secret is damaged.
    """
    _open_desk()
    _open_guestbook()
    Door(_allow_handles()).watch(asyncio.get_running_loop())
    keep_freed_memory()
    sys.setswitchinterval(TURN_SECONDS)
    threading.Thread(target=_warm_up, name="metalab-warm-up", daemon=True).start()
    with StreamsEndOnSignal(HUB):
        yield


def on_script_error(error: Exception) -> bool:
    """Show one friendly line for a page's uncaught error; Streamlit has already logged the traceback."""
    import streamlit as st

    from metalab.ui.i18n import _
    from metalab.ui.links import escape

    said = _("Something went wrong on this page. Reload it; if it happens again, tell whoever runs this server.")
    if isinstance(error, StoreError | PlaceError):
        said = escape(str(error))
    st.error(said, icon=":material/error:")
    return True


def _open_desk() -> None:
    """Read the limits and the teacher's token, and log where the server listens and whether anybody is in charge."""
    from streamlit import config

    log.to_stderr()
    _one_log()
    HUB.limits = from_environment(os.environ)
    files = [Path(path) for path in config.get_option("secrets.files")]
    desk = teacher.open_desk(teacher.read_token(os.environ, files))
    beyond = listens_beyond_loopback()
    log.tell(
        "listening",
        address=config.get_option("server.address") or "every address of this machine",
        port=config.get_option("server.port"),
        beyond_loopback=beyond,
        teacher_token=desk.guarded,
        says=teacher.NONE_SET if beyond and not desk.guarded else "",
    )


def _one_log() -> None:
    """Have Streamlit and the web server log as we do: a traceback of theirs may hold what somebody typed."""
    from streamlit import logger as streamlits

    handler = log.handler(sys.stderr)

    def join(logger: logging.Logger) -> None:
        logger.handlers = [handler] if logger.name != "uvicorn.access" else []  # a line for each request: left out

    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # else two lines for each tab that is opened
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(handler)  # whatever the others say

    streamlits.setup_formatter = join  # called for each logger that is still to be made
    streamlits.update_formatter()


def _open_guestbook() -> None:
    """Sign cookies with the home's secret. Where it can be neither read nor made they hold until the server ends."""

    def known(token: str) -> bool:
        return people.has_runs(runs.store(), short_id("cookie", token))

    try:
        key = visitors.read_key(places.home_folder())
    except PlaceError as problem:
        _LOG.warning("%s: until then visitors are known until the server ends only.", problem)
        key = os.urandom(visitors.KEY_BYTES)
    visitors.open_guestbook(key, HUB.limits, known)


def _allow_handles() -> int:
    """Let this process hold a connection of each allowed stream and tab; many systems begin with 1,024 handles.

    Returns how many it may have.
    """
    if sys.platform == "win32":
        return HANDLES
    import resource

    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HANDLES if most == resource.RLIM_INFINITY else min(HANDLES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        return wanted
    return HANDLES if now == resource.RLIM_INFINITY else now


def _warm_up() -> None:
    """Connect the training service, and pay for first times (torch, a gradient, plotly.js) before the first click."""
    for work in (_connect, _pack_first, http.pack_plotly_js, _train_a_little, _draw_characters, _read_pages):
        _try(work)
    gc.collect()
    gc.freeze()  # what was imported so far never dies: no collection needs to look at it again
    _try(_look_ahead)


def _try(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:
        _LOG.exception("Warming up failed; the first action will be slower.")


def _pack_first() -> None:
    front.pack_first(head.elements())


def _connect() -> None:
    """Open the store and start the service; from then on the live streams have runs to follow."""
    from metalab.training.service import service
    from metalab.training.updates import Updates

    serving = service()
    HUB.connect(Updates(serving.store, serving))


def _train_a_little() -> None:
    """Two outer steps on sine waves, thrown away."""
    import torch

    from metalab.training.config import parse_config
    from metalab.training.trainer import train

    torch.set_num_threads(1)  # of this thread's work
    for _event in train(parse_config({"outer_steps": 2, "evaluation_tasks": 2}), threads=1):
        pass


def _draw_characters() -> None:
    """Read the invented characters, which the first server of a home draws: seconds that nobody need wait for."""
    from metalab.tasks.glyphs import Glyphs

    Glyphs().images("train")


def _read_pages() -> None:
    """Import what pages that study runs draw with, and pandas, which Streamlit imports for the first component."""
    import pandas  # noqa: F401

    from metalab.ui import decision, embeddings, order, sensitivity, speed, theta  # noqa: F401


def _look_ahead() -> None:
    from metalab.ui.ahead import look_ahead

    look_ahead()


class StreamsEndOnSignal:
    """Close the hub when SIGINT or SIGTERM arrives, then do what was going to be done.

    The web server stops only after its last response has ended, and a live stream ends only when it is told to.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._previous: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            previous = signal.getsignal(number)
            if not callable(previous):
                continue

            def handle(received: int, frame: FrameType | None, then: Callable[..., Any] = previous) -> None:
                loop.call_soon_threadsafe(self._hub.close)
                then(received, frame)

            self._previous[number] = previous
            signal.signal(number, handle)

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
