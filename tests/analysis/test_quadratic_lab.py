"""The exact lab: formulas against the engine, limits, and where the inner loop diverges."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from metalab.analysis import quadratic_lab as lab_module
from metalab.analysis.quadratic_lab import LEARNER, THETA, Bowl, Setup, algorithms, batch_of, lab, theta_of

TASKS = (Bowl(-2.2, -1.2, 3.0, 0.6, 25), Bowl(2.3, -1.6, 0.5, 2.0, 60), Bowl(0.6, 2.4, 1.2, 0.3, 100))
SETUP = Setup(TASKS, inner_lr=0.3, inner_steps=3, proximal=1.0)
MEAN = np.mean([bowl.optimum for bowl in TASKS], axis=0)
START = np.array([-3.0, 3.0])


def setup_of(seed, most_alpha=2.0):
    rng = np.random.default_rng(seed)
    bowls = tuple(
        Bowl(*rng.uniform(-4, 4, 2), *np.exp(rng.uniform(math.log(0.2), math.log(4), 2)), rng.uniform(0, 180))
        for _ in range(rng.integers(2, 6))
    )
    alpha = float(np.exp(rng.uniform(math.log(0.01), math.log(most_alpha))))
    return Setup(bowls, alpha, int(rng.integers(1, 21)), float(np.exp(rng.uniform(math.log(0.5), math.log(100)))))


@pytest.mark.parametrize("seed", range(12))
def test_engine_and_formula_agree_on_random_tasks(seed):
    found = lab(setup_of(seed))
    told = [rule for rule in found.rules.values() if rule.determined]
    assert {"joint", "imaml", "reptile"} <= {rule.name for rule in told}
    assert max(rule.difference for rule in told) < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_maml_and_fomaml_agree_too_wherever_the_inner_loop_converges_and_leaves_something(seed):
    """Beyond, one steep task may swamp the others, and after many steps nothing may be left of any."""
    setup = setup_of(seed)
    found = lab(dataclasses.replace(setup, inner_lr=0.7 * setup.limit, inner_steps=4))
    assert all(rule.determined and rule.difference < 1e-6 for rule in found.rules.values())


@pytest.mark.parametrize("seed", range(3))
def test_the_meta_gradient_of_the_engine_vanishes_at_the_formulas_fixed_point_and_only_there(seed):
    setup = setup_of(seed, most_alpha=0.4)
    tasks = batch_of(setup.bowls)
    engine = algorithms(setup)

    def size(name, theta):
        return float(engine[name].meta_gradient(LEARNER, theta_of(theta), tasks).gradient[THETA].norm())

    for name, rule in lab(setup).rules.items():
        if rule.determined:
            assert size(name, rule.formula) < 1e-6 * size(name, rule.formula + np.array([1.0, 1.0]))


def test_the_slope_is_the_mean_of_the_weights():
    """Reptile's gradient is theta - phi, all others' a mean over tasks of W_i (theta - c_i)."""
    for name, rule in lab(SETUP).rules.items():
        weights, _noise = lab_module.WEIGHTS[name](SETUP)
        np.testing.assert_allclose(rule.slope, weights.mean(0), rtol=0, atol=1e-8)


def test_the_fixed_points_of_unlike_tasks_are_different_points():
    places = np.stack([rule.engine for rule in lab(SETUP).rules.values()])
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert apart[~np.eye(5, dtype=bool)].min() > 0.3


def test_tasks_of_equal_curvature_all_come_to_rest_at_the_mean_of_the_optima():
    alike = tuple(dataclasses.replace(TASKS[0], x=bowl.x, y=bowl.y) for bowl in TASKS)
    for rule in lab(dataclasses.replace(SETUP, bowls=alike)).rules.values():
        np.testing.assert_allclose(rule.engine, MEAN, atol=1e-9)
        np.testing.assert_allclose(rule.formula, MEAN, atol=1e-9)


def test_reptile_with_many_steps_goes_to_the_mean_of_the_optima_and_with_one_to_joint_training():
    steep = tuple(dataclasses.replace(bowl, first=2.0, second=3.0) for bowl in TASKS)
    many = lab(Setup((*steep[:2], Bowl(1, 2, 2.5, 2.2, 10)), 0.4, 20, 1.0)).rules["reptile"]
    np.testing.assert_allclose(many.engine, np.mean([[-2.2, -1.2], [2.3, -1.6], [1, 2]], axis=0), atol=1e-6)
    one = lab(dataclasses.replace(SETUP, inner_steps=1)).rules
    np.testing.assert_allclose(one["reptile"].engine, one["joint"].engine, atol=1e-12)
    few = lab(dataclasses.replace(SETUP, inner_steps=3)).rules
    assert np.linalg.norm(few["reptile"].engine - few["joint"].engine) > 0.1


def test_without_adaptation_maml_and_imaml_are_joint_training():
    """alpha to 0 and lambda to infinity: theta is not adapted, W_i is A_i."""
    still = lab(Setup(TASKS, inner_lr=1e-4, inner_steps=1, proximal=100.0)).rules
    for name, near in (("maml", 1e-3), ("fomaml", 1e-3), ("imaml", 0.1)):
        np.testing.assert_allclose(still[name].engine, still["joint"].engine, atol=near)


@pytest.mark.parametrize(("factor", "diverges"), [(1 - 1e-12, False), (1.0, True), (1 + 1e-12, True)])
def test_divergence_begins_exactly_at_two_over_the_largest_curvature(factor, diverges):
    bowls = (Bowl(0, 0, 0.5, 4.0, 33), Bowl(1, 1, 1.0, 0.7, 0))
    setup = Setup(bowls, 0.5 * factor, 3, 1.0)
    assert setup.limit == 0.5
    assert setup.diverging == ((0,) if diverges else ())


@pytest.mark.parametrize(("factor", "grows"), [(0.9, False), (1.1, True)])
def test_the_engines_inner_loop_does_what_the_flag_says(factor, grows):
    setup = Setup(TASKS, factor * 2 / 3.0, 20, 1.0)
    paths = lab(setup).inner_paths(START)
    assert paths.shape == (3, 21, 2)
    np.testing.assert_array_equal(paths[:, 0], np.broadcast_to(START, (3, 2)))
    away = np.linalg.norm(paths - np.stack([bowl.optimum for bowl in TASKS])[:, None], axis=-1)
    assert (setup.diverging == (0,)) is grows
    assert bool(away[0, -1] > away[0, 0]) is grows
    assert (away[1:, -1] < away[1:, 0]).all()


def test_a_path_is_what_the_engine_does_step_by_step():
    found, tasks = lab(SETUP), batch_of(TASKS)
    for name, algorithm in algorithms(SETUP).items():
        theta = torch.from_numpy(START.copy())
        for place in found.rules[name].path(START, 0.5, steps=6):
            np.testing.assert_allclose(place, theta.numpy(), atol=1e-8)
            theta = theta - 0.5 * algorithm.meta_gradient(LEARNER, theta_of(theta.numpy()), tasks).gradient[THETA]


def test_a_path_arrives_where_it_should_and_a_large_rate_makes_it_run_away():
    rule = lab(SETUP).rules["joint"]
    assert rule.arrives(0.5)
    np.testing.assert_allclose(rule.path(START, 0.5)[-1], rule.engine, atol=1e-9)
    steepest = float(np.linalg.eigvalsh(rule.slope).max())
    assert not rule.arrives(2.01 / steepest)
    assert np.abs(rule.path(START, 2.5 / steepest)[-1]).max() > 100


def test_where_one_step_solves_every_task_there_is_no_fixed_point_to_tell():
    """alpha A = I: MAML's weights vanish, Reptile's are all I."""
    round_bowls = tuple(dataclasses.replace(bowl, first=2.0, second=2.0, turn=0) for bowl in TASKS)
    rules = lab(Setup(round_bowls, 0.5, 1, 1.0)).rules
    assert not rules["maml"].determined
    assert not rules["maml"].arrives(0.1)
    assert math.isnan(rules["maml"].difference)
    np.testing.assert_allclose(rules["reptile"].engine, MEAN, atol=1e-12)


def test_what_is_kept_of_the_engine_cannot_be_changed():
    rule = lab(SETUP).rules["maml"]
    with pytest.raises(ValueError, match="read-only"):
        rule.slope[0, 0] = 1.0
