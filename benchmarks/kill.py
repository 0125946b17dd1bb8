"""Kill a MetaLab server again and again, at random moments, and see from outside that nothing was lost.

    python benchmarks/kill.py --times 50

A second process watches the database as a reader. Before each kill it notes every metric and evaluation that it
could read: those were finished. After the kill it looks at what is there:

lost         a finished metric or evaluation of a run that was not deleted is gone or another
torn         a checkpoint that the store hands out is not, bit for bit, that of the same run never disturbed
             (theta, and for resuming also the optimiser's state and the random state)
stuck        an active run of the killed server that does not count as interrupted, or that does not go on

At the end all runs are resumed; each must finish with the metrics of the run that was never disturbed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch.multiprocessing
from serving import free_port
from victim import ACTS, SEEDS, STEPS, Signs, config_of, serve

from metalab.cli.table import table
from metalab.store import Store
from metalab.training.events import Checkpoint, Checkpointed, OuterStep
from metalab.training.service import Service
from metalab.training.trainer import train

LONGEST_LIFE = 1.6
"""Seconds that a server lives at most after its first run trains."""
LATEST = {"training": 0.0, "pausing": 3e-3, "checkpointing": 2.5e-3, "deleting": 2e-3}
"""Seconds into the act at which the kill comes at the latest: about as long as it takes."""
MOST_READ = 4_000
FORK = multiprocessing.get_context("fork")

Fact = tuple[int, int, int, str]
"""Run, epoch, outer step, and the metric's name (empty for an evaluation)."""


@dataclass
class Tally:
    """What came of the kills of one kind."""

    act: str
    kills: int = 0
    in_the_act: int = 0
    """Kills that hit while it was going on."""
    finished: int = 0
    """Metrics and evaluations that were seen before."""
    lost: int = 0
    interrupted: int = 0
    checkpoints: int = 0
    """Checkpoints that were new since the last kill, all loaded."""
    torn: int = 0
    stuck: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbed: its checkpoints and its training losses by outer step."""

    checkpoints: Mapping[int, Checkpoint]
    losses: Mapping[int, float]


def undisturbed(seed: int) -> Undisturbed:
    """Train a run of this seed to its end in this process, looked at after every outer step."""
    checkpoints, losses = {}, {}
    for event in train(config_of(seed, evaluate_every=1)):
        if isinstance(event, Checkpointed):
            checkpoints[event.step] = event.checkpoint
        elif isinstance(event, OuterStep):
            losses[event.step] = float(event.metrics["loss"])
    return Undisturbed(checkpoints, losses)


@contextlib.contextmanager
def reader(home: Path) -> Iterator[sqlite3.Connection]:
    """The database as another program sees it."""
    db = sqlite3.connect(f"file:{home / 'metalab.db'}?mode=ro", uri=True, timeout=30)
    try:
        yield db
    finally:
        db.close()


def facts(db: sqlite3.Connection, most: int = -1) -> dict[Fact, object]:
    """The newest `most` metrics and evaluations (all by default), each with its run's epoch."""
    found: dict[Fact, object] = {}
    rows = db.execute(
        "SELECT m.run, r.epoch, m.step, m.name, m.value FROM metrics m JOIN runs r ON r.number = m.run "
        "ORDER BY m.id DESC LIMIT ?",
        (most,),
    )
    found |= {(run, epoch, step, name): value for run, epoch, step, name, value in rows}
    rows = db.execute(
        "SELECT e.run, r.epoch, e.step, e.payload FROM evaluations e JOIN runs r ON r.number = e.run "
        "ORDER BY e.id DESC LIMIT ?",
        (most if most < 0 else most // 20,),
    )
    return found | {(run, epoch, step, ""): hashlib.md5(data).hexdigest() for run, epoch, step, data in rows}


class Harness:
    """Servers on one home, one after the other, and the watcher beside them."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        self.chance = random.Random(seed)
        self.signs = Signs()
        self.port = free_port()
        self.calm = dict(zip(SEEDS, _in_forks(SEEDS), strict=True))
        self.loaded: set[tuple[Path, int]] = set()

    def kill_once(self, act: str, tally: Tally) -> None:
        """Let a server live for a random time, kill it while `act` goes on, and look at what is left."""
        self.signs.clear()
        process = FORK.Process(target=serve, args=(self.port, act, self.chance.randrange(2**31), self.signs))
        process.start()
        seen = self._watch(process, act)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        tally.kills += 1
        tally.in_the_act += self.signs.shown(act)
        self._look(seen, tally)

    def _watch(self, process: Any, act: str) -> dict[Fact, object]:
        """What could be read before the moment comes to kill."""
        seen: dict[Fact, object] = {}
        until = time.monotonic() + 30
        while not (self.home / "metalab.db").exists() or not self.signs.shown("training"):
            if process.exitcode is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not come up (exit code {process.exitcode})")
            time.sleep(0.01)
        moment = time.monotonic() + self.chance.uniform(0, LONGEST_LIFE)
        with reader(self.home) as db:
            while time.monotonic() < moment:
                seen |= facts(db, MOST_READ)
                time.sleep(0.02)
            seen |= facts(db, MOST_READ)
        while not self.signs.shown(act) and time.monotonic() < moment + 5:
            pass
        time.sleep(self.chance.uniform(0, LATEST[act]))
        if process.exitcode is not None:
            raise RuntimeError(f"the server ended by itself (exit code {process.exitcode})")
        return seen

    def _look(self, seen: dict[Fact, object], tally: Tally) -> None:
        with reader(self.home) as db:
            for check, good in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
                if (answer := db.execute(f"PRAGMA {check}").fetchall()) != good:
                    tally.problems.append(f"{check}: {answer[:3]}")
            now = facts(db)
            epochs = dict(db.execute("SELECT number, epoch FROM runs").fetchall())
            active = db.execute("SELECT count(*) FROM runs WHERE state IN ('queued', 'running', 'paused')").fetchone()[
                0
            ]
        finished = {fact: value for fact, value in seen.items() if epochs.get(fact[0]) == fact[1]}
        tally.finished += len(finished)
        tally.lost += sum(fact not in now or now[fact] != value for fact, value in finished.items())
        store = Store(self.home)
        runs = store.runs(limit=10_000)
        tally.interrupted += active
        tally.stuck += sum(run.active for run in runs)
        for run in runs:
            self._load(store, run.id, tally)
        store.close()

    def _load(self, store: Store, run_id: str, tally: Tally) -> None:
        """Load every checkpoint of a run that is new, the way the app does."""
        calm = self.calm[store.get(run_id).config.seed].checkpoints
        kept = {step: store.folder(run_id) / f"{step}.safetensors" for step in store.checkpoints(run_id)}
        resume: tuple[int | None, Path] = (None, store.folder(run_id) / "resume.safetensors")
        for step, path in [*kept.items(), resume]:
            mark = (path, path.stat().st_mtime_ns if path.exists() else 0)
            if mark in self.loaded or (step is None and not path.exists()):
                continue
            self.loaded.add(mark)
            tally.checkpoints += 1
            try:
                if step is None:
                    found = store.load_checkpoint(run_id)
                    good = found is not None and _same(found, calm[found.step])
                else:
                    good = _equal(store.load_theta(run_id, step), calm[step].theta)
            except Exception as problem:
                good = False
                tally.problems.append(f"{path.name}: {problem}")
            tally.torn += not good

    def finish(self) -> dict[str, Any]:
        """Resume every run, wait for its end, and compare it with the undisturbed one."""
        store = Store(self.home)
        serving = Service(store, 2)
        runs = [run for run in store.runs(limit=10_000) if run.state != "finished"]
        failed = []
        for run in runs:
            serving.resume(run.id, run.owner)
            ended = serving.wait(run.id, 120)
            if ended.state != "finished":
                failed.append(f"{run.id} is {ended.state}: {ended.message}")
        every = [run for run in store.runs(limit=10_000) if run.state == "finished"]
        different = sum(self._differs(store, run.id) for run in every)
        with reader(self.home) as db:
            here = {run_id for (run_id,) in db.execute("SELECT id FROM runs")}  # those in the bin, too
        folders = list((self.home / "checkpoints").iterdir())
        left = sum(folder.name not in here for folder in folders)
        parts = sum(len(list(folder.glob(".*.part"))) for folder in folders)
        serving.close()
        return {
            "runs": len(every),
            "resumed": len(runs),
            "did not finish": failed,
            "other metrics than the undisturbed run": different,
            "folders without a run": left,
            "half-written files": parts,
        }

    def _differs(self, store: Store, run_id: str) -> bool:
        calm = self.calm[store.get(run_id).config.seed]
        frame = store.metrics(run_id)
        frame = frame[frame["name"] == "train/loss"]
        losses = list(zip(frame["step"], frame["value"], strict=True))
        return losses != sorted(calm.losses.items()) or not _equal(
            store.load_theta(run_id), calm.checkpoints[STEPS].theta
        )


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def _same(one: Checkpoint, other: Checkpoint) -> bool:
    return (
        one.step == other.step
        and _equal(one.theta, other.theta)
        and _equal(one.optimiser, other.optimiser)
        and one.rng.equal(other.rng)
    )


def _in_forks(seeds: tuple[int, ...]) -> list[Undisturbed]:
    """`undisturbed` of each seed; in other processes, because one that has trained can no longer be forked safely."""
    torch.multiprocessing.set_sharing_strategy("file_system")  # the other one needs a file handle for each tensor
    with FORK.Pool(1) as pool:
        return pool.map(undisturbed, seeds)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=50, help="how often the server is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    os.environ.update(METALAB_WORKERS="2", STREAMLIT_LOGGER_LEVEL="error")
    tallies = {act: Tally(act) for act in ACTS}
    with tempfile.TemporaryDirectory(prefix="metalab-kill-") as folder:
        os.environ["METALAB_HOME"] = folder
        harness = Harness(Path(folder), arguments.seed)
        for number in range(arguments.times):
            act = ACTS[number % len(ACTS)]
            harness.kill_once(act, tallies[act])
        end = harness.finish()
    total = {"kills": [asdict(tally) for tally in tallies.values()], "end": end}
    if arguments.json:
        print(json.dumps(total))
    else:
        columns = ["act", "kills", "in_the_act", "finished", "lost", "interrupted", "checkpoints", "torn", "stuck"]
        print(table(columns, [[str(getattr(tally, name)) for name in columns] for tally in tallies.values()]))
        for name, value in end.items():
            print(f"{name}: {value}")
    bad = any(t.lost or t.torn or t.stuck or t.problems for t in tallies.values())
    return int(bad or bool(end["did not finish"]) or end["other metrics than the undisturbed run"] > 0)


if __name__ == "__main__":
    sys.exit(main())
