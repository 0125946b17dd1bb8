"""Who adapts how fast: ANIL, BOIL, Meta-SGD and MAML++ are MAML with other inner rates, in float64."""

from __future__ import annotations

import pytest
import torch
from engine_cases import ALL, Case, assert_same, conv_case, sine_case
from quadratic_tasks import LEARNER, THETA, apply, batch, draw, examples, theta_of

from metalab.algorithms import ALGORITHMS, ANIL, BOIL, IMAML, MAML, MAMLPlusPlus, MetaSGD
from metalab.algorithms.base import Algorithm, MetaGradient
from metalab.algorithms.maml_plus_plus import layer_of
from metalab.models.base import HEAD
from metalab.params import RATES, Params, network, weights
from metalab.tasks.base import TaskBatch

EXACT = 1e-12
ALPHA = 0.1
NETWORKS = ["sine", "image_mlp", "strided-transductive", "max_pool-running"]
OFF = {"multi_step_loss": False, "learn_rates": False, "anneal_order": False}


def meta(case: Case, algorithm: Algorithm, theta: Params, done: int = 0) -> MetaGradient:
    return algorithm.meta_gradient(case.learner, theta, case.batch, done=done)


def with_rates(theta: Params, rate: float, zero: str = "") -> Params:
    """theta with Meta-SGD's rates: `rate` everywhere, but 0 for the 'head' or the 'body'."""

    def of(name: str) -> float:
        part = "head" if name.startswith(HEAD) else "body"
        return 0.0 if part == zero else rate

    return theta | {f"{RATES}{name}": torch.full_like(value, of(name)) for name, value in network(theta).items()}


def without_rates(params: Params) -> Params:
    return {name: value for name, value in params.items() if not name.startswith(RATES)}


def assert_identical(one: MetaGradient, other: MetaGradient) -> None:
    for field in ("gradient", "metrics", "statistics", "each"):
        mine, theirs = getattr(one, field), getattr(other, field)
        assert set(mine) == set(theirs)
        assert all(torch.equal(mine[name], theirs[name]) for name in mine), field


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_maml_plus_plus_with_every_switch_off_is_maml_bit_for_bit(name, steps, order):
    case, settings = ALL[name](), {"inner_lr": ALPHA, "inner_steps": steps, "order": order}
    plain, switched = MAML(**settings), MAMLPlusPlus(**settings, **OFF)
    theta = case.theta(plain)
    assert all(torch.equal(theta[entry], value) for entry, value in case.theta(switched).items())
    assert_identical(meta(case, switched, theta, done=7), meta(case, plain, theta, done=7))
    paths = (a.adapt(case.learner, theta, case.batch.support, 3) for a in (plain, switched))
    for one, other in zip(*paths, strict=True):
        assert all(torch.equal(value, other.phi[entry]) for entry, value in one.phi.items())


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_meta_sgd_is_maml_bit_for_bit(name, order):
    case, settings = ALL[name](), {"inner_lr": ALPHA, "inner_steps": 2, "order": order}
    plain, frozen = MAML(**settings), MetaSGD(**settings, learn_rates=False)
    theta = case.theta(plain)
    assert set(case.theta(frozen)) == set(theta)
    assert_identical(meta(case, frozen, theta), meta(case, plain, theta))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_rates_that_are_all_alike_make_meta_sgd_and_maml_plus_plus_start_as_maml(name, order):
    case, settings = ALL[name](), {"inner_lr": ALPHA, "inner_steps": 2, "order": order}
    plain = MAML(**settings)
    expected = meta(case, plain, case.theta(plain)).gradient
    for learned in (MetaSGD(**settings), MAMLPlusPlus(**settings, multi_step_loss=False)):
        theta = learned.init(case.learner, torch.Generator().manual_seed(5), torch.float64)
        start = ALPHA if learned.learns_rates else 1.0  # MAML++ has them in units of alpha
        assert all(bool((value == start).all()) for entry, value in theta.items() if entry.startswith(RATES))
        found = meta(case, learned, theta | case.theta(plain)).gradient
        assert set(found) == set(weights(theta))
        assert_same(without_rates(found), expected, EXACT)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("method", "zero"), [(ANIL, "body"), (BOIL, "head")])
def test_anil_and_boil_are_maml_with_some_rates_at_zero(method, zero, name, order):
    case, settings = ALL[name](), {"inner_lr": ALPHA, "inner_steps": 3, "order": order}
    algorithm, zeroed = method(**settings), MetaSGD(**settings)
    theta = case.theta(algorithm)
    found, expected = meta(case, algorithm, theta), meta(case, zeroed, with_rates(theta, ALPHA, zero))
    assert_same(found.gradient, without_rates(expected.gradient), EXACT)
    assert_same(found.metrics, expected.metrics, EXACT)
    paths = (
        algorithm.adapt(case.learner, theta, case.batch.support, 3),
        zeroed.adapt(case.learner, with_rates(theta, ALPHA, zero), case.batch.support, 3),
    )
    still = {entry for entry in network(theta) if entry.startswith(HEAD) is (zero == "head")}
    for one, other in zip(*paths, strict=True):
        assert_same(one.phi, without_rates(other.phi), EXACT)
        assert all(torch.equal(one.phi[e], theta[e].expand_as(one.phi[e])) for e in still)
        assert one.gradient is None or set(one.gradient) == set(network(theta)) - still
    whole = meta(case, MAML(**settings), theta).gradient
    assert any(not torch.allclose(found.gradient[e], whole[e], rtol=1e-3) for e in whole)


@pytest.mark.parametrize("order", [1, 2])
def test_the_gradient_of_a_rate_is_minus_the_product_of_the_two_gradients(order):
    """One step: dL_q/d alpha = - grad L_s(theta) * grad L_q(phi), entry by entry, whatever the order."""
    (a_s, c_s), (a_q, c_q) = draw(31, 4), draw(32, 4)
    theta = torch.tensor([0.7, -1.3, 0.4], dtype=torch.float64)
    alpha = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    g_s = apply(a_s, theta - c_s)
    g_q = apply(a_q, theta - alpha * g_s - c_q)
    tasks = batch(examples(a_s, c_s), examples(a_q, c_q))
    start = with_rates(theta_of(theta), 0.0) | {f"{RATES}{THETA}": alpha}
    found = MetaSGD(order=order, inner_steps=1).meta_gradient(LEARNER, start, tasks)
    torch.testing.assert_close(found.each[f"{RATES}{THETA}"], -g_s * g_q, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(found.gradient[f"{RATES}{THETA}"], (-g_s * g_q).mean(0), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layers_rate_has_the_sum_of_its_parameters_rates_as_gradient(name):
    case = ALL[name]()
    theta = case.theta(MAML())
    fine, coarse = MetaSGD(inner_lr=ALPHA), MAMLPlusPlus(inner_lr=ALPHA)
    each = meta(case, fine, with_rates(theta, ALPHA)).gradient
    own = coarse.init(case.learner, torch.Generator().manual_seed(0), torch.float64)
    rates = {entry: value for entry, value in own.items() if entry.startswith(RATES)}
    found = meta(case, coarse, theta | rates).gradient
    for entry, value in rates.items():
        assert value.shape == (1,)
        parts = [each[e].sum() for e in each if e.startswith(f"{entry}.")]
        assert len(parts) == (1 if "conv" in entry else 2)
        torch.testing.assert_close(found[entry][0], ALPHA * torch.stack(parts).sum(), rtol=1e-10, atol=1e-12)


def test_rates_of_steps_are_used_in_their_order_and_the_last_one_beyond():
    matrix, centre = draw(33, 3)
    theta, alphas = torch.tensor([0.7, -1.3, 0.4], dtype=torch.float64), (0.1, 0.3, 0.05)
    algorithm = MAMLPlusPlus(inner_steps=3, inner_lr=ALPHA)
    start = theta_of(theta) | {f"{RATES}head": torch.tensor(alphas, dtype=torch.float64) / ALPHA}
    path = list(algorithm.adapt(LEARNER, start, examples(matrix, centre), 5))
    phi = theta.expand(3, 3)
    for inner, alpha in zip(path, (*alphas, 0.05, 0.05, 0.0), strict=True):
        torch.testing.assert_close(inner.phi[THETA], phi, rtol=EXACT, atol=EXACT)
        phi = phi - alpha * apply(matrix, phi - centre)


def test_the_multi_step_loss_weighs_the_gradients_of_every_number_of_steps():
    """Its gradient is the sum over k of w_k times MAML's with k inner steps; w moves to the last step alone."""
    case, steps, until = sine_case("tanh"), 3, 100
    settings = {"inner_lr": ALPHA, "learn_rates": False, "multi_step_until": until}
    algorithm = MAMLPlusPlus(inner_steps=steps, **settings)
    theta = case.theta(algorithm)
    alone = [meta(case, MAML(inner_lr=ALPHA, inner_steps=k), theta) for k in range(1, steps + 1)]
    for done, early in ((0, 1 / 3), (50, 1 / 6), (99, 1 / 300), (100, 0.0), (5_000, 0.0)):
        share = [early] * (steps - 1) + [1 - early * (steps - 1)]
        assert list(algorithm.importance(done)) == pytest.approx([0.0, *share])
        found = meta(case, algorithm, theta, done)
        expected = {e: sum(w * a.gradient[e] for w, a in zip(share, alone, strict=True)) for e in found.gradient}
        assert_same(found.gradient, expected, EXACT)
        loss = sum(w * a.metrics["loss"] for w, a in zip(share, alone, strict=True))
        torch.testing.assert_close(found.metrics["loss"], loss, rtol=EXACT, atol=EXACT)


def test_the_order_is_first_as_long_as_it_is_annealed():
    case = sine_case()
    algorithm = MAMLPlusPlus(inner_lr=ALPHA, **(OFF | {"anneal_order": True, "first_order_until": 10}))
    theta = case.theta(algorithm)
    orders = {order: meta(case, MAML(inner_lr=ALPHA, order=order), theta) for order in (1, 2)}
    assert not torch.allclose(orders[1].gradient["layer1.weight"], orders[2].gradient["layer1.weight"], rtol=0.01)
    for done, order in ((0, 1), (9, 1), (10, 2), (11, 2)):
        assert_identical(meta(case, algorithm, theta, done), orders[order])


METHODS = {
    name: ALGORITHMS[name](inner_lr=ALPHA, inner_steps=2)
    for name in ("maml", "reptile", "anil", "boil", "nil", "meta_sgd", "maml_plus_plus", "imaml")
}


@pytest.mark.parametrize("name", ["image_mlp", "strided-running", "max_pool-support_plus_one"])
@pytest.mark.parametrize("method", METHODS)
def test_each_task_alone_has_the_gradient_that_it_has_among_others(method, name):
    case, algorithm = ALL[name](), METHODS[method]
    theta = case.theta(algorithm)
    whole = meta(case, algorithm, theta)
    assert_same(whole.gradient, {entry: value.mean(0) for entry, value in whole.each.items()}, EXACT)
    for task in range(case.batch.n_tasks):
        one: TaskBatch = case.batch.tasks(task, task + 1)
        alone = algorithm.meta_gradient(case.learner, theta, one).gradient
        assert_same({entry: value[task] for entry, value in whole.each.items()}, alone, 1e-9)


def test_what_cannot_be_adapted_is_said():
    assert BOIL().misfit_with_network(LEARNER.model) == (
        "BOIL adapts what lies below the last layer, but this point has nothing there"
    )
    assert ALGORITHMS["nil"]().misfit(sine_case().learner) == (
        "NIL lets labelled examples vote for a class, but sinusoid has no classes"
    )
    assert all(cls().misfit(conv_case().learner) is None for cls in (ANIL, BOIL, MetaSGD, MAMLPlusPlus, IMAML))


def test_who_has_one_inner_rate_to_be_set():
    assert (MetaSGD().learns_rates, MetaSGD().alpha) == (True, None)
    frozen = MetaSGD(learn_rates=False, inner_lr=0.3)
    assert (frozen.learns_rates, frozen.alpha) == (False, 0.3)
    assert ALGORITHMS["nil"]().alpha is None
    for cls in (MAML, MAMLPlusPlus):
        assert (cls().learns_rates, cls(inner_lr=0.3).alpha) == (False, 0.3)


def test_an_entry_that_stands_alone_has_a_rate_of_its_own():
    assert [layer_of(name) for name in ("conv1.weight", "conv1.bias", "others1", "others2")] == [
        "conv1",
        "conv1",
        "others1",
        "others2",
    ]
