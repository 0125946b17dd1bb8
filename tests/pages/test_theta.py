"""The page on theta without a browser: its answer in each view, what its controls change, what its link carries."""

import re
import time
from types import SimpleNamespace

import numpy as np
import pytest

from metalab.analysis.bootstrap import Band
from metalab.analysis.theta import Best, Start, Starts
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.sinusoid import Sinusoid
from metalab.ui import theta


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
    assert re.search(r"comes from [\d.]+ to [\d.]+\.", said)
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
    share = int(re.search(r"\*\*(\d+)%\*\*", said)[1])
    assert 0 < share <= 100
    assert "mean query loss" in said


def test_a_layer_that_no_network_has_is_left_out(open_page):
    page = open_page("theta", tasks="8", view="layers", frozen="9", steps="1")
    wait_for(page, "with the head alone adapting")
    assert link_of(page) == {"tasks": "8", "view": "layers", "steps": "1"}
    assert "expected one of 1, 2, head; nothing is used" in page.warning[0].value


@pytest.mark.parametrize(
    ("changes", "formula", "words"),
    [
        ({}, "5.1", "mean of all tasks"),
        ({"amplitude": (1.0, 2.0)}, r"\mathbb{E}[A]", "mean of all tasks"),
        ({"frequency": (0.5, 2.0)}, r"f^*(x) = \mathbb{E}[\,y \mid x\,]", "mean of all tasks"),
        (None, r"\tfrac{1}{N}", "no function to hold θ against"),
    ],
)
def test_a_formula_is_shown_only_where_it_holds(changes, formula, words):
    family = Glyphs() if changes is None else Sinusoid(**changes)
    entrants = [SimpleNamespace(config=SimpleNamespace(family=family))]
    assert formula in theta.formula("function", entrants)
    assert ("5.1" in theta.formula("function", entrants)) is (changes == {})
    assert words in theta.start_words(entrants)


def start(label, distance, after, half=0.05):
    ends = Band(*(np.array(v) for v in (after, after - half, after + half)))
    return Start(label, ("maml", 2, 0), np.zeros(3), distance, ends, ends)


def test_who_begins_near_the_mean_is_named_and_no_winner_where_intervals_overlap():
    best = Best(np.arange(3.0), np.full(3, 1.5), 3.0)
    rows = (start("A", 0.2, 1.0), start("B", 1.4, 1.05), start("C", 0.9, 3.0))
    said = theta.start_verdict(Starts(rows, best, "loss", "mean squared error", None, 1, 8))
    assert "**A** begins near that mean, whose own size is 1.5." in said
    assert "after 1 inner step: **A** comes from 1 to 1." in said
    assert said.endswith("Not to be told from it, as the 95% interval of the difference includes zero: B.")
    far = theta.start_verdict(Starts(rows[1:], best, "loss", "mean squared error", None, 1, 8))
    assert "begin" not in far


@pytest.mark.parametrize(
    ("free", "head", "words"),
    [
        (0.5, 0.6, "keeps 93% of what it gains (0.6 instead of 0.5; 2 without adaptation): mostly **feature reuse**"),
        (0.5, 2.1, "becomes worse, 2.1 instead of 2 without adaptation, while all layers together come to 0.5"),
        (0.5, 2.02, "the head alone adapting cannot be told from no adaptation (2.02; 2), while all layers together"),
        (2.5, 2.1, "the inner loop gains nothing here, from 2 without adaptation to 2.5."),
        (1.97, 2.1, "whether the inner loop gains anything here cannot be told: 2 without adaptation, 1.97 with it."),
    ],
)
def test_what_the_head_alone_keeps_is_said_plainly_where_it_loses(free, head, words):
    mean = np.array([free, head, 2.0])
    frozen = Band(mean, mean - 0.04, mean + 0.04)
    said = theta.layer_verdict([SimpleNamespace(label="A", frozen=frozen)], "loss")
    assert words in said
    assert "−" not in said
