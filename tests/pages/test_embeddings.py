"""The Embeddings page by AppTest: its sentence, its controls, its link."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from metalab.tasks.sinusoid import Sinusoid
from metalab.ui import embeddings as words
from metalab.ui.gallery import Pick


def settled(page: AppTest, seconds: float = 20) -> AppTest:
    """The page once nothing is computed any more: AppTest does not run fragments by the clock."""
    end = time.monotonic() + seconds
    while any(button.label == "Stop" for button in page.button) and time.monotonic() < end:
        time.sleep(0.1)
        page.run()
    assert not page.exception
    return page


def text(page: AppTest) -> str:
    return "\n".join(
        element.value for kind in ("markdown", "caption", "info", "warning", "error") for element in getattr(page, kind)
    )


def control(page: AppTest, kind: str, label: str):
    return next(widget for widget in getattr(page, kind) if widget.label == label)


@pytest.fixture
def page(open_page):
    return settled(open_page("embeddings", tasks="50", steps="2"))


def test_it_opens_with_an_answer_and_every_control_has_help(page):
    assert page.title[0].value == "How do tasks lie to each other?"
    assert "Guessed from the 5 nearest tasks, amplitude scores 0." in text(page)
    assert "the difference is real" in text(page)
    for kind in ("selectbox", "segmented_control", "slider", "select_slider", "toggle", "button"):
        assert all(widget.help for widget in getattr(page, kind)), kind
    assert "steps=2" in "&".join(f"{name}={value}" for name, value in page.query_params.items())


def test_a_link_carries_what_is_looked_at(open_page):
    link = {
        "tasks": "50",
        "steps": "2",
        "view": "features",
        "colour": "phase",
        "three": "true",
        "paths": "false",
        "seed": "3",
    }
    page = settled(open_page("embeddings", **link))
    assert {name: page.query_params[name] for name in link} == link
    assert control(page, "selectbox", "Coloured by").value == "phase"
    assert "phase scores" in text(page)
    assert "**Task 3**" in text(page)
    assert not page.warning


def test_a_task_of_ones_own_has_neighbours_and_a_guess(open_page):
    page = settled(open_page("embeddings", tasks="50", steps="2", own="true", x="-4,-1,1,3", y="2,-1,2,0"))
    assert "The nearest tasks to yours are" in text(page)
    assert "by them it has amplitude" in text(page)


def test_pads_stand_above_the_map_before_that_is_computed(open_page, monkeypatch):
    monkeypatch.setattr(words, "embedded", lambda *_args: None)
    page = open_page("embeddings", family="glyphs", own="true")
    assert not page.exception
    assert "Draw one example of each class; drawings stay in this tab." in text(page)


def test_what_suits_no_such_network_is_said(open_page):
    page = settled(open_page("embeddings", family="navigation", view="fisher", tasks="50"))
    assert "the Fisher information is computed where" in text(page)


def test_a_wrong_link_is_said(open_page):
    page = open_page("embeddings", view="nothing", tasks="50", steps="2")
    assert "view = 'nothing' in the link" in page.warning[0].value


def test_a_large_network_is_compared_only_for_who_asks(open_page, monkeypatch):
    from metalab.ui import embeddings

    monkeypatch.setattr(embeddings, "HEAVY", 10)
    page = settled(open_page("embeddings", tasks="50", steps="2"))
    (button,) = [each for each in page.button if each.label == "Compare all embeddings"]
    assert "compare" not in page.query_params
    button.click().run()
    settled(page)
    assert page.query_params["compare"] == "true"
    assert not [each for each in page.button if each.label == "Compare all embeddings"]


def test_tasks_of_a_link_beyond_those_that_are_shown_are_told():
    network = SimpleNamespace(theta={"w": torch.zeros(3)})
    entrants = [SimpleNamespace(config=SimpleNamespace(family=Sinusoid()), contender=network)]
    state = {"tasks": 50, "seed": 60, "group": f"{1 << 50:x}"}
    assert [str(sentence) for sentence in words.fit(state, entrants)] == [
        "seed = '60' in the link: expected a whole number from 0 to 49; nothing is used.",
        f"group = '{1 << 50:x}' in the link: expected a hexadecimal number of 50 bits, one for each task; nothing is "
        "used.",
    ]
    assert (state["seed"], state["group"]) == (-1, "")
    assert words.fit({"tasks": 50, "seed": 49, "group": f"{1 << 49:x}"}, entrants) == []


def test_all_checkpoints_are_shown_where_they_are_few_and_more_of_them_early_where_they_are_many():
    few = tuple(range(0, 7000, 1000))
    assert words.spread_out(few) == few
    assert words.spread_out((5,)) == (5,)
    many = words.spread_out(range(101))
    assert len(many) == words.MOST_CHECKPOINTS
    assert many[0] == 0
    assert many[-1] == 100
    assert (np.diff(many, 2) >= -1).all()


def test_the_map_of_gradients_begins_at_theta_and_takes_its_first_pick():
    state = {"revision": 3, "view": "delta", "over": "steps", "seed": -1}
    before = words.map_revision(state)
    words.take_pick(state, Pick("task_map", "click", (4,), 1))
    assert state["seed"] == 4
    state["view"] = "gradient"
    assert words.map_revision(state) != before
    words.take_pick(state, Pick("task_map", "click", (7,), 1))
    assert state["seed"] == 7
    words.take_pick(state | {"seed": 1}, Pick("task_map", "click", (9,), 1))
    assert state["seed"] == 7
