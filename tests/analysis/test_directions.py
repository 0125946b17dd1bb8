"""Directions against their closed forms on quadratic tasks, what is kept in memory against counting by hand, and how
gradients agree against loops."""

import dataclasses

import numpy as np
import pytest
import torch

from metalab.algorithms import MAML, Prototypes
from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.alignment import alignment, shared
from metalab.analysis.background import Cancelled
from metalab.analysis.order import alphas_around, curvatures, steps_up_to, sweep, training_tasks
from metalab.analysis.order_cost import FEWEST, MOST, Kept, cost, timed
from metalab.models.conv4 import Conv4
from metalab.models.mlp import MLP
from metalab.models.point import Point
from metalab.tasks import FAMILIES

BOWLS = FAMILIES["quadratic"](dimension=3, query_shift=0.7, query_curvature="own")
SINES = FAMILIES["sinusoid"](shots=5, queries=5)


def contender(family, model, algorithm=None, seed=0):
    theta = Learner(model, family).init(torch.Generator().manual_seed(seed))
    return Contender("MAML", algorithm or MAML(), model, theta, ("drawn", seed))


POINT = contender(BOWLS, Point())
THETA = POINT.theta["head.bias"].double().numpy()


def closed_forms(n_tasks, alpha, steps, seed=0, theta=THETA):
    """Each task's directions by the formulas, on the tasks that the sweep takes: exact, first order, Reptile / (alpha
    k), (T, 3, 3)."""
    info = {name: value.double().numpy() for name, value in training_tasks(BOWLS, n_tasks, seed).info.items()}
    rows = []
    for a, c, b, d in zip(
        *(info[n] for n in ("curvature", "optimum", "query_curvature", "query_optimum")), strict=True
    ):
        m = np.linalg.matrix_power(np.eye(3) - alpha * a, steps)
        first = b @ (c + m @ (theta - c) - d)
        # Reptile descends the mean of both examples' losses.
        both = (a + b) / 2
        middle = np.linalg.solve(a + b, a @ c + b @ d)
        left = np.linalg.matrix_power(np.eye(3) - alpha * both, steps)
        rows.append([m @ first, first, (theta - middle - left @ (theta - middle)) / (alpha * steps)])
    return np.array(rows)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("over", ["inner_lr", "inner_steps"])
def test_directions_are_those_of_the_closed_forms(over):
    values = (0.05, 0.2, 0.6) if over == "inner_lr" else (1, 2, 4)
    found = sweep(POINT, BOWLS, values, over=over, inner_lr=0.2, inner_steps=2, n_tasks=12)
    assert found.n_tasks == 12
    for i, value in enumerate(values):
        at = {"alpha": 0.2, "steps": 2} | {"alpha" if over == "inner_lr" else "steps": value}
        tasks = closed_forms(12, **at)
        for n, name in ((1, "fomaml"), (2, "reptile")):
            cosines = [cosine(each[0], each[n]) for each in tasks]
            assert found.cosine[name].mean[i] == pytest.approx(np.median(cosines), abs=1e-4)
            # Of 12 tasks the third from either end: they hold the median in 96% of samples.
            assert found.cosine[name].low[i] == pytest.approx(sorted(cosines)[2], abs=1e-4)
            assert found.cosine[name].high[i] == pytest.approx(sorted(cosines)[-3], abs=1e-4)
            ratios = [np.linalg.norm(each[n]) / np.linalg.norm(each[0]) for each in tasks]
            assert found.ratio[name].mean[i] == pytest.approx(np.median(ratios), rel=1e-4)
        gaps = [np.linalg.norm(each[0] - each[1]) / np.linalg.norm(each[0]) for each in tasks]
        assert found.neglected.mean[i] == pytest.approx(np.median(gaps), rel=1e-3)


def test_where_training_has_converged_the_intervals_still_hold_what_is_true_of_all_tasks():
    """At MAML's own fixed point the mean direction vanishes: a ratio of means would be off there."""
    info = {name: value.double().numpy() for name, value in training_tasks(BOWLS, 4000, 99).info.items()}
    m = np.eye(3) - 0.2 * info["curvature"]
    left = m @ info["query_curvature"]
    moved = np.einsum("tij,tj->ti", left, info["query_optimum"] - info["optimum"])
    moved += np.einsum("tij,tj->ti", left @ m, info["optimum"])
    fixed = np.linalg.solve((left @ m).mean(0), moved.mean(0))
    every = closed_forms(4000, 0.2, 1, seed=98, theta=fixed)
    assert np.linalg.norm(every[:, 0].mean(0)) < 0.1 * np.linalg.norm(every[:, 0], axis=1).mean()
    true = np.median([cosine(each[0], each[1]) for each in every])
    here = dataclasses.replace(POINT, theta=POINT.theta | {"head.bias": torch.tensor(fixed, dtype=torch.float32)})
    asked = {"over": "inner_lr", "inner_lr": 0.2, "inner_steps": 1, "n_tasks": 12}
    bands = [sweep(here, BOWLS, (0.2,), **asked, seed=seed).cosine["fomaml"] for seed in range(40)]
    held = [band.low[0] <= true <= band.high[0] for band in bands]
    assert 36 <= sum(held) <= 40
    assert np.mean([band.low[0] > true for band in bands]) < 0.1
    assert np.mean([band.high[0] < true for band in bands]) < 0.1


def test_trace_and_curvature_are_those_of_the_matrices():
    """With axes that are the parameters' own, Hutchinson's estimate is exact."""
    family = FAMILIES["quadratic"](dimension=3, turned=False)
    found = sweep(POINT, family, (0.1, 0.3), over="inner_lr", inner_lr=0.1, inner_steps=1, n_tasks=6)
    info = training_tasks(family, 6, 0).info
    matrix, optimum = info["curvature"].double().numpy(), info["optimum"].double().numpy()
    slope = np.einsum("tij,tj->ti", matrix, THETA - optimum)
    along = np.einsum("ti,tij,tj->t", slope, matrix, slope) / (slope**2).sum(1)
    for i, alpha in enumerate((0.1, 0.3)):
        assert found.trace.mean[i] == pytest.approx(alpha * np.trace(matrix, axis1=1, axis2=2).mean(), rel=1e-5)
        assert found.curvature.mean[i] == pytest.approx(alpha * along.mean(), rel=1e-5)
    assert found.n_parameters == 3


def test_what_first_order_leaves_out_of_a_network_is_of_first_order_in_alpha():
    network = contender(SINES, MLP(widths=(8,), activation="tanh"))
    found = sweep(network, SINES, (1e-3, 1e-2), over="inner_lr", inner_lr=0.01, inner_steps=2, n_tasks=6)
    slope = np.log10(found.neglected.mean[1] / found.neglected.mean[0])
    assert slope == pytest.approx(1, abs=0.15)
    assert found.cosine["fomaml"].mean[0] > 0.999


def test_a_rate_that_diverges_leaves_gaps_and_no_error():
    found = sweep(POINT, BOWLS, (0.1, 2.0), over="inner_lr", inner_lr=0.1, inner_steps=20, n_tasks=6)
    assert np.isfinite(found.cosine["fomaml"].mean[0])
    assert np.isfinite(found.trace.mean).all()


def test_values_to_compare_hold_the_chosen_one():
    assert 0.013 in alphas_around(0.013)
    assert alphas_around(1.7)[-1] == 1.7
    assert steps_up_to(4) == (1, 2, 3, 4, 5, 8)
    assert steps_up_to(20)[-1] == 20


def test_whoever_takes_no_inner_steps_is_refused():
    glyphs = FAMILIES["glyphs"](ways=2)
    reader = contender(glyphs, Conv4(filters=4), Prototypes())
    with pytest.raises(ValueError, match="takes no inner steps"):
        sweep(reader, glyphs, (0.1,), over="inner_lr", inner_lr=0.1, inner_steps=1, n_tasks=2)


def test_it_ends_when_nobody_wants_it():
    def stop(_fraction):
        raise Cancelled

    with pytest.raises(Cancelled):
        sweep(POINT, BOWLS, (0.1,), over="inner_lr", inner_lr=0.1, inner_steps=1, n_tasks=2, report=stop)


def test_kept_memory_is_counted_once_for_each_storage_and_until_it_goes():
    x = torch.ones(100, requires_grad=True)
    with Kept() as memory:
        y = x.exp()  # keeps its result: 400 bytes
        z = (y * y).sum()  # keeps y twice, which is kept already
        assert memory.peak == 400
        (x * 2.0).exp()  # goes at once
        assert memory.peak == 800
        torch.ones(50, requires_grad=True).exp()
        assert memory.peak == 800
        z.backward()
    assert torch.equal(x.grad, 2 * x.detach().exp() ** 2)


def test_counting_changes_no_gradient_of_any_order():
    network = contender(SINES, MLP(widths=(8,)))
    learner, algorithm, tasks = Learner(network.model, SINES), MAML(inner_steps=3), training_tasks(SINES, 3, 0)
    plain = algorithm.meta_gradient(learner, network.theta, tasks).gradient
    with Kept():
        counted = algorithm.meta_gradient(learner, network.theta, tasks).gradient
    assert all(torch.equal(plain[name], counted[name]) for name in plain)


def test_the_exact_gradient_keeps_each_inner_step_and_first_order_one():
    found = cost(contender(SINES, MLP(widths=(8,))), SINES, (2, 4, 6), inner_lr=0.01, n_tasks=3)
    assert (found.n_support, found.n_examples) == (5, 10)
    kept = found.kept_bytes
    growth = np.diff(kept["exact"])
    assert growth[0] == growth[1] > 0
    assert len(set(kept["fomaml"])) == 1
    assert len(set(kept["reptile"])) == 1
    for seconds in found.seconds.values():
        assert (seconds > 0).all()
        assert (np.diff(seconds, axis=1) >= 0).all()


def test_the_estimate_of_a_trace_is_the_same_whatever_the_order_of_the_parameters():
    network = contender(SINES, MLP(widths=(8,)))
    learner, support = Learner(network.model, SINES), training_tasks(SINES, 3, 0).support
    phi = next(iter(network.algorithm.adapt(learner, network.theta, support, 1))).phi
    turned = dict(reversed(phi.items()))
    first, second = (
        curvatures(learner, each, support, 2, torch.Generator().manual_seed(0))[0] for each in (phi, turned)
    )
    torch.testing.assert_close(first, second)


def test_what_is_timed_takes_turns():
    order, asked = [], []
    found = timed({name: lambda name=name: order.append(name) for name in "ab"}, lambda: asked.append(None))
    assert order == ["a", "b"] * (len(order) // 2)
    assert FEWEST <= len(order) // 2 <= MOST
    assert len(asked) == len(order)
    assert all(quartiles.shape == (3,) and (np.diff(quartiles) >= 0).all() for quartiles in found.values())


def test_gradients_agree_as_their_closed_forms_do():
    family = FAMILIES["quadratic"](dimension=3)
    found = alignment([(7, lambda: POINT), (9, lambda: POINT)], family, n_tasks=6)
    info = training_tasks(family, 6, 0).info
    slope = np.einsum("tij,tj->ti", info["curvature"].double().numpy(), THETA - info["optimum"].double().numpy())
    unit = slope / np.linalg.norm(slope, axis=1, keepdims=True)
    others = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(found.cosine["same"].mean, 1, atol=1e-6)
    np.testing.assert_allclose(found.product["same"].mean, (slope**2).sum(1).mean(), rtol=1e-5)
    np.testing.assert_allclose(found.cosine["other"].mean, (unit @ unit.T)[others].mean(), atol=1e-5)
    np.testing.assert_allclose(found.product["other"].mean, (slope @ slope.T)[others].mean(), rtol=1e-4)
    assert found.outer_steps.tolist() == [7, 9]


def test_a_pair_of_different_tasks_is_never_a_task_with_itself():
    """However a resample repeats tasks: the same number for all pairs of different tasks has no spread."""
    pairs = np.full((1, 5, 5), 0.25)
    pairs[0][np.eye(5, dtype=bool)] = [3.0, -1.0, 7.0, 2.0, 0.5]
    bands = shared(pairs)
    for part in dataclasses.astuple(bands["other"]):
        np.testing.assert_allclose(part, 0.25)
    assert bands["same"].mean[0] == pytest.approx(2.3)
    assert bands["same"].low[0] < 2.3 < bands["same"].high[0]


@pytest.mark.parametrize(
    ("checkpoints", "n_tasks", "message"), [([], 4, "no checkpoints"), ([(0, None)], 1, "2 or more")]
)
def test_too_little_to_compare_is_refused(checkpoints, n_tasks, message):
    with pytest.raises(ValueError, match=message):
        alignment(checkpoints, SINES, n_tasks=n_tasks)
