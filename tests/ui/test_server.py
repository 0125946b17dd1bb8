"""What surrounds the pages: identities and streams are wired in, and a stop ends the streams."""

import asyncio
import io
import json
import os
import signal
import sys
import threading

import pytest
from fake_runs import FakeRun, FakeRuns
from http_server import read_event, serving
from streamlit.testing.v1 import AppTest

from metalab.ui import server
from metalab.ui.front import FrontMiddleware
from metalab.ui.guard import GuardMiddleware
from metalab.ui.head import HeadMiddleware
from metalab.ui.identity import IdentityMiddleware
from metalab.ui.stream import Hub


def test_the_launchers_parts():
    assert server.MAIN_SCRIPT.is_absolute()
    assert server.MAIN_SCRIPT.is_file()
    assert "/metalab/runs/{run_ids}/events" in [route.path for route in server.routes()]
    assert [middleware.cls for middleware in server.middleware()] == [
        FrontMiddleware,
        HeadMiddleware,
        GuardMiddleware,
        IdentityMiddleware,
    ]


def test_an_error_becomes_one_line_without_its_text():
    def page():
        from metalab.ui.server import on_script_error

        assert on_script_error(RuntimeError("the password is swordfish")) is True

    test = AppTest.from_function(page).run()
    assert len(test.error) == 1
    assert test.error[0].value.startswith("Something went wrong on this page.")
    assert "swordfish" not in test.error[0].value


def test_a_home_that_cannot_be_used_is_said():
    def page():
        from metalab.places import PlaceError
        from metalab.ui.server import on_script_error

        on_script_error(PlaceError("cannot write to /home/ada/.metalab: set METALAB_HOME to another folder"))

    test = AppTest.from_function(page).run()
    assert test.error[0].value == "cannot write to /home/ada/.metalab\\: set METALAB\\_HOME to another folder"


def test_streamlit_and_the_web_server_log_in_the_same_form(monkeypatch):
    from streamlit import logger

    stream, plain = io.StringIO(), logger.setup_formatter
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        server._one_log()
        named = [logger.get_logger("streamlit.error_util"), logger.get_logger("streamlit.not_yet_there")]
        for each in [*named, logger.get_logger("uvicorn.error")]:
            try:
                raise ValueError("\x1b[31mred\n{}")
            except ValueError as error:
                each.error("Uncaught app execution", exc_info=error)
    finally:
        logger.setup_formatter = plain
        logger.update_formatter()
    assert stream.getvalue().isascii()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["logger"] for line in lines] == ["streamlit.error_util", "streamlit.not_yet_there", "uvicorn.error"]
    assert all(line["trace"].endswith("ValueError: \x1b[31mred\n{}\n") for line in lines)


def test_closing_the_hub_ends_open_streams_without_an_end_event():
    hub = Hub(FakeRuns(FakeRun("r1", state="paused")))
    with serving(hub) as client:
        answer = client.get("/metalab/runs/r1/events")
        read_event(answer)
        hub.close()
        with pytest.raises(EOFError):  # the browser is to come back, so it is not told that the run ended
            read_event(answer)


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send itself SIGTERM")
def test_a_signal_closes_the_streams_and_then_does_what_it_did_before():
    hub, received = Hub(), []

    async def serve():
        with server.StreamsEndOnSignal(hub):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)

    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        ours = signal.getsignal(signal.SIGTERM)
        asyncio.run(serve())
        assert received == [signal.SIGTERM]
        assert hub._closing
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)
