"""The two canvases in a real Chromium, with mouse, finger and keyboard."""

import itertools
import json
import time

import pytest
from serving import ROOT, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

SCRIPT = """
import json
import time
import streamlit as st
from metalab.ui.canvas.characters import character_canvas, current_drawings
from metalab.ui.canvas.points import current_points, points_canvas
from metalab.ui.canvas.strokes import rasterise

st.set_page_config(layout="wide")
revision = st.session_state.setdefault("revision", 0)
if st.button("New task"):
    revision = st.session_state.revision = revision + 1
start = [(-2.0, 1.0), (2.0, -1.0)] if revision else []

if st.query_params.get("canvas") == "points":
    time.sleep(float(st.query_params.get("slow", 0)))
    points = current_points("plot", start, revision=revision)
    level = sum(y for _x, y in points) / max(len(points), 1)
    curves = [{"y": [level] * 50, "label": "mean of the points", "colour": "#0072B2"}]
    shown = points_canvas(start, key="plot", revision=revision, curves=curves)
    result = {"points": shown, "same": shown == points}
else:
    ways, shots = int(st.query_params["ways"]), int(st.query_params["shots"])
    drawings = current_drawings("pads", ways, shots, revision=revision)
    image = lambda drawing: rasterise(drawing) * 255 if drawing else None
    known = drawings.ready and drawings.query
    character_canvas(
        ways, shots, key="pads", revision=revision,
        support_previews=[[image(pad) for pad in row] for row in drawings.support],
        query_preview=image(drawings.query),
        probabilities=[0.7] + [0.3 / (ways - 1)] * (ways - 1) if known else None,
    )
    ink = lambda drawing: round(float(rasterise(drawing).mean()), 4)
    result = {
        "support": [[ink(pad) for pad in row] for row in drawings.support],
        "strokes": [[len(pad) for pad in row] for row in drawings.support],
        "query": ink(drawings.query), "query_strokes": len(drawings.query),
    }
st.text(json.dumps(result))
"""

CROSS = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("canvas")
    script = folder / "canvases.py"
    script.write_text(SCRIPT, encoding="utf-8")
    with serving(script, folder, {"PYTHONPATH": str(ROOT), "METALAB_HOME": str(folder / "home")}) as started:
        started.wait("/_stcore/health")
        yield started.url


@pytest.fixture
def visit(server, chromium):
    """Opens the script in a new context; at the end the page must have had no console errors."""
    contexts, errors = [], []

    def open_page(query, ready, *, width=1200, height=900, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{server}/?{query}")
        page.wait_for_selector(ready, timeout=30_000)
        page.wait_for_selector("[data-testid=stText]", timeout=30_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def result(page):
    return json.loads(page.locator("[data-testid=stText]").inner_text())


def until(page, wanted, seconds=10.0):
    """Python's result as soon as it satisfies `wanted`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = result(page)
        if wanted(found):
            return found
        page.wait_for_timeout(50)
    raise AssertionError(f"Python still says {result(page)}")


class Plot:
    """The points canvas as a hand sees it: places are the plot's own coordinates."""

    def __init__(self, page):
        self.page = page
        self.box = page.locator(".plot .paper").bounding_box()

    def at(self, x, y):
        box = self.box
        return box["x"] + (x + 5) / 10 * box["width"], box["y"] + (6 - y) / 12 * box["height"]

    def click(self, x, y, **options):
        self.page.mouse.click(*self.at(x, y), **options)

    def points(self, number):
        return until(self.page, lambda found: len(found["points"]) == number)["points"]


@pytest.fixture
def plot(visit):
    return Plot(visit("canvas=points", ".plot .paper"))


def test_a_click_places_a_point_where_it_was(plot):
    plot.click(-3, 2)
    plot.click(1.5, -4)
    found = plot.points(2)
    assert found == [pytest.approx([-3, 2], abs=0.02), pytest.approx([1.5, -4], abs=0.02)]
    assert until(plot.page, lambda found: found["same"])


def test_dragging_moves_a_point_and_the_curve_follows_meanwhile(plot):
    page = plot.page
    plot.click(0, 0)
    plot.points(1)
    before = page.locator(".curve").get_attribute("d")
    page.mouse.move(*plot.at(0, 0))
    page.mouse.down()
    page.mouse.move(*plot.at(2, 3), steps=10)
    live = until(page, lambda found: found["points"][0][1] > 2.9)
    assert live["points"] == [pytest.approx([2, 3], abs=0.03)]
    sync_api.expect(page.locator(".curve")).not_to_have_attribute("d", before)
    assert page.locator(".mark.held").count() == 1, "the redraw lost the drag"
    page.mouse.move(*plot.at(-4, -5), steps=5)
    page.mouse.up()
    until(page, lambda found: found["points"][0] == pytest.approx([-4, -5], abs=0.03))
    page.get_by_role("button", name="Undo").click()
    until(page, lambda found: found["points"][0] == pytest.approx([0, 0], abs=0.03))


def test_a_slow_script_is_not_restarted_by_each_movement(visit):
    plot = Plot(visit("canvas=points&slow=0.4", ".plot .paper"))
    plot.click(0, 0)
    plot.points(1)
    plot.page.mouse.move(*plot.at(0, 0))
    plot.page.mouse.down()
    seen = set()
    end = time.monotonic() + 2.5
    step = 0
    while time.monotonic() < end:
        step += 1
        plot.page.mouse.move(*plot.at(3 * (step % 20) / 20, 2))
        plot.page.wait_for_timeout(30)
        seen.add(str(result(plot.page)))
    plot.page.mouse.up()
    assert len(seen) >= 3, "no run of the script finished while the point moved"


def test_points_go_by_double_click_right_click_button_and_clear(plot):
    page = plot.page
    for x in (-4, -2, 0, 2, 4):
        plot.click(x, 1)
    plot.points(5)
    page.wait_for_timeout(700)  # a double click right after placing is meant for the plot
    page.mouse.dblclick(*plot.at(-4, 1))
    plot.points(4)
    plot.click(-2, 1, button="right")
    plot.points(3)
    plot.click(0, 1)
    page.get_by_role("button", name="Remove point").click()
    assert [x for x, _y in plot.points(2)] == pytest.approx([2, 4], abs=0.03)
    page.get_by_role("button", name="Clear").click()
    plot.points(0)
    page.get_by_role("button", name="Undo").click()
    plot.points(2)


def test_the_keyboard_alone_places_moves_and_removes(plot):
    page = plot.page
    page.get_by_role("button", name="Add point").focus()
    page.keyboard.press("Enter")
    assert plot.points(1) == [[0, 0]]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    assert until(page, lambda found: found["points"] == [[0.1, 1.2]])
    assert page.get_by_role("button", name="Point 1: x 0.10, y 1.20").count() == 1
    page.keyboard.press("Delete")
    plot.points(0)


def test_python_replaces_the_points_with_a_new_revision(plot):
    plot.click(0, 0)
    plot.points(1)
    plot.page.get_by_role("button", name="New task").click()
    assert plot.points(2) == [[-2, 1], [2, -1]]
    assert plot.page.locator(".mark").count() == 2
    plot.click(0, 3)
    assert plot.points(3)[2] == pytest.approx([0, 3], abs=0.03)


def test_a_finger_taps_drags_and_still_scrolls_the_page(visit):
    page = visit("canvas=points", ".plot .paper", width=390, height=500, has_touch=True, is_mobile=True)
    plot = Plot(page)
    page.touchscreen.tap(*plot.at(-3, 2))
    page.touchscreen.tap(*plot.at(2, -2))
    assert plot.points(2) == [pytest.approx([-3, 2], abs=0.06), pytest.approx([2, -2], abs=0.06)]
    finger(page, [plot.at(-3, 2), plot.at(-2, 3), plot.at(-1, 4)])
    until(page, lambda found: found["points"][0] == pytest.approx([-1, 4], abs=0.1))
    assert scrolled(page) == 0
    assert no_sideways_scroll(page)
    finger(page, [plot.at(4, -2), plot.at(4, 2), plot.at(4, 5)])
    assert scrolled(page) > 0
    assert len(result(page)["points"]) == 2


def finger(page, places):
    session = page.context.new_cdp_session(page)

    def touch(kind, *place):
        points = [{"x": place[0], "y": place[1]}] if place else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", *places[0])
    for (x0, y0), (x1, y1) in itertools.pairwise(places):
        for n in range(1, 6):
            touch("touchMove", x0 + (x1 - x0) * n / 5, y0 + (y1 - y0) * n / 5)
            page.wait_for_timeout(15)
    touch("touchEnd")


def scrolled(page):
    return page.locator("[data-testid=stMain]").evaluate("node => node.scrollTop + window.scrollY")


def no_sideways_scroll(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def on_pad(pad, stroke):
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]


def draw(page, pad, strokes):
    for stroke in strokes:
        places = on_pad(pad, stroke)
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=6)
        page.mouse.up()


def test_drawing_on_every_pad_gives_ink_and_a_prediction(visit):
    page = visit("canvas=characters&ways=3&shots=2", ".query .ink")
    sync_api.expect(page.locator(".say")).to_have_text("Draw one example of each class first.")
    for way in range(3):
        for shot in range(2):
            draw(page, page.locator(".card").nth(way).locator(".ink").nth(shot), CROSS)
    found = until(page, lambda found: found["strokes"] == [[2, 2]] * 3)
    assert all(0.05 < ink < 0.12 for row in found["support"] for ink in row)
    assert found["query"] == 0
    sync_api.expect(page.locator(".say")).to_contain_text("Now draw a query")
    assert page.locator(".card .preview:not(.blank)").count() == 6
    draw(page, page.locator(".query .ink"), CROSS)
    assert until(page, lambda found: found["query_strokes"] == 2)["query"] > 0.05
    sync_api.expect(page.locator(".percent")).to_have_text(["70%", "15%", "15%"])
    sync_api.expect(page.locator(".say")).to_have_text("Class A: 70%")


def test_the_query_is_sent_while_it_is_drawn(visit):
    page = visit("canvas=characters&ways=3&shots=1", ".query .ink")
    places = on_pad(page.locator(".query .ink"), [(0.1, 0.5), (0.9, 0.5)])
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=10)
    assert until(page, lambda found: found["query_strokes"] == 1)["query"] > 0.01
    page.mouse.up()


def test_undo_clear_and_a_new_revision(visit):
    page = visit("canvas=characters&ways=3&shots=1", ".query .ink")
    draw(page, page.locator(".card .ink").nth(1), CROSS)
    until(page, lambda found: found["strokes"] == [[0], [2], [0]])
    undo = page.get_by_role("button", name="Undo the last change: class B, example 1")
    undo.focus()
    page.keyboard.press("Enter")
    until(page, lambda found: found["strokes"] == [[0], [1], [0]])
    page.get_by_role("button", name="Clear class B, example 1").click()
    until(page, lambda found: found["strokes"] == [[0], [0], [0]])
    undo.click()
    until(page, lambda found: found["strokes"] == [[0], [1], [0]])
    draw(page, page.locator(".query .ink"), CROSS)
    page.get_by_role("button", name="Clear all pads").click()
    until(page, lambda found: found["strokes"] == [[0], [0], [0]] and found["query_strokes"] == 0)
    page.get_by_role("button", name="Undo the last change to the query").click()
    until(page, lambda found: found["query_strokes"] == 2)
    page.get_by_role("button", name="New task").click()
    until(page, lambda found: found["query_strokes"] == 0)
    blank = "node => node.getContext('2d').getImageData(0, 0, node.width, node.height).data.every((v) => !v)"
    assert page.locator(".query .ink").evaluate(blank)


@pytest.mark.parametrize(("ways", "shots"), [(5, 1), (3, 5)])
def test_a_finger_draws_at_phone_width_without_scrolling(visit, ways, shots):
    page = visit(
        f"canvas=characters&ways={ways}&shots={shots}",
        ".query .ink",
        width=390,
        height=700,
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
    )
    assert no_sideways_scroll(page)
    for pad in page.locator(".card .sheet").all():
        assert min(pad.bounding_box()["width"], pad.bounding_box()["height"]) >= 88
    assert page.locator(".query .sheet").bounding_box()["width"] >= 280
    query = page.locator(".query .ink")
    for number, pad in enumerate((page.locator(".card .ink").first, query), 1):
        places = on_pad(pad, [(0.5, 0.9), (0.5, 0.5), (0.5, 0.1)])
        before = scrolled(page)
        finger(page, places)
        assert scrolled(page) == before
        until(page, lambda found, number=number: (found["strokes"][0][0], found["query_strokes"])[number - 1] == 1)
    assert query.evaluate("node => node.width / node.clientWidth") == pytest.approx(2, abs=0.02)


def test_ink_changes_colour_with_the_theme(visit):
    page = visit("canvas=characters&ways=3&shots=1", ".query .ink", color_scheme="light")
    draw(page, page.locator(".query .ink"), CROSS)
    until(page, lambda found: found["query_strokes"] == 2)
    middle = "node => node.getContext('2d').getImageData(node.width / 2, node.height / 2, 1, 1).data[1]"
    query = page.locator(".query .ink")
    assert query.evaluate(middle) < 90
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(800)
    assert query.evaluate(middle) > 160
