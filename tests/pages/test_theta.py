"""The page on theta without a browser: its answer in each view, what its controls change, what its link carries."""

import re
import time

import pytest


def link_of(page):
    """What the link says beside which runs."""
    return {name: value for name, value in page.query_params.items() if name not in ("who", "run")}


def wait_for(page, words):
    """The page, run again until one of its paragraphs holds the words."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert not page.exception
        found = [part.value for part in page.markdown if words in part.value]
        if found:
            return found[0]
        time.sleep(0.05)
        page.run()
    raise AssertionError(f"{words!r} did not appear: {[part.value for part in page.markdown]}")


def test_it_opens_with_the_best_predictor_that_never_adapts(open_page):
    page = open_page("theta", tasks="8")
    assert page.title[0].value == "What is theta doing?"
    said = wait_for(page, "Whoever never adapts")
    assert "cannot get below **3.01**" in said
    assert re.search(r"comes from [\d.]+ to [\d.]+\.$", said)
    assert link_of(page) == {"tasks": "8"}
    assert not page.warning
    assert not page.error


def test_layers_are_frozen_by_the_link(open_page):
    page = open_page("theta", tasks="8", view="layers", frozen="1,head", steps="2")
    said = wait_for(page, "with the head alone adapting")
    assert "**MAML**" in said
    assert re.search(r"mostly \*\*|both feature reuse", said)
    assert link_of(page) == {"tasks": "8", "view": "layers", "frozen": "1,head", "steps": "2"}


@pytest.mark.parametrize("plane", ["tasks", "directions"])
def test_the_landscape_says_what_its_plane_holds(open_page, plane):
    page = open_page("theta", view="landscape", plane=plane, steps="3", on="query")
    said = wait_for(page, "The plane holds")
    share = int(re.search(r"\*\*(\d+) %\*\*", said)[1])
    assert 0 < share <= 100
    assert "mean query loss" in said


def test_a_layer_that_no_network_has_is_left_out(open_page):
    page = open_page("theta", tasks="8", view="layers", frozen="9", steps="1")
    wait_for(page, "with the head alone adapting")
    assert link_of(page) == {"tasks": "8", "view": "layers", "steps": "1"}
