"""What reaches Streamlit of what a browser sends: its own pages' messages, at a bearable pace, from its own origin."""

from __future__ import annotations

import asyncio
import time

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from visiting import cookie

from metalab.ui import guard
from metalab.ui.guard import GuardMiddleware, Pace, Sieve, needed

RERUN = BackMsg(rerun_script={"query_string": "seed=3"}).SerializeToString()


def connection(**headers):
    given = {"host": "lab.example:8501", **headers}
    return {
        "type": "websocket",
        "path": "/_stcore/stream",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("10.0.0.7", 1),
    }


def close_code(middleware, scope):
    """With what a websocket was refused; None where it was let through."""
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    asyncio.run(middleware(scope, receive, send))
    return sent[0]["code"] if sent else None


async def through(_scope, _receive, _send):
    pass


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://lab.example", "https://lab.example:8501.evil.example", "null", "http://[", ""],
)
def test_a_foreign_page_opens_no_websocket_and_nobody_looks_up_this_machines_address(origin, monkeypatch):
    def lookup():
        raise AssertionError("the server waited for the internet")

    monkeypatch.setattr("streamlit.net_util.get_external_ip", lookup)
    assert close_code(GuardMiddleware(through), connection(origin=origin)) == 1008


@pytest.mark.parametrize("headers", [{}, {"origin": "http://lab.example:8501"}, {"origin": "https://lab.example:8501"}])
def test_our_own_pages_and_programs_do(headers):
    assert close_code(GuardMiddleware(through), connection(**headers)) is None


def test_an_origin_that_the_settings_name_does(monkeypatch):
    from streamlit import config

    options = {"server.corsAllowedOrigins": ["https://school.example"], "browser.serverAddress": "localhost"}
    monkeypatch.setattr(config, "get_option", options.__getitem__)
    assert close_code(GuardMiddleware(through), connection(origin="https://school.example")) is None
    assert close_code(GuardMiddleware(through), connection(origin="https://evil.example")) == 1008


def test_a_user_has_so_many_tabs_and_closing_one_makes_room(monkeypatch):
    monkeypatch.setattr(guard, "TABS_PER_USER", 2)
    opened, release = [], asyncio.Event()

    async def stays(_scope, _receive, _send):
        opened.append(True)
        await release.wait()

    async def attempt():
        middleware = GuardMiddleware(stays)
        codes = []

        async def send(message):
            codes.append(message["code"])

        async def receive():
            return {"type": "websocket.connect"}

        tabs = [asyncio.create_task(middleware(connection(), receive, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await middleware(connection(), receive, send)
        assert (len(opened), codes) == (2, [1013])
        await middleware(connection(cookie=cookie("x" * 43)), *_ended(release, receive, send))
        await asyncio.gather(*tabs)
        await middleware(connection(), receive, send)
        assert (len(opened), codes) == (4, [1013])

    asyncio.run(attempt())


def _ended(release, receive, send):
    release.set()
    return receive, send


@pytest.mark.parametrize("base_path", ["", "/lab"])
def test_no_upload_is_taken(base_path):
    reached, sent = [], []

    async def behind(scope, _receive, _send):
        reached.append(scope["path"])

    async def send(message):
        sent.append(message)

    async def receive():
        raise AssertionError("the file was read")

    middleware = GuardMiddleware(behind, base_path)
    for path in (f"{base_path}/_stcore/upload_file/session/file", f"{base_path}/_stcore/health"):
        asyncio.run(middleware({"type": "http", "path": path, "method": "PUT", "headers": []}, receive, send))
    assert reached == [f"{base_path}/_stcore/health"]
    assert sent[0]["status"] == 403
    assert sent[1]["body"] == b'{"error":"MetaLab takes no uploads."}'


@pytest.mark.parametrize(
    "message",
    [
        BackMsg(clear_cache=True),
        BackMsg(set_run_on_save=True),
        BackMsg(load_git_info=True),
        BackMsg(debug_shutdown_runtime=True),
        BackMsg(debug_disconnect_websocket=True),
        BackMsg(file_urls_request={"request_id": "1", "session_id": "another"}),
        BackMsg(backend_operation_request={"request_id": "1", "install_skills": {}}),
        BackMsg(backend_operation_request={"request_id": "1"}),
        BackMsg(),
    ],
)
def test_what_no_page_sends_is_left_out(message):
    assert not needed(message.SerializeToString())


@pytest.mark.parametrize(
    "message",
    [
        RERUN,
        BackMsg(stop_script=True).SerializeToString(),
        BackMsg(app_heartbeat=True).SerializeToString(),
        BackMsg(backend_operation_request={"dataframe_chunk": {}}).SerializeToString(),
        b"\xff\xff no message: Streamlit closes the connection",
    ],
)
def test_what_pages_send_arrives(message):
    assert needed(message)


def sieved(messages):
    """What comes through of messages that are all there at once, and the seconds that it took."""
    left = iter(messages)

    async def receive():
        return next(left, {"type": "websocket.disconnect", "code": 1000})

    async def read():
        sieve, found = Sieve(receive, Pace()), []
        while not found or found[-1]["type"] != "websocket.disconnect":
            found.append(await sieve())
        return found

    began = time.monotonic()
    return asyncio.run(read()), time.monotonic() - began


def test_a_flood_comes_through_in_order_and_no_faster_than_agreed(monkeypatch):
    monkeypatch.setattr(guard, "MESSAGES_PER_SECOND", 200.0)
    monkeypatch.setattr(guard, "MESSAGES_AT_ONCE", 10)
    numbers = [BackMsg(rerun_script={"query_string": str(n)}).SerializeToString() for n in range(40)]
    found, seconds = sieved([{"type": "websocket.receive", "bytes": number} for number in numbers])
    assert [message["bytes"] for message in found[:-1]] == numbers
    assert seconds >= 0.9 * (40 - 10) / 200


def test_who_never_stops_is_cut_off(monkeypatch):
    monkeypatch.setattr(guard, "MESSAGES_PER_SECOND", 1e-3)
    monkeypatch.setattr(guard, "MESSAGES_AT_ONCE", 1)
    monkeypatch.setattr(guard, "MOST_HURRIED", 5)
    sent, read, waited = [], [], []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def receive():
        return {"type": "websocket.receive", "bytes": RERUN}

    async def app(_scope, receive, _send):
        while (message := await receive())["type"] == "websocket.receive":
            read.append(message)

    async def send(message):
        sent.append(message)

    asyncio.run(GuardMiddleware(app)(connection(), receive, send))
    assert len(read) == 1 + 5
    assert len(waited) == 5
    assert waited == sorted(waited)
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_who_waits_for_each_answer_is_slowed_down_and_never_cut_off(monkeypatch):
    monkeypatch.setattr(guard, "MESSAGES_PER_SECOND", 300.0)
    monkeypatch.setattr(guard, "MESSAGES_AT_ONCE", 1)
    monkeypatch.setattr(guard, "MOST_HURRIED", 3)

    async def drag():
        pace = Pace()
        return [await pace.keep(waited=0.02) for _ in range(20)]

    assert asyncio.run(drag()) == [True] * 20


def test_a_users_tabs_share_their_pace(monkeypatch):
    monkeypatch.setattr(guard, "MESSAGES_PER_SECOND", 1e-3)
    monkeypatch.setattr(guard, "MESSAGES_AT_ONCE", 3)
    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def two_tabs():
        pace = Pace()
        tabs = [Sieve(one_message, pace), Sieve(one_message, pace)]
        for tab in tabs * 2:
            await tab()

    async def one_message():
        return {"type": "websocket.receive", "bytes": RERUN}

    asyncio.run(two_tabs())
    assert waited == [pytest.approx(1000, rel=0.01)]


def test_text_ends_the_connection():
    found, _seconds = sieved([{"type": "websocket.receive", "text": "hello"}])
    assert found == [{"type": "websocket.disconnect", "code": 1003}]
