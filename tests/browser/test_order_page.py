"""Why second order, in a real browser: the pictures are drawn, and a slider moves what is looked at."""

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

DRAWN = (
    """(n) => [...document.querySelectorAll('.ml-stage .plot')].filter((plot) => plot.data?.length > 0).length >= n"""
)


def test_seven_pictures_are_drawn_and_the_mark_follows_the_slider(app, visitor):
    page = visitor(height=3000)
    page.goto(f"{app}/order?tasks=16")
    page.wait_for_function(DRAWN, arg=7)
    marks = "() => document.querySelector('.ml-stage .plot')?.layout?.shapes[0].x0"
    before = page.evaluate(marks)
    page.get_by_role("slider", name="Inner learning rate α").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"(old) => ({marks})() > old", arg=before)
    page.wait_for_function("() => location.search.includes('inner_lr=')")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_on_a_phone_nothing_scrolls_sideways(app, visitor):
    page = visitor(width=390, height=844)
    page.goto(f"{app}/order?tasks=16")
    page.get_by_text("Do they point the same way?").wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
