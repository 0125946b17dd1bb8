"""The natural outer step against a dense Fisher matrix, and how tasks' gradients come together from parts."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import torch
from small_runs import CHARACTERS, SINE, checkpoints, outer_steps, same, small

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.base import MetaGradient
from metalab.params import weights
from metalab.training.config import ConfigError, RunConfig
from metalab.training.natural import NaturalGradient
from metalab.training.outer import Outer, aggregate, mean
from metalab.training.trainer import initialise, stream, train

NATURAL = {"outer_optimiser": "natural", "outer_lr": 0.05, "fisher_damping": 0.3, "fisher_decay": 0.8}


def each_of(n_tasks: int, dimension: int = 5, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n_tasks, dimension, generator=rng, dtype=torch.float64)


def stepped(theta: torch.Tensor, batches: list[torch.Tensor], lr: float, damping: float, decay: float) -> torch.Tensor:
    """theta after one natural step for each meta-batch of task gradients (T, d)."""
    theta = theta.clone()
    optimiser = NaturalGradient([theta], lr, damping, decay)
    for each in batches:
        theta.grad = each.mean(0)
        optimiser.observe([each.square().mean(0)])
        optimiser.step()
    return theta


def dense(theta: torch.Tensor, batches: list[torch.Tensor], lr: float, damping: float, decay: float) -> torch.Tensor:
    """The same with the whole matrix F = mean_i g_i g_i^T and a linear solve, weighted over steps by hand."""
    eye = torch.eye(len(theta), dtype=theta.dtype)
    matrices: list[torch.Tensor] = []
    for each in batches:
        matrices.append((each[:, :, None] * each[:, None, :]).mean(0))
        shares = [decay ** (len(matrices) - 1 - i) for i in range(len(matrices))]
        fisher = sum(share * m for share, m in zip(shares, matrices, strict=True)) / sum(shares)
        theta = theta - lr * torch.linalg.solve(fisher + damping * eye, each.mean(0))
    return theta


@pytest.mark.parametrize("decay", [0.0, 0.8])
def test_where_the_fisher_matrix_is_diagonal_the_step_is_that_of_the_dense_one(decay):
    """Tasks whose gradients come in pairs, one turned in sign along an axis, have no mixed entries."""
    theta = each_of(1)[0]
    batches = []
    for seed in (1, 2, 3):
        values = each_of(1, seed=seed)[0]
        signs = torch.tensor(list(itertools.product([1.0, -1.0], repeat=5)), dtype=torch.float64)
        each = signs * values + 0.0
        each = torch.cat([each, torch.diag(each_of(1, seed=seed + 10)[0])])  # and a mean that is not zero
        batches.append(each)
        matrix = each.mT @ each
        torch.testing.assert_close(matrix, torch.diag(matrix.diagonal()), rtol=0, atol=1e-12)
        assert each.mean(0).abs().min() > 1e-4
    found, expected = (rule(theta, batches, 0.1, 0.2, decay) for rule in (stepped, dense))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (found - theta).abs().min() > 1e-4


def test_in_general_it_is_the_dense_matrix_without_its_mixed_entries():
    theta, each = each_of(1)[0], each_of(6, seed=4)
    fisher = (each[:, :, None] * each[:, None, :]).mean(0)
    expected = theta - 0.1 * torch.linalg.solve(torch.diag(fisher.diagonal() + 0.2), each.mean(0))
    found = stepped(theta, [each], 0.1, 0.2, 0.9)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (found - dense(theta, [each], 0.1, 0.2, 0.9)).norm() > 1e-3


def test_damping_that_outweighs_the_fisher_values_is_gradient_descent():
    theta, each = each_of(1)[0], each_of(6, seed=4)
    found = stepped(theta, [each], 1e6, 1e6, 0.9)
    torch.testing.assert_close(found, theta - each.mean(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cuts", [(6,), (1, 5), (2, 2, 2), (4, 1, 1)])
def test_parts_come_together_to_the_same_whole(cuts):
    """Means, mean squares and agreement do not depend on how the tasks of an outer step were cut."""
    each = {"one": each_of(6, 4), "two": each_of(6, 3, seed=1)}
    parts, first = [], 0
    for n in cuts:
        some = {name: value[first : first + n] for name, value in each.items()}
        parts.append(aggregate(MetaGradient.of_tasks(some, {"loss": some["one"].mean()}, {}), n, squared=True))
        first += n
    whole = mean(parts)
    assert whole.tasks == 6
    for name, value in each.items():
        torch.testing.assert_close(whole.gradient[name], value.mean(0))
        torch.testing.assert_close(whole.squares[name], value.square().mean(0))
    torch.testing.assert_close(whole.metrics["loss"], each["one"].mean())
    joined = torch.cat(list(each.values()), 1)
    pairs = [torch.cosine_similarity(joined[i], joined[j], 0) for i, j in itertools.combinations(range(6), 2)]
    torch.testing.assert_close(whole.agreement, torch.stack(pairs).mean())


def test_agreement_is_one_for_equal_tasks_minus_one_for_two_opposed_and_unknown_for_one():
    one = each_of(1)
    for tasks, expected in ((torch.cat([one, 3 * one, one]), 1.0), (torch.cat([one, -2 * one]), -1.0)):
        part = aggregate(MetaGradient.of_tasks({"one": tasks}, {}, {}), len(tasks), squared=False)
        assert float(part.agreement) == pytest.approx(expected)
        assert part.squares == {}
    assert aggregate(MetaGradient.of_tasks({"one": one}, {}, {}), 1, squared=False).agreement is None
    assert aggregate(MetaGradient({"one": one[0]}, {}), 4, squared=False).agreement is None


def test_an_algorithm_that_mixes_its_tasks_counts_as_one_task():
    gradient = each_of(1)[0]
    part = aggregate(MetaGradient({"one": gradient}, {}), 4, squared=True)
    torch.testing.assert_close(part.squares["one"], gradient.square())


def natural_run(algorithm: str) -> RunConfig | None:
    """A run of one outer step on small tasks that the algorithm fits with a network of its own choice, if any."""
    for base in (CHARACTERS | {"model": {"name": "mlp", "widths": [8]}}, CHARACTERS, SINE):
        without = {name: value for name, value in base.items() if name != "model"}
        for tried in (base, without):
            with contextlib.suppress(ConfigError):
                return small(tried, algorithm={"name": algorithm}, accumulate=2, outer_steps=1, **NATURAL)
    return None


RUNS = {name: natural_run(name) for name, cls in ALGORITHMS.items() if cls.trains}
FOR_OTHER_TASKS = {"prompting"}


def test_few_are_left_out():
    assert {name for name, config in RUNS.items() if config is None} <= FOR_OTHER_TASKS


@pytest.mark.parametrize("algorithm", [name for name, config in RUNS.items() if config is not None])
def test_any_algorithm_takes_natural_steps(algorithm):
    """One outer step of a run is the formula on its own tasks' gradients, a meta-batch and accumulation alike."""
    config = RUNS[algorithm]
    events = list(train(config))
    start, end = (checkpoints(events)[step].theta for step in (0, 1))
    rng = stream(config.seed, "train")
    parts = []
    for _ in range(2):
        batch = config.family.sample(config.meta_batch_size, "train", rng)
        meta = config.algorithm.meta_gradient(config.learner, initialise(config), batch)
        parts.append(meta)
    for name, value in weights(start).items():
        gradient = torch.stack([part.gradient[name] for part in parts]).mean(0)
        each = [part.each[name] if part.each else part.gradient[name][None] for part in parts]
        fisher = torch.cat(each).square().mean(0)
        expected = value - 0.05 * gradient / (fisher + 0.3)
        torch.testing.assert_close(end[name], expected, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("base", [SINE, CHARACTERS], ids=["sine", "characters"])
def test_a_resumed_natural_run_goes_on_bit_for_bit(base):
    config = small(base, **NATURAL)
    plain = list(train(config))
    middle = sorted(checkpoints(plain))[1]
    checkpoint = checkpoints(plain)[middle]
    assert {key.split("/")[0] for key in checkpoint.optimiser} == {"step", "fisher"}
    again = list(train(config, resume=checkpoint))
    last = config.outer_steps
    assert same(checkpoints(again)[last].theta, checkpoints(plain)[last].theta)
    assert same(checkpoints(again)[last].optimiser, checkpoints(plain)[last].optimiser)
    assert outer_steps(again) == {step: m for step, m in outer_steps(plain).items() if step > middle}


def test_its_settings_are_its_own():
    for name, value in (("fisher_damping", 0.3), ("fisher_decay", 0.8)):
        assert getattr(small(**NATURAL), name) == value
    theta = initialise(small(**NATURAL))
    assert isinstance(Outer(small(**NATURAL), theta)._optimiser, NaturalGradient)
    assert isinstance(Outer(small(outer_optimiser="sgd"), theta)._optimiser, torch.optim.SGD)
