"""Transfer without meta-learning: nearest neighbour by brute force, the probe's frozen body, a head for each task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_cases import ALL, Case, assert_same, conv_case, image_mlp_case, sine_case
from plain_torch import inner_steps, loss_of
from random_images import RandomImages
from support_readers import case as reader_case
from support_readers import theta_of
from torch.func import functional_call
from torch.nn import functional as F

from metalab.algorithms import LinearProbe, MultiTask, NearestNeighbour, Pretrained
from metalab.algorithms.base import Learner
from metalab.algorithms.joint import all_examples, new_task
from metalab.algorithms.multi_task import drawn_by, pool_of
from metalab.algorithms.new_head import ridge_regression
from metalab.models import MLP
from metalab.params import Params, expand, weights
from metalab.tasks.sinusoid import Sinusoid
from metalab.training.config import ConfigError, parse_config

EXACT = 1e-10
HEAD = {"head.weight", "head.bias"}


@pytest.mark.parametrize("name", ["nearest-transductive", "nearest-support_plus_one", "nearest-running"])
def test_nearest_neighbour_is_the_one_of_a_loop_over_all_pairs(name):
    algorithm, learner, batch = reader_case(name)
    theta = theta_of(algorithm, learner)
    *_, end = algorithm.adapt(learner, theta, batch.support, 100)
    found = algorithm.predict(learner, end.phi, batch.query.x, batch.support.x).numpy()
    body = expand(theta, batch.n_tasks)
    known = learner.model.features(body, batch.support.x).numpy()
    asked = learner.model.features(body, batch.query.x, support=batch.support.x).numpy()
    labels = batch.support.y.numpy()
    for task in range(batch.n_tasks):
        for j, query in enumerate(asked[task]):
            distances = [float(np.sum((query - example) ** 2)) for example in known[task]]
            assert found[task, j].argmax() == labels[task][int(np.argmin(distances))]
            for w in range(learner.family.output_size):
                nearest = min(d for d, label in zip(distances, labels[task], strict=True) if label == w)
                assert found[task, j, w] == pytest.approx(-nearest, rel=1e-10)


@pytest.mark.parametrize("algorithm", [NearestNeighbour(), LinearProbe()])
@pytest.mark.parametrize("build", [image_mlp_case, conv_case])
def test_training_is_that_of_the_pre_trained_network(algorithm, build):
    case = build()
    theta, same = case.theta(algorithm), case.theta(Pretrained())
    assert all(torch.equal(theta[entry], same[entry]) for entry in same)
    found, expected = (a.meta_gradient(case.learner, theta, case.batch) for a in (algorithm, Pretrained()))
    for entry in expected.gradient:
        assert torch.equal(found.gradient[entry], expected.gradient[entry])


def test_other_numbers_of_classes_start_from_a_fresh_head_and_the_body_stays():
    case = image_mlp_case()
    family, theta = case.learner.family, case.theta(LinearProbe())
    usual = new_task(family, theta)
    assert all(torch.equal(usual[entry], theta[entry]) for entry in usual)
    wider = family.model_copy(update={"ways": family.output_size + 2})
    start, again = new_task(wider, theta), new_task(wider, theta)
    assert start["head.weight"].shape == (theta["head.weight"].shape[0], wider.output_size)
    assert start["head.bias"].shape == (wider.output_size,)
    assert start["head.weight"].dtype == theta["head.weight"].dtype
    assert float(start["head.weight"].std()) > 0
    assert all(torch.equal(start[entry], again[entry]) for entry in start)
    assert all(torch.equal(start[entry], theta[entry]) for entry in start.keys() - HEAD)


def head_steps(case: Case, start: Params, task: int, steps: int, alpha: float) -> Params:
    """Gradient steps of plain torch on the head alone."""
    fixed = {entry: value for entry, value in start.items() if entry not in HEAD}
    head = {entry: value for entry, value in start.items() if entry in HEAD}
    for _ in range(steps):
        head = {entry: value.detach().requires_grad_() for entry, value in head.items()}
        loss = loss_of(
            functional_call(case.plain, fixed | head, (case.batch.support.x[task],)), case.batch.support.y[task]
        )
        slopes = torch.autograd.grad(loss, list(head.values()))
        head = {entry: value - alpha * g for (entry, value), g in zip(head.items(), slopes, strict=True)}
    return {entry: value.detach() for entry, value in (fixed | head).items()}


def start_of(case: Case, algorithm, theta: Params) -> Params:
    """What a new task starts from: of a multi-task regression network the mean of the training tasks' heads."""
    own = {entry: value for entry, value in weights(theta).items() if not entry.startswith("joint")}
    if isinstance(algorithm, MultiTask) and case.learner.family.kind == "regression":
        own |= {f"head.{part}": theta[f"joint.{part}"].mean(0) for part in ("weight", "bias")}
    return own


@pytest.mark.parametrize("algorithm", [LinearProbe(inner_lr=0.1), MultiTask(inner_lr=0.1)])
@pytest.mark.parametrize("name", ALL)
def test_only_the_head_moves_on_a_new_task(name, algorithm):
    case = ALL[name]()
    theta = case.theta(algorithm)
    own = start_of(case, algorithm, theta)
    start = case.plain.to_torch(own)
    for inner in algorithm.adapt(case.learner, theta, case.batch.support, 3):
        assert inner.gradient is None or set(inner.gradient) == HEAD
        for task in range(case.batch.n_tasks):
            mine = case.plain.to_torch({entry: inner.phi[entry][task] for entry in own})
            assert_same(mine, head_steps(case, start, task, inner.k, 0.1), EXACT)


@pytest.mark.parametrize("name", ["sine", "image_mlp", "strided-transductive"])
def test_the_body_of_a_multi_task_network_may_move_too(name):
    case, algorithm = ALL[name](), MultiTask(inner_lr=0.1, adapt_body=True)
    theta = case.theta(algorithm)
    own = start_of(case, algorithm, theta)
    *_, end = algorithm.adapt(case.learner, theta, case.batch.support, 2)
    for task in range(case.batch.n_tasks):
        state = {entry: value.requires_grad_() for entry, value in case.plain.to_torch(own).items()}
        x, y = case.batch.support.x[task], case.batch.support.y[task]
        expected = inner_steps(case.plain, state, x, y, 2, 0.1, order=1)
        mine = case.plain.to_torch({entry: end.phi[entry][task] for entry in own})
        assert_same(mine, {entry: value.detach() for entry, value in expected.items()}, EXACT)


@pytest.mark.parametrize("name", ["sine", "image_mlp", "strided-transductive", "strided-support_plus_one"])
@pytest.mark.parametrize("method", [LinearProbe, MultiTask])
def test_a_ridge_head_solves_numpys_normal_equations_and_the_body_stays(name, method):
    """(X^T X / n + diag(lambda, .., lambda, 0)) (w, b) = X^T Y / n, with a column of ones in X for the free bias."""
    case, algorithm, strength = ALL[name](), method(head="ridge", ridge=0.3), 0.3
    theta = case.theta(algorithm)
    start, *rest = algorithm.adapt(case.learner, theta, case.batch.support, 3)
    assert [inner.k for inner in (start, *rest)] == [0, 1, 2, 3]
    own = start_of(case, algorithm, theta)
    assert all(torch.equal(value, own[entry].expand_as(value)) for entry, value in weights(start.phi).items())
    features = case.learner.model.features(start.phi, case.batch.support.x).numpy()
    y = case.batch.support.y
    targets = (F.one_hot(y, case.learner.family.output_size) if y.dim() == 2 else y).numpy().astype(np.float64)
    for task in range(case.batch.n_tasks):
        n = len(features[task])
        x = np.concatenate([features[task], np.ones((n, 1))], 1)
        penalty = np.diag([strength] * features.shape[2] + [0.0])
        expected = np.linalg.solve(x.T @ x / n + penalty, x.T @ targets[task] / n)
        for inner in rest:
            found = np.concatenate([inner.phi["head.weight"][task], inner.phi["head.bias"][task][None]])
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)
    for entry in set(start.phi) - HEAD:
        assert torch.equal(rest[-1].phi[entry], start.phi[entry])


def test_a_ridge_head_is_where_gradient_steps_with_the_same_decay_end():
    """On features that are the inputs themselves: gradient descent on the ridge loss goes there, from anywhere."""
    rng = torch.Generator().manual_seed(0)
    f, y = (torch.randn(2, 6, width, generator=rng, dtype=torch.float64) for width in (3, 2))
    weight, bias = ridge_regression(f, y, 0.2)
    w, b = torch.zeros(2, 3, 2, dtype=torch.float64), torch.zeros(2, 1, 2, dtype=torch.float64)
    for _ in range(3_000):
        error = f @ w + b - y
        w, b = w - 0.1 * (f.mT @ error / 6 + 0.2 * w), b - 0.1 * error.mean(1, keepdim=True)
    torch.testing.assert_close(weight, w, rtol=0, atol=1e-10)
    torch.testing.assert_close(bias, b[:, 0], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("family", "reason"), [("names", "is about generation"), ("quadratic", "have none")])
def test_a_ridge_head_says_what_it_cannot_fit(family, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_config({"family": family, "algorithm": {"name": "linear_probe", "head": "ridge"}})


def test_a_body_that_is_to_move_is_not_left_still_by_a_ridge_head():
    with pytest.raises(ConfigError, match=r"adapt_body = True, expected False: head = 'ridge'"):
        parse_config({"algorithm": {"name": "multi_task", "head": "ridge", "adapt_body": True}})
    assert MultiTask(head="ridge").alpha is None
    assert MultiTask(inner_lr=0.2).alpha == 0.2


def test_meta_batches_draw_every_training_task_equally_often():
    batch = Sinusoid().sample(7_000, "train", torch.Generator().manual_seed(0))
    drawn = drawn_by(batch, 7)
    assert torch.equal(drawn[100:200], drawn_by(batch.tasks(100, 200), 7)), "however the meta-batch is cut"
    counts = drawn.bincount(minlength=7).double()
    assert float(((counts - 1_000).square() / 1_000).sum()) < 22.46, "chi-square, 6 degrees of freedom, 0.1%"


@pytest.mark.parametrize("algorithm", [Pretrained(inner_lr=0.1), LinearProbe(inner_lr=0.1), MultiTask(inner_lr=0.1)])
def test_where_labels_are_the_same_in_every_task_nothing_known_of_them_is_lost(algorithm):
    """phi_0 of rotated digits predicts as the joint network does."""

    class Turned(RandomImages):
        shuffles_labels = False

    family = Turned()
    learner, batch = Learner(MLP(widths=(8,)), family), family.sample(2, "train", torch.Generator().manual_seed(0))
    theta = algorithm.init(learner, torch.Generator().manual_seed(0), torch.float64)
    first = next(iter(algorithm.adapt(learner, theta, batch.support, 1)))
    features = learner.model.features(expand(theta, 2), batch.query.x)
    expected = features @ theta["joint.weight"][:, : family.ways] + theta["joint.bias"][: family.ways]
    torch.testing.assert_close(learner.predict(first.phi, batch.query.x, batch.support.x), expected)


@pytest.mark.parametrize("first", [0, 1])
def test_multi_task_regression_is_a_network_with_a_head_for_each_training_task(first):
    """Against plain torch: tasks of the fixed pool, the head of each beside the shared body."""
    case, algorithm = sine_case(), MultiTask(training_tasks=7)
    theta = case.theta(algorithm)
    assert theta["joint.weight"].shape == (7, 5, 1)
    batch = case.batch.tasks(first, case.batch.n_tasks)
    drawn = drawn_by(batch, 7).tolist()
    found = algorithm.meta_gradient(case.learner, theta, batch)
    leaves = {entry: value.clone().requires_grad_() for entry, value in theta.items()}
    pool, losses = pool_of(case.learner.family, 7), []
    for task in drawn:
        own = {f"head.{part}": leaves[f"joint.{part}"][task] for part in ("weight", "bias")}
        state = case.plain.to_torch({e: v for e, v in leaves.items() if not e.startswith(("joint", "head"))} | own)
        losses.append(F.mse_loss(functional_call(case.plain, state, (pool.x[task].double(),)), pool.y[task].double()))
    loss = torch.stack(losses).mean()
    torch.testing.assert_close(found.metrics["loss"], loss.detach(), rtol=EXACT, atol=EXACT)
    slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    expected = {e: torch.zeros_like(v) if g is None else g for (e, v), g in zip(leaves.items(), slopes, strict=True)}
    assert_same(found.gradient, expected, EXACT)
    assert {task for task in range(7) if found.gradient["joint.weight"][task].any()} == set(drawn)


@pytest.mark.parametrize("build", [image_mlp_case, conv_case])
def test_multi_task_classification_is_a_softmax_over_the_ways_of_each_task(build):
    """Against plain torch: one wide head, of which each task sees the columns of its own classes."""
    case, algorithm = build(), MultiTask()
    theta = case.theta(algorithm)
    found = algorithm.meta_gradient(case.learner, theta, case.batch)
    leaves = {entry: value.clone().requires_grad_() for entry, value in theta.items()}
    examples, losses = all_examples(case.batch), []
    wide = functional_call(case.plain, case.plain.to_torch(leaves), (examples.x.flatten(0, 1),), {"joint": True})
    for task, logits in enumerate(wide.unflatten(0, examples.x.shape[:2])):
        losses.append(F.cross_entropy(logits[:, case.batch.info["classes"][task]], examples.y[task]))
    loss = torch.stack(losses).mean()
    torch.testing.assert_close(found.metrics["loss"], loss.detach(), rtol=EXACT, atol=EXACT)
    slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    expected = {e: torch.zeros_like(v) if g is None else g for (e, v), g in zip(leaves.items(), slopes, strict=True)}
    assert_same(found.gradient, expected, EXACT)


def test_the_pool_of_training_tasks_stays_the_same_and_holds_different_tasks():
    family = sine_case().learner.family
    one, again = pool_of(family, 5), pool_of(type(family)(**family.model_dump()), 5)
    assert torch.equal(one.x, again.x)
    assert torch.equal(one.y, again.y)
    assert one.x.shape == (5, family.shots + family.queries, 1)
    assert len({tuple(task.flatten().tolist()) for task in one.y}) == 5
