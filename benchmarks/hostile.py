"""A server under attack, and how long everybody else waits meanwhile.

    python benchmarks/hostile.py
    python benchmarks/hostile.py --only streams,flood --json

The server is started by the README's command with a home of its own; one run trains, and a bystander in another
process asks for its health, draws Home anew and follows the run. For each attack the table tells what came of it and
the longest time that the bystander waited: for an answer to a health request, for Home, and between two updates of
the run. All of them share this machine's cores. Needs Linux and requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from classroom import attacks
from classroom.school import School, school, start_run
from serving import ROOT

sys.path.insert(0, str(ROOT))

from metalab.cli.table import table

LONGEST_WAIT = 1.0
LONG_HISTORY = 300_000
"""Metrics of the run whose history is asked for."""
ATTACKS: dict[str, Callable[[attacks.Target], Awaitable[str]]] = {
    "calm": attacks.calm,
    "caches": attacks.clear_caches,
    "flood": attacks.flood_reruns,
    "tabs": attacks.many_tabs_flood,
    "come and go": attacks.tabs_come_and_go,
    "frames": attacks.broken_frames,
    "widgets": attacks.forged_widgets,
    "links": attacks.hostile_links,
    "points": attacks.a_million_points,
    "origins": attacks.foreign_origins,
    "paths": attacks.strange_paths,
    "uploads": attacks.uploads,
    "commands": attacks.commands_to_anothers_run,
    "slow": attacks.slow_readers,
    "streams": attacks.many_streams,
    "csv": attacks.many_downloads,
    "silent": attacks.silent_connections,
    "visitors": attacks.made_up_visitors,
}


@dataclass
class Outcome:
    """One attack."""

    attack: str
    came_of_it: str
    health: float = 0.0
    """Seconds that the bystander waited at the longest, so too below."""
    page: float = 0.0
    live: float = 0.0
    resident: float = 0.0
    """MB that the server held afterwards."""


@dataclass
class Bystander:
    """The lines of `classroom.bystander`, as they come."""

    samples: list[tuple[str, float, float]] = field(default_factory=list)
    problem: str = ""

    async def watch(self, port: int, run_id: str) -> None:
        """Listen until cancelled."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "classroom.bystander", str(port), run_id),
            cwd=Path(__file__).parent,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                kind, when, seconds = line.decode().split()
                self.samples.append((kind, float(when), float(seconds)))
            self.problem = "the server let the bystander down"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def longest(self, kind: str, since: float) -> float:
        """The longest wait that ended after `since`; NaN where nothing was answered."""
        return max(
            (seconds for name, when, seconds in self.samples if name == kind and when > since), default=float("nan")
        )


async def attack_all(at: School, names: list[str]) -> tuple[list[Outcome], list[str]]:
    """Each attack, one after the other, and whatever broke a promise."""
    ada = at.tab()
    run_id = await start_run(at, ada)
    target = attacks.Target(at, run_id, give_history(at), ada.cookies)
    bystander = Bystander()
    watching = asyncio.create_task(bystander.watch(at.port, run_id))
    while len({kind for kind, _when, _seconds in bystander.samples}) < 3:
        await asyncio.sleep(0.2)
    outcomes, problems = [], []
    for name in names:
        began = time.monotonic()
        came = await ATTACKS[name](target)
        await asyncio.sleep(1.5)
        waits = {kind: bystander.longest(kind, began) for kind in ("health", "page", "live")}
        outcomes.append(Outcome(name, came, **waits, resident=at.usage().resident))
        print(f"{name}: {came}", file=sys.stderr, flush=True)
        problems += [
            f"{name}: {kind} {seconds:.2f} s" for kind, seconds in waits.items() if not seconds <= LONGEST_WAIT
        ]
        if at.server.process.poll() is not None:
            problems.append(f"{name}: the server ended")
            break
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    if at.run(run_id).state != "running":
        problems.append(f"Ada's run is {at.run(run_id).state}")
    await ada.close()
    return outcomes, problems + [bystander.problem] * bool(bystander.problem)


def give_history(at: School) -> str:
    """The id of a finished run with a long history."""
    with contextlib.closing(sqlite3.connect(at.home / "metalab.db", timeout=30)) as db, db:
        number, run_id = db.execute("SELECT number, id FROM runs WHERE state = 'finished' LIMIT 1").fetchone()
        rows = ((number, step, "train/loss", 1 / (1 + step)) for step in range(LONG_HISTORY))
        db.executemany("INSERT INTO metrics (run, step, name, value) VALUES (?, ?, ?, ?)", rows)
    return run_id


def written_outside(at: School, since: float) -> list[str]:
    """Files of the program's folder that are newer than the server."""
    ignored = (".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache")
    return [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*")
        if not any(part in ignored for part in path.parts) and path.is_file() and path.stat().st_mtime > since
    ] + [str(path) for path in at.home.parent.iterdir() if path.name not in ("home", "server.log")]


def last_lines(log: str) -> Counter[str]:
    """What the tracebacks in a server's log end with, and in which file; of many like ones the server writes a few."""
    found = Counter[str]()
    for line in log.splitlines():
        if line.startswith("{") and (trace := json.loads(line).get("trace")):
            lines = trace.strip().splitlines()
            where = [
                each.split('"')[1].rpartition("site-packages/")[2] for each in lines if each.startswith('  File "')
            ]
            found[f"{lines[-1][:110]} ({where[-1] if where else ''})"] += 1
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(ATTACKS), help="attacks, joined by commas")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    given = parser.parse_args()
    unknown = sorted(set(given.only.split(",")) - set(ATTACKS))
    if unknown:
        parser.error(f"--only {unknown[0]!r}: expected some of {', '.join(ATTACKS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server ends with us
    with school() as at:
        since = time.time()
        outcomes, problems = asyncio.run(attack_all(at, given.only.split(",")))
        written = written_outside(at, since)
        uncaught = last_lines(at.server.log.read_text(errors="replace"))
    problems += [f"written outside the home: {', '.join(written)}"] if written else []
    if given.json:
        print(
            json.dumps({"attacks": [asdict(each) for each in outcomes], "problems": problems, "tracebacks": uncaught})
        )
    else:
        rows = [
            [o.attack, o.came_of_it, f"{o.health:.2f}", f"{o.page:.2f}", f"{o.live:.2f}", f"{o.resident:.0f}"]
            for o in outcomes
        ]
        print(table(["attack", "what came of it", "health, s", "page, s", "live, s", "resident, MB"], rows))
        print(f"tracebacks in the server's log: {uncaught.total()}")
        for line, n in uncaught.most_common(20):
            print(f"{n:>5}  {line}")
        for problem in problems:
            print(f"problem: {problem}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
