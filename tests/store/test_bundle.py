"""Example runs: what was packed comes out again, and what comes with MetaLab is whole."""

from pathlib import Path

import pytest
import torch

from metalab.store import EXAMPLE, CheckpointError, Store
from metalab.store.bundle import pack, unpack
from metalab.training.config import parse_config
from metalab.training.service import Service

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "assets" / "examples").glob("*.safetensors"))
SMALL = {"family": "sinusoid", "algorithm": "maml", "outer_steps": 4, "evaluate_every": 2, "evaluation_tasks": 3}


def test_a_packed_run_comes_out_as_it_was(tmp_path):
    store = Store(tmp_path / "one")
    serving = Service(store, workers=1)
    run_id = serving.start(parse_config(SMALL), "somebody")
    assert serving.wait(run_id, 30).state == "finished"
    pack(store, run_id, tmp_path / "run.safetensors", [0, 4], "Example: MAML")
    other = Store(tmp_path / "two")
    run = unpack(other, tmp_path / "run.safetensors")
    assert (run.name, run.owner, run.state, run.step) == ("Example: MAML", EXAMPLE, "finished", 4)
    assert run.config == store.get(run_id).config
    assert other.checkpoints(run.id) == [0, 4]
    theta = store.load_theta(run_id, 4)
    assert all(torch.equal(value, theta[name]) for name, value in other.load_theta(run.id, 4).items())
    kept = {seen.step: seen for seen in store.evaluations(run_id)}
    for seen in other.evaluations(run.id):
        assert all(torch.equal(value, kept[seen.step].curves[name]) for name, value in seen.curves.items())
        assert torch.equal(seen.functions, kept[seen.step].functions)
    assert [seen.step for seen in other.evaluations(run.id)] == [0, 4]
    before = store.metrics(run_id)
    told = before[before["name"].str.startswith("validation/") & before["step"].isin([0, 4])]
    assert len(told) >= 4
    columns = ["step", "name", "value"]
    assert other.metrics(run.id)[columns].values.tolist() == told[columns].values.tolist()
    serving.close()
    store.close()
    other.close()


def test_nobody_can_delete_an_example(tmp_path):
    store = Store(tmp_path)
    run = unpack(store, EXAMPLES[0])
    with pytest.raises(PermissionError):
        store.delete(run.id, "somebody")
    store.close()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_that_comes_along_can_be_used(path, tmp_path):
    store = Store(tmp_path)
    run = unpack(store, path)
    assert run.family == path.stem.partition("-")[0]
    for step in store.checkpoints(run.id):
        assert store.load_theta(run.id, step)
    assert len(store.evaluations(run.id)) == len(store.checkpoints(run.id))
    store.close()


def test_a_damaged_example_is_refused(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(EXAMPLES[0].read_bytes()[:1000])
    store = Store(tmp_path / "home")
    with pytest.raises(CheckpointError):
        unpack(store, tmp_path / "bad.safetensors")
    assert store.runs() == []
    store.close()
