"""Home and Train in a real browser, on runs that really train."""

import re

import pytest
from settling import settled

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser
playwright.expect.set_options(timeout=45_000)

LAST_STEP = """() => {
  const plot = document.querySelector('.ml-learning .ml-plot');
  if (!plot || !plot.data) return -1;
  return Math.max(-1, ...plot.data.flatMap((trace) => (trace.x.length ? [trace.x[trace.x.length - 1]] : [])));
}"""
ZOOM = "() => document.querySelector('.ml-learning .ml-plot').layout.xaxis.range"


def wait_for_step(page, step):
    """Wait until the learning curve reaches outer step `step`; the step it is at."""
    page.wait_for_function(f"() => ({LAST_STEP})() >= {step}")
    return page.evaluate(LAST_STEP)


def start_on_train(page):
    page.locator(".st-key-train-start button:visible").click()
    page.wait_for_url("**runs=*")


def run_badge(page, state):
    return page.locator(f'.ml-badge[data-state="{state}"]')


def command(page, name):
    return page.locator(f'.ml-button[data-command="{name}"]')


def test_from_the_home_preset_to_a_moving_curve_then_pause_and_resume(app, visitor):
    page = visitor()
    page.goto(app)
    page.locator(".st-key-preset-sine-waves button:visible").click()
    page.wait_for_url(re.compile(r"/train\?runs=\w+$"))
    seen = wait_for_step(page, 1)
    assert wait_for_step(page, seen + 100) > seen
    command(page, "pause").click()
    run_badge(page, "paused").wait_for()
    held = settled(page, LAST_STEP)
    command(page, "resume").click()
    assert wait_for_step(page, held + 50) > held
    command(page, "stop").click()
    run_badge(page, "stopped").wait_for()


def test_a_deep_link_with_settings_as_the_servers_very_first_request(unvisited_app, visitor):
    page = visitor()
    page.goto(f"{unvisited_app}/train?algorithm=reptile&algorithm.inner_lr=0.037&seed=3&outer_lr=quick")
    alert = page.get_by_test_id("stAlert").first
    playwright.expect(alert).to_contain_text("outer_lr = 'quick' in the link: expected a number from 0.00001 to 1")
    playwright.expect(page.get_by_role("slider", name="Inner learning rate α")).to_have_attribute(
        "aria-valuetext", "0.037"
    )
    page.wait_for_function("() => !location.search.includes('quick')")
    assert "algorithm=reptile" in page.url
    assert "algorithm.inner_lr=0.037" in page.url
    assert "seed=3" in page.url


def test_zoom_is_kept_while_data_streams_and_rates_change_while_it_runs(app, visitor):
    page = visitor()
    page.goto(f"{app}/train?outer_steps=20000")
    start_on_train(page)
    seen = wait_for_step(page, 20)
    page.evaluate("() => Plotly.relayout(document.querySelector('.ml-learning .ml-plot'), {'xaxis.range': [3, 11]})")
    wait_for_step(page, seen + 50)
    assert page.evaluate(ZOOM) == [3, 11]
    rate = page.locator(".st-key-live-rates").get_by_role("slider", name="Inner learning rate α")
    rate.focus()
    rate.press("ArrowRight")
    page.get_by_text("is 0.015 from the next outer step on").wait_for()
    step = page.evaluate(LAST_STEP)
    wait_for_step(page, step + 20)
    assert page.evaluate(ZOOM) == [3, 11]
    command(page, "stop").click()
    run_badge(page, "stopped").wait_for()


def test_a_saved_chart_carries_its_title_and_its_key(app, visitor):
    page = visitor(accept_downloads=True)
    page.goto(f"{app}/train?outer_steps=20")
    start_on_train(page)
    run_badge(page, "finished").wait_for()
    page.wait_for_function("() => document.querySelector('.ml-learning .ml-plot')?.data?.length > 2")
    with page.expect_download() as waiting:
        page.locator(".ml-learning").get_by_role("button", name="Download as a drawing").click()
    drawing = waiting.value.path().read_text(encoding="utf-8")
    assert "Is it learning?" in drawing
    assert "held-out, after adaptation" in drawing


def test_another_visitor_follows_by_the_link_without_controls(app, visitor):
    mine, theirs = visitor(), visitor()
    mine.goto(f"{app}/train?outer_steps=20000")
    start_on_train(mine)
    theirs.goto(mine.url)
    wait_for_step(theirs, 20)
    playwright.expect(command(theirs, "pause")).not_to_be_enabled()
    assert theirs.locator(".st-key-live-rates").count() == 0
    command(mine, "reset").click()
    mine.wait_for_url(lambda url: "runs=" in url and url != theirs.url)
    wait_for_step(mine, 1)
    command(mine, "stop").click()
    run_badge(mine, "stopped").wait_for()


@pytest.mark.parametrize("path", ["/", "/train"])
def test_a_phone_scrolls_up_and_down_only(app, visitor, path):
    page = visitor(390, 844, has_touch=True)
    page.goto(f"{app}{path}")
    page.get_by_role("button", name="Start").first.wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    # A formula has a copy for screen readers, which nobody sees and which is as wide as it likes.
    widest = page.evaluate(
        "() => Math.max(...[...document.querySelectorAll('.stMainBlockContainer *')]"
        ".filter((node) => node.getBoundingClientRect().width > 0 && !node.closest('svg, math'))"
        ".map((node) => node.getBoundingClientRect().right))"
    )
    assert widest <= 391


def test_less_motion_shows_a_still_picture_that_can_be_played(app, visitor):
    page = visitor(reduced_motion="reduce")
    page.goto(app)
    play = page.get_by_role("button", name="Play")
    theta = page.locator(".ml-theta")
    before = theta.get_attribute("cy")
    page.wait_for_timeout(600)
    assert theta.get_attribute("cy") == before
    play.click()
    page.wait_for_function(f"() => document.querySelector('.ml-theta').getAttribute('cy') !== '{before}'")
