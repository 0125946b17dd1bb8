"""iMAML against its closed form on quadratics, conjugate gradients against dense solves, and its limits, in float64."""

from __future__ import annotations

import pytest
import torch
from engine_cases import assert_same, sine_case
from quadratic_tasks import LEARNER, THETA, apply, batch, draw, examples, theta_of
from torch import Tensor

from metalab.algorithms import IMAML, MAML
from metalab.algorithms.base import Learner
from metalab.algorithms.imaml import conjugate_gradients
from metalab.algorithms.inner_loop import inner_loop
from metalab.models import MLP
from metalab.params import Params, gradients, separate, weights
from metalab.tasks.base import Examples, TaskBatch
from metalab.tasks.linear import Linear

START = torch.tensor([0.7, -1.3, 0.4], dtype=torch.float64)
EYE = torch.eye(3, dtype=torch.float64)
LAMBDA = 2.0
ARRIVED = {"inner_lr": 0.27, "inner_steps": 64, "proximal": LAMBDA}
"""Curvatures are 0.5 to 3, so that lambda + curvature is 2.5 to 5 and a step leaves a third of the way, 3^-64."""


def same(found: Tensor, expected: Tensor, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def closed_form(a_s: Tensor, c_s: Tensor, a_q: Tensor, c_q: Tensor) -> tuple[Tensor, Tensor]:
    """phi* = (A_s + lambda I)^-1 (A_s c_s + lambda theta) and g = (I + A_s/lambda)^-1 A_q (phi* - c_q): (T, d)."""
    star = torch.linalg.solve(a_s + LAMBDA * EYE, apply(a_s, c_s) + LAMBDA * START)
    return star, torch.linalg.solve(EYE + a_s / LAMBDA, apply(a_q, star - c_q))


def test_inner_loop_and_meta_gradient_are_the_closed_forms():
    (a_s, c_s), (a_q, c_q) = draw(41, 4), draw(42, 4)
    star, expected = closed_form(a_s, c_s, a_q, c_q)
    algorithm = IMAML(**ARRIVED, cg_steps=3)
    *_, end = algorithm.adapt(LEARNER, theta_of(START), examples(a_s, c_s), 64)
    same(end.phi[THETA], star)
    found = algorithm.meta_gradient(LEARNER, theta_of(START), batch(examples(a_s, c_s), examples(a_q, c_q)))
    same(found.each[THETA], expected)
    same(found.gradient[THETA], expected.mean(0))


def test_without_conjugate_gradients_it_is_first_order():
    (a_s, c_s), (a_q, c_q) = draw(41, 4), draw(42, 4)
    star, exact = closed_form(a_s, c_s, a_q, c_q)
    tasks = batch(examples(a_s, c_s), examples(a_q, c_q))
    found = IMAML(**ARRIVED, cg_steps=0).meta_gradient(LEARNER, theta_of(START), tasks).each[THETA]
    same(found, apply(a_q, star - c_q))
    assert not torch.allclose(found, exact, rtol=0.05)


def test_damping_adds_to_the_hold_in_the_linear_system_alone():
    (a_s, c_s), (a_q, c_q) = draw(41, 4), draw(42, 4)
    star, _ = closed_form(a_s, c_s, a_q, c_q)
    tasks = batch(examples(a_s, c_s), examples(a_q, c_q))
    found = IMAML(**ARRIVED, cg_steps=3, damping=5.0).meta_gradient(LEARNER, theta_of(START), tasks).each[THETA]
    same(found, torch.linalg.solve(EYE + a_s / (LAMBDA + 5.0), apply(a_q, star - c_q)))


def product_of(matrix: Tensor):
    """v -> A v of vectors that are cut into two entries, as parameters are."""

    def product(vector: Params) -> Params:
        return cut((matrix @ joined(vector)[..., None])[..., 0])

    return product


def cut(vector: Tensor) -> Params:
    return {"one": vector[:, :2].unflatten(1, (2, 1)), "two": vector[:, 2:]}


def joined(params: Params) -> Tensor:
    return torch.cat([params["one"].flatten(1), params["two"]], 1)


@pytest.mark.parametrize("d", [3, 5, 8])
def test_conjugate_gradients_are_exact_in_as_many_steps_as_there_are_dimensions_and_not_before(d):
    matrix, b = draw(43, 4, low=0.5, high=6.0, d=d)
    expected = torch.linalg.solve(matrix, b)
    errors = []
    for steps in range(d + 3):
        found = joined(conjugate_gradients(product_of(matrix), cut(b), steps))
        errors.append((found - expected).norm(dim=1) / expected.norm(dim=1))
    assert torch.stack(errors[: d - 1]).min() > 1e-6
    assert torch.stack(errors[d:]).max() < 1e-10
    same(joined(conjugate_gradients(product_of(matrix), cut(b), 0)), b)


def test_conjugate_gradients_of_a_task_do_not_depend_on_its_neighbours():
    matrix, b = draw(44, 4, d=4)
    matrix[1] = torch.eye(4)  # arrives at once, and stays
    matrix[2] -= 2.0 * torch.eye(4)  # bends both ways
    whole = joined(conjugate_gradients(product_of(matrix), cut(b), 6))
    assert bool(whole.isfinite().all())
    for task in range(4):
        alone = joined(conjugate_gradients(product_of(matrix[task : task + 1]), cut(b[task : task + 1]), 6))
        same(whole[task : task + 1], alone)
    same(whole[1], b[1])


def test_a_task_that_bends_the_wrong_way_keeps_what_it_has():
    b = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    same(joined(conjugate_gradients(product_of(-EYE[None]), cut(b), 3)), b)


def test_a_floor_stops_at_what_bends_too_little_and_changes_nothing_else():
    matrix, b = draw(47, 4, low=0.5, high=6.0, d=4)
    exact = torch.linalg.solve(matrix, b)
    same(joined(conjugate_gradients(product_of(matrix), cut(b), 4, floor=0.4)), exact, 1e-9)
    flat = 0.01 * torch.eye(4, dtype=torch.float64).expand(4, 4, 4)
    same(joined(conjugate_gradients(product_of(flat), cut(b), 4, floor=0.4)), b)
    same(joined(conjugate_gradients(product_of(flat), cut(b), 4)), 100 * b, 1e-9)


def test_with_a_vanishing_hold_it_becomes_maml_that_has_arrived():
    """lambda -> 0 on strongly convex tasks: both inner loops end at c_s, and both gradients vanish in proportion.

    MAML's M = (I - alpha A)^k is zero there, iMAML's (I + A/lambda)^-1 -> lambda A^-1: the error falls with lambda.
    """
    (a_s, c_s), (a_q, c_q) = draw(45, 4, low=1.0, high=3.0), draw(46, 4)
    tasks, theta = batch(examples(a_s, c_s), examples(a_q, c_q)), theta_of(START)
    lambdas, errors = (1e-1, 1e-2, 1e-3), []
    maml = MAML(inner_lr=0.5, inner_steps=20).meta_gradient(LEARNER, theta, tasks).gradient[THETA]
    for proximal in lambdas:
        algorithm = IMAML(inner_lr=0.5, inner_steps=64, proximal=proximal, cg_steps=5)
        errors.append((algorithm.meta_gradient(LEARNER, theta, tasks).gradient[THETA] - maml).norm())
        *_, end = algorithm.adapt(LEARNER, theta, tasks.support, 64)
        assert float((end.phi[THETA] - c_s).norm()) < 5 * proximal
    slopes = torch.stack(errors).log().diff() / torch.tensor(lambdas, dtype=torch.float64).log().diff()
    torch.testing.assert_close(slopes, torch.ones_like(slopes), rtol=0, atol=0.1)


def test_bayes_posterior_mean_is_the_adapted_parameters():
    """Linear regression with w ~ N(mu, tau^2 I) and noise sigma: iMAML from theta = mu with the lambda of both.

    Our loss is the mean of squares, (1/n) sum ||f - y||^2, twice the half one's: lambda = 2 sigma^2 / (n tau^2).
    """
    rng = torch.Generator().manual_seed(0)
    n, d, sigma, tau = 7, 2, 0.6, 0.8
    x = torch.randn(3, n, d, generator=rng, dtype=torch.float64)
    mu = torch.tensor([0.5, -1.0, 0.3], dtype=torch.float64)  # slopes, then the intercept
    y = torch.randn(3, n, generator=rng, dtype=torch.float64)
    features = torch.cat([x, torch.ones(3, n, 1, dtype=torch.float64)], -1)
    precision = features.mT @ features / sigma**2 + EYE / tau**2
    pulled = (features.mT @ y[..., None])[..., 0] / sigma**2 + mu / tau**2
    posterior = torch.linalg.solve(precision, pulled)

    learner = Learner(MLP(widths=()), Linear(dimension=d))
    theta = {"head.weight": mu[:d, None], "head.bias": mu[d:]}
    algorithm = IMAML(inner_lr=0.2, proximal=2 * sigma**2 / (n * tau**2))
    *_, end = algorithm.adapt(learner, theta, Examples(x, y[..., None]), 600)
    found = torch.cat([end.phi["head.weight"][..., 0], end.phi["head.bias"]], 1)
    same(found, posterior, 1e-9)
    assert (posterior - mu).norm(dim=1).min() > 0.1


def test_on_a_network_it_is_the_slope_of_the_loss_where_the_inner_loop_ends():
    """Central differences of L_q(phi*(theta)): the path does not matter where it has arrived."""
    case = sine_case("tanh")
    algorithm = IMAML(inner_lr=0.02, inner_steps=64, proximal=30.0, cg_steps=20)
    theta = case.theta(algorithm)
    found = algorithm.meta_gradient(case.learner, theta, case.batch)

    def objective(at: Params) -> float:
        return float(algorithm.meta_gradient(case.learner, at, case.batch).metrics["loss"])

    rng, step = torch.Generator().manual_seed(3), 1e-5
    for _ in range(4):
        along = {n: torch.randn(v.shape, generator=rng, dtype=v.dtype) for n, v in weights(theta).items()}
        ends = [objective({n: v + sign * step * along[n] for n, v in theta.items()}) for sign in (1, -1)]
        expected = float(sum((found.gradient[n] * v).sum() for n, v in along.items()))
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(expected, rel=1e-5)


def test_the_hessian_products_are_those_of_a_dense_hessian():
    """One task, a tanh network in plain torch: (I + H/lambda)^-1 grad L_q by a dense solve."""
    case = sine_case("tanh", n_tasks=1)
    algorithm = IMAML(inner_lr=0.02, inner_steps=3, proximal=30.0, cg_steps=50)
    theta = case.theta(algorithm)
    *_, end = algorithm.adapt(case.learner, theta, case.batch.support, 3)
    state = case.plain.to_torch({name: value[0] for name, value in end.phi.items()})
    shapes = {name: value.shape for name, value in state.items()}

    def loss(vector: Tensor, batch: Examples) -> Tensor:
        parts = vector.split([shape.numel() for shape in shapes.values()])
        params = {n: part.view(shape) for (n, shape), part in zip(shapes.items(), parts, strict=True)}
        prediction = torch.func.functional_call(case.plain, params, (batch.x[0],))
        return torch.nn.functional.mse_loss(prediction, batch.y[0])

    at = torch.cat([value.flatten() for value in state.values()])
    tasks: TaskBatch = case.batch
    hessian = torch.autograd.functional.hessian(lambda v: loss(v, tasks.support), at)
    slope = torch.func.grad(lambda v: loss(v, tasks.query))(at)
    expected = torch.linalg.solve(torch.eye(len(at), dtype=at.dtype) + hessian / 30.0, slope)
    found = case.plain.to_torch(algorithm.meta_gradient(case.learner, theta, tasks).gradient)
    same(torch.cat([found[name].flatten() for name in state]), expected, 1e-9)


def test_differentiating_through_the_held_inner_loop_gives_the_same_once_it_has_arrived():
    """MAML's way, unrolled through every step with its hold on theta, on a network: what iMAML saves the memory of."""
    case = sine_case("tanh")
    algorithm = IMAML(inner_lr=0.02, inner_steps=64, proximal=30.0, cg_steps=20)
    theta = case.theta(algorithm)
    own = separate(theta, case.batch.n_tasks)
    *_, end = inner_loop(case.learner, own, case.batch.support, 64, 0.02, order=2, proximal=30.0)
    unrolled = gradients(case.learner.query_loss(end.phi, case.batch).sum(), own)
    assert_same(algorithm.meta_gradient(case.learner, theta, case.batch).each, unrolled, 1e-8)
