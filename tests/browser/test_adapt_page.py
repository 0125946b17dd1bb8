"""Adapt in a real browser: points, drawings, sliders and the player change what is drawn."""

import csv
import re

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

ALONE = "who=scratch"
PLOT = ".ml-stage [data-name='{name}'] .plot"
Y = "(node, trace) => Array.from(node.data[trace].y)"
CHARACTERS = [
    [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]],
    [[(0.5, 0.15), (0.5, 0.85)]],
    [[(0.2, 0.3), (0.8, 0.3)], [(0.2, 0.7), (0.8, 0.7)]],
]


def open_adapt(page, app, link):
    page.goto(f"{app}/adapt?{link}")


def plot(page, name):
    """The figure, drawn: that happens only where somebody can see it."""
    found = page.locator(PLOT.format(name=name))
    found.scroll_into_view_if_needed()
    page.wait_for_function("(node) => node.data && node.data.length > 0", arg=found.element_handle())
    return found


def drawn(page):
    return page.locator(".ml-stage").get_attribute("data-drawn")


def wait_for_drawing(page, before):
    page.wait_for_function(f"() => document.querySelector('.ml-stage').dataset.drawn !== '{before}'")


def at(box, x, y):
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def stroke(page, box, points):
    page.mouse.move(*at(box, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*at(box, *point), steps=5)
    page.mouse.up()


CURVE = """() => {
  const find = (root) => {
    for (const node of root.querySelectorAll('*')) {
      if (node.classList.contains('points')) return node;
      if (node.shadowRoot) { const inner = find(node.shadowRoot); if (inner) return inner; }
    }
    return null;
  };
  return [...find(document).querySelectorAll('svg.plot path')].map((path) => path.getAttribute('d')).join(' ');
}"""


def test_clicked_points_bend_the_fit_and_end_up_in_the_link(app, visitor):
    page = visitor()
    open_adapt(page, app, f"mode=own&steps=5&{ALONE}")
    canvas = page.locator(".points svg.plot")
    canvas.wait_for()
    before, box = page.evaluate(CURVE), canvas.bounding_box()
    page.mouse.click(*at(box, 0.3, 0.3))
    page.wait_for_function(f"(old) => ({CURVE})() !== old", arg=before)
    page.wait_for_url(re.compile(r"[?&]x=-?[\d.]+"))
    clicked, link = page.evaluate(CURVE), page.url
    page.mouse.move(*at(box, 0.3, 0.3))
    page.mouse.down()
    page.mouse.move(*at(box, 0.5, 0.7), steps=4)
    page.mouse.up()
    page.wait_for_function(f"(old) => ({CURVE})() !== old", arg=clicked)
    page.wait_for_function("(old) => location.href !== old", arg=link)
    assert "None" not in page.url
    plot(page, "support_loss")


def test_a_drawn_query_gets_probabilities_while_it_is_drawn(app, visitor):
    page = visitor()
    open_adapt(page, app, f"family=glyphs&mode=own&ways=3&steps=2&{ALONE}")
    pads = page.locator(".characters .pad .ink")
    pads.nth(2).wait_for()
    for pad, strokes in enumerate(CHARACTERS):
        for points in strokes:
            stroke(page, pads.nth(pad).bounding_box(), points)
    plot(page, "support_loss")
    query = page.locator(".characters .query .ink")
    query.scroll_into_view_if_needed()
    for points in CHARACTERS[0]:
        stroke(page, query.bounding_box(), points)
    playwright.expect(page.locator(".characters .percent").first).to_have_text(re.compile(r"\d+%"), timeout=45_000)
    percent = [int(text.rstrip("%")) for text in page.locator(".characters .percent").all_text_contents()]
    assert len(percent) == 3
    assert 98 <= sum(percent) <= 102
    bars = plot(page, "answer")
    assert sum(bars.evaluate(Y, 0)) == pytest.approx(1, abs=1e-3)


def test_a_dial_redraws_the_same_figure_while_it_is_moved(app, visitor):
    page = visitor()
    open_adapt(page, app, f"steps=5&{ALONE}")
    functions = plot(page, "functions")
    functions.evaluate("(node) => { node.mine = true; }")
    before, count = functions.evaluate(Y, 2), drawn(page)
    dial = page.locator("#dial-alpha-scratch")
    dial.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile(r"[?&]rates=0\.\d+"))
    page.wait_for_function("(old) => document.querySelector(\"[data-name='functions'] .plot\").data[2].y[0] !== old",
                           arg=before[0])  # fmt: skip
    assert drawn(page) != count
    assert functions.evaluate("(node) => node.mine") is True
    assert page.locator(".dial", has=dial).locator("output").text_content() != "0.01"


def test_the_player_goes_back_to_theta_without_the_server(app, visitor):
    page = visitor()
    open_adapt(page, app, f"steps=4&{ALONE}")
    functions = plot(page, "functions")
    before, after = functions.evaluate(Y, 1), functions.evaluate(Y, 2)
    assert before != after
    page.context.set_offline(True)
    page.locator(".player input").focus()
    page.keyboard.press("Home")
    page.wait_for_function("() => document.querySelector('.player output').textContent === 'inner step 0 of 4'")
    page.wait_for_function("() => { const { data } = document.querySelector(\"[data-name='functions'] .plot\");"
                           " return data[1].y[50] === data[2].y[50]; }")  # fmt: skip
    page.get_by_role("button", name="Play the inner steps in order").click()
    page.wait_for_function("() => document.querySelector('.player output').textContent === 'inner step 4 of 4'")
    page.context.set_offline(False)


def test_the_numbers_of_a_figure_can_be_taken_home(app, visitor):
    page = visitor(accept_downloads=True)
    open_adapt(page, app, f"steps=3&{ALONE}")
    plot(page, "functions")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the numbers: What does it predict?").click()
    header, *rows = csv.reader(waiting.value.path().read_text(encoding="utf-8").splitlines())
    assert header == ["series", "inner_step", "x", "y"]
    assert len([row for row in rows if row[0] == "true function"]) == 101
    assert {row[1] for row in rows if row[0] == "From scratch, fφ"} == {"0", "1", "2", "3"}
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download as a picture: What does it predict?").click()
    assert waiting.value.path().read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("link", ["steps=3", "family=glyphs&steps=1", "mode=own&x=1,2&y=0,3", "family=glyphs&mode=own"])
def test_a_phone_shows_it_all_without_scrolling_sideways(app, visitor, link, scheme):
    page = visitor(390, 844, color_scheme=scheme)
    open_adapt(page, app, f"{link}&{ALONE}")
    page.locator(".ml-stage[data-drawn], .characters .query").first.wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    for card in page.locator(".ml-stage .card").all():
        box = card.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 391


def test_every_figure_says_in_words_what_it_shows(app, visitor):
    page = visitor()
    open_adapt(page, app, f"family=glyphs&steps=2&{ALONE}")
    plot(page, "answers")
    for figure in page.locator(".ml-stage .plot").all():
        assert "2 inner steps" in figure.get_attribute("aria-label")
        assert figure.get_attribute("role") == "img"
    assert page.locator(".ml-stage .card").count() == 5
