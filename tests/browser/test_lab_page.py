"""The Lab in a real browser: what is dragged moves the fixed points, with mouse, finger and keyboard."""

import csv
import json

import pytest
from settling import settled

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

PLACES = """() => Object.fromEntries(document.querySelector('.ml-lab .plot').data
  .filter(({ name }) => name.endsWith(', engine') || name.endsWith(', formula'))
  .map(({ name, x, y }) => [name, [x[0], y[0]]]))"""


def open_lab(page, app, link=""):
    page.goto(f"{app}/lab{link}")
    page.locator(".ml-lab[data-drawn]").wait_for()
    page.wait_for_function("() => document.querySelector('.ml-lab .plot').data?.length > 10")
    return page.evaluate(PLACES)


def wait_for_link(page, pattern):
    page.wait_for_function("(said) => new RegExp(said).test(decodeURIComponent(location.search))", arg=pattern)


def wait_until_moved(page, before, name="MAML, engine"):
    page.wait_for_function(
        "([name, old]) => { const trace = document.querySelector('.ml-lab .plot').data"
        ".find((one) => one.name === name); return trace.x[0] !== old[0] || trace.y[0] !== old[1]; }",
        arg=[name, before[name]],
    )
    return page.evaluate(PLACES)


def settled_after(page, before):
    """Where the fixed points come to rest once they have left `before`, and the link with them."""
    wait_until_moved(page, before)
    settled(page, "location.href")
    return settled(page, PLACES)


def middle(page, handle):
    box = page.locator(f".ml-lab [data-id='{handle}'] .reach").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, handle, dx, dy):
    x, y = middle(page, handle)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=5)
    page.mouse.up()


def same(places):
    return all(
        places[name] == pytest.approx(places[name.replace("engine", "formula")], abs=1e-6)
        for name in places
        if name.endswith("engine")
    )


def test_a_dragged_optimum_moves_every_fixed_point_and_ends_up_in_the_link(app, visitor):
    page = visitor()
    before = open_lab(page, app)
    assert len(before) == 10
    assert same(before)
    drag(page, "optimum-1", -80, -60)
    wait_for_link(page, r"[?&]x=-2\.2,[\d.]+,0\.6")
    after = settled_after(page, before)
    assert same(after)
    assert all(after[name] != before[name] for name in before)
    page.reload()
    page.locator(".ml-lab[data-drawn]").wait_for()
    page.wait_for_function("() => document.querySelector('.ml-lab .plot').data?.length > 10")
    assert page.evaluate(PLACES) == after


def test_a_bowl_is_stretched_and_the_start_is_moved(app, visitor):
    page = visitor()
    before = open_lab(page, app)
    drag(page, "axis-0", 30, 10)
    wait_for_link(page, r"[?&]first=(?!3,)[\d.]+,0\.5,1\.2")
    after = settled_after(page, before)
    assert same(after)
    drag(page, "start", 120, 60)
    wait_for_link(page, r"[?&]theta=-[12]")
    page.wait_for_function(
        "() => document.querySelector('.ml-lab .plot').data.find(({ name }) => name === 'MAML, outer loop').x[0] > -2.9"
    )
    assert page.evaluate(PLACES) == after


def test_every_handle_can_be_reached_and_moved_with_the_keyboard(app, visitor):
    page = visitor()
    before = open_lab(page, app)
    page.locator(".ml-lab [data-id='optimum-1']").focus()
    page.keyboard.press("Shift+ArrowLeft")
    wait_for_link(page, r"[?&]x=-2\.2,1\.8,0\.6")
    after = wait_until_moved(page, before)
    page.keyboard.press("Tab")  # to the axes of the task that has the focus
    page.keyboard.press("ArrowUp")
    wait_for_link(page, r"[?&]first=3,0\.475,1\.2")
    assert same(wait_until_moved(page, after))
    assert "Task 2" in page.locator(".ml-lab .told").text_content()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert "Task 3" in page.locator(".ml-lab .told").text_content()


def test_a_dial_beyond_the_limit_shows_the_divergence(app, visitor):
    page = visitor()
    open_lab(page, app, "?inner_lr=0.6")
    assert page.locator(".ml-lab .rim.diverging").count() == 0
    page.locator("#dial-inner_lr").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.locator(".ml-lab .rim.diverging").wait_for()
    playwright.expect(page.get_by_text("is not below")).to_be_visible()
    page.wait_for_function(
        "() => document.querySelector('.ml-lab .plot').data.some(({ name }) => name === 'task 1, inner loop')"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_a_finger_drags_and_nothing_scrolls_sideways(app, visitor, scheme):
    page = visitor(390, 844, color_scheme=scheme, has_touch=True, is_mobile=True)
    before = open_lab(page, app)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    for part in (".ml-lab", ".ml-lab .frame", ".st-key-lab-table table", ".ml-lab .over"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 391
    page.locator(".ml-lab .frame").scroll_into_view_if_needed()
    x, y = middle(page, "optimum-0")
    finger = page.context.new_cdp_session(page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for n in range(1, 6):
        point = {"x": x + 10 * n, "y": y - 8 * n}
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert same(wait_until_moved(page, before))


def test_the_map_can_be_taken_home(app, visitor):
    page = visitor(accept_downloads=True)
    places = open_lab(page, app)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the numbers").click()
    header, *rows = csv.reader(waiting.value.path().read_text(encoding="utf-8").splitlines())
    assert header == ["series", "theta_1", "theta_2"]
    told = {row[0]: [float(row[1]), float(row[2])] for row in rows if row[0] in places}
    assert told == places
    assert len([row for row in rows if row[0] == "MAML, outer loop"]) == 401
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download as a picture").click()
    assert waiting.value.path().read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download as a drawing").click()
    drawing = waiting.value.path().read_text(encoding="utf-8")
    assert "<svg" in drawing[:500]
    assert "fixed point by formula" in drawing
    assert "outer loop" in drawing
    page.get_by_role("button", name="Take it home").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Settings as JSON").click()
    settings = json.loads(waiting.value.path().read_text(encoding="utf-8"))
    assert (settings["x"], settings["inner_steps"]) == ([-2.2, 2.3, 0.6], 3)


def test_a_dial_says_what_it_is_for_to_a_finger_and_to_a_keyboard(app, visitor):
    page = visitor(390, 844, has_touch=True, is_mobile=True)
    open_lab(page, app)
    marks = page.locator(".dial .help")
    assert marks.count() == 4
    told = page.get_by_text("How far one inner step moves")
    assert not told.is_visible()
    marks.first.tap()
    told.wait_for()
    box = told.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.keyboard.press("Escape")
    told.wait_for(state="hidden")
