"""Killed at any moment: the database opens, the run is interrupted, nothing recorded is lost, it goes on exactly.

`benchmarks/kill.py` does the same to the whole server, as often as one likes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import checkpoints, outer_steps, same, small

from metalab.store import Store
from metalab.training.trainer import train

ROUNDS = 8
RESTLESS = 4
"""Of the rounds, those in which the run is paused and resumed again and again."""
CONFIG = small(outer_steps=200, evaluate_every=7)

# One process imports torch and forks a trainer for each round: an import each would take longer than the rest.
SCRIPT = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from metalab.store import Store
from metalab.training.config import parse_config
from metalab.training.service import Service

torch.optim.Adam([torch.zeros(1)])  # the first one imports a lot
home, config, rounds = Path(sys.argv[1]), parse_config(json.loads(sys.argv[2])), int(sys.argv[3])
chance = random.Random(0)

def trainer(report, restless):
    service = Service(Store(home), 1)
    run_id = service.start(config, "ada")
    report.write(run_id + "\\n")
    while True:
        seen = service.news(run_id)
        report.write(f"{service.store.get(run_id).step}\\n")
        report.flush()
        service.wait_for_news(run_id, seen, 10)
        if restless:
            service.pause(run_id, "ada")
            service.wait(run_id, 10)
            service.resume(run_id, "ada")

for number in range(rounds):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        trainer(os.fdopen(writing, "w"), number < int(sys.argv[4]))
    os.close(writing)
    with os.fdopen(reading) as report:
        run_id = report.readline().strip()
        steps = chance.randrange(40)
        while int(report.readline()) < steps:
            pass
        time.sleep(chance.uniform(0.0, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines = report.read().split("\\n")[:-1]  # a last line without an end was torn
    print(json.dumps([run_id, int(lines[-1]) if lines else steps]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_runs_lose_nothing_and_go_on_exactly(tmp_path, serve):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), CONFIG.model_dump_json(), str(ROUNDS), str(RESTLESS)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    killed = dict(json.loads(line) for line in done.stdout.splitlines())
    assert len(killed) == ROUNDS
    store = Store(tmp_path)
    with store.database.read() as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert {run.id: run.state for run in store.runs()} == dict.fromkeys(killed, "interrupted")
    assert any(store.get(run_id).step > 0 for run_id in killed)
    for run_id, told in killed.items():
        check_what_was_recorded(store, run_id, told)
    store.close()

    straight = list(train(CONFIG))
    serving, end = serve(workers=2), checkpoints(straight)[200]
    restless, *_others, calm = killed
    resumed = [restless, calm]
    for run_id in resumed:
        serving.resume(run_id, "ada")
    for run_id in resumed:
        assert serving.wait(run_id, 120).state == "finished"
        frame = serving.store.metrics(run_id)
        frame = frame[frame["name"] == "train/loss"]
        expected = {step: metrics["loss"] for step, metrics in outer_steps(straight).items()}
        assert dict(zip(frame["step"], frame["value"], strict=True)) == expected
        assert len(frame) == 200
        looks = [*range(0, 200, 7), 200]
        steps = serving.store.checkpoints(run_id)
        assert steps == looks if run_id == calm else set(looks) < set(steps)
        assert [evaluation.step for evaluation in serving.store.evaluations(run_id)] == looks
        assert same(serving.store.load_theta(run_id), end.theta)
        assert not list((tmp_path / "checkpoints" / run_id).glob("*.part"))


def check_what_was_recorded(store: Store, run_id: str, told: int) -> None:
    run = store.get(run_id)
    assert run.step >= told
    frame = store.metrics(run_id)
    assert frame[frame["name"] == "train/loss"]["step"].tolist() == list(range(1, run.step + 1))
    checkpoint = store.load_checkpoint(run_id)
    kept = store.checkpoints(run_id)
    for step in kept:
        store.load_theta(run_id, step)
    if checkpoint is None:
        assert (kept, run.step) == ([], 0)
    else:
        assert (kept[-1] if kept else 0) <= checkpoint.step <= run.step
        assert run.step - checkpoint.step <= CONFIG.evaluate_every
