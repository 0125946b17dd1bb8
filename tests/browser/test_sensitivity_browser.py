"""The Sensitivity page in a real browser: the line stands in the map, and a click looks at another wave."""

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

PLOT = "document.querySelector('.ml-stage .js-plotly-plot')"


def open_page(page, app, link):
    page.goto(f"{app}/sensitivity?{link}")
    # A card below the fold is drawn once it is scrolled to, and what stands above it changes as results come.
    scrolled = "document.querySelector('.ml-stage .card')?.scrollIntoView()"
    page.wait_for_function(f"() => {{ {scrolled}; return {PLOT}?.data?.length > 0; }}", polling=300)


def test_the_divergence_line_stands_beside_the_training(app, visitor):
    page = visitor()
    open_page(page, app, "tasks=20&steps=5")
    named = f"(name) => {PLOT}.layout.shapes.find((shape) => shape.name === name)"
    page.wait_for_function(f"() => ({named})('2/λ')")
    trained = page.evaluate(f"() => ({named})('as trained')")
    assert (trained["x0"] + trained["x1"]) / 2 == pytest.approx(-2)
    assert -3 < page.evaluate(f"() => ({named})('2/λ').x0") < 0
    playwright.expect(page.get_by_text("Of all cells, 10 tasks chose")).to_be_visible()


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
