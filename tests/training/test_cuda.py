"""On a GPU: the numbers of the CPU, no waiting, graphs that are the eager code, and an end without memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from small_runs import CHARACTERS, REPTILE, SINE, checkpoints, same, small

from metalab.algorithms import multi_task
from metalab.tasks.base import Examples, TaskBatch
from metalab.training.config import RunConfig
from metalab.training.evaluation import FEWEST
from metalab.training.events import Evaluated, Failed, Finished, Noted
from metalab.training.machine import gpu
from metalab.training.outer import differentiated
from metalab.training.start import initialise, stream
from metalab.training.trainer import Trainer, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")

STRIDED = CHARACTERS | {"model": {"name": "conv4", "filters": 8}}
CASES = {
    "maml": SINE | {"algorithm": {"name": "maml", "inner_steps": 3}},
    "maml in pieces": SINE | {"algorithm": {"name": "maml", "inner_steps": 4, "steps_kept": 2}},
    "reptile": SINE | {"algorithm": REPTILE["algorithm"] | {"inner_batch": 4}},
    "implicit": SINE | {"algorithm": {"name": "imaml", "inner_steps": 3}},
    "navigation": SINE
    | {"family": {"name": "navigation", "shots": 3, "queries": 3, "horizon": 5}, "model": {"name": "policy"}},
    "multi-task": SINE | {"algorithm": {"name": "multi_task", "training_tasks": 5}},
    "conv4": STRIDED,
    "conv4, pooled": STRIDED | {"model": {"name": "conv4", "filters": 8, "downsampling": "max_pool"}},
    "conv4, one set": STRIDED | {"algorithm": {"name": "pretrained"}},
    "prototypes": STRIDED | {"algorithm": {"name": "prototypes"}},
    "in context": STRIDED | {"model": {"name": "transformer"}, "algorithm": {"name": "in_context"}},
}
RECORDED = ("maml", "reptile", "navigation", "multi-task", "conv4")


def case(name: str, **more: object) -> RunConfig:
    return small(CASES[name] | {"device": "cuda"}, **more)


@contextmanager
def never_waiting() -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def on(batch: TaskBatch, device: str, dtype: torch.dtype) -> TaskBatch:
    def part(examples: Examples) -> Examples:
        return Examples(*(value.to(device, dtype if value.is_floating_point() else None) for value in examples))

    return TaskBatch(part(batch.support), part(batch.query), batch.info)


def gradient(config: RunConfig, device: str, dtype: torch.dtype) -> torch.Tensor:
    batch = on(config.family.sample(3, "train", stream(1, "train")), device, dtype)
    theta = {name: value.to(device) for name, value in initialise(config, dtype).items()}
    found = differentiated(config, theta, batch, 0).gradient
    return torch.cat([found[name].double().cpu().flatten() for name in sorted(found)])


@pytest.mark.parametrize("name", CASES)
def test_the_meta_gradient_is_that_of_the_cpu(name):
    """But for rounding: in float32 what float32 has, not the thousandth that convolutions in TF32 are off by."""
    config = case(name)
    expected = gradient(config, "cpu", torch.float64)
    exact, rounded = (gradient(config, "cuda", dtype) for dtype in (torch.float64, torch.float32))
    assert (exact - expected).norm() <= 1e-8 * expected.norm()
    assert (rounded - expected).norm() <= 1e-4 * expected.norm()


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("compiled", ["off", "auto"])
@pytest.mark.parametrize("name", CASES)
def test_no_outer_step_waits_for_the_gpu(name, compiled):
    trainer = Trainer(case(name, compiled=compiled, clip_norm=1.0), None, None)
    trainer.meta_step.wait(trainer.outer.theta)
    trainer.learn([trainer.sample()])
    with never_waiting():
        for _ in range(3):
            trainer.learn([trainer.sample()])
    trainer.close()


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_run_is_the_eager_one_bit_for_bit(name):
    eager, recorded = (list(train(case(name, compiled=compiled, accumulate=2))) for compiled in ("off", "auto"))
    (note,) = [event.text for event in recorded if isinstance(event, Noted)]
    assert note == "compiled as a CUDA graph"
    ours, theirs = checkpoints(recorded), checkpoints(eager)
    assert ours.keys() == theirs.keys()
    for step, checkpoint in theirs.items():
        assert same(ours[step].theta, checkpoint.theta)
        assert same(ours[step].optimiser, checkpoint.optimiser)


def test_recorded_evaluations_are_the_eager_ones():
    more = {"evaluation_tasks": 2 * FEWEST, "outer_steps": 6, "evaluate_every": 3}
    found = []
    for compiled in ("off", "auto"):
        events = train(case("maml", compiled=compiled, **more))
        found.append([event.curves for event in events if isinstance(event, Evaluated)])
    for ours, theirs in zip(*found, strict=True):
        for metric, curve in theirs.items():
            torch.testing.assert_close(ours[metric], curve)


def test_what_is_not_recorded_says_why():
    """Which classes the examples are of is no part of them."""
    (note,) = [e.text for e in train(case("conv4, one set", compiled="auto")) if isinstance(e, Noted)]
    assert note == "not compiled: it depends on more of its tasks than their examples ('classes')"


def test_a_recording_keeps_what_it_reads():
    trainer = Trainer(case("multi-task", compiled="auto"), None, None)
    assert trainer.meta_step.wait(trainer.outer.theta) == "compiled as a CUDA graph"
    batch, theta = trainer.sample(), trainer.outer.theta
    multi_task.pool_of.cache_clear()
    torch.cuda.empty_cache()
    rubbish = [torch.full((n,), torch.nan, device="cuda") for n in range(1, 200)]
    found = trainer.meta_step(theta, batch, 0)
    del rubbish
    expected = differentiated(trainer.config, theta, batch, 0)
    trainer.close()
    assert same(found.gradient, expected.gradient)


@pytest.mark.parametrize("optimiser", ["adam", "natural"])
@pytest.mark.parametrize("devices", [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_goes_on_on_either_device(devices, optimiser):
    """On the same one bit for bit, on the other with its rounding."""
    config = small(outer_optimiser=optimiser, evaluate_every=6, device=devices[0])
    begun = checkpoints(train(config))
    middle = replace(begun[6], config=config.changed({"device": devices[1]}))
    end = checkpoints(train(middle.config, resume=middle))[12]
    if devices[0] == devices[1]:
        assert same(end.theta, begun[12].theta)
        assert same(end.optimiser, begun[12].optimiser)
    for part in ("theta", "optimiser"):
        mine, whole = getattr(end, part), getattr(begun[12], part)
        assert all(value.is_cpu for value in mine.values())
        for name, value in whole.items():
            torch.testing.assert_close(mine[name], value, rtol=1e-3, atol=1e-5)


def test_a_full_gpu_ends_the_run_with_advice_and_not_the_next_one():
    pooled = {"name": "conv4", "filters": 64, "downsampling": "max_pool"}
    large = case("conv4", model=pooled, meta_batch_size=64, evaluation_tasks=2)
    torch.cuda.empty_cache()
    left = torch.cuda.memory_reserved() + 300e6
    torch.cuda.set_per_process_memory_fraction(left / torch.cuda.get_device_properties(0).total_memory)
    try:
        *_, end = train(large)
        *_, next_one = train(case("maml"))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert isinstance(end, Failed)
    assert end.message.startswith("The GPU's memory is full: try a smaller meta-batch")
    assert isinstance(next_one, Finished)


def test_every_training_thread_has_a_stream_of_its_own():
    both, found = threading.Barrier(2, timeout=30), []

    def work() -> None:
        with gpu():
            both.wait()
            found.append(torch.cuda.current_stream())
            both.wait()

    for _ in range(2):
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert torch.cuda.default_stream() not in found
    assert found[0] != found[1]
    assert set(found[2:]) == set(found[:2]), "those of threads that have ended are taken again"
