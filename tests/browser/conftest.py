"""The real app on a free port with a home of its own, and pages of a real browser that notice every error."""

import contextlib
import json

import pytest
from serving import CHROMIUM, FLAGS, ROOT, serving

HARMLESS = ("/_stcore/health", "/_stcore/host-config")
"""Streamlit asks for these below a deep link's path first, and then at the root."""


@contextlib.contextmanager
def app_server(folder, **environment):
    """app.py in a process of its own, started in `folder`; yields its address once the service is there."""
    defaults = {"METALAB_HOME": str(folder / "home"), "METALAB_DATA": str(folder / "data")}
    with serving(ROOT / "app.py", folder, {**defaults, **environment}, cwd=folder) as server:
        server.wait("/metalab/health", lambda body: json.loads(body)["service"])
        yield server.url


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """The address of one running app, shared by the tests of a session."""
    with app_server(tmp_path_factory.mktemp("app")) as address:
        yield address


@pytest.fixture
def unvisited_app(tmp_path, request):
    """The address of an app of this test alone, which nobody has visited yet; its parameter adds to the environment."""
    with app_server(tmp_path, **getattr(request, "param", {})) as address:
        yield address


@pytest.fixture(scope="session")
def chromium():
    """A browser; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
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
