"""The app itself in a real browser: its first request, its navigation, its identity."""

import re

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser


def identity(page):
    """The cookie by which the server knows this browser."""
    return next(cookie for cookie in page.context.cookies() if cookie["name"] == "metalab_user")


def test_a_deep_link_as_the_very_first_request_then_navigation(unvisited_app, visitor):
    page = visitor()
    page.goto(f"{unvisited_app}/train")
    links = page.get_by_test_id("stTopNavLink")
    playwright.expect(links).to_have_text([re.compile("Home"), re.compile("Train"), re.compile("Adapt")], timeout=30000)
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


def test_back_leads_to_the_page_before_with_what_it_showed(app, visitor):
    page = visitor()
    page.goto(f"{app}/train?outer_steps=20&seed=5")
    page.locator(".st-key-train-start button").click()
    page.wait_for_url("**runs=*")
    run = page.locator(".ml-run")
    playwright.expect(run).to_have_count(1)
    shown = page.url
    page.get_by_test_id("stTopNavLink").nth(2).click()
    page.wait_for_url("**/adapt?who=*")
    page.go_back()
    page.wait_for_url(shown)
    playwright.expect(run).to_have_count(1)
    page.go_forward()
    page.wait_for_url("**/adapt?who=*")
