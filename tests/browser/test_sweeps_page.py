"""Sweeps in a real browser: one that trains while it is watched, and a trial that is opened by a click on its line."""

import re

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

LINES = "() => document.querySelectorAll('.ml-stage .js-plotly-plot')[0]?.data?.length"
PLAN = "outer_steps=3&vary=algorithm.inner_lr%3D0.01,0.1|algorithm.inner_steps%3D1,2"


def test_the_example_is_there_at_once_also_on_a_phone(app, visitor):
    page = visitor(390, 844, color_scheme="dark")
    page.goto(f"{app}/sweeps")
    page.get_by_text(re.compile("Best of 1[12]")).wait_for()
    page.locator(".ml-stage .card").first.scroll_into_view_if_needed()  # a picture is drawn when it comes into view
    page.wait_for_function(f"() => ({LINES})() >= 11")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_a_sweep_trains_while_it_is_watched_and_a_clicked_trial_opens(app, visitor):
    page = visitor()
    page.goto(f"{app}/sweeps?{PLAN}")
    page.get_by_role("button", name="Start 4 runs").click()
    page.get_by_text("Finished: 4 of 4 trials are over").wait_for()
    page.locator(".ml-stage .card").first.scroll_into_view_if_needed()
    page.wait_for_function(f"() => ({LINES})() === 4")
    dot = page.locator(".ml-stage .js-plotly-plot").first.locator(".scatterlayer .trace").last.locator(".point").last
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 30, y + 30)
    page.mouse.move(x, y, steps=4)
    page.locator(".ml-stage .hoverlayer .hovertext").first.wait_for()  # plotly clicks what it hovers over
    page.mouse.click(x, y)
    page.get_by_role("button", name=re.compile("Open trial [1-4] on Train")).click()
    page.wait_for_url(re.compile(r"/train\?(.*&)?runs=\w+"))
    page.locator('.ml-badge[data-state="finished"]').wait_for()
