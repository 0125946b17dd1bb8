"""What a hostile visitor may try. Each returns what came of it, in a few words; nothing here waits for others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from classroom.forger import Forger, ask, flood, forged, hold, made_up, visitor
from classroom.http import HOST, get
from classroom.school import School

SECONDS = 6.0
SILENT = 9_000
PAGES = (
    "home",
    "train",
    "adapt",
    "speed",
    "sweeps",
    "library",
    "embeddings",
    "theta",
    "order",
    "sensitivity",
    "decision",
    "lab",
)
LINKS = (
    "seed=nan", "seed=-1", "steps=999999999", "tasks=1e9", "who=../../etc/passwd", "who=" + "a," * 500, "runs=' OR 1=1",
    "family=<script>", "x=" + "9" * 5_000, "q=%00%ff%fe", "lang=../../../etc/passwd", "embed=true&embed_options=x",
    "algorithm.inner_lr=inf", "meta_batch_size=1000000000", "model.widths=" + "1024," * 200, "a=b&" * 300, "%=%&&&==",
    "vary=seed:" + "1|" * 250, "sweep=__class__", "outer_steps=10000000000000000000000",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """The server, a run that belongs to somebody else and trains, and one with a long history."""

    at: School
    run_id: str
    long_run: str
    owner: dict[str, str]
    """The cookies of the run's owner."""

    @property
    def port(self) -> int:
        return self.at.port


async def calm(target: Target) -> str:
    """Nothing, for comparison."""
    await asyncio.sleep(SECONDS)
    return "nothing was done"


@contextlib.asynccontextmanager
async def opened(target: Target, n: int, page: str = "home"):
    """Up to `n` tabs of one new visitor; those that the server opened."""
    one = await visitor(target.port)
    tabs = [Forger(target.port, one) for _ in range(n)]
    done = await asyncio.gather(*(tab.open(page) for tab in tabs), return_exceptions=True)
    try:
        yield [tab for tab, result in zip(tabs, done, strict=True) if not isinstance(result, BaseException)]
    finally:
        await asyncio.gather(*(tab.hang_up() for tab in tabs))


async def clear_caches(target: Target) -> str:
    """Messages that empty the caches of the whole server, and others that only developers send."""
    async with opened(target, 2) as (one, other):
        for kind in ("set_run_on_save", "load_git_info", "debug_shutdown_runtime", "debug_disconnect_websocket"):
            await one.throw_message(**{kind: True})
        await one.throw_message(backend_operation_request={"request_id": "1", "install_skills": {}})
        drawn = await one.forge([])
        sent = await flood(other, SECONDS, clear_cache=True)
        return f"{sent:,} messages left before {_how(other)}; the other tab {'answers' if drawn else 'is dead'}"


def _how(tab: Forger) -> str:
    return "the time was over" if tab.open_ else "the connection was cut"


async def flood_reruns(target: Target) -> str:
    """One tab that asks for its page as fast as it can."""
    async with opened(target, 1, "train") as (tab,):
        sent = await flood(tab, SECONDS, rerun_script={"page_name": "train"})
        return f"{sent:,} messages left before {_how(tab)}"


async def many_tabs_flood(target: Target) -> str:
    """As many tabs as one visitor can open, all of them asking without end."""
    async with opened(target, 60) as tabs:
        sent = await asyncio.gather(*(flood(tab, SECONDS, rerun_script={}) for tab in tabs))
        cut = sum(not tab.open_ for tab in tabs)
        return f"{len(tabs)} of 60 tabs opened; {sum(sent):,} messages left; {cut} connections cut"


async def tabs_come_and_go(target: Target) -> str:
    """Ten at a time of one visitor's tabs, each opened, asked thirty times for a page and closed at once."""
    one, end, count = await visitor(target.port), time.monotonic() + SECONDS, Counter[str]()

    async def again() -> None:
        while time.monotonic() < end:
            tab = Forger(target.port, one)
            try:
                await tab.rush("train", 30)
                count["opened"] += 1
            except (OSError, WebSocketException):
                count["refused"] += 1
            await tab.hang_up()

    await asyncio.gather(*(again() for _ in range(10)))
    return _counted(count) + " tabs"


async def broken_frames(target: Target) -> str:
    """Random bytes, text, and frames that are too large."""
    frames: list[bytes | str] = [secrets.token_bytes(n) for n in (1, 10, 1_000, 100_000)]
    frames += ["text", "\x00" * 1_000, bytes(5_000_000), bytes(30_000_000), bytes(60_000_000)]
    closed = 0
    for frame in frames:
        async with opened(target, 1) as tabs:
            with contextlib.suppress(ConnectionClosed):
                await tabs[0].throw(frame)
                await asyncio.sleep(0.2)
            closed += not tabs[0].open_
    return f"{closed} of {len(frames)} connections closed"


async def forged_widgets(target: Target) -> str:
    """Every widget of every page in states that are none of its own."""
    count = drawn = asked = largest = 0
    for page in PAGES:
        async with opened(target, 1, page) as tabs:
            for turn in range(8):
                count += len(tabs[0].ids)
                asked += 1
                drawn += await tabs[0].forge(forged(tabs[0].ids, turn))
            largest = max(largest, tabs[0].largest)
    told = f"{count:,} forged values; {drawn} of {asked} times the page was drawn to its end"
    return f"{told}; the largest message from the server had {largest / 1e6:.1f} MB"


async def hostile_links(target: Target) -> str:
    """Every page opened with links that nobody would write."""
    drawn = Counter[str]()
    for page in PAGES:
        for some in (LINKS[:10], LINKS[10:]):
            one = await visitor(target.port)
            results = await asyncio.gather(*(_open(target, page, link, one) for link in some))
            drawn.update(results)
    return ", ".join(f"{n} {what}" for what, n in drawn.items())


async def _open(target: Target, page: str, link: str, cookies: dict[str, str]) -> str:
    tab = Forger(target.port, cookies)
    try:
        await tab.open(page, dict(part.split("=", 1) for part in link.split("&") if part.count("=") == 1))
        return f"drawn with an error ({tab.errors[0][:60]})" if tab.errors else "drawn"
    except (OSError, TimeoutError, EOFError):
        return "not drawn"
    finally:
        await tab.hang_up()


async def a_million_points(target: Target) -> str:
    """A canvas that claims a million points, and a message that would hold a thousand million."""
    many = json.dumps({"points": {"revision": 1, "seq": 1, "points": [[0, 1]] * 400_000}})
    async with opened(target, 1, "adapt") as tabs:
        widgets = [widget for widget, kind in tabs[0].ids.items() if kind == "bidi_component"]
        drawn = await tabs[0].forge([WidgetState(id=widgets[0], json_value=many)] if widgets else [])
        with contextlib.suppress(ConnectionClosed):
            await tabs[0].forge([WidgetState(id=widgets[0], json_value=many * 4)])
        closed = not tabs[0].open_
    said = "drawn" if drawn else "not drawn", "refused" if closed else "taken"
    return f"{len(many) / 1e6:.1f} MB: {said[0]}; 4 times as much: {said[1]}"


async def foreign_origins(target: Target) -> str:
    """Pages of other sites that open websockets and read our addresses."""
    origins = ["http://evil.example", "null", "http://localhost:3000", f"http://{HOST}.evil.example:{target.port}"]
    found = Counter[str]()
    for origin in origins * 25:
        try:
            async with connect(f"ws://{HOST}:{target.port}/_stcore/stream", origin=origin, open_timeout=20):  # type: ignore[arg-type]
                found["opened"] += 1
        except InvalidStatus:
            found["websockets refused"] += 1
        except (OSError, TimeoutError):
            found["websockets not answered"] += 1
    for path in (f"/metalab/runs/{target.run_id}/events", f"/metalab/runs/{target.run_id}/metrics.csv"):
        for name, value in (("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")):
            status, _ = await ask(target.port, path, headers={name: value})
            found[f"reads answered {status}"] += 1
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        status, _ = await ask(target.port, f"/metalab/runs/{target.run_id}/metrics.csv", method=method)
        found[f"writes answered {status}"] += 1
    return _counted(found)


async def strange_paths(target: Target) -> str:
    """Addresses that lead out of where they should."""
    up = ("../" * 8, "..%2f" * 8, "%2e%2e/" * 8, "..\\" * 8, "....//" * 8, "/" * 8)
    roots = ("/", "/metalab/runs/", "/media/", "/component/", "/static/", "/_stcore/", "/app/static/", "/component/x/")
    targets = [f"{root}{way}etc/passwd" for root in roots for way in up]
    targets += [
        f"/metalab/runs/{quote(each, safe='')}/metrics.csv" for each in ("..", "a/b", "x" * 5_000, "\x00", "' OR 1=1")
    ]
    targets += ["/" + "x" * 60_000, "/metalab/runs/" + ",".join(["abcd2345"] * 1_000) + "/events"]
    found, leaked = Counter[str](), 0
    for path in targets:
        status, body = await ask(target.port, path)
        leaked += b"root:" in body
        found[f"answered {status}"] += 1
    return f"{_counted(found)}; {leaked} with a file of the system"


async def uploads(target: Target) -> str:
    """Files for a server that takes none."""
    async with opened(target, 1):
        work = (
            ask(target.port, f"/_stcore/upload_file/session/{n}", method="PUT", body=bytes(1_000_000))
            for n in range(100)
        )
        found = Counter(f"answered {status}" if status else "cut off" for status, _ in await asyncio.gather(*work))
    return _counted(found)


async def commands_to_anothers_run(target: Target) -> str:
    """Every command of the live panel, also some that it lacks, to the run of somebody else whom this visitor follows.

    The owner then sends one in the same way, to see that such messages arrive.
    """
    before = target.at.run(target.run_id)
    names = ("stop", "pause", "reset", "step", "resume", "delete", "rename")
    sent = await _command(target, names, await visitor(target.port))
    now = target.at.run(target.run_id)
    same = (now.state, now.owner) == (before.state, before.owner) and now.step >= before.step
    obeyed = []
    for name, state in (("pause", "paused"), ("resume", "running")):
        await _command(target, (name,), target.owner)
        for _ in range(50):
            if target.at.run(target.run_id).state == state:
                obeyed.append(name)
                break
            await asyncio.sleep(0.1)
    what = "the run trains on" if same else f"THE RUN WAS CHANGED ({now.state})"
    return f"{sent} commands: {what}; its owner's {' and '.join(obeyed) or 'NONE'} were obeyed"


async def _command(target: Target, names: Iterable[str], cookies: dict[str, str]) -> int:
    tab = Forger(target.port, cookies)
    await tab.open("train", {"runs": target.run_id})
    sent = 0
    for name in names:
        for widget in [widget for widget, kind in tab.ids.items() if kind == "bidi_component"]:
            pressed = [{"event": "command", "value": {"name": name, "run": target.run_id}}]
            trigger = f"$$STREAMLIT_INTERNAL_KEY_{widget}__events"
            await tab.forge([WidgetState(id=trigger, json_trigger_value=json.dumps(pressed))])
            sent += 1
    await tab.hang_up()
    return sent


async def slow_readers(target: Target) -> str:
    """Streams of a long history and of a run in training that are never read."""
    return await _streams(target, 200, f"{target.run_id},{target.long_run}", readers_a_visitor=20)


async def many_streams(target: Target) -> str:
    """More streams than the server gives, of as many visitors as it takes."""
    return await _streams(target, 1_100, target.run_id, readers_a_visitor=30)


async def _streams(target: Target, n: int, runs: str, readers_a_visitor: int) -> str:
    visitors = [await visitor(target.port) for _ in range(n // readers_a_visitor + 1)]
    path = f"/metalab/runs/{runs}/events"
    found = Counter[str]()
    writers = []
    for first in range(0, n, 50):
        some = range(first, min(n, first + 50))
        for status, writer in await asyncio.gather(
            *(hold(target.port, path, visitors[i // readers_a_visitor]) for i in some)
        ):
            found[f"answered {status}"] += 1
            writers += [writer] if writer else []
    await asyncio.sleep(SECONDS)
    for writer in writers:
        writer.close()
    return _counted(found)


async def many_downloads(target: Target) -> str:
    """A long run's metrics, a hundred times at once."""
    path = f"/metalab/runs/{target.long_run}/metrics.csv"
    answers = await asyncio.gather(*(ask(target.port, path, wait=60) for _ in range(100)))
    size = max(len(body) for _status, body in answers) / 1e6
    return f"{_counted(Counter(f'answered {status}' for status, _ in answers))}, {size:.1f} MB each"


async def made_up_visitors(target: Target) -> str:
    """Many shares for one script: by cookies that it makes up, and by opening the page anew again and again."""
    path, held = f"/metalab/runs/{target.run_id}/events", []
    for _ in range(100):
        status, writer = await hold(target.port, path, made_up())
        held += [writer] if writer and status == 200 else []
    for writer in held:
        writer.close()
    opened_ = Counter[int]()
    for _ in range(20):
        answers = await asyncio.gather(*(get(target.port, "/", accept="text/html") for _ in range(50)))
        opened_.update(answer.status for answer in answers)
    pages = _counted(Counter({f"answered {status}": n for status, n in opened_.items()}))
    return f"{len(held)} of 100 streams with as many made-up cookies; of 1,000 new visitors {pages}"


async def silent_connections(target: Target) -> str:
    """Connections that ask for nothing, or for half of something: more than a process may have handles, often."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    opened_ = []
    for n in range(SILENT):
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.wait_for(asyncio.open_connection(HOST, target.port), 5)
            opened_.append((reader, writer))
            writer.write(
                (b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\n")[n % 3]
            )
    await asyncio.sleep(SECONDS)
    cut = sum(reader.at_eof() or reader.exception() is not None for reader, _ in opened_)
    for _, writer in opened_:
        writer.close()
    return f"{len(opened_):,} connections were made, {cut:,} of them cut"


def _counted(found: Iterable[str] | Counter[str]) -> str:
    return ", ".join(f"{n} {what}" for what, n in Counter(found).items())
