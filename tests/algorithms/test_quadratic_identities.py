"""The engine against the closed forms of meta-learning on quadratics, in float64.

With A, c of the support (s) and query (q) set and M = (I - alpha A_s)^k:  phi_k = c_s + M (theta - c_s).
"""

from __future__ import annotations

import pytest
import torch
from quadratic_tasks import LEARNER, THETA, apply, batch, draw, examples, shrinkage, theta_of
from torch import Tensor

from metalab.algorithms import ANIL, IMAML, MAML, MAMLPlusPlus, MetaSGD, Pretrained, Reptile
from metalab.algorithms.base import Algorithm
from metalab.algorithms.inner_loop import minibatch
from metalab.params import RATES
from metalab.tasks.base import Examples, TaskBatch

START = torch.tensor([0.7, -1.3, 0.4], dtype=torch.float64)
ALPHA = 0.2


def gradient(algorithm: Algorithm, theta: Tensor, tasks: TaskBatch) -> Tensor:
    rates = {n: v for n, v in algorithm.init(LEARNER, torch.Generator(), theta.dtype).items() if n.startswith(RATES)}
    return algorithm.meta_gradient(LEARNER, theta_of(theta) | rates, tasks).gradient[THETA]


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 20])
def test_inner_loop_shrinks_the_distance_to_the_optimum(steps):
    matrix, centre = draw(0, 4)
    path = list(MAML(inner_lr=ALPHA).adapt(LEARNER, theta_of(START), examples(matrix, centre), steps))
    assert [inner.k for inner in path] == list(range(steps + 1))
    for inner in path:
        same(inner.phi[THETA], centre + apply(shrinkage(matrix, ALPHA, inner.k), START - centre))


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 20])
def test_maml_gradient_is_the_closed_form(steps):
    """d/dtheta L_q(phi_k) = M A_q [(c_s - c_q) + M (theta - c_s)]; first order drops the leading M."""
    (a_s, c_s), (a_q, c_q) = draw(1, 4), draw(2, 4)
    tasks = batch(examples(a_s, c_s), examples(a_q, c_q))
    m = shrinkage(a_s, ALPHA, steps)
    first = apply(a_q, c_s - c_q + apply(m, START - c_s))
    same(gradient(MAML(order=2, inner_lr=ALPHA, inner_steps=steps), START, tasks), apply(m, first).mean(0))
    same(gradient(MAML(order=1, inner_lr=ALPHA, inner_steps=steps), START, tasks), first.mean(0))


@pytest.mark.parametrize("steps", [1, 3])
def test_with_query_equal_to_support_only_powers_of_the_shrinkage_remain(steps):
    matrix, centre = draw(3, 4)
    tasks = batch(examples(matrix, centre))
    for order, power in ((2, 2 * steps), (1, steps)):
        expected = apply(matrix @ shrinkage(matrix, ALPHA, power), START - centre).mean(0)
        same(gradient(MAML(order=order, inner_lr=ALPHA, inner_steps=steps), START, tasks), expected)


def test_one_step_that_lands_on_the_optimum_leaves_no_gradient():
    """alpha A = I and s = q: after one step every task is solved, whatever theta is."""
    _, centre = draw(4, 4)
    matrix = 2 * torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    tasks = batch(examples(matrix, centre))
    for order in (1, 2):
        same(gradient(MAML(order=order, inner_lr=0.5, inner_steps=1), START, tasks), torch.zeros_like(START))


@pytest.mark.parametrize(("factor", "converges"), [(0.97, True), (1.03, False)])
def test_inner_loop_converges_just_below_two_over_the_largest_curvature(factor, converges):
    matrix, centre = draw(5, 4, low=1.0, high=4.0)
    algorithm = MAML(inner_lr=factor * 2 / 4.0)
    path = [inner.phi[THETA] for inner in algorithm.adapt(LEARNER, theta_of(START), examples(matrix, centre), 400)]
    before, after = (START - centre).norm(dim=1), (path[-1] - centre).norm(dim=1)
    assert bool((after < 1e-6 * before).all()) is converges
    assert bool((after > 1e6 * before).all()) is not converges


STEPS = 3
RULES = {
    "joint": (Pretrained(inner_lr=ALPHA), lambda a: a),
    "maml": (MAML(order=2, inner_lr=ALPHA, inner_steps=STEPS), lambda a: a @ shrinkage(a, ALPHA, 2 * STEPS)),
    "fomaml": (MAML(order=1, inner_lr=ALPHA, inner_steps=STEPS), lambda a: a @ shrinkage(a, ALPHA, STEPS)),
    "anil": (ANIL(inner_lr=ALPHA, inner_steps=STEPS), lambda a: a @ shrinkage(a, ALPHA, 2 * STEPS)),
    "meta_sgd": (MetaSGD(inner_lr=ALPHA, inner_steps=STEPS), lambda a: a @ shrinkage(a, ALPHA, 2 * STEPS)),
    "maml_plus_plus": (
        MAMLPlusPlus(inner_lr=ALPHA, inner_steps=STEPS),
        lambda a: torch.stack([a @ shrinkage(a, ALPHA, 2 * k) for k in range(1, STEPS + 1)]).mean(0),
    ),
    "imaml": (
        IMAML(inner_lr=0.27, inner_steps=64, proximal=2.0),
        lambda a: a @ torch.linalg.matrix_power(torch.eye(3, dtype=torch.float64) + a / 2.0, -2),
    ),
    "reptile": (
        Reptile(inner_lr=ALPHA, inner_steps=STEPS),
        lambda a: torch.eye(3, dtype=torch.float64) - shrinkage(a, ALPHA, STEPS),
    ),
}


def fixed_point(weight: Tensor, centre: Tensor) -> Tensor:
    return torch.linalg.solve(weight.sum(0), apply(weight, centre).sum(0))


@pytest.mark.parametrize("rule", RULES)
def test_mean_meta_gradient_vanishes_at_the_fixed_point_and_only_there(rule):
    """theta* = (sum W_i)^-1 sum W_i c_i; anywhere else the direction is mean(W_i) (theta - theta*), not zero."""
    algorithm, weigh = RULES[rule]
    matrix, centre = draw(6, 5)
    tasks, weight = batch(examples(matrix, centre)), weigh(matrix)
    star = fixed_point(weight, centre)
    same(gradient(algorithm, star, tasks), torch.zeros_like(star))
    mean_weight = weight.mean(0)
    assert torch.linalg.eigvalsh(mean_weight).min() > 0.01
    for away in (*torch.eye(3, dtype=torch.float64), START - star):
        same(gradient(algorithm, star + away, tasks), mean_weight @ away)


def test_the_fixed_points_are_different_points():
    """But ANIL's and Meta-SGD's, which are MAML's where the head is all there is and rates are alike."""
    matrix, centre = draw(6, 5)
    others = [weigh for rule, (_, weigh) in RULES.items() if rule not in ("anil", "meta_sgd")]
    stars = torch.stack([fixed_point(weigh(matrix), centre) for weigh in others])
    assert torch.pdist(stars).min() > 0.003


@pytest.mark.parametrize("rule", RULES)
def test_with_equal_curvature_all_agree_on_the_mean_of_the_optima(rule):
    matrix, centre = draw(7, 5)
    tasks = batch(examples(matrix[:1].expand(5, 3, 3), centre))
    same(gradient(RULES[rule][0], centre.mean(0), tasks), torch.zeros(3, dtype=torch.float64))


def test_reptile_with_many_steps_goes_to_the_mean_of_the_optima():
    matrix, centre = draw(8, 5, low=1.0, high=3.0)
    found = gradient(Reptile(inner_lr=0.5, inner_steps=64), START, batch(examples(matrix, centre)))
    same(found, START - centre.mean(0))


def test_reptile_with_one_step_is_joint_gradient_descent():
    """theta - phi_1 = alpha grad L of all examples, with unlike support and query sets."""
    (a_s, c_s), (a_q, c_q) = draw(9, 4), draw(10, 4)
    tasks = batch(examples(a_s, c_s), examples(a_q, c_q))
    joint = gradient(Pretrained(), START, tasks)
    assert joint.norm() > 0.1
    same(gradient(Reptile(inner_lr=ALPHA, inner_steps=1), START, tasks), ALPHA * joint)


def test_first_order_is_exact_where_the_support_loss_is_linear_or_no_step_is_taken():
    (_, c_s), (a_q, c_q) = draw(11, 4), draw(12, 4)
    flat = torch.zeros(4, 3, 3, dtype=torch.float64)
    linear = batch(examples(flat, c_s, linear=c_s), examples(a_q, c_q))
    curved = batch(examples(a_q, c_s), examples(a_q, c_q))
    for tasks, steps in ((linear, 1), (linear, 4), (curved, 0)):
        exact = gradient(MAML(order=2, inner_lr=ALPHA, inner_steps=steps), START, tasks)
        assert exact.norm() > 0.1
        same(gradient(MAML(order=1, inner_lr=ALPHA, inner_steps=steps), START, tasks), exact)


def test_first_order_misses_a_term_that_grows_linearly_with_alpha():
    (a_s, c_s), (a_q, c_q) = draw(13, 4), draw(14, 4)
    tasks = batch(examples(a_s, c_s), examples(a_q, c_q))
    alphas = torch.tensor([1e-4, 1e-3, 1e-2], dtype=torch.float64)
    missed = torch.stack(
        [
            gradient(MAML(order=2, inner_lr=float(alpha), inner_steps=3), START, tasks)
            - gradient(MAML(order=1, inner_lr=float(alpha), inner_steps=3), START, tasks)
            for alpha in alphas
        ]
    ).norm(dim=1)
    slopes = missed.log().diff() / alphas.log().diff()
    torch.testing.assert_close(slopes, torch.ones_like(slopes), rtol=0, atol=0.1)
    torch.testing.assert_close(slopes[0], torch.ones_like(slopes[0]), rtol=0, atol=0.01)


def halves_in_order(tasks: TaskBatch) -> tuple[Examples, Examples]:
    """Support and query in the order in which Reptile, one example in a minibatch, comes to them."""
    order = minibatch(Examples(torch.arange(2.0)[None, :, None], torch.arange(2)[None]), 1, 0).y
    return (tasks.support, tasks.query) if int(order) == 0 else (tasks.query, tasks.support)


def test_expansions_of_nichol_achiam_and_schulman():
    """k = 2 minibatches with gradients g1, g2 and curvatures H1, H2 at theta (section 5.1 of arXiv:1803.02999).

    Exact on quadratics for FOMAML, g2 - alpha H2 g1, and Reptile, g1 + g2 - alpha H2 g1;
    MAML's g2 - alpha H2 g1 - alpha H1 g2 leaves alpha^2 H1 H2 g1.
    """
    (a_s, c_s), (a_q, c_q) = draw(15, 4), draw(16, 4)
    tasks = batch(examples(a_s, c_s), examples(a_q, c_q))
    h1, g1 = a_s, apply(a_s, START - c_s)
    h2, g2 = a_q, apply(a_q, START - c_q)
    first_order = g2 - ALPHA * apply(h2, g1)
    exact = first_order - ALPHA * apply(h1, g2) + ALPHA**2 * apply(h1, apply(h2, g1))
    same(gradient(MAML(order=1, inner_lr=ALPHA, inner_steps=1), START, tasks), first_order.mean(0))
    same(gradient(MAML(order=2, inner_lr=ALPHA, inner_steps=1), START, tasks), exact.mean(0))

    reptile = Reptile(inner_lr=ALPHA, inner_steps=2, inner_batch=1)
    (first, second), alpha = halves_in_order(tasks), ALPHA
    if first is tasks.query:
        (h1, g1), (h2, g2) = (h2, g2), (h1, g1)
    assert second is not first
    same(gradient(reptile, START, tasks) / alpha, (g1 + g2 - alpha * apply(h2, g1)).mean(0))


def test_reptile_over_both_orders_follows_the_inner_product_of_the_gradients():
    """The mean over both orders holds AvgGradInner: g1 + g2 - alpha/2 d(g1.g2)/dtheta."""
    (a_s, c_s), (a_q, c_q) = draw(17, 4), draw(18, 4)
    one, two = examples(a_s, c_s), examples(a_q, c_q)
    reptile = Reptile(inner_lr=ALPHA, inner_steps=2, inner_batch=1)
    found = (gradient(reptile, START, batch(one, two)) + gradient(reptile, START, batch(two, one))) / 2 / ALPHA

    theta = START.clone().requires_grad_()
    g1, g2 = apply(a_s, theta - c_s), apply(a_q, theta - c_q)
    (slope,) = torch.autograd.grad((g1 * g2).sum(1).mean(), theta)
    same(found, (g1 + g2).mean(0).detach() - ALPHA / 2 * slope)


def test_gradient_of_a_meta_batch_is_the_mean_over_its_tasks():
    (a_s, c_s), (a_q, c_q) = draw(19, 4), draw(20, 4)
    tasks = batch(examples(a_s, c_s), examples(a_q, c_q))
    for algorithm, _ in RULES.values():
        alone = [gradient(algorithm, START, tasks.tasks(i, i + 1)) for i in range(4)]
        same(gradient(algorithm, START, tasks), torch.stack(alone).mean(0))
