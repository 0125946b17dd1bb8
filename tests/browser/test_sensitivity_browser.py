"""The Sensitivity page in a real browser: the line stands in the map, and a click looks at another wave."""

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

PLOT = "document.querySelector('.ml-stage .js-plotly-plot')"


def open_page(page, app, link):
    page.goto(f"{app}/sensitivity?{link}")
    page.locator(".ml-stage .card").first.scroll_into_view_if_needed()
    page.wait_for_function(f"() => {PLOT}?.data?.length > 1")


def test_the_divergence_line_stands_beside_the_training(app, visitor):
    page = visitor()
    open_page(page, app, "tasks=20&steps=5")
    trained = page.evaluate(f"() => {PLOT}.data.find(({{ name }}) => name === 'as trained').x[0]")
    line = page.evaluate(f"() => {PLOT}.layout.shapes[1].x0")
    assert trained == pytest.approx(-2)
    assert -3 < line < 0
    playwright.expect(page.get_by_text("The best rate at test is")).to_be_visible()


def test_a_click_on_the_map_looks_at_the_wave_of_that_place(app, visitor):
    page = visitor()
    open_page(page, app, "view=away")
    box = page.locator(".ml-stage .js-plotly-plot .nsewdrag").first.bounding_box()
    page.mouse.click(box["x"] + 0.26 * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_for_function("() => new URLSearchParams(location.search).get('phase')?.startsWith('1.5')")
    page.wait_for_function(f"() => Math.abs({PLOT}.data[1].x[0] - Math.PI / 2) < 0.1")


def test_on_a_phone_nothing_scrolls_sideways(app, visitor):
    page = visitor(390, 844, color_scheme="dark", has_touch=True, is_mobile=True)
    open_page(page, app, "tasks=20&steps=5")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
