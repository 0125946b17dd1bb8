"""The Order page without a browser: its answer in words, what its controls change, what its link carries."""

import re
import time

import pytest


def control(page, kind, label):
    return next(widget for widget in getattr(page, kind) if widget.label == label)


def link_of(page):
    """What the link says beside which run."""
    return {name: value for name, value in page.query_params.items() if name != "who"}


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


def test_it_answers_from_an_example_run_and_its_link_is_bare(open_page):
    page = open_page("order", tasks="16")
    assert page.title[0].value == "Why second order?"
    said = wait_for(page, "as long as first order")
    assert said.startswith("At α = 0.01 and K = ")
    figures = re.search(r"cosine \*\*([-\d.]+) \(([-\d.]+) to ([-\d.]+)\)", said.replace("−", "-"))
    cosine, low, high = map(float, figures.groups())
    assert -1 <= low <= cosine <= high <= 1
    assert "between different tasks it is" in wait_for(page, "support and the query gradient of a task")
    assert link_of(page) == {"tasks": "16"}
    assert not page.warning
    assert not page.error


@pytest.mark.parametrize(
    ("link", "said"), [({"inner_lr": "0.05"}, "At α = 0.05 and"), ({"inner_steps": "3"}, "and K = 3")]
)
def test_a_link_sets_alpha_and_steps(open_page, link, said):
    page = open_page("order", tasks="16", over="inner_steps", **link)
    assert said in wait_for(page, "the first-order direction of a task has cosine")
    wait_for(page, "support and the query gradient of a task")  # the last: nothing goes on behind the test
    assert link_of(page) == {"tasks": "16", "over": "inner_steps", **link}


def test_a_slider_back_at_the_runs_own_leaves_the_link(open_page):
    page = open_page("order", tasks="16", inner_steps="2")
    steps = control(page, "slider", "Inner steps K")
    assert steps.value == 2
    steps.set_value(4).run()
    assert page.query_params["inner_steps"] == "4"
    control(page, "select_slider", "Inner learning rate α").set_value(0.1).run()
    assert link_of(page) == {"tasks": "16", "inner_steps": "4", "inner_lr": "0.1"}
    control(page, "slider", "Inner steps K").set_value(1).run()
    control(page, "select_slider", "Inner learning rate α").set_value(0.01).run()
    assert link_of(page) == {"tasks": "16"}


def test_what_a_link_asks_in_vain_is_said(open_page):
    page = open_page("order", inner_lr="-3", tasks="7")
    (warning,) = page.warning
    assert "a number from 0 to 2" in warning.value
    assert "one of 16, 32, 64, 128" in warning.value
