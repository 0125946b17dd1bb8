"""The app itself in a real browser: its first request, its navigation, its identity."""

import re

import pytest
from settling import settled

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser


def identity(page):
    """The cookie by which the server knows this browser."""
    return next(cookie for cookie in page.context.cookies() if cookie["name"].startswith("metalab_user_"))


def test_a_deep_link_as_the_very_first_request_then_navigation(unvisited_app, visitor):
    page = visitor()
    page.goto(f"{unvisited_app}/train")
    links = page.get_by_test_id("stTopNavLink")
    pages = [re.compile(name) for name in ("Home", "Train", "Adapt")]
    playwright.expect(links).to_have_text(pages, timeout=30000)
    playwright.expect(links.nth(1)).to_have_attribute("aria-current", "page")
    assert page.url.startswith(f"{unvisited_app}/train")
    cookie = identity(page)
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    links.nth(2).click()
    page.wait_for_url(re.compile(f"{unvisited_app}/adapt"))
    links.nth(0).click()
    page.wait_for_url(re.compile(rf"{unvisited_app}/(\?.*)?$"))
    assert identity(page)["value"] == cookie["value"]


COLOURS = """(node) => {
  const pen = document.createElement("canvas").getContext("2d");
  const parts = (colour) => {
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  return [getComputedStyle(node.querySelector("p")).color, getComputedStyle(node).backgroundColor].map(parts);
}"""


def contrast(colours):
    """Of two colours of 0 to 255 each, as WCAG 2 defines it."""
    linear = [
        [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (p / 255 for p in rgb)] for rgb in colours
    ]
    light, dark = sorted((0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_words_on_a_primary_button_can_be_read(app, visitor, scheme):
    page = visitor(color_scheme=scheme)
    page.goto(app)
    button = page.locator("[class*=st-key-start-] button:visible").first
    button.wait_for()
    assert contrast(button.evaluate(COLOURS)) >= 4.5
    button.hover()
    page.wait_for_timeout(500)
    assert contrast(button.evaluate(COLOURS)) >= 4.5


def test_back_leads_to_the_page_before_with_what_it_showed(app, visitor):
    page = visitor()
    page.goto(f"{app}/train?outer_steps=20&seed=5")
    page.locator(".st-key-train-start button:visible").click()
    page.wait_for_url("**runs=*")
    run = page.locator(".ml-run")
    playwright.expect(run).to_have_count(1)
    shown = settled(page, "location.href")
    page.get_by_test_id("stTopNavLink").nth(2).click()
    page.wait_for_url("**/adapt?who=*")
    page.go_back()
    page.wait_for_url(shown)
    playwright.expect(run).to_have_count(1)
    page.go_forward()
    page.wait_for_url("**/adapt?who=*")
