"""The end of the program: quick, quiet, and with a checkpoint of every run in training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import small

from metalab.store import Store

# The trainer computes on a pool of threads, as it does for conv4: Python ends those before it ends the program.
SCRIPT = """
import json, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from metalab.training.config import parse_config
from metalab.training.parallel import Workers
from metalab.training.service import service

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test session in the background has Ctrl-C switched off
pool = ThreadPoolExecutor(2)
Workers.map = lambda self, function, batch, *_at_once: [(batch.n_tasks, pool.submit(function, batch).result())]
run_id = service().start(parse_config(json.loads(sys.argv[1])), "ada")
waiting = service().start(parse_config(json.loads(sys.argv[1])), "ada")
while service().store.get(run_id).step < 3:
    assert service().store.get(run_id).state != "failed"
    time.sleep(0.01)
print(run_id, waiting, flush=True)
if sys.argv[2] == "stay":
    time.sleep(600)
"""


@pytest.mark.parametrize("how", ["return", "interrupt"])
def test_ending_the_program_leaves_a_checkpoint_of_now(tmp_path, how):
    if how == "interrupt" and os.name == "nt":
        pytest.skip("Ctrl-C cannot be sent to one process on Windows")
    config = small(outer_steps=200_000, evaluate_every=100_000)
    command = [sys.executable, "-c", SCRIPT, config.model_dump_json(), "stay" if how == "interrupt" else "go"]
    environment = os.environ | {"METALAB_HOME": str(tmp_path), "METALAB_WORKERS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        run_id, waiting = process.stdout.readline().split()
        if how == "interrupt":
            process.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, errors = process.communicate(timeout=30)
        assert time.monotonic() - start < 15
    finally:
        process.kill()
        process.communicate()
    if how == "return":
        assert (process.returncode, errors) == (0, "")
    else:
        assert errors.strip().splitlines()[-1] == "KeyboardInterrupt"
    store = Store(tmp_path)
    run = store.get(run_id)
    assert run.state == "interrupted"
    assert run.step >= 3
    assert store.load_checkpoint(run_id).step == run.step
    assert store.get(waiting).state == "interrupted"
    assert not list((tmp_path / "locks").iterdir())
    store.close()
