"""The engine, batched over tasks, against plain PyTorch with a loop over tasks, in float64."""

from __future__ import annotations

import pytest
import torch
from engine_cases import ALL, CONVS, Case, assert_same, conv_case
from plain_torch import inner_steps, joint, loss_of, maml, meta_sgd, reptile
from torch.func import functional_call

from metalab.algorithms import ALGORITHMS, MAML, Pretrained, Reptile, Scratch
from metalab.algorithms.inner_loop import minibatch
from metalab.params import RATES, Params, expand, network, statistics, weights
from metalab.tasks.base import Examples

EXACT = 1e-10


def plain(case: Case, params: Params) -> Params:
    return case.plain.to_torch(params)


def without_joint(params: Params) -> Params:
    return {name: value for name, value in params.items() if not name.startswith("joint")}


@pytest.mark.parametrize("name", ALL)
def test_predictions(name):
    case, algorithm = ALL[name](), MAML()
    theta = case.theta(algorithm)
    state, evaluating = plain(case, theta), {"evaluating": True} if name in CONVS else {}
    found = case.learner.predict(expand(theta, case.batch.n_tasks), case.batch.query.x, case.batch.support.x)
    for task, (xs, xq) in enumerate(zip(case.batch.support.x, case.batch.query.x, strict=True)):
        expected = functional_call(case.plain, state, (xq, xs), evaluating)
        torch.testing.assert_close(found[task], expected, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", ALL)
def test_maml(name, order, steps):
    case, algorithm = ALL[name](), MAML(order=order, inner_lr=0.1, inner_steps=steps)
    theta = case.theta(algorithm)
    found = algorithm.meta_gradient(case.learner, theta, case.batch)
    gradient, loss = maml(case.plain, plain(case, weights(theta)), case.batch, steps, 0.1, order)
    assert_same(plain(case, found.gradient), gradient, EXACT)
    torch.testing.assert_close(found.metrics["loss"], loss, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("method", ["meta_sgd", "anil", "boil"])
@pytest.mark.parametrize("name", ["sine", "image_mlp", "strided-transductive"])
def test_rates_of_parameters(name, method, order):
    """Meta-SGD with rates drawn at random, and their gradients; ANIL and BOIL with rates that are alpha or zero."""
    case, algorithm = ALL[name](), ALGORITHMS[method](order=order, inner_lr=0.1, inner_steps=2)
    theta, rng = case.theta(algorithm), torch.Generator().manual_seed(9)
    own, still = weights(network(theta)), {"anil": "body", "boil": "head"}.get(method, "")
    if still:
        alpha = {
            n: torch.full_like(v, 0.0 if n.startswith("head") is (still == "head") else 0.1) for n, v in own.items()
        }
    else:
        alpha = {n: 0.2 * torch.rand(v.shape, generator=rng, dtype=v.dtype) for n, v in own.items()}
        theta |= {f"{RATES}{n}": value for n, value in alpha.items()}
    found = algorithm.meta_gradient(case.learner, theta, case.batch)
    gradient, slopes, loss = meta_sgd(case.plain, plain(case, own), plain(case, alpha), case.batch, 2, order)
    assert_same(plain(case, network(found.gradient)), gradient, EXACT)
    torch.testing.assert_close(found.metrics["loss"], loss, rtol=EXACT, atol=EXACT)
    if not still:
        rates = {n.removeprefix(RATES): g for n, g in found.gradient.items() if n.startswith(RATES)}
        assert_same(plain(case, rates), slopes, EXACT)


@pytest.mark.parametrize("size", [0, 4])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["sine", "image_mlp", "strided-transductive", "max_pool-running"])
def test_reptile(name, optimiser, size):
    """Adam with beta1 = 0 is torch.optim.Adam(betas=(0, 0.999)), starting afresh for each task."""
    case = ALL[name]()
    alpha = 0.05 if optimiser == "sgd" else 0.01
    algorithm = Reptile(inner_lr=alpha, inner_steps=5, inner_optimiser=optimiser, inner_batch=size)
    theta = case.theta(algorithm)
    n = case.batch.support.x.shape[1] + case.batch.query.x.shape[1]
    y = torch.cat([case.batch.support.y, case.batch.query.y], 1)
    assert y.ndim == 3 or all(torch.equal(y[0], other) for other in y), "one choice of examples serves all tasks"
    minibatches = [minibatch(Examples(torch.arange(n)[None], y[:1]), size, k).x[0] for k in range(5)]
    assert all(len(chosen) == (size or n) for chosen in minibatches)
    found = algorithm.meta_gradient(case.learner, theta, case.batch)
    expected = reptile(case.plain, plain(case, weights(theta)), case.batch, alpha, optimiser == "adam", minibatches)
    assert_same(plain(case, found.gradient), expected, EXACT)


@pytest.mark.parametrize("name", ALL)
def test_pretrained(name):
    """All examples of all tasks in one pile: with the head for regression, with the wide joint head for classes."""
    case, algorithm = ALL[name](), Pretrained()
    theta = case.theta(algorithm)
    found = algorithm.meta_gradient(case.learner, theta, case.batch)
    gradient, loss = joint(case.plain, plain(case, weights(theta)), case.batch)
    unused = {n for n, value in plain(case, found.gradient).items() if n not in gradient and not value.any()}
    assert unused == (set() if name == "sine" else {"head.weight", "head.bias"})
    assert_same({n: g for n, g in plain(case, found.gradient).items() if n not in unused}, gradient, EXACT)
    torch.testing.assert_close(found.metrics["loss"], loss, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("algorithm", [MAML(inner_lr=0.1), Pretrained(inner_lr=0.1), Scratch(inner_lr=0.1)])
@pytest.mark.parametrize("name", ALL)
def test_adapt(name, algorithm):
    """phi_0 .. phi_3, their support losses and gradients; a pre-trained network leaves its joint head behind."""
    case = ALL[name]()
    theta = case.theta(algorithm)
    start = plain(case, without_joint(weights(theta)))
    xs, ys = case.batch.support
    for inner in algorithm.adapt(case.learner, theta, case.batch.support, 3):
        assert set(inner.phi) == set(without_joint(theta))
        for task in range(case.batch.n_tasks):
            state = {n: p.clone().requires_grad_() for n, p in start.items()}
            state = inner_steps(case.plain, state, xs[task], ys[task], inner.k, 0.1, order=1)
            mine = {n: value[task] for n, value in weights(inner.phi).items()}
            assert_same(plain(case, mine), {n: p.detach() for n, p in state.items()}, EXACT)
            if inner.support_loss is None:
                assert inner.k == 3
                continue
            loss = loss_of(functional_call(case.plain, state, (xs[task],)), ys[task])
            torch.testing.assert_close(inner.support_loss[task], loss.detach(), rtol=EXACT, atol=EXACT)
            slopes = dict(zip(state, torch.autograd.grad(loss, list(state.values())), strict=True))
            assert_same(plain(case, {n: g[task] for n, g in inner.gradient.items()}), slopes, EXACT)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "algorithm",
    [
        MAML(order=2, inner_lr=0.1, inner_steps=2),
        MAML(order=1, inner_lr=0.1, inner_steps=2),
        Reptile(inner_lr=0.1, inner_steps=2),
    ],
    ids=["maml", "fomaml", "reptile"],
)
def test_a_meta_batch_is_the_mean_of_its_tasks_one_at_a_time(name, algorithm):
    case = ALL[name]()
    theta, n = case.theta(algorithm), case.batch.n_tasks
    whole = algorithm.meta_gradient(case.learner, theta, case.batch)
    parts = [algorithm.meta_gradient(case.learner, theta, case.batch.tasks(i, i + 1)) for i in range(n)]
    for field in ("gradient", "metrics", "statistics"):
        alone = [getattr(part, field) for part in parts]
        means = {entry: torch.stack([a[entry] for a in alone]).mean(0) for entry in alone[0]}
        assert_same(getattr(whole, field), means, EXACT)


@pytest.mark.parametrize("algorithm", [MAML(inner_lr=0.1, inner_steps=2), Reptile(inner_lr=0.1), Pretrained()])
def test_batch_statistics_for_the_running_averages(algorithm):
    """Mean and biased variance of each layer's convolution over the images that the outer loss reads."""
    case = conv_case("strided", "running")
    theta = case.theta(algorithm)
    found = algorithm.meta_gradient(case.learner, theta, case.batch).statistics
    assert set(found) == set(statistics(theta))
    batch, everything = case.batch, Examples(*(torch.cat(parts, 1) for parts in zip(*_sets(case), strict=True)))
    if isinstance(algorithm, Pretrained):
        states, images = [plain(case, theta)], [everything.x.flatten(0, 1)]
    else:
        meta = isinstance(algorithm, MAML)
        *_, end = algorithm.adapt(case.learner, theta, batch.support if meta else everything, algorithm.inner_steps)
        states = [plain(case, {n: v[task] for n, v in end.phi.items()}) for task in range(batch.n_tasks)]
        images = list(batch.query.x if meta else everything.x)
    means = [_first_layer(state, x) for state, x in zip(states, images, strict=True)]
    mean, variance = (torch.stack(parts).mean(0) for parts in zip(*means, strict=True))
    torch.testing.assert_close(found["running.norm1.mean"], mean, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(found["running.norm1.variance"], variance, rtol=EXACT, atol=EXACT)


def _sets(case: Case) -> tuple[Examples, Examples]:
    return case.batch.support, case.batch.query


def _first_layer(state: Params, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    h = torch.nn.functional.conv2d(x, state["convs.0.weight"], stride=2, padding=1)
    return h.mean((0, 2, 3)), h.var((0, 2, 3), correction=0)
