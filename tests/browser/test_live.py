"""The live panel in a real browser, on invented runs that move eight times a second."""

import contextlib
import csv
import os
import re
import urllib.request

import pytest
from serving import ROOT, free_port, serving
from settling import settled

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser
LEARNING = ".ml-learning .ml-plot"
ADAPTATION = ".ml-adaptation .ml-plot"


@contextlib.contextmanager
def live_app(port, home):
    """The test's app on a port, as a process of its own."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "ui")])
    script = ROOT / "tests" / "browser" / "live_app" / "app.py"
    with serving(script, home, {"PYTHONPATH": paths, "METALAB_HOME": str(home)}, port=port) as server:
        server.wait("/metalab/health")
        yield


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    number = free_port()
    with live_app(number, tmp_path_factory.mktemp("live")):
        yield number


@pytest.fixture
def visit(chromium, port):
    """Opens the panel on some runs; at the end no page may have complained."""
    contexts, complaints = [], []

    def open_page(runs, *, drawn=True, **options):
        context = chromium.new_context(**{"viewport": {"width": 1400, "height": 1000}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/?runs={runs}")
        page.wait_for_selector(".ml-run", timeout=30000)
        if drawn:
            page.wait_for_function(f"document.querySelector('{ADAPTATION}')?.data?.length > 0", timeout=30000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def commands(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/commands") as answer:
        return answer.read().decode().splitlines()


NEWEST = f"Math.max(...document.querySelector('{LEARNING}').data.map((trace) => trace.x.at(-1)))"
"""The outer step that the learning curve has reached."""


def script_runs(page):
    return page.get_by_text(re.compile(r"script runs: \d+")).inner_text()


def test_charts_grow_in_the_same_node_without_a_rerun(visit):
    page = visit("sine-maml")
    page.evaluate(f"document.querySelector('{LEARNING}').kept = true")
    page.evaluate(
        f"window.draws = 0; document.querySelector('{LEARNING}').on('plotly_afterplot', () => {{ window.draws += 1; }})"
    )
    step, runs = page.evaluate(NEWEST), script_runs(page)
    page.wait_for_function(f"window.draws >= 6 && {NEWEST} > {step}")
    assert page.evaluate(f"document.querySelector('{LEARNING}').kept") is True
    assert script_runs(page) == runs
    alt = page.locator(LEARNING).get_attribute("aria-label")
    assert re.match(
        r"sine-maml: at outer step [\d,]+ the held-out loss falls from 4\.\d+ before|sine-maml: at outer", alt
    )


def test_zoom_is_kept_while_data_stream(visit):
    page = visit("sine-maml")
    box = page.locator(f"{LEARNING} .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    layout = f"document.querySelector('{LEARNING}')._fullLayout"
    ranges = f"[...{layout}.xaxis.range, ...{layout}.yaxis.range]"
    page.wait_for_function(f"{layout}.xaxis.range[0] > 1")
    zoomed = settled(page, ranges)
    step = page.evaluate(NEWEST)
    page.wait_for_function(f"{NEWEST} > {step + 4}")
    assert page.evaluate(ranges) == zoomed


def test_the_scrubber_goes_back_in_time_in_the_browser_alone(visit):
    page = visit("sine-maml")
    page.wait_for_function("Number(document.querySelector('.ml-range').max) >= 4", timeout=20000)
    runs = script_runs(page)
    curve = f"document.querySelector('{ADAPTATION}').data.at(-1).y"
    newest = page.evaluate(curve)
    page.locator(".ml-range").focus()
    page.keyboard.press("Home")
    page.wait_for_function("document.querySelector('.ml-where').textContent === 'outer step 0'")
    page.wait_for_function(f"{curve}[5] > 4")
    assert page.evaluate(curve)[0] == pytest.approx(page.evaluate(curve)[5])  # untrained: nothing adapts
    assert newest[5] < page.evaluate(curve)[5]
    assert page.get_by_role("button", name="Live").get_attribute("aria-pressed") == "false"
    page.wait_for_timeout(1500)
    assert page.locator(".ml-where").inner_text() == "outer step 0"  # streaming does not move it
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.ml-where').textContent === 'outer step 100'")
    assert page.locator(".ml-range").get_attribute("aria-valuetext") == "outer step 100"
    page.get_by_role("button", name="Live").click()
    page.wait_for_function("document.querySelector('.ml-range').value === document.querySelector('.ml-range').max")
    assert script_runs(page) == runs


def test_buttons_send_commands_and_follow_the_state(visit, port):
    page = visit("sine-reptile")
    row = page.locator(".ml-run")
    button = {name: row.locator(f"[data-command={name}]") for name in ("resume", "pause", "step", "stop", "reset")}
    assert button["resume"].is_disabled()
    button["pause"].click()
    playwright.expect(row.locator(".ml-badge")).to_have_text("Paused")
    playwright.expect(button["step"]).to_be_enabled()
    before = settled(page, NEWEST)
    button["step"].click()
    page.wait_for_function(f"{NEWEST} === {before + 1}")
    playwright.expect(button["resume"]).to_be_enabled()
    button["resume"].focus()
    page.keyboard.press("Enter")
    playwright.expect(row.locator(".ml-badge")).to_have_text("Running")
    assert commands(port) == ["sine-reptile pause", "sine-reptile step", "sine-reptile resume"]
    assert page.locator(".ml-message").inner_text() == "inner learning rate 0.01"


def test_a_finished_run_can_be_reset_and_is_followed_again(visit):
    page = visit("short")
    row = page.locator(".ml-run")
    playwright.expect(row.locator(".ml-badge")).to_have_text("Finished", timeout=15000)
    assert row.get_by_role("progressbar").get_attribute("aria-valuenow") == "100"
    row.locator("[data-command=reset]").click()
    playwright.expect(row.locator(".ml-badge")).to_have_text("Running")
    page.wait_for_function(f"{NEWEST} < 300")
    playwright.expect(row.locator(".ml-badge")).to_have_text("Finished", timeout=15000)


def test_several_runs_share_one_connection_and_accuracy_can_be_chosen(visit):
    requests = []
    page = visit("sine-maml,letters")
    page.on("request", lambda request: requests.append(request.url))
    page.get_by_role("button", name="Accuracy", exact=True).click()
    page.wait_for_function(f"document.querySelector('{ADAPTATION}')._fullLayout.yaxis.title.text === 'query accuracy'")
    assert page.locator(".ml-run").count() == 2
    assert "letters" in page.locator(ADAPTATION).get_attribute("aria-label")
    said = "Outer step 0: inner_lr changed from 0.01 to <b>0.02</b>"  # text stays text
    playwright.expect(page.locator(".ml-notes")).to_have_text(said)
    page.reload()
    page.wait_for_selector(f"{ADAPTATION}.js-plotly-plot")
    assert len([url for url in requests if "/events" in url]) == 1


def test_whose_functions_are_drawn_can_be_chosen(visit):
    page = visit("sine-maml,sine-reptile")
    plot, choice = page.locator(".ml-functions .ml-plot"), page.locator(".ml-choice")
    playwright.expect(plot).to_have_attribute("aria-label", re.compile("^sine-maml: predictions"))
    choice.get_by_role("button", name="sine-reptile").click()
    playwright.expect(plot).to_have_attribute("aria-label", re.compile("^sine-reptile: predictions"))
    pressed = [button.get_attribute("aria-pressed") for button in choice.get_by_role("button").all()]
    assert pressed == ["false", "true"]


def test_a_run_that_is_tried_away_from_home_has_both_curves_on_one_chart(visit):
    page = visit("abroad,letters")
    chart = (
        "(id) => document.querySelector(id).data.map((t) => ({name: t.name, dash: t.line?.dash, mode: t.mode,"
        " colour: t.line?.color, end: t.y.at(-1)}))"
    )
    # both charts at one moment: the run moves on between two questions
    charts = page.evaluate(f"(() => {{ const f = {chart}; return [f('{LEARNING}'), f('{ADAPTATION}')]; }})()")
    away = [[t for t in traces if t["dash"] == "dot"] for traces in charts]
    assert [[t["name"] for t in traces] for traces in away] == [
        ["abroad: away from home, after adaptation"],
        ["abroad: away from home: tasks of another family"],
    ]
    drawn = [t for t in charts[1] if t["mode"] == "lines+markers"]
    home = next(t["end"] for t in drawn if t["name"] == "abroad")
    assert away[1][0]["end"] == pytest.approx(1.3 * home)  # as the invented run has it
    for place, words in ((".ml-learning", "away from home, after adaptation"), (".ml-adaptation", "tasks of another")):
        assert words in page.locator(f"{place} .ml-key").inner_text()
        assert "Away from home" in page.locator(f"{place} .ml-plot").get_attribute("aria-label")
    colours = [t["colour"] for t in drawn]
    assert colours[0] == colours[1] != colours[2]  # away and home are one run's


def test_smoothing_and_log_axes(visit):
    page = visit("sine-maml")
    page.get_by_role("button", name="log y").click()
    page.get_by_role("button", name="log x").click()
    layout = f"document.querySelector('{LEARNING}')._fullLayout"
    page.wait_for_function(f"{layout}.yaxis.type === 'log' && {layout}.xaxis.type === 'log'")
    traces = f"document.querySelector('{LEARNING}').data.length"
    page.wait_for_function(f"{traces} === 4")  # raw, smoothed, before, after
    page.get_by_label("Smoothing").fill("0")
    page.wait_for_function(f"{traces} === 3")


def test_the_meta_gradient_can_be_shown_instead_while_adaptation_keeps_its_metric(visit):
    page = visit("letters")
    plot = page.locator(LEARNING)
    button = page.locator(".ml-learning").get_by_role("button", name="Meta-gradient")
    playwright.expect(page.locator(".ml-learning").get_by_role("button", name="Agreement")).to_have_count(0)
    title = "document.querySelector('{}')._fullLayout.yaxis.title.text"
    adaptation = page.evaluate(title.format(ADAPTATION))
    before = page.evaluate(title.format(LEARNING))
    button.click()
    page.wait_for_function(title.format(LEARNING) + " === 'length of the meta-gradient'")
    playwright.expect(button).to_have_attribute("aria-pressed", "true")
    playwright.expect(plot).to_have_attribute("aria-label", re.compile("the meta-gradient has length"))
    playwright.expect(page.locator(".ml-learning .ml-key")).to_have_text("meta-train")
    assert page.evaluate(title.format(ADAPTATION)) == adaptation
    button.click()
    page.wait_for_function(title.format(LEARNING) + f" === {before!r}")


def test_downloads(visit, tmp_path):
    page = visit("sine-maml")
    for name, kind in [
        ("Is it learning?", "numbers"),
        ("How does it adapt?", "numbers"),
        ("What does it predict?", "picture"),
    ]:
        with page.expect_download() as waiting:
            page.get_by_role("button", name=re.compile(f"{kind}.*{re.escape(name)}")).click()
        path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
        if kind == "picture":
            assert path.read_bytes().startswith(b"\x89PNG")
            continue
        rows = list(csv.reader(path.read_text().splitlines()))
        assert rows[0][:2] == ["run", "name"]
        assert rows[1][0] == "sine-maml"
        assert len({len(row) for row in rows}) == 1


def test_a_queued_run_says_its_place(visit):
    page = visit("waiting", drawn=False)
    playwright.expect(page.locator(".ml-facts")).to_contain_text("place 3 in the queue")
    playwright.expect(page.locator(".ml-learning .ml-empty")).to_contain_text("Place 3 in the queue")
    assert page.locator("[data-command=stop]").is_enabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_sideways_scroll(visit, scheme):
    page = visit(
        "sine-maml,sine-reptile",
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,
        has_touch=True,
        is_mobile=True,
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(
        "document.querySelector('.ml-live').scrollWidth <= document.querySelector('.ml-live').clientWidth"
    )
    widths = page.evaluate(
        "[...document.querySelectorAll('.ml-card')].map((card) => card.getBoundingClientRect().right)"
    )
    assert max(widths) <= 390
    background = page.evaluate(f"document.querySelector('{LEARNING}').layout.paper_bgcolor")
    assert (background == "#ffffff") == (scheme == "light")


def test_the_panel_says_that_it_lost_its_server_and_finds_it_again(chromium, tmp_path):
    number = free_port()
    page = chromium.new_page()
    with live_app(number, tmp_path):
        page.goto(f"http://127.0.0.1:{number}/?runs=sine-maml")
        page.wait_for_function(f"document.querySelector('{LEARNING}')?.data?.length > 0", timeout=30000)
        playwright.expect(page.locator("[data-command=pause]")).to_be_enabled()
    playwright.expect(page.locator(".ml-banner")).to_be_visible(timeout=15000)
    for button in page.locator(".ml-button").all():
        playwright.expect(button).to_be_disabled()
    with live_app(number, tmp_path):
        playwright.expect(page.locator(".ml-banner")).to_be_hidden(timeout=30000)
        playwright.expect(page.locator("[data-command=pause]")).to_be_enabled()
    page.close()


def test_a_page_that_fails_shows_one_friendly_line(chromium, port):
    page = chromium.new_page()
    page.goto(f"http://127.0.0.1:{port}/?fail")
    playwright.expect(page.get_by_role("alert")).to_contain_text("Something went wrong on this page.")
    text = page.locator("body").inner_text()
    page.close()
    assert "swordfish" not in text
    assert "Traceback" not in text
    assert "RuntimeError" not in text
