"""The real app on a free port with a home of its own, and pages of a real browser that notice every error."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HARMLESS = ("/_stcore/health", "/_stcore/host-config")
"""Streamlit asks for these below a deep link's path first, and then at the root."""


@contextlib.contextmanager
def app_server(folder, **environment):
    """app.py in a process of its own, started in `folder`; yields its address once the service is there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port", str(port)]
    defaults = {"METALAB_HOME": str(folder / "home"), "METALAB_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--server.headless", "true", "--server.address", "127.0.0.1"],
            cwd=folder,
            env={**os.environ, **defaults, **environment},
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for_service(f"http://127.0.0.1:{port}/metalab/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def _wait_for_service(url, process):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, "the app's server ended"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if json.load(answer)["service"]:
                return
        time.sleep(0.1)
    raise AssertionError("the app's training service did not start within 90 s")


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """The address of one running app, shared by the tests of a session."""
    with app_server(tmp_path_factory.mktemp("app")) as address:
        yield address


@pytest.fixture
def unvisited_app(tmp_path):
    """The address of an app of this test alone, which nobody has visited yet."""
    with app_server(tmp_path) as address:
        yield address


@pytest.fixture(scope="session")
def chromium():
    """A browser; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium):
    """Makes pages, each of a visitor of their own; at the end, none of them may have logged an error."""
    contexts, errors = [], []

    def new_page(width=1440, height=900, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(45_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.extend(_problem(message)))
        return page

    yield new_page
    for context in contexts:
        context.close()
    assert errors == []


def _problem(message):
    if message.type != "error" or message.location.get("url", "").partition("?")[0].endswith(HARMLESS):
        return []
    return [f"{message.text} ({message.location.get('url', '')})"]
