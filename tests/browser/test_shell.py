"""The app itself in a real browser: its first request, its navigation, its identity."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed on this machine"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def fresh_server(tmp_path):
    """A server of app.py, started in another folder, that nobody has visited yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port", str(port)]
    environment = {**os.environ, "METALAB_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--server.headless", "true", "--server.address", "127.0.0.1"],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            wait_until_healthy(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(15)


def wait_until_healthy(port):
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metalab/health", timeout=2).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the server did not answer within 60 s"
            time.sleep(0.1)


def test_a_deep_link_as_the_very_first_request_then_navigation(fresh_server):
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"{fresh_server}/train")
        links = page.get_by_test_id("stTopNavLink")
        playwright.expect(links).to_have_text([re.compile("Home"), re.compile("Train"), re.compile("Adapt")])
        playwright.expect(links.nth(1)).to_have_attribute("aria-current", "page")
        assert page.url == f"{fresh_server}/train"
        cookie = next(cookie for cookie in page.context.cookies() if cookie["name"] == "metalab_user")
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Lax"
        links.nth(2).click()
        page.wait_for_url(f"{fresh_server}/adapt")
        links.nth(0).click()
        page.wait_for_url(f"{fresh_server}/")
        kept = next(cookie for cookie in page.context.cookies() if cookie["name"] == "metalab_user")
        assert kept["value"] == cookie["value"]
        browser.close()
