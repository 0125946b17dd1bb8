"""Library in a real browser: a row is ticked, two are compared, and the best start opens on Adapt."""

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser


def tick(page, row):
    """Tick a row of the table, which is drawn on a canvas."""
    box = page.locator("[data-testid='stDataFrame']").first.bounding_box()
    page.mouse.click(box["x"] + 17, box["y"] + 53 + 35 * row)


def test_ticked_runs_are_starred_and_compared(app, visitor):
    page = visitor()
    page.goto(f"{app}/library?of=sinusoid&q=example")
    page.locator("[data-testid='stDataFrame'] canvas").first.wait_for()
    tick(page, 0)
    star = page.get_by_role("button", name="Star (0)")
    star.click()
    page.get_by_role("button", name="Take my star back (1)").click()
    star.wait_for()
    tick(page, 1)
    page.get_by_text("How do they differ?").wait_for()
    page.wait_for_url("**who=*")
    page.wait_for_function("() => document.querySelector('.ml-stage .js-plotly-plot')?.data?.length >= 6")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 1440


def test_the_best_start_opens_on_adapt_with_its_task_on_a_phone(app, visitor):
    page = visitor(390, 844, color_scheme="dark")
    page.goto(f"{app}/library?view=start&task=7")
    page.get_by_text("Start from").wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Open the best on Adapt").click()
    page.wait_for_url("**/adapt**seed=7**")


def test_points_are_placed_on_a_phone_and_the_best_start_opens_on_adapt_with_them(app, visitor):
    page = visitor(390, 844, has_touch=True, is_mobile=True)
    page.goto(f"{app}/library?view=start&own=true&x=-2,0&y=1,-1")
    page.get_by_text("Start from").wait_for()
    page.get_by_role("button", name="Add point").click()
    page.wait_for_function("() => new URLSearchParams(location.search).get('x')?.split(',').length === 3")
    page.get_by_text("Start from").wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Open the best on Adapt").click()
    page.wait_for_url("**/adapt?**")
    page.get_by_text("3 of ", exact=False).first.wait_for()


def test_drawings_go_along_to_adapt_and_back_leads_to_them(app, visitor):
    page = visitor()
    page.goto(f"{app}/library?view=start&family=glyphs&own=true")
    for letter in "ABCDE":
        for number in (1, 2):
            box = page.get_by_label(f"class {letter}, example {number}. Strokes drawn: 0.").bounding_box()
            page.mouse.move(box["x"] + 20, box["y"] + 20)
            page.mouse.down()
            page.mouse.move(box["x"] + 30, box["y"] + 20 + 10 * "ABCDE".index(letter), steps=3)
            page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 40, steps=3)
            page.mouse.up()
            page.get_by_label(f"class {letter}, example {number}. Strokes drawn: 1.").wait_for()
    page.get_by_text("Start from").wait_for()
    page.get_by_role("button", name="Open the best on Adapt").click()
    page.wait_for_url("**/adapt?**shots=2**")
    page.get_by_label("class E, example 2. Strokes drawn: 1.").wait_for()
    page.go_back()
    page.wait_for_url("**/library?**view=start**")
    page.get_by_label("class E, example 2. Strokes drawn: 1.").wait_for()
    assert "mode=" not in page.url
