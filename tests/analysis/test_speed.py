"""Curves equal gradient descent written out, and the comparison equals what is known of made-up curves."""

import numpy as np
import pytest
import torch

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Cancelled
from metalab.analysis.bootstrap import resampled
from metalab.analysis.speed import Curve, Speed, compare, gains, held_out, measure, path, reached, usual_level
from metalab.analysis.speed_shots import over_shots, practice, shot_counts
from metalab.models import MODELS
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.sinusoid import Sinusoid
from metalab.training.start import stream

MLP = MODELS["mlp"](widths=(6,), activation="tanh")
WAVES = Sinusoid(shots=5, queries=7)


def contender(algorithm="maml", model=MLP, seed=0, **settings):
    chosen = ALGORITHMS[algorithm](**settings)
    theta = chosen.init(Learner(model, WAVES), torch.Generator().manual_seed(seed))
    return Contender(algorithm, chosen, model, theta, ("test", algorithm, seed))


def curve(values, label="maml", axis="inner step", gradients=None, seconds=None):
    values = np.asarray(values, np.float32)
    n = values.shape[1]
    gradients = np.arange(n) if gradients is None else np.asarray(gradients)
    seconds = np.arange(n) / 1000 if seconds is None else np.asarray(seconds)
    return Curve(label, (label, 2, 0), axis, values, resampled(values), gradients, seconds)


def speed(*curves, metric="loss"):
    return Speed(metric, "mean squared error", len(curves[0].values), curves)


def by_hand(theta, support, query, steps, rate):
    """The query loss after 0 .. steps plain gradient steps on one task."""

    def loss(phi, examples):
        h = torch.tanh(examples[0] @ phi["layer1.weight"] + phi["layer1.bias"])
        return ((h @ phi["head.weight"] + phi["head.bias"] - examples[1]) ** 2).mean()

    phi = {name: value.clone().requires_grad_() for name, value in theta.items()}
    losses = [loss(phi, query).item()]
    for _ in range(steps):
        slope = torch.autograd.grad(loss(phi, support), list(phi.values()))
        phi = {n: (v - rate * g).detach().requires_grad_() for (n, v), g in zip(phi.items(), slope, strict=True)}
        losses.append(loss(phi, query).item())
    return losses


def test_every_task_is_adapted_by_gradient_descent_and_counted():
    one, two = contender(inner_lr=0.05), contender("reptile", seed=1, inner_lr=0.1, inner_batch=2)
    told = []
    found = measure([one, two], WAVES, n_tasks=120, steps=3, seed=4, report=told.append)
    batch = WAVES.sample(120, "test", stream(4, "test"))
    for i in (0, 63, 119):
        task = batch.tasks(i, i + 1)
        support, query = ((part.x[0], part.y[0]) for part in (task.support, task.query))
        np.testing.assert_allclose(found.curves[0].values[i], by_hand(one.theta, support, query, 3, 0.05), rtol=1e-4)
    assert found.curves[0].values.shape == found.curves[1].values.shape == (120, 4)
    # The second takes minibatches of 2 of 5 examples.
    assert [list(each.gradients) for each in found.curves] == [[0, 1, 2, 3], pytest.approx([0, 0.4, 0.8, 1.2])]
    assert found.curves[0].seconds[0] == 0
    assert np.all(np.diff(found.curves[0].seconds) > 0)
    assert told[0] == 0
    assert told == sorted(told)
    assert max(told) < 1


def test_who_reads_takes_no_gradient_and_stands_at_one_place_beside_inner_steps():
    steps, reads = contender(), contender("cnp", MODELS["cnp"](width=8))
    found = measure([steps, reads], WAVES, n_tasks=6, steps=4)
    assert (found.metric, found.axis, found.steps) == ("loss", "inner step", 4)
    reader = found.curves[1]
    assert (reader.axis, list(reader.gradients), reader.values.shape) == ("shot", [0] * 6, (6, 6))
    place = path(found, reader, "steps")
    assert place.at_once
    assert list(place.cost) == [0]
    assert place.mean == pytest.approx(reader.values[:, -1].mean())
    alone = measure([reads], WAVES, n_tasks=6, steps=4)
    assert (alone.axis, alone.steps) == ("shot", 5)
    assert list(path(alone, alone.curves[0], "steps").cost) == [0, 1, 2, 3, 4, 5]


def test_what_cannot_be_measured_is_refused_and_nobody_waits_for_what_is_cancelled():
    with pytest.raises(ValueError, match="no contenders"):
        measure([], WAVES, n_tasks=5, steps=3)
    with pytest.raises(ValueError, match="steps = 51"):
        measure([contender()], WAVES, n_tasks=5, steps=51)

    def stop(_fraction):
        raise Cancelled

    with pytest.raises(Cancelled):
        measure([contender(seed=9)], WAVES, n_tasks=5, steps=3, report=stop)


def test_the_first_crossing_lies_on_the_straight_line_between_two_steps():
    curves = np.array([[0.0, 1.0, 3.0, 2.0], [0.0, 0.5, 1.0, 1.9], [2.0, 0.0, 0.0, 3.0], [0.0, np.nan, 4.0, 4.0]])
    cost = np.array([0.0, 10.0, 20.0, 40.0])
    np.testing.assert_allclose(reached(curves, cost, 2.0)[:3], [15.0, np.inf, 0.0])
    assert reached(curves[:1], cost, 0.0) == [0.0]


def test_two_steps_behind_on_every_task_are_two_steps_behind_for_certain():
    hardness = np.random.default_rng(0).uniform(0.9, 1.1, (200, 1))
    fast = hardness * np.array([8.0, 6.0, 4.0, 2.0, 1.0, 0.5])
    slow = hardness * np.array([8.0, 8.0, 8.0, 6.0, 4.0, 2.0])
    never = hardness * np.full(6, 8.0)
    found = compare(speed(curve(slow, "slow"), curve(fast, "fast"), curve(never, "never")), 5.0, "steps")
    behind, leader, lost = found.arrivals
    assert found.leader is leader
    assert found.runner_up is behind
    assert behind.behind == pytest.approx(2, abs=0.02)
    assert behind.behind_low <= behind.behind <= behind.behind_high
    assert behind.behind_high - behind.behind_low < 0.05
    assert behind.real
    assert (lost.value, lost.behind, lost.behind_low) == (np.inf, np.inf, np.inf)
    mean = hardness.mean()
    assert found.areas[1].value == pytest.approx(mean * (4 + 6 + 4 + 2 + 1 + 0.25) / 5, rel=1e-5)
    assert found.areas[0].behind == pytest.approx(found.areas[0].value - found.areas[1].value)


def test_who_reads_at_once_has_an_area_with_its_start_as_the_others_have():
    """From 4 to 1 in the first step and level from there on: the same curve, whether it was read or descended."""
    ways = np.tile([4.0, 1.0, 1.0, 1.0], (20, 1))
    pair = speed(curve(ways, "steps"), curve(np.tile([4.0, 2.5, 1.0], (20, 1)), "reads", "shot", [0, 0, 0]))
    found = compare(pair, 2.0, "steps")
    assert [one.value for one in found.areas] == pytest.approx([1.5, 1.5])
    assert found.areas[1].behind == pytest.approx(0)
    assert [one.value for one in found.arrivals] == pytest.approx([2 / 3, 0])
    np.testing.assert_allclose(path(pair, pair.curves[1], "steps").start, 4)
    alone = speed(curve(np.tile([4.0, 2.5, 1.0], (20, 1)), "reads", "shot"))
    assert compare(alone, 2.0, "steps").areas[0].value == pytest.approx(2.5)


def test_equal_curves_are_level_and_nobody_leads_to_a_level_that_nobody_reaches():
    values = np.random.default_rng(1).uniform(size=(50, 4)).cumsum(1)
    found = compare(
        speed(curve(values, "a"), curve(values, "b"), metric="accuracy"), float(values[:, 2].mean()), "steps"
    )
    assert [one.value for one in found.arrivals] == pytest.approx([2, 2], abs=1e-5)
    assert not any(one.real for one in [*found.arrivals, *found.areas])
    assert all(one.alike for one in [*found.arrivals, *found.areas])
    assert compare(speed(curve(values), metric="accuracy"), 99.0, "steps").leader is None


def test_steps_that_cost_twice_as_much_turn_the_order_round():
    steep = np.tile([4.0, 2.0, 0.0], (20, 1))
    flat = np.tile([4.0, 3.0, 2.0], (20, 1))
    pair = speed(
        curve(steep, "steep", gradients=[0, 5, 10], seconds=[0, 0.5, 1]), curve(flat, "flat", seconds=[0, 0.01, 0.02])
    )
    assert compare(pair, 2.0, "steps").leader.label == "steep"
    assert [one.value for one in compare(pair, 2.0, "gradients").arrivals] == [5, 2]
    assert [one.value for one in compare(pair, 2.0, "seconds").arrivals] == pytest.approx([0.5, 0.02])


def test_gains_are_positive_where_it_gets_better_and_add_up():
    losses = np.random.default_rng(2).uniform(size=(30, 5)).astype(np.float32)
    for metric, sign in (("loss", -1), ("accuracy", 1)):
        found = speed(curve(losses), metric=metric)
        np.testing.assert_allclose(gains(found, found.curves[0]).mean, sign * np.diff(losses.mean(0)), atol=1e-6)


def test_the_usual_level_lies_between_start_and_best_and_survives_a_divergence():
    runaway = curve([[4.0, 1e30, np.inf], [4.0, np.inf, np.nan]])
    assert usual_level(speed(curve([[4.0, 1.0, 2.0]] * 2), runaway)) == pytest.approx(4 - 0.9 * 3)
    assert not runaway.finite
    lost = compare(speed(runaway, curve([[4.0, 3.0, 2.0]] * 2, "calm")), 2.5, "steps")
    assert lost.leader.label == "calm"


def test_fewer_shots_are_the_first_of_more_on_the_same_query_sets():
    counts = shot_counts(WAVES)
    assert counts == (1, 2, 3, 5, 10, 20)
    assert shot_counts(Glyphs(queries=9)) == (1, 2, 3, 5, 10)
    assert shot_counts(Glyphs(queries=15)) == (1, 2, 3, 5)
    one, two = contender(inner_lr=0.05), contender(seed=3, inner_lr=0.02)
    found = over_shots([one, two], WAVES, n_tasks=8, steps=2)
    batch = held_out(WAVES.model_copy(update={"shots": 20}), 8, 0)
    for column, count in enumerate(counts):
        support = (batch.support.x[3, :count], batch.support.y[3, :count])
        query = (batch.query.x[3], batch.query.y[3])
        assert found.curves[0].values[3, column] == pytest.approx(
            by_hand(one.theta, support, query, 2, 0.05)[-1], rel=1e-4
        )
    first, gap, low, high = found.lead(5)
    means = [each.values[:, 3].mean() for each in found.curves]
    assert first == int(np.argmin(means))
    assert gap == pytest.approx(abs(means[0] - means[1]), rel=1e-4)
    assert low <= gap <= high


def test_what_a_run_stored_is_thinned_and_looks_of_other_lengths_are_left_out():
    looks = [(step, np.full((4, 3), float(step))) for step in range(0, 1000, 10)]
    found = practice("loss", "nats", [(5, np.zeros((4, 2))), *looks], most=5)
    assert list(found.outer_steps) == [0, 250, 500, 740, 990]
    np.testing.assert_allclose(found.values, np.repeat(found.outer_steps[:, None], 3, 1))
    assert (found.n_tasks, practice("loss", "nats", [])) == (4, None)
