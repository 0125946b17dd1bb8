"""Pages run by AppTest, with a home of their own and a service that stops with the test."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from metalab.tasks import mnist
from metalab.tasks.characters import Library
from metalab.tasks.mnist import Mnist
from metalab.tasks.omniglot import Omniglot, load
from metalab.ui import background, runs

PAGES = Path(__file__).parents[2] / "pages"


@pytest.fixture
def open_page(tmp_path, monkeypatch):
    """Opens a page by name with a link's parameters."""
    monkeypatch.setenv("METALAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("METALAB_DATA", str(tmp_path / "data"))
    stores = {}
    monkeypatch.setattr(runs, "_stores", stores)
    monkeypatch.setattr(background, "LATER_SECONDS", 0.0)  # no browser draws meanwhile
    # What another test has loaded would answer for the data that is absent here.
    monkeypatch.setattr(Omniglot, "library", Library(load))
    monkeypatch.setattr(Mnist, "library", Library(mnist.load, turn=False))
    monkeypatch.setattr(mnist, "ALL_DIGITS", Library(mnist.load_all, turn=False))

    def opened(name, **link):
        app = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=60)
        for key, value in link.items():
            app.query_params[key.replace("__", ".")] = value
        app.run()
        assert not app.exception, app.exception[0].message
        return app

    yield opened
    from metalab.training.service import close_all

    close_all()
    for store in stores.values():
        store.close()
