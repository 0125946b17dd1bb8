"""The page waits for what it begins with, not for what comes later, and tells how far that is."""

import threading

import pytest
from streamlit.testing.v1 import AppTest

from metalab.analysis import background as engine
from metalab.ui import background


def script(make, later):
    import streamlit as st

    from metalab.ui import background

    found = background.computed("slot", "key", make, told="Counting", later=later)
    st.markdown(f"found {found}")


def at_the_tests_word(report):
    report(0.25)
    while not GO.wait(0.01):
        report(0.25)
    return 42


def soon(_report):
    return threading.Event().wait(0.2) or 7


GO = threading.Event()


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    GO.clear()
    pool = engine.Background(at_once=1)
    monkeypatch.setattr(engine, "_background", pool)
    yield
    GO.set()
    pool.close()


def test_a_page_waits_for_what_it_begins_with(monkeypatch):
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 30.0)
    page = AppTest.from_function(script, args=(soon, False), default_timeout=40).run()
    assert page.markdown[0].value == "found 7"
    assert not page.get("progress")


def test_its_patience_ends_and_then_it_shows_how_far_it_is_and_stop(monkeypatch):
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 0.01)
    page = AppTest.from_function(script, args=(at_the_tests_word, False), default_timeout=40).run()
    assert page.markdown[0].value == "found None"
    assert [button.label for button in page.button] == ["Stop"]
    GO.set()
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 30.0)
    assert page.run().markdown[0].value == "found 42"


def test_it_does_not_wait_for_what_comes_later(monkeypatch):
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 1e9)
    page = AppTest.from_function(script, args=(at_the_tests_word, True), default_timeout=40).run()
    assert page.markdown[0].value == "found None"
    assert len(page.get("progress")) == 1
