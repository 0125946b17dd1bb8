"""The Sensitivity page without a browser: every view answers for the example run, or says why it cannot."""

import time
from types import SimpleNamespace

import pytest

from metalab.training.config import RunConfig
from metalab.ui.sensitivity import STUDY, VIEWS, siblings
from metalab.ui.sensitivity_words import FORMULAS, names, questions


def settled(page, seconds=30.0):
    """The page once nothing is computed any more."""
    end = time.monotonic() + seconds
    while page.get("progress") and time.monotonic() < end:
        time.sleep(0.05)
        page.run()
    assert not page.exception
    assert not page.get("progress")
    return page


def text(page):
    return "\n".join(str(part.value) for part in [*page.markdown, *page.info, *page.warning])


@pytest.fixture
def sensitivity(open_page):
    return lambda **link: settled(open_page("sensitivity", **{"tasks": "20"} | link))


def test_it_opens_with_the_map_of_rates_and_the_divergence_line(sensitivity):
    page = sensitivity(steps="3")
    assert page.title[0].value == "How sensitive is it?"
    assert "Of all cells, 10 tasks chose α = " in text(page)
    assert "on the 10 others it comes to " in text(page)
    assert "2/λ = " in text(page)
    assert not page.warning


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ("ambiguous", "Where no point lies the functions are"),
        ("trained", "inner steps: **k = 1**"),
        ("norm", "has no batch normalisation: choose a family of images"),
        ("labels", "choose a family of characters"),
    ],
)
def test_every_view_says_what_it_found_or_why_it_cannot(sensitivity, view, said):
    page = sensitivity(view=view, steps="2")
    assert said in text(page)
    assert questions()[view] in text(page)
    assert page.query_params["view"] == view


def test_missing_runs_are_queued_with_a_press(sensitivity, monkeypatch):
    asked = []
    monkeypatch.setattr("metalab.ui.runs.start_all", lambda configs: asked.extend(configs) or ["a"] * len(configs))
    page = sensitivity(view="trained", steps="2")
    next(button for button in page.button if button.label == "Train the missing runs").click().run()
    assert [config.algorithm.inner_steps for config in asked] == [2, 3, 5, 10]
    assert len({config.family.model_dump_json() for config in asked}) == 1


def test_a_run_of_a_version_with_fewer_settings_stands_in_its_own_matrix(monkeypatch):
    config = RunConfig()
    settings = config.model_dump(mode="json")
    del settings["meta_batch_size"]
    old = SimpleNamespace(family="sinusoid", algorithm="maml", state="finished", settings=settings, current=config)
    monkeypatch.setattr("metalab.ui.runs.recent", lambda _limit: [old])
    assert siblings(SimpleNamespace(config=config)) == {config.algorithm.inner_steps: old}


def test_every_control_has_one_line_of_help_and_wrong_links_are_told(sensitivity):
    page = sensitivity(view="ambiguous", points="99")
    for kind in ("selectbox", "segmented_control", "select_slider", "slider", "number_input", "button"):
        for widget in getattr(page, kind):
            assert widget.help, widget.label
    assert len(page.warning) == 1
    assert next(each for each in STUDY.schema if each.name == "view").choices == VIEWS
    assert set(VIEWS) == set(names()) == set(questions()) == set(FORMULAS)
