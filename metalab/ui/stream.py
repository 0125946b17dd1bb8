"""Live runs over HTTP: server-sent events that the browser's live panel reads without any script rerun.

Each followed run has ONE reader, whatever the number of its viewers: it asks the source for what is new, at most
ten times a second (less often for very many viewers), encodes it once and hands the same bytes to every viewer.
Those who join at about the same time share one history, too. A viewer that reads too slowly
loses the updates it has no room for and is sent the whole history again instead, so no point is ever missing.

Updates overlap where a viewer joins: readers drop the steps of a metric that they already have.
"""

import asyncio
import json
import logging
import math
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote

from metalab.log import tell
from metalab.training.quotas import Limits

if TYPE_CHECKING:
    from metalab.training.jobs import Vitals

UPDATES_PER_SECOND = 10
"""A little more often than a run of small tasks writes: a slower reader would find what has waited for it."""
MESSAGES_PER_SECOND = 300
"""Of one run to all its viewers: each takes processor time from the training."""
LONGEST_PAUSE = 0.7
"""Seconds between two updates, however many watch: nobody makes others wait by watching a thousand times."""
HISTORY_SECONDS = 2.0
"""How old a history may be that a viewer who joins is given, with what it lacks."""
HEARTBEAT_SECONDS = 15.0
RUNS_PER_STREAM = 6
INBOX_MESSAGES = 32
FINAL_STATES = frozenset({"finished", "stopped", "failed", "interrupted"})

_LOG = logging.getLogger(__name__)
_WAIT_SECONDS = 0.5
_WAITING_THREADS = 64
_READING_THREADS = 4


class Source(Protocol):
    """Where the streams get their runs from. Called from threads, so it must be thread-safe."""

    def updates(self, run_id: str, cursor: str | None, owners: Collection[str]) -> dict[str, Any] | None:
        """What happened after `cursor` (None: the whole history, downsampled); None if there is no such run.

        The dict has the keys cursor, run, metrics, evaluations, probe and notes. `"full": True` says that it
        replaces everything sent before (the run was reset). `run["mine"]` and `run["controllable"]` are
        of a viewer who owns runs under the names `owners`; for all viewers at once there is none and the two are
        left out.
        """

    def wait(self, run_id: str, cursor: str | None, timeout: float) -> None:
        """Return when something may have changed after `cursor`, at the latest after `timeout` seconds."""

    def csv(self, run_id: str) -> str | None:
        """All metrics of a run as CSV text; None if there is no such run."""

    def vitals(self) -> "Vitals":
        """How the training behind it does."""


class TooManyStreams(Exception):
    """A limit on open streams was reached; its text says which and what to do."""


@dataclass(frozen=True)
class Update:
    """One update of one run, encoded."""

    run_id: str
    cursor: str
    status: bytes
    """What stands under "run": the only part that may differ between viewers."""
    rest: bytes
    """The other keys and the closing brace."""
    final: bool
    full: bool = False
    """Whether it replaces everything that was sent before."""


@dataclass(eq=False)
class Viewer:
    """One open stream: the runs it follows, how far it has read, and what waits to be sent."""

    run_ids: tuple[str, ...]
    user: str
    owners: frozenset[str]
    cursors: dict[str, str | None]
    inbox: deque[Update] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    behind: bool = False

    def push(self, update: Update) -> None:
        """Queue an update; if there is no room, forget the queue and ask for the whole history instead."""
        if len(self.inbox) >= INBOX_MESSAGES:
            self.inbox.clear()
            self.behind = True
        if not self.behind:
            self.inbox.append(update)
        self.wake.set()

    def frame(self, update: Update) -> bytes:
        """The update as a server-sent event whose id is this viewer's place in all of its runs."""
        self.cursors[update.run_id] = update.cursor
        place = join_cursors([self.cursors[run_id] for run_id in self.run_ids])
        return b"".join((b"id: ", place.encode(), b'\ndata: {"run":', update.status, b",", update.rest, b"\n\n"))


@dataclass(eq=False)
class _Channel:
    """One followed run: who watches it, how far it has been read, and the task that reads it."""

    viewers: set[Viewer] = field(default_factory=set)
    reader: asyncio.Task[None] | None = None
    history: asyncio.Task[Update | None] | None = None
    history_made: float = -math.inf
    """When it was begun, on the clock of time.monotonic."""


class Hub:
    """All open streams of this server. Lives on one event loop; only `connect` may be called from elsewhere."""

    def __init__(self, source: Source | None = None, limits: Limits | None = None) -> None:
        self.source = source
        self.limits = limits or Limits()
        self._channels: dict[str, _Channel] = {}
        self._viewers: set[Viewer] = set()
        self._per_user: Counter[str] = Counter()
        self._waits = ThreadPoolExecutor(_WAITING_THREADS, thread_name_prefix="metalab-stream-wait")
        # Few: what they do holds the interpreter, and many would only get in each other's and the training's way.
        self._reads = ThreadPoolExecutor(_READING_THREADS, thread_name_prefix="metalab-stream-read")
        self._closing = False

    def connect(self, source: Source) -> None:
        """Give the hub its source once the training service is there; until then routes answer 503."""
        self.source = source

    @property
    def connected(self) -> bool:
        """Whether there is a source to read from."""
        return self.source is not None

    def counts(self) -> dict[str, int]:
        """How much is being followed, for the health route."""
        return {"streams": len(self._viewers), "runs_followed": len(self._channels)}

    def streams_of(self) -> dict[str, int]:
        """How many streams each user has open."""
        return dict(self._per_user)

    def join(self, run_ids: Sequence[str], cursors: Sequence[str | None], user: str, owners: frozenset[str]) -> Viewer:
        """Open a stream of `user`, who owns runs as `owners`. Raises TooManyStreams; whoever joins must `leave`."""
        refusal = self.limits.too_many_streams(self._per_user[user], len(self._viewers))
        if refusal:
            tell("quota", person=user, why=refusal)
            raise TooManyStreams(refusal)
        viewer = Viewer(tuple(run_ids), user, owners, dict(zip(run_ids, cursors, strict=True)))
        self._viewers.add(viewer)
        self._per_user[user] += 1
        for run_id in viewer.run_ids:
            self._channels.setdefault(run_id, _Channel()).viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Close a stream; the reader of a run stops with its last viewer."""
        if viewer not in self._viewers:
            return
        self._viewers.discard(viewer)
        self._per_user[viewer.user] -= 1
        self._per_user += Counter()  # drops users without streams
        for run_id in viewer.run_ids:
            channel = self._channels.get(run_id)
            if channel is None:
                continue
            channel.viewers.discard(viewer)
            if not channel.viewers:
                del self._channels[run_id]
                if channel.reader is not None:
                    channel.reader.cancel()

    def close(self) -> None:
        """End every stream, so that the server can stop while browsers are still watching."""
        self._closing = True
        for viewer in self._viewers:
            viewer.wake.set()

    async def first(self, viewer: Viewer) -> list[Update]:
        """What each of a viewer's runs holds after its cursor. Raises LookupError for a run that does not exist."""
        updates: list[Update] = []
        for run_id in viewer.run_ids:
            cursor = viewer.cursors[run_id]
            if cursor is None:
                found = await self._whole(viewer, run_id)
            else:
                news = await self._read(run_id, cursor, viewer.owners)
                found = [] if news is None else [news]
            if not found:
                raise LookupError(f"There is no run {run_id!r}. It may have been deleted.")
            updates += found
        return updates

    async def messages(self, viewer: Viewer, first: Sequence[Update]) -> AsyncIterator[bytes]:
        """The stream's bytes: the `first` updates, then what is new, until every run has ended."""
        unfinished = {update.run_id for update in first if not update.final}
        yield b"retry: 1000\n\n"
        for update in reversed(first):  # the last of a run says where to go on
            self._start_reader(update)
        for update in first:
            yield viewer.frame(update)
        while unfinished and not self._closing:
            try:
                await asyncio.wait_for(viewer.wake.wait(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            for update in await self._take(viewer):
                yield viewer.frame(update)
                if update.final:
                    unfinished.discard(update.run_id)
        if not self._closing:
            yield b"event: end\ndata: {}\n\n"

    async def _take(self, viewer: Viewer) -> list[Update]:
        """Empty a viewer's inbox; for one that fell behind, read its runs anew."""
        viewer.wake.clear()
        if not viewer.behind:
            taken = list(viewer.inbox)
            viewer.inbox.clear()
            return taken
        viewer.behind = False
        viewer.inbox.clear()
        return [update for run_id in viewer.run_ids for update in await self._whole(viewer, run_id)]

    async def _whole(self, viewer: Viewer, run_id: str) -> list[Update]:
        """A run's history with the viewer's own status, and what came since; nothing where there is no such run."""
        history = await self._history(run_id)
        if history is None:
            return []
        news = await self._read(run_id, history.cursor, viewer.owners)
        if news is None or news.full:  # deleted, or begun anew meanwhile
            return [] if news is None else [news]
        mine = replace(history, status=news.status, final=news.final)
        return [mine] if news.cursor == history.cursor else [mine, news]

    async def _history(self, run_id: str) -> Update | None:
        """The whole history of a run for any viewer, at most HISTORY_SECONDS old; read once for all who ask."""
        channel = self._channels.get(run_id)
        if channel is None:  # its last viewer has just left
            return None
        now = time.monotonic()
        if channel.history is None or now - channel.history_made > HISTORY_SECONDS or _failed(channel.history):
            channel.history_made = now
            channel.history = asyncio.create_task(self._read(run_id, None, owners=()))
        return await asyncio.shield(channel.history)

    def _start_reader(self, first: Update) -> None:
        channel = self._channels.get(first.run_id)
        if channel is not None and not first.final and (channel.reader is None or channel.reader.done()):
            channel.reader = asyncio.create_task(self._follow(first.run_id, channel, first.cursor))

    async def _follow(self, run_id: str, channel: _Channel, cursor: str) -> None:
        """Read one run until it ends or nobody watches, and hand each change to all its viewers."""
        loop = asyncio.get_running_loop()
        last: tuple[bytes, bytes] | None = None
        while not self._closing and self.source is not None:
            started = time.monotonic()
            try:
                await loop.run_in_executor(self._waits, self.source.wait, run_id, cursor, _WAIT_SECONDS)
                update = await self._read(run_id, cursor, owners=())
            except Exception:
                _LOG.exception("Reading run %s for its viewers failed; trying again.", run_id)
                await asyncio.sleep(1.0)
                continue
            if update is None:  # deleted while it was watched
                status = _encode({"id": run_id, "state": "deleted"})
                update = Update(run_id, cursor, status, _encode({"cursor": cursor})[1:], final=True)
            if (update.status, update.rest) != last:
                for viewer in channel.viewers:
                    viewer.push(update)
                last, cursor = (update.status, update.rest), update.cursor
            if update.final:
                return
            if started - channel.history_made > HISTORY_SECONDS:
                channel.history = None  # it can be megabytes
            pause = max(1 / UPDATES_PER_SECOND, len(channel.viewers) / MESSAGES_PER_SECOND)
            pause = min(pause, LONGEST_PAUSE)
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - started)))

    async def _read(self, run_id: str, cursor: str | None, owners: Collection[str]) -> Update | None:
        """Ask the source in a thread and encode the answer there too: a history can be megabytes."""
        source = self.source
        if source is None:
            return None

        def read() -> Update | None:
            update = source.updates(run_id, cursor, owners)
            if update is None:
                return None
            run = dict(update["run"])
            if not owners:
                run.pop("mine", None)
                run.pop("controllable", None)
            full = cursor is None or bool(update.get("full"))
            rest = {**{name: value for name, value in update.items() if name != "run"}, "full": full}
            final = run["state"] in FINAL_STATES
            return Update(run_id, update["cursor"], _encode(run), _encode(rest)[1:], final, full)

        return await asyncio.get_running_loop().run_in_executor(self._reads, read)


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def join_cursors(cursors: Sequence[str | None]) -> str:
    """The cursors of a stream's runs as one event id; with one run, that run's cursor."""
    return ",".join(quote(cursor or "", safe=":.;+") for cursor in cursors)


def split_cursors(text: str, n: int) -> list[str | None]:
    """The inverse of `join_cursors` for `n` runs. Raises ValueError for another number of cursors."""
    if not text:
        return [None] * n
    parts = text.split(",")
    if len(parts) != n:
        raise ValueError(f"the cursor {text!r} has {len(parts)} parts, expected {n}, one for each run in the address")
    return [unquote(part) or None for part in parts]


def _encode(message: dict[str, Any]) -> bytes:
    """Compact JSON; not-a-number and infinities, which JSON lacks, become null."""
    try:
        text = json.dumps(message, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(message), separators=(",", ":"), allow_nan=False)
    return text.encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
