"""Decision in a real browser: a click on a query image explains that one."""

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

PLACE = """(i) => { const plot = document.querySelector('[data-name=queries] .plot'), { x, y } = plot.data[1];
  const { xaxis, yaxis } = plot._fullLayout;
  return [xaxis.l2p(x[i]) + xaxis._offset, yaxis.l2p(y[i]) + yaxis._offset]; }"""


def open_decision(page, app, link=""):
    page.goto(f"{app}/decision{link}")
    page.locator("[data-name=queries]").scroll_into_view_if_needed()
    page.locator("[data-name=queries] .plot .main-svg").first.wait_for()


def test_a_click_on_an_image_explains_that_one(app, visitor):
    page = visitor(1440, 1300)
    open_decision(page, app)
    box = page.locator("[data-name=queries] .plot").bounding_box()
    x, y = page.evaluate(PLACE, 7)
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.click(box["x"] + x, box["y"] + y)
    page.wait_for_function("() => location.search.includes('query=7')")
    playwright.expect(page.get_by_text("image 8 is explained")).to_be_visible()
    page.locator("[data-name=pixels] .plot .main-svg").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_scrolls_sideways(app, visitor, scheme):
    page = visitor(390, 844, color_scheme=scheme, has_touch=True, is_mobile=True)
    open_decision(page, app, "?query=2")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
