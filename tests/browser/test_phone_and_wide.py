"""Every page at its narrowest: nothing scrolls sideways, and the first picture is not far below the controls."""

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

PAGES = (
    "", "train", "adapt", "classroom", "speed", "sweeps", "library", "embeddings", "theta", "order", "sensitivity",
    "decision", "lab", "adapt?family=glyphs",
)  # fmt: skip
PUTS_EXAMPLES = ("speed", "embeddings?family=glyphs")
"""Pages that put example runs into an empty home."""
SETTLED = """() => document.querySelector('[data-testid=stMain] h1')
  && document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'"""
WIDTHS = """() => {
  const [main, whole] = [document.querySelector('[data-testid=stMain]'), document.documentElement];
  return [main, whole].map((node) => node.scrollWidth - node.clientWidth);
}"""
NEAR = """() => document.querySelector('.ml-stage .js-plotly-plot')
  && document.querySelector('.ml-stage .plot').getBoundingClientRect().top < innerHeight"""


def go_to(page, address):
    page.goto(address)
    page.wait_for_function(SETTLED)


def test_no_page_of_an_empty_home_scrolls_sideways_on_a_phone(unvisited_app, visitor):
    page = visitor(390, 844)
    for name in (*PUTS_EXAMPLES, *PAGES):
        go_to(page, f"{unvisited_app}/{name}")
        fold = page.locator(".ml-fold summary")
        if fold.count():
            fold.click()
            page.locator("[class*=st-key-fold-]").first.wait_for()
        assert page.evaluate(WIDTHS) == [0, 0], name


def test_on_a_phone_menus_and_controls_wait_behind_one_button(app, visitor):
    page = visitor(390, 844, has_touch=True, is_mobile=True)
    go_to(page, f"{app}/speed")
    page.wait_for_function(NEAR)
    slider = page.get_by_role("slider", name="Inner steps")
    playwright.expect(slider).to_be_hidden()
    playwright.expect(page.locator(".modebar-btn")).to_have_count(0)
    page.locator(".ml-fold summary").click()
    playwright.expect(slider).to_be_visible()
    page.get_by_text("Logarithmic losses").click()
    page.wait_for_url("**log=*")
    playwright.expect(slider).to_be_visible()


def test_where_there_is_room_the_controls_stand_open_without_a_button(app, visitor):
    page = visitor()
    go_to(page, f"{app}/speed")
    playwright.expect(page.get_by_role("slider", name="Inner steps")).to_be_visible()
    playwright.expect(page.locator(".ml-fold summary")).to_be_hidden()
