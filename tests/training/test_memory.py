"""What a run is said to need of the memory, what is said where that is too much, and when it is full after all."""

from __future__ import annotations

import pytest
import torch
from small_runs import PATIENCE, SINE, small

from metalab.algorithms.base import Learner
from metalab.training import machine, memory
from metalab.training.config import RunConfig, parse_config
from metalab.training.quotas import Limits, Quotas
from metalab.training.refusals import TooMuch, check
from metalab.training.trainer import Trainer, train

WIDE = {
    "family": "sinusoid",
    "model": {"name": "mlp", "widths": [1024] * 2},
    "algorithm": {"name": "maml", "inner_steps": 20},
    "meta_batch_size": 128,
    "device": "cpu",
}
THETA = 4 * (2 * 1024 + (1024 * 1024 + 1024) + 1025)
"""Its theta in bytes: two hidden layers, one input, one output."""


def needed(**changes: object) -> float:
    return memory.needed(parse_config(WIDE).changed({name.replace("__", "."): v for name, v in changes.items()}), 2)


def test_what_lives_at_one_time_is_counted_once_and_until_it_goes():
    """Two tensors of 4,000 bytes at a time, views and in-place results for nothing."""
    with memory.Alive() as alive:
        first = torch.zeros(1000, device="meta")
        first.view(10, 100).add_(1)
        assert alive.now == 4000
        for _ in range(5):
            second = first * 2
        assert (alive.now, alive.peak) == (8000, 12000)  # while a new one is made, the one before it lives
        del first, second
        assert alive.now == 0


def test_second_order_keeps_phi_of_every_inner_step_and_of_every_task():
    """A theta this wide outweighs all else: each further inner step is another phi for each of the tasks."""
    step = needed(algorithm__inner_steps=11) - needed(algorithm__inner_steps=10)
    assert step == pytest.approx(memory.RESIDENT * 128 * THETA, rel=0.1)
    assert needed() == pytest.approx(needed(algorithm__inner_steps=10) + 10 * step, rel=0.01)
    few = {"meta_batch_size": 32, "evaluation_tasks": 2}
    assert needed(**few) == pytest.approx(needed(**few | {"meta_batch_size": 128}) / 4, rel=0.15)


def test_what_is_said_to_help_helps():
    whole = needed()
    assert needed(algorithm__order=1) < 0.3 * whole
    assert needed(algorithm__steps_kept=4) < 0.7 * whole
    assert needed(algorithm__order=1, algorithm__inner_steps=10) == needed(algorithm__order=1)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("order", [1, 2])
def test_the_count_is_that_of_a_real_outer_step(order, steps):
    """Real tensors of the same run, counted while they are made: the batch and theta were there before."""
    algorithm = {"name": "maml", "order": order, "inner_steps": steps, "inner_steps_eval": 2}
    config = small(algorithm=algorithm, meta_batch_size=16)
    batch = config.family.sample(16, "train", torch.Generator().manual_seed(0))
    theta = config.algorithm.init(config.learner, torch.Generator().manual_seed(0))
    with memory.Alive() as alive:
        memory.differentiated(config, theta, batch, 0)
    assert memory._step(config, batch_on_meta(config)) == pytest.approx(alive.peak, rel=0.05)


def batch_on_meta(config: RunConfig):
    return memory._without_numbers(config.family.sample(1, "train", torch.Generator().manual_seed(0)), 16)


@pytest.mark.parametrize("name", ["maml", "reptile", "imaml", "cnp", "pretrained", "maml_plus_plus"])
def test_the_quick_bound_is_one(name):
    config = parse_config({"family": {"name": "sinusoid"}, "algorithm": name, "device": "cpu"})
    assert memory.needed(config, 2) <= memory._at_most(config, 2)


def test_a_run_that_needs_more_than_is_free_is_refused_in_one_sentence(monkeypatch):
    config = parse_config(WIDE)
    monkeypatch.setattr(memory, "free", lambda device: 10e9)
    sentence = memory.too_much(config, 1)
    assert sentence.startswith("The run would need about ")
    assert "and 10 GB are free here: try " in sentence
    assert "first order (algorithm.order = 1)" in sentence
    assert "meta_batch_size = 128; accumulate averages several" in sentence
    assert "held-out" not in sentence, "that would not help"
    assert sentence.count(". ") == 0
    assert memory.too_much(config.changed({"algorithm.order": 1}), 1) == ""
    monkeypatch.setattr(memory, "free", lambda device: None)
    assert memory.too_much(config, 1) == "", "no system says what is free: nothing can be said"
    assert "at most 1.0 GB are allowed here" in memory.too_much(config, 1, 1e9)


def test_the_check_holds_people_to_the_limit_and_everybody_to_what_is_free(monkeypatch):
    check(small(), "ada", Limits())
    with pytest.raises(TooMuch, match="GB of memory"):
        check(parse_config(WIDE), "ada", Limits(memory=2.0, parameters=None))
    monkeypatch.setattr(memory, "free", lambda device: 1e7)
    with pytest.raises(TooMuch, match="are free here"):
        check(small(), "ada", Limits())


def test_memory_that_went_between_queue_and_start_ends_the_run_and_not_the_service(serve, monkeypatch):
    serving, amounts = serve(), iter([1e12])
    monkeypatch.setattr(memory, "free", lambda device: next(amounts, 1e7))
    run = serving.wait(serving.start(small(), "ada"), PATIENCE)
    assert run.state == "failed"
    assert "are free here: try" in run.message
    monkeypatch.undo()
    assert serving.wait(serving.start(small(), "ada"), PATIENCE).state == "finished"


def test_many_meta_batches_that_accumulate_need_the_memory_of_few():
    peaks = []
    for n in (2, 8):
        trainer = Trainer(small(accumulate=n), None, 1)
        trainer.learn([trainer.sample()])  # the optimiser's state is made
        with memory.Alive() as alive:
            trainer.learn(trainer.sample() for _ in range(n))
        peaks.append(alive.peak)
    assert peaks[0] == peaks[1]


def greedy(when: int):
    """A support loss that asks for a petabyte at its `when`-th call, as a network that is far too wide would."""
    calls, loss = [], Learner.support_loss

    def support_loss(self, phi, support):
        calls.append(1)
        if len(calls) == when:
            torch.empty(2**50, dtype=torch.uint8)
        return loss(self, phi, support)

    return support_loss


def test_torch_without_memory_ends_the_run_with_advice_that_names_its_settings(serve, monkeypatch):
    serving = serve()
    with monkeypatch.context() as patched:
        patched.setattr(Learner, "support_loss", greedy(30))
        run_id = serving.start(small(outer_steps=500), "ada")
        run = serving.wait(run_id, PATIENCE)
    assert run.state == "failed"
    assert run.message.startswith("The computer's memory is full: try a smaller meta-batch (meta_batch_size = 4;")
    assert "first order (algorithm.order = 1)" in run.message
    serving.resume(run_id, "ada")
    assert serving.wait(run_id, PATIENCE).state == "finished"


def test_other_errors_of_torch_are_not_taken_for_it(monkeypatch):
    def broken(self, phi, support):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(Learner, "support_loss", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(train(small()))


@pytest.mark.parametrize(
    "problem",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_every_way_to_say_so_is_known(problem):
    assert memory.is_full(problem)
    assert not memory.is_full(ValueError("can't allocate memory"))


def test_what_linux_says_is_free(tmp_path):
    info = tmp_path / "meminfo"
    info.write_text("MemTotal:       100 kB\nMemAvailable:    50 kB\n", encoding="ascii")
    assert machine._available(info) == 51_200
    assert machine._available(tmp_path / "none") is None
    for name, text in (("memory.max", "1000\n"), ("memory.current", "700\n"), ("memory.stat", "inactive_file 200\n")):
        (tmp_path / name).write_text(text, encoding="ascii")
    assert machine._left_in_group(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    assert machine._left_in_group(tmp_path) is None


def test_a_free_person_is_held_to_what_is_free_all_the_same():
    quotas = Quotas(Limits(memory=0.5))
    quotas.free("teacher")
    assert quotas.of("teacher").memory is None
    assert quotas.of("ada").memory == 0.5
    assert SINE["device"] == "cpu"
