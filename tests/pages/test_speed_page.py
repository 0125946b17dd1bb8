"""The Speed page without a browser: its example runs are compared at once, and its link carries what was chosen."""

import re
import time

import pytest

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
    assert "Over these 50 tasks the difference is real (95 % interval" in text(page)
    assert not page.warning
    control(page, "segmented_control", "Against").set_value("seconds").run()
    assert "milliseconds less than" in text(settled(page))
    assert page.query_params["cost"] == "seconds"


def test_who_is_alone_reaches_the_level_of_the_link_without_a_comparison(speed):
    page = speed(level="2.5")
    control(page, "multiselect", "Runs").set_value(control(page, "multiselect", "Runs").value[:1]).run()
    assert re.search(r"\*\*MAML reaches 2.5 after 0\.\d+ inner steps\*\* \(95 % interval", text(settled(page)))


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
