"""How long after a link is opened its first picture stands, in a real browser on this machine.

    python benchmarks/first_picture.py                        # both families, each page once, about a minute
    python benchmarks/first_picture.py --repeats 3 --at-once  # links are opened before the server has looked ahead

Needs requirements-dev.txt and an installed Chromium. The app gets a free port and an empty home, which is removed at
the end. Server and browser share this machine's cores.

open     a browser that runs and has seen Home loads the page by its address, nothing of it kept
started  a browser that was started just now, with an empty cache, loads the page as its first
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from serving import CHROMIUM, FLAGS, ROOT, serving

PAGES = ("speed", "embeddings", "theta", "order", "sensitivity", "decision")
FAMILIES = ("sinusoid", "glyphs")
LOOKED_AHEAD_SECONDS = 20.0
"""After the server is up: so long it may take to look ahead."""
DRAWN = """() => document.querySelector(
  ".ml-stage .plot svg .trace, .ml-stage .plot svg .heatmaplayer image, .ml-stage .plot svg g.points"
) ? performance.now() : 0"""


def seconds(page: Any, address: str) -> float:
    """From the start of the navigation until marks of data stand in a picture, looked at in every frame."""
    page.goto(address, wait_until="commit")
    return page.wait_for_function(DRAWN, timeout=60_000).json_value() / 1000


def measure(url: str, driver: Any, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each way of opening, by page and family."""
    found: dict[str, dict[str, list[float]]] = {"open": {}, "started": {}}
    links = [f"{page}?family={family}" for family in FAMILIES for page in PAGES]
    for _ in range(repeats):
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.wait_for_timeout(4000)
        for link in links:
            found["open"].setdefault(link, []).append(seconds(page, f"{url}/{link}"))
            page.wait_for_timeout(1500)
        browser.close()
        for link in (links[0], links[len(PAGES)]):
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            found["started"].setdefault(link, []).append(seconds(page, f"{url}/{link}"))
            browser.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1, help="of each link (default 1)")
    parser.add_argument("--at-once", action="store_true", help="do not wait until the server has looked ahead")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}: expected 1 or more")
    if CHROMIUM is None:
        sys.exit("first_picture: no Chromium is installed here; expected chromium or google-chrome on the PATH")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as driver:
        home = Path(folder)
        with serving(ROOT / "app.py", home, {"METALAB_HOME": str(home)}) as server:
            server.wait("/metalab/health", lambda body: json.loads(body)["service"])
            time.sleep(0 if options.at_once else LOOKED_AHEAD_SECONDS)
            found = measure(server.url, driver, options.repeats)
    if options.json:
        print(json.dumps(found))
        return
    for way, links in found.items():
        every = [value for values in links.values() for value in values]
        print(f"{way}: median {statistics.median(every):.2f} s, longest {max(every):.2f} s of {len(every)}")
        for link, values in links.items():
            print(f"  {link:30} {' '.join(f'{value:.2f}' for value in values)}")


if __name__ == "__main__":
    main()
