"""Embeddings in a real browser: the player moves the points, a click shows the task, and Adapt opens the same one."""

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser

POINTS = """() => { const { x, y } = document.querySelector('[data-name=task_map] .plot').data
  .find(({ mode, customdata }) => mode === 'markers' && customdata); return [Array.from(x), Array.from(y)]; }"""
PLACE = """(i) => { const plot = document.querySelector('[data-name=task_map] .plot');
  const { x, y } = plot.data.find(({ mode, customdata }) => mode === 'markers' && customdata);
  const { xaxis, yaxis } = plot._fullLayout;
  return [xaxis.l2p(x[i]) + xaxis._offset, yaxis.l2p(y[i]) + yaxis._offset]; }"""


def open_map(page, app, link=""):
    page.goto(f"{app}/embeddings?tasks=50&steps=3{link}")
    # A card below the fold is drawn once it is scrolled to, and what stands above it changes as results come.
    drawn = "(card) => { card?.scrollIntoView(); return card?.querySelector('.plot .main-svg'); }"
    seen = f"({drawn})(document.querySelector('[data-name=task_map]')) && ({POINTS})()[0].length === 50"
    page.wait_for_function(f"() => {seen}", polling=300)
    return page.evaluate(POINTS)


def at(page, i):
    box = page.locator("[data-name=task_map] .plot").bounding_box()
    x, y = page.evaluate(PLACE, i)
    return box["x"] + x, box["y"] + y


def test_the_player_goes_back_to_one_point_and_a_click_leads_to_adapt(app, visitor):
    page = visitor()
    last = open_map(page, app)
    page.get_by_label("Inner step to show").first.fill("0")
    page.wait_for_function(f"() => {{ const [x] = ({POINTS})(); return Math.max(...x) - Math.min(...x) < 1e-6; }}")
    page.get_by_label("Inner step to show").first.fill("3")
    page.wait_for_function(f"(x) => ({POINTS})()[0][0] === x", arg=last[0][0])
    top = max(range(50), key=last[1].__getitem__)
    page.mouse.move(*at(page, top))
    page.locator("[data-name=task_map] .hovertext").wait_for()
    page.mouse.click(*at(page, top))
    page.get_by_text(f"Task {top}", exact=True).wait_for()
    page.wait_for_function(f"() => location.search.includes('seed={top}')")
    title = page.get_by_test_id("stMarkdown").filter(has_text=f"Task {top} ·").inner_text().partition("· ")[2]
    page.get_by_role("button", name="Open on Adapt").click()
    page.wait_for_url("**/adapt?**")
    playwright.expect(page.get_by_text(f"Task {top}: {title}")).to_be_visible()


def test_a_lasso_shows_how_the_group_is_learned(app, visitor):
    page = visitor()
    open_map(page, app)
    page.evaluate("() => Plotly.relayout(document.querySelector('[data-name=task_map] .plot'), { dragmode: 'lasso' })")
    box = page.locator("[data-name=task_map] .nsewdrag").first.bounding_box()
    corners = [(0.02, 0.02), (0.98, 0.02), (0.98, 0.5), (0.02, 0.5), (0.02, 0.02)]
    page.mouse.move(box["x"] + box["width"] * 0.02, box["y"] + box["height"] * 0.02)
    page.mouse.down()
    for x, y in corners:
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y, steps=4)
    page.mouse.up()
    page.locator("[data-name=group_curves] .main-svg").first.wait_for()
    page.wait_for_function("() => /group=[0-9a-f]+/.test(location.search)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_scrolls_sideways(app, visitor, scheme):
    page = visitor(390, 844, color_scheme=scheme, has_touch=True, is_mobile=True)
    open_map(page, app, "&own=true&x=-2,0,2&y=1,-1,1")
    page.get_by_text("The nearest tasks to yours are").wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_in_three_dimensions_the_tools_turn_the_map_and_the_key_shows_the_mark(app, visitor):
    page = visitor()
    page.goto(f"{app}/embeddings?tasks=50&steps=2&three=true&own=true&x=-2,0,2&y=1,-1,1")
    tools = "[...card.querySelectorAll('.modebar-btn')].map((each) => each.dataset.val ?? each.dataset.attr)"
    found = page.wait_for_function(
        "() => { const card = document.querySelector('[data-name=task_map]'); card?.scrollIntoView();"
        f" return card?.querySelector('.key i.diamond') && {tools}.length && {tools}; }}",
        polling=300,
    )
    assert found.json_value() == ["orbit", "zoom", "pan", "resetDefault"]
