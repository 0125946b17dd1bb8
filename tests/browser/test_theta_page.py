"""What theta is doing, in a real browser: each view draws its pictures, and freezing a layer draws another curve."""

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

DRAWN = (
    """(n) => [...document.querySelectorAll('.ml-stage .plot')].filter((plot) => plot.data?.length > 0).length >= n"""
)


def test_each_view_draws_its_pictures_and_freezing_shows(app, visitor):
    page = visitor(height=2400)
    page.goto(f"{app}/theta?tasks=8")
    page.wait_for_function(DRAWN, arg=2)
    page.get_by_role("radio", name="Layers").click()
    page.get_by_text("Which layers have to adapt?").wait_for()
    page.wait_for_function(DRAWN, arg=4)
    page.get_by_role("toolbar", name="Frozen layers").get_by_text("1", exact=True).click()
    page.get_by_text("Frozen: layer 1;").wait_for()
    page.wait_for_function("() => location.search.includes('frozen=1')")
    page.get_by_role("radio", name="Landscape").click()
    page.get_by_text("Where does task 1 lead?").wait_for()
    page.wait_for_function(
        "() => document.querySelector('.ml-stage .plot')?.data?.some(({ type }) => type === 'contour')"
    )
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_on_a_phone_nothing_scrolls_sideways(app, visitor):
    page = visitor(width=390, height=844)
    page.goto(f"{app}/theta?tasks=8&view=layers")
    page.get_by_text("Which layers have to adapt?").wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
