"""A class on one server: the app under the load of many visitors, who speak its protocols without browsers.

    python benchmarks/a_class.py follow --clients 100
    python benchmarks/a_class.py adapt --json
    python benchmarks/a_class.py soak --clients 8 --minutes 10

The server is started by the README's command, with a home of its own that is removed at the end, and one run trains
in it. Clients and server share this machine's cores; what the clients used is in the table. Ends with status 1 where a
mark is missed. Needs Linux (/proc) and requirements-dev.txt.

follow  viewers of the live run: age and number of updates, training rate with them over that without
adapt   visitors who move a slider of the Adapt page every 2 s, each with a task of their own
join    visitors who open a page in the same second with empty caches
queue   a run of each user, ten of the first: fair order, bounded memory, every one finishes
soak    all of it for two hours: memory, threads, files and connections, with a line a minute on stderr
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Coroutine

from classroom.scenarios import adapt, follow, join, queue
from classroom.school import School, school
from classroom.soak import brief_soak, soak
from classroom.table import Findings
from serving import ROOT


def main() -> None:
    given = _arguments()
    with school() as at:
        found = asyncio.run(_scenario(given, at))
    print(json.dumps(found.data()) if given.json else found.text())
    sys.exit(found.missed)


def _scenario(given: argparse.Namespace, at: School) -> Coroutine[None, None, Findings]:
    if given.scenario == "follow":
        return follow(at, given.clients, given.seconds)
    if given.scenario == "adapt":
        return adapt(at, given.clients, given.seconds, at_once=given.at_once)
    if given.scenario == "join":
        return join(at, given.clients, given.page)
    if given.scenario == "queue":
        return queue(at, given.clients, given.outer_steps)
    if given.brief:
        return brief_soak(at, given.clients, given.brief, _tell)
    return soak(at, given.clients, given.minutes, _tell)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    scenarios = parser.add_subparsers(dest="scenario", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--clients", type=int, default=30, help="visitors (default 30)")
    common.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    for name, seconds in {"follow": 15.0, "adapt": 20.0}.items():
        timed = scenarios.add_parser(name, parents=[common])
        timed.add_argument("--seconds", type=float, default=seconds, help=f"of each measurement (default {seconds:g})")
        if name == "adapt":
            timed.add_argument("--at-once", action="store_true", help="all move at the same moment")
    joining = scenarios.add_parser("join", parents=[common])
    joining.add_argument("--page", default="", help="which page: train, adapt, ... (default: Home)")
    queueing = scenarios.add_parser("queue", parents=[common])
    queueing.add_argument("--outer-steps", type=int, default=100, help="of each run (default 100)")
    soaking = scenarios.add_parser("soak", parents=[common])
    soaking.add_argument("--minutes", type=float, default=120.0, help="(default 120)")
    told = "instead, a minute or two: so many times every page"
    soaking.add_argument("--brief", type=int, default=0, metavar="ROUNDS", help=told)
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
