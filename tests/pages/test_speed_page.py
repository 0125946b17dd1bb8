"""The Speed page without a browser: its example runs are compared at once, and its link carries what was chosen."""

import re
import time
from types import SimpleNamespace

import numpy as np
import pytest

from metalab.analysis.speed_shots import ShotCurve, Shots
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.sinusoid import Sinusoid
from metalab.training.service import service
from metalab.ui import speed as words
from metalab.ui.background import first_words
from metalab.ui.speed import STUDY


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


def control(page, kind, label):
    return next(widget for widget in getattr(page, kind) if widget.label == label)


@pytest.fixture
def speed(open_page):
    return lambda **link: settled(open_page("speed", **{"tasks": "50"} | link))


def test_it_opens_with_examples_and_says_who_is_faster_and_whether_that_is_real(speed):
    page = speed(level="1")
    assert page.title[0].value == "Who learns fastest?"
    said = re.search(r"\*\*MAML is faster: to reach (.+) it needs (.+) fewer inner steps than Reptile", text(page))
    assert said, text(page)
    assert float(said[2]) > 0
    assert "Over these 50 tasks the difference is real (95% interval" in text(page)
    assert not page.warning
    control(page, "segmented_control", "Against").set_value("seconds").run()
    # On a busy machine the clock may find the two level.
    told = (
        r"is faster: to reach 1 it needs [\d.]+ milliseconds less|:\*\* to reach 1 they differ by [\d.]+ milliseconds"
    )
    assert re.search(told, text(settled(page))), text(page)
    assert page.query_params["cost"] == "seconds"


def test_who_is_alone_reaches_the_level_of_the_link_without_a_comparison(speed):
    page = speed(level="2.5")
    control(page, "multiselect", "Runs").set_value(control(page, "multiselect", "Runs").value[:1]).run()
    assert re.search(r"\*\*MAML reaches 2.5 after 0\.\d+ inner steps\*\* \(95% interval", text(settled(page)))


def test_a_run_that_is_deleted_meanwhile_is_left_out_and_told(speed):
    page = speed(level="2.5")
    gone, *left = page.session_state["speed.state"]["who"]
    store = service().store
    store.delete(gone, store.get(gone).owner)
    page.run()
    assert f"Run {gone} is not here any more" in text(settled(page))
    assert page.session_state["speed.state"]["who"] == left


def test_shots_and_training_have_views_of_their_own(speed):
    page = speed(view="shots", steps="2")
    assert "With 20 shots **MAML** is best" in text(page)
    control(page, "segmented_control", "Look at").set_value("training").run()
    assert "Click a cell" in text(settled(page))
    assert page.query_params["view"] == "training"
    second = page.session_state["speed.state"]["who"][1]
    page.radio[0].set_value(second).run()
    assert page.query_params["run"] == second


def test_every_control_has_one_line_of_help_and_wrong_links_are_told(speed):
    page = speed(steps="99", cost="money")
    for kind in ("selectbox", "multiselect", "segmented_control", "select_slider", "slider", "toggle", "radio"):
        for widget in getattr(page, kind):
            assert widget.help, widget.label
    assert len(page.warning) == 1
    assert {"tasks", "steps", "level", "cost", "view", "run", "log"} <= {each.name for each in STUDY.schema}


def test_shots_are_seen_over_a_few_tasks_before_those_of_all_are_there(monkeypatch):
    of_waves, of_glyphs = ([SimpleNamespace(config=SimpleNamespace(family=each))] for each in (Sinusoid(), Glyphs()))
    there, asked = {8: "few", 50: "more"}, []

    def look(_state, _entrants, n_tasks, slot, later):
        asked.append((n_tasks, slot, later))
        return there.get(n_tasks)

    monkeypatch.setattr(words, "_shots", look)
    monkeypatch.setattr(words, "_measured", look)
    assert words.shots({"tasks": 600}, of_waves) == "more"
    assert [n for n, _slot, _later in asked] == [50, 600]
    assert words.shots({"tasks": 50}, of_waves) == "more"
    asked.clear()
    assert words.measured({"tasks": 600}, of_glyphs) == ("few", "more")
    assert [(n, later) for n, _slot, later in asked] == [(8, False), (50, True), (600, True)]
    assert len({slot for _n, slot, _later in asked}) == 3, "each look has its place: none lets go of another"
    del there[50]
    assert words.shots({"tasks": 600}, of_glyphs) == "few"
    there.clear()
    assert words.shots({"tasks": 600}, of_glyphs) is None
    assert words.measured({"tasks": 600}, of_waves) is None


def test_a_level_of_a_link_where_no_curve_comes_is_told(speed):
    page = speed(level="99")
    assert "**No curve comes to 99**, so the level stands at the nearest that can be chosen, " in text(page)


def test_a_few_tasks_are_a_first_look_and_no_verdict():
    assert first_words(8, 600) == "**A first look:** 8 tasks, too few to judge by; 600 follow."
    assert first_words(50, 600) == first_words(8, 8) == ""


def test_each_tab_has_its_own_explanation_and_formula(speed):
    page, seen = speed(), []
    for view in ("steps", "shots", "training"):
        control(page, "segmented_control", "Look at").set_value(view).run()
        settled(page)
        seen.append((page.markdown[-1].value, page.latex[0].value))
        assert len(page.latex) == 1
    assert len({words for words, _formula in seen}) == len({formula for _words, formula in seen}) == 3
    assert ["level" in words for words, _formula in seen] == [True, False, False]


@pytest.mark.parametrize(
    ("lost", "told"), [([0], "with 1 shot:"), ([0, 1], "with 1, 2 shots:"), ([1], "with 2 shots:")]
)
def test_who_diverges_is_told_with_the_shots_in_singular_and_plural(lost, told):
    values = np.ones((8, 3), np.float32)
    values[0, lost] = np.inf
    found = Shots("loss", "nats", 8, 5, (1, 2, 5), 5, (ShotCurve("MAML", ("maml", 2, 0), values),))
    assert f"**MAML** diverges on some tasks {told}" in words.shots_verdict(found)


def test_a_run_of_the_link_that_is_no_name_of_a_run_is_told(open_page):
    page = open_page("speed", tasks="50", view="training", run="no run")
    assert "run = 'no run' in the link" in settled(page).warning[0].value


def test_what_the_runs_of_a_link_cannot_do_is_told_once(open_page):
    page = settled(open_page("speed", tasks="50", view="training", run="nobody"))
    who = page.session_state["speed.state"]["who"]
    told = "run = 'nobody' in the link: expected one of the runs that are compared, " + ", ".join(who)
    assert page.warning[0].value.replace("\\", "") == f"{told}; the first is used."
    assert page.radio[0].value == who[0]
    page.radio[0].set_value(who[1]).run()
    assert not page.warning


def test_a_level_of_a_link_that_is_no_share_is_told():
    state, family = {"run": "", "level": 7.0}, Glyphs()
    told = words.fit(state, [SimpleNamespace(id="a", config=SimpleNamespace(family=family))])
    assert told == ["level = '7' in the link: expected a number from 0 to 1; the default is used."]
    assert state["level"] == 0
