"""The natural outer step against a dense Fisher matrix, and how tasks' gradients come together from parts."""

from __future__ import annotations

import contextlib
import itertools
from functools import partial

import pytest
import torch
from small_runs import CHARACTERS, SINE, checkpoints, outer_steps, same, small

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.base import MetaGradient
from metalab.params import Params, detach, weights
from metalab.tasks.base import Examples, TaskBatch
from metalab.training.config import ConfigError, RunConfig
from metalab.training.events import OuterStep
from metalab.training.natural import NaturalGradient
from metalab.training.outer import Outer, aggregate, mean
from metalab.training.parallel import Workers
from metalab.training.start import initialise, stream
from metalab.training.trainer import train

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
    """One outer step of a run is the formula: squares of single tasks' meta-gradients, along the meta-batches'."""
    config = RUNS[algorithm]
    events = list(train(config))
    start, end = (checkpoints(events)[step].theta for step in (0, 1))
    rng = stream(config.seed, "train")
    parts, alone = [], []
    for _ in range(2):
        batch = config.family.sample(config.meta_batch_size, "train", rng)
        # How a run cuts a meta-batch in parts, for networks whose tasks share batch statistics.
        for _n, part in Workers(config.model, torch.device("cpu"), 1).map(lambda part: part, batch):
            meta = config.algorithm.meta_gradient(config.learner, initialise(config), part)
            parts += part.n_tasks * [meta.gradient]
        for i in range(batch.n_tasks):
            one = batch.tasks(i, i + 1)
            alone.append(config.algorithm.meta_gradient(config.learner, initialise(config), one).gradient)
    assert len(parts) == len(alone) == 2 * config.meta_batch_size
    for name, value in weights(start).items():
        gradient = torch.stack([part[name] for part in parts]).mean(0)
        fisher = torch.stack([g[name] for g in alone]).square().mean(0)
        expected = value - 0.05 * gradient / (fisher + 0.3)
        torch.testing.assert_close(end[name], expected, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")
    agreement = next(event.metrics for event in events if isinstance(event, OuterStep))["gradient_agreement"]
    assert -1 <= float(agreement) <= 1


def loss_after_a_step(theta: Params, one: TaskBatch, config: RunConfig) -> torch.Tensor:
    """MAML on one sine wave, by hand: the query loss after an inner step of a network with one hidden layer."""

    def loss(params: Params, examples: Examples) -> torch.Tensor:
        hidden = (examples.x[0] @ params["layer1.weight"] + params["layer1.bias"]).relu()
        return (hidden @ params["head.weight"] + params["head.bias"] - examples.y[0]).square().mean()

    slopes = torch.autograd.grad(loss(theta, one.support), list(theta.values()), create_graph=True)
    phi = {
        name: value - config.algorithm.inner_lr * slope
        for (name, value), slope in zip(theta.items(), slopes, strict=True)
    }
    return loss(phi, one.query)


def loss_to_prototypes(theta: Params, one: TaskBatch, config: RunConfig) -> torch.Tensor:
    """Prototypes on one task, by hand: cross-entropy of minus the squared distances to the classes' means."""
    support, query = (
        (x[0].flatten(1) @ theta["layer1.weight"] + theta["layer1.bias"]).relu() for x in (one.support.x, one.query.x)
    )
    centres = torch.stack([support[one.support.y[0] == way].mean(0) for way in range(config.family.ways)])
    distances = (query[:, None] - centres[None]).square().sum(-1)
    return torch.nn.functional.cross_entropy(-distances, one.query.y[0])


def loss_in_context(theta: Params, one: TaskBatch, config: RunConfig) -> torch.Tensor:
    """The transformer's query loss on one sine wave."""
    known = config.model.read(theta, one.support.x, one.support.y)
    return (config.model.answer(theta, known, one.query.x) - one.query.y).square().mean()


TRANSFORMER = {"name": "transformer", "layers": 1, "heads": 1}
TINY = {
    "maml": SINE | {"algorithm": {"name": "maml", "inner_steps": 1}, "model": {"name": "mlp", "widths": [3]}},
    "prototypes": CHARACTERS | {"algorithm": {"name": "prototypes"}, "model": {"name": "mlp", "widths": [2]}},
    "in_context": SINE | {"algorithm": {"name": "in_context", "vary_shots": False}, "model": TRANSFORMER},
}
BY_HAND = {"maml": loss_after_a_step, "prototypes": loss_to_prototypes, "in_context": loss_in_context}


@pytest.mark.parametrize("algorithm", BY_HAND)
def test_a_tiny_networks_step_is_that_of_its_dense_fisher_matrix(algorithm):
    """One outer step against the whole matrix mean_i g_i g_i^T of single tasks' gradients, by plain autograd."""
    config = small(TINY[algorithm], outer_steps=1, **NATURAL)
    events = list(train(config))
    end = checkpoints(events)[1]
    batch = config.family.sample(config.meta_batch_size, "train", stream(config.seed, "train"))
    theta = detach(initialise(config), requires_grad=True)
    rows = []
    for i in range(batch.n_tasks):
        loss = BY_HAND[algorithm](theta, batch.tasks(i, i + 1), config)
        found = torch.autograd.grad(loss, list(theta.values()))
        rows.append(torch.cat([g.flatten() for g in found]).double())
    each = torch.stack(rows)
    fisher = sum(torch.outer(g, g) for g in rows) / len(rows)
    diagonal = fisher.diagonal()
    # The squared mean is something else: tasks do not agree.
    assert (diagonal - each.mean(0).square()).norm() > 0.1 * diagonal.norm()
    kept = torch.cat([end.optimiser[f"fisher/{name}"].flatten() for name in theta]).double() / (1 - 0.8)
    torch.testing.assert_close(kept, diagonal, rtol=1e-3, atol=1e-5 * float(diagonal.max()))
    start = torch.cat([value.detach().flatten() for value in theta.values()]).double()
    step = torch.linalg.solve(torch.diag(diagonal + 0.3), each.mean(0))
    found = torch.cat([end.theta[name].flatten() for name in theta]).double()
    torch.testing.assert_close(found, start - 0.05 * step, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("algorithm", ["prototypes", "pretrained"])
def test_natural_steps_do_not_depend_on_the_number_of_threads(algorithm, request):
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(1)  # as every trainer's thread has: with more, convolutions add up in another order
    config = small(CHARACTERS, algorithm={"name": algorithm}, outer_steps=1, **NATURAL)
    one, three = (checkpoints(train(config, threads=threads))[1] for threads in (1, 3))
    assert same(one.theta, three.theta)
    assert same(one.optimiser, three.optimiser)


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
