"""How long a person waits: the real app in a real browser on this machine.

    python benchmarks/app_latency.py                    # all, about five minutes
    python benchmarks/app_latency.py --only start,adapt --repeats 11 --json

Needs requirements-dev.txt and an installed Chromium. The app gets a free port and a home of its own, which is removed
at the end. Server and browser share this machine's cores, so the figures hold for a laptop that does both.

start   press of Start on Train (server warm) to the first point drawn, and to the first outer step drawn
adapt   slider move on Adapt to the picture redrawn, while one training run is active
live    updates a second to one viewer of a run; its training rate with the viewer over that without, alternating
server  start of the server to Home's first Start button, with a warm disk cache and, where Linux allows, a cold one
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serving import CHROMIUM, FLAGS, ROOT, Server, serving

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
PATIENCE_MS = 60_000
PHASE_SECONDS = 6.0
FAMILIES = {"sinusoid": 100, "glyphs": 3}
"""Outer steps of the short runs: the next must not queue behind them."""

PRESS_AND_WAIT = """(button) => new Promise((resolve, reject) => {
  const found = {}, start = performance.now();
  const look = () => {
    const now = performance.now() - start;
    const plot = document.querySelector(".ml-learning .ml-plot");
    const drawn = plot?.querySelector(".scatterlayer .trace path");
    if (drawn) {
      const last = Math.max(...plot.data.flatMap((trace) => Array.from(trace.x)));
      if (last >= 0) found.point ??= now;
      if (last >= 1) { found.step = now; resolve(found); return; }
    }
    if (now > 60000) reject(new Error("nothing was drawn within 60 s"));
    else requestAnimationFrame(look);
  };
  button.click();
  requestAnimationFrame(look);
})"""
MOVE_AND_WAIT = """(dial, value) => new Promise((resolve, reject) => {
  const plots = () => [...document.querySelectorAll(".ml-stage .plot")];
  const sign = () => JSON.stringify(plots().map((plot) => (plot.data ?? []).map((trace) => Array.from(trace.y ?? []))));
  const before = sign(), start = performance.now();
  const look = () => {
    const now = performance.now() - start;
    if (sign() !== before) requestAnimationFrame(() => resolve(performance.now() - start));
    else if (now > 60000) reject(new Error("nothing was redrawn within 60 s"));
    else requestAnimationFrame(look);
  };
  dial.value = value;
  dial.dispatchEvent(new Event("input", { bubbles: true }));
  requestAnimationFrame(look);
})"""
COUNT_UPDATES = """
window.updates = 0;
window.EventSource = class extends EventSource {
  constructor(...words) { super(...words); this.addEventListener("message", () => { window.updates += 1; }); }
};"""


@dataclass(frozen=True)
class Figure:
    """One measured quantity: median and 95th percentile of its samples."""

    name: str
    unit: str
    median: float | None
    p95: float | None
    samples: int
    note: str = ""


class App:
    """The app on a port of its own, and what it takes to look at it."""

    def __init__(self, server: Server, home: Path) -> None:
        self.server = server
        self.url = server.url
        self.home = home

    def runs(self) -> list[dict[str, Any]]:
        """Every run, the newest first, as `python -m metalab runs --json` says."""
        return metalab(self.home, "runs")["runs"]

    def wait_idle(self) -> None:
        """Return once no run trains or waits."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while any(run["state"] in ("queued", "running") for run in self.runs()):
            if time.monotonic() > deadline:
                raise TimeoutError("a run that should be short still trains")


def metalab(home: Path, *words: str) -> Any:
    """Run a command of the command line; the JSON object that it ends with."""
    line = [sys.executable, "-m", "metalab", *words, "--json"]
    given = {**os.environ, "METALAB_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, cwd=ROOT, env=given, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def app_in(home: Path) -> Iterator[App]:
    """Start the app; it ends with the block. Does not wait until it answers."""
    with serving(ROOT / "app.py", home, {"METALAB_HOME": str(home)}) as server:
        yield App(server, home)


def reachable(app: App, page: Any, path: str) -> None:
    """Open a page as soon as the server answers."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while True:
        try:
            socket.create_connection(("127.0.0.1", app.server.port), timeout=1).close()
            break
        except OSError:
            if app.server.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the app does not answer; see {app.server.log}") from None
            time.sleep(0.01)
    page.goto(f"{app.url}/{path}", wait_until="commit", timeout=PATIENCE_MS)


def start_button(page: Any) -> Any:
    """The first Start button, once it can be pressed."""
    button = page.get_by_role("button", name="Start", exact=False).first
    button.wait_for(timeout=PATIENCE_MS)
    return button


def measure_start(app: App, browser: Any, repeats: int) -> list[Figure]:
    """(a) Press of Start to what is drawn."""
    figures = []
    for family, outer_steps in FAMILIES.items():
        points, steps = [], []
        for repeat in range(repeats + 1):
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            reachable(app, page, f"train?family={family}&algorithm=maml&outer_steps={outer_steps}&seed={repeat}")
            button = start_button(page)
            page.wait_for_function("window.metalabPlotly", timeout=PATIENCE_MS)
            page.wait_for_timeout(1000)
            found = button.evaluate(PRESS_AND_WAIT)
            if repeat:  # the first one warms the server up
                points.append(found["point"])
                steps.append(found["step"])
            page.close()
            app.wait_idle()
        figures.append(summary(f"start {family}: first point", "ms", points))
        figures.append(summary(f"start {family}: first outer step", "ms", steps))
    return figures


@contextmanager
def one_active_run(app: App, browser: Any) -> Iterator[str]:
    """A sinusoid run that trains on and on, started in the app; its id. It is stopped at the end."""
    page = browser.new_page()
    reachable(app, page, "train?family=sinusoid&algorithm=maml&outer_steps=1000000")
    start_button(page).click()
    page.wait_for_selector(".ml-run", timeout=PATIENCE_MS)
    run = next(run for run in app.runs() if run["state"] in ("queued", "running"))
    page.goto("about:blank")
    try:
        yield run["run"]
    finally:
        page.goto(f"{app.url}/train?runs={run['run']}")
        page.get_by_role("button", name="Stop").first.click(timeout=PATIENCE_MS)
        page.wait_for_timeout(500)
        app.wait_idle()
        page.close()


def measure_adapt(app: App, browser: Any, repeats: int) -> list[Figure]:
    """(b) Slider move to redrawn picture, for theta of a short MAML run against scratch."""
    own = {"sinusoid": (), "glyphs": ("--set", "family.ways=5", "--set", "family.shots=1")}
    for family, words in own.items():
        steps = str(FAMILIES[family])
        metalab(app.home, "train", "--family", family, "--outer-steps", steps, "--evaluate-every", steps, *words)
    figures = []
    with one_active_run(app, browser):
        for family, link in {"sinusoid": "", "glyphs": "&ways=5&shots=1&steps=5"}.items():
            # Tall enough that every figure is drawn: the curve of right answers alone may stay as it is.
            page = browser.new_page(viewport={"width": 1400, "height": 2800})
            reachable(app, page, f"adapt?family={family}&who={newest(app, family)},scratch{link}")
            figures.append(summary(f"adapt {family}: slider to picture", "ms", slider_moves(page, repeats)))
            page.close()
    return figures


def newest(app: App, family: str) -> str:
    """The newest run of a family that has ended."""
    return next(run["run"] for run in app.runs() if run["family"] == family and run["state"] == "finished")


def slider_moves(page: Any, repeats: int) -> list[float]:
    """Milliseconds of each move of the first contender's inner learning rate, back and forth."""
    dial = page.locator("input[id^=dial-alpha]").first
    dial.wait_for(timeout=PATIENCE_MS)
    plot = page.locator(".ml-stage .plot")
    plot.first.locator(".main-svg").first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(2000)
    begin = int(dial.input_value())
    taken = []
    for repeat in range(repeats * 3 + 2):
        value = begin - 1 - repeat % 8
        taken.append(dial.evaluate(MOVE_AND_WAIT, value))
        page.wait_for_timeout(700)
    return taken[2:]


def measure_live(app: App, browser: Any, repeats: int) -> list[Figure]:
    """(c) Updates a second to one viewer, and what the viewer costs the training."""
    updates, ratios = [], []
    with one_active_run(app, browser) as run_id:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.add_init_script(COUNT_UPDATES)
        time.sleep(3)
        for _ in range(repeats):
            page.goto("about:blank")
            time.sleep(1)
            alone = rate(app, run_id)
            reachable(app, page, f"train?runs={run_id}")
            page.wait_for_function("window.updates > 4", timeout=PATIENCE_MS)
            time.sleep(1)
            before, began = page.evaluate("window.updates"), time.monotonic()
            watched = rate(app, run_id)
            updates.append((page.evaluate("window.updates") - before) / (time.monotonic() - began))
            ratios.append(watched / alone)
        page.close()
    return [
        summary("live: updates to one viewer", "a second", updates),
        summary("live: training rate with a viewer", "of that without", ratios),
    ]


def rate(app: App, run_id: str) -> float:
    """Outer steps a second over the next seconds, as the store sees them."""
    from metalab.store import Store

    store = Store(app.home)
    try:
        first, began = store.get(run_id).step, time.monotonic()
        time.sleep(PHASE_SECONDS)
        return (store.get(run_id).step - first) / (time.monotonic() - began)
    finally:
        store.close()


def measure_server(home: Path, browser: Any, repeats: int) -> list[Figure]:
    """(d) Start of the server to the first button that can be pressed."""
    server_start(home, browser)
    warm = [server_start(home, browser) for _ in range(repeats)]
    figures = [summary("server start to usable page, warm disk cache", "s", warm)]
    name = "server start to usable page, cold disk cache"
    if os.access(DROP_CACHES, os.W_OK):
        cold = []
        for _ in range(repeats):
            os.sync()
            DROP_CACHES.write_text("3")
            cold.append(server_start(home, browser))
        return [*figures, summary(name, "s", cold)]
    return [*figures, Figure(name, "s", None, None, 0, f"not measured: {DROP_CACHES} cannot be written")]


def server_start(home: Path, browser: Any) -> float:
    """Seconds until Home's first Start button is there."""
    page = browser.new_page()
    began = time.monotonic()
    with app_in(home) as app:
        reachable(app, page, "")
        start_button(page)
        taken = time.monotonic() - began
        page.close()
    return taken


def summary(name: str, unit: str, samples: Sequence[float]) -> Figure:
    """Median and 95th percentile (the value that at most one in twenty samples exceeds)."""
    ordered = sorted(samples)
    return Figure(name, unit, statistics.median(ordered), ordered[-(-95 * len(ordered) // 100) - 1], len(ordered))


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    on_app: dict[str, Callable[[App, Any, int], list[Figure]]] = {
        "start": measure_start,
        "adapt": measure_adapt,
        "live": measure_live,
    }
    parser.add_argument("--only", default="server,start,adapt,live", help="which, joined by commas (default: all)")
    parser.add_argument("--repeats", type=int, default=7, help="of each measurement (default 7)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    chosen = options.only.split(",")
    unknown = [name for name in chosen if name not in {*on_app, "server"}]
    if unknown or options.repeats < 1:
        parser.error(f"{unknown or options.repeats}: expected some of server, {', '.join(on_app)}; 1 repeat or more")
    if CHROMIUM is None:
        sys.exit("app_latency: no Chromium is installed here; expected chromium or google-chrome on the PATH")
    from playwright.sync_api import sync_playwright

    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        if "server" in chosen:
            figures += measure_server(Path(folder), browser, options.repeats)
        wanted = [measure for name, measure in on_app.items() if name in chosen]
        if wanted:
            with app_in(Path(folder)) as app:
                for measure in wanted:
                    figures += measure(app, browser, options.repeats)
        browser.close()
    show(figures, as_json=options.json)


def show(figures: Sequence[Figure], *, as_json: bool) -> None:
    """A table or one JSON object."""
    from metalab.cli.table import table

    if as_json:
        print(json.dumps({"figures": [asdict(figure) for figure in figures], "cores": os.cpu_count()}))
        return
    rows = [
        (f.name, *("-" if v is None else f"{v:.4g}" for v in (f.median, f.p95)), f.unit, str(f.samples), f.note)
        for f in figures
    ]
    print(table(("what", "median", "p95", "unit", "samples", ""), rows))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
