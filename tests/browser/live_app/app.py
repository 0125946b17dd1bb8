"""The live panel alone, on invented runs, for the browser test."""

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import fake_runs
import streamlit as st
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from metalab.ui import routes, server
from metalab.ui.stream import Hub

RUNS = fake_runs.FakeRuns(
    fake_runs.FakeRun("sine-maml", outer_steps=20000),
    fake_runs.FakeRun("sine-reptile", "reptile", outer_steps=20000, message="inner learning rate 0.01"),
    fake_runs.FakeRun("short", outer_steps=300),
    fake_runs.FakeRun("waiting", state="queued", queue_place=3),
    fake_runs.FakeRun("letters", "fomaml", accuracy=True, meta_gradient=True, outer_steps=20000),
    fake_runs.FakeRun("abroad", accuracy=True, away=True, outer_steps=20000),
)
HUB = Hub(RUNS)
COMMANDS: list[str] = []


def train() -> None:
    """Move every running run eight times a second."""
    while True:
        time.sleep(0.125)
        RUNS.tick(20)


def obey(run_id: str, name: str) -> None:
    """What the service does with a command."""
    COMMANDS.append(f"{run_id} {name}")
    states = {"pause": "paused", "resume": "running", "stop": "stopped"}
    if name in states:
        RUNS.set(run_id, state=states[name])
    elif name == "step":
        RUNS.advance(run_id, 1)
    else:
        RUNS.reset(run_id)


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[None]:
    """The product's, without its training service."""
    with server.StreamsEndOnSignal(HUB):
        yield


async def commands(_request: object) -> PlainTextResponse:
    """What the buttons asked for so far, a line each."""
    return PlainTextResponse("\n".join(COMMANDS))


st.obey = obey  # the script runs in this process and finds it here
threading.Thread(target=train, daemon=True).start()
RUNS.note("letters", "inner_lr changed from 0.01 to <b>0.02</b>")
app = st.App(
    Path(__file__).with_name("main.py").resolve(),
    routes=[*routes.routes(HUB), Route("/commands", commands)],
    middleware=server.middleware(),
    lifespan=lifespan,
    on_script_error=server.on_script_error,
)
