"""The Speed page in a real browser: a dragged level moves its line, and a cell of the training opens Adapt."""

import csv

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

LEVEL = "() => document.querySelector('.ml-stage .js-plotly-plot').layout.shapes[0].y0"
NAMES = "() => document.querySelector('.ml-stage .js-plotly-plot').data.map(({ name }) => name)"


def open_speed(page, app, link=""):
    page.goto(f"{app}/speed?tasks=50{link}")
    page.wait_for_function("() => document.querySelector('.ml-stage .js-plotly-plot')?.data?.length > 1")


def test_a_dragged_level_moves_the_line_and_the_verdict_and_ends_up_in_the_link(app, visitor):
    page = visitor()
    open_speed(page, app, "&level=2")
    assert page.evaluate(LEVEL) == 2
    assert {"MAML", "Reptile", "MAML reaches the level"} <= set(page.evaluate(NAMES))
    page.locator("#dial-level").focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    level = page.locator("#dial-level").evaluate("(dial) => dial.getAttribute('aria-valuetext')")
    assert float(level) < 1.95
    playwright.expect(page.get_by_text(f"to reach {level} it needs")).to_be_visible()
    page.wait_for_function(f"() => ({LEVEL})() === {level}")
    page.wait_for_function(f"() => Number(new URLSearchParams(location.search).get('level')) === {level}")


def test_a_cell_of_the_training_opens_adapt_at_its_checkpoint(app, visitor):
    page = visitor()
    open_speed(page, app, "&view=training")
    box = page.locator(".ml-stage .js-plotly-plot .nsewdrag").first.bounding_box()
    page.mouse.click(box["x"] + 0.99 * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_for_url("**/adapt?*who=*")
    playwright.expect(page.get_by_role("heading", name="Can it learn your task?")).to_be_visible()


def test_on_a_phone_nothing_scrolls_sideways(app, visitor):
    page = visitor(390, 844, color_scheme="dark", has_touch=True, is_mobile=True)
    page.goto(f"{app}/speed?tasks=50")
    page.locator(".ml-stage .card").first.scroll_into_view_if_needed()
    page.locator(".ml-stage .js-plotly-plot .main-svg").first.wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert page.locator("#dial-level").bounding_box()["width"] > 300
    for box in [card.bounding_box() for card in page.locator(".ml-stage .js-plotly-plot").all()]:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 391


def test_a_saved_drawing_tells_what_its_marks_mean(app, visitor):
    page = visitor()
    open_speed(page, app)
    with page.expect_download() as waiting:
        page.locator(".ml-stage .card").first.locator("button", has_text="SVG").click()
    saved = waiting.value.path().read_text(encoding="utf-8")
    assert "How good is it, and when?" in saved
    assert "first at the level, with its 95% interval" in saved
    with page.expect_download() as waiting:
        page.locator(".ml-stage [data-name='areas'] button", has_text="CSV").click()
    header, *rows = csv.reader(waiting.value.path().read_text(encoding="utf-8").splitlines())
    assert header == ["series", "loss", "row", "loss_low", "loss_high"]
    assert len(rows) >= 3
    for _name, value, _row, low, high in rows:
        assert float(low) < float(value) < float(high)
