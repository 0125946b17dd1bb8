"""The Decision page by AppTest: its sentence, its controls, its link."""

import time
from types import SimpleNamespace

import pytest

from metalab.tasks.glyphs import Glyphs
from metalab.ui import decision as words


def settled(page, seconds=30):
    """The page once nothing is computed any more: AppTest does not run fragments by the clock."""
    end = time.monotonic() + seconds
    while any(button.label == "Stop" for button in page.button) and time.monotonic() < end:
        time.sleep(0.1)
        page.run()
    assert not page.exception
    return page


def text(page):
    kinds = ("markdown", "caption", "info", "warning", "error")
    return "\n".join(element.value for kind in kinds for element in getattr(page, kind)).replace("\\", "")


def control(page, kind, label):
    return next(widget for widget in getattr(page, kind) if widget.label == label)


def test_it_opens_with_an_answer_and_every_control_has_help(open_page):
    page = settled(open_page("decision"))
    assert page.title[0].value == "Why this answer?"
    said = text(page)
    assert "Most alike is the support image of" in said
    assert "with those covered the probability of" in said
    for kind in ("selectbox", "slider", "number_input", "button"):
        assert all(widget.help for widget in getattr(page, kind)), kind
    control(page, "selectbox", "Query").set_value(6).run()
    settled(page)
    assert page.query_params["query"] == "6"
    assert text(page) != said


def test_a_link_carries_the_task_and_the_query(open_page):
    page = settled(open_page("decision", seed="5", query="3", steps="2"))
    assert control(page, "number_input", "Task number").value == 5
    assert control(page, "selectbox", "Query").value == 3
    assert not page.warning


def test_a_function_is_explained_by_its_points(open_page):
    page = settled(open_page("decision", family="sinusoid", at_x="1.5"))
    assert "pulls most: one unit up moves the prediction by" in text(page)
    assert "the input has no pixels" in text(page)


@pytest.mark.parametrize(
    ("family", "told"), [("languages", "A letter counts for as much"), ("omniglot", "takes the ink of one patch away")]
)
def test_letters_and_images_are_explained_each_in_their_words(open_page, family, told):
    assert told in text(open_page("decision", family=family))


@pytest.mark.parametrize(("name", "value"), [("query", "-1"), ("family", "names"), ("at_x", "9")])
def test_a_wrong_link_is_said(open_page, name, value):
    page = open_page("decision", **{name: value})
    assert f"{name} = '{value}' in the link" in text(page)


def test_a_query_that_the_task_does_not_have_is_told():
    entrants = [SimpleNamespace(config=SimpleNamespace(family=Glyphs()))]
    state, last = {"query": 199}, words.count(entrants[0]) - 1
    expected = f"query = '199' in the link: expected a whole number from 0 to {last}; 0 is used."
    assert (words.fit(state, entrants), state) == ([expected], {"query": 0})
    assert words.fit({"query": last}, entrants) == []
