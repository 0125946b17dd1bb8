"""The neighbourhood score, against cases whose answer is known and another way of computing it."""

import numpy as np
import pytest

from metalab.analysis.embedding_tasks import Attribute
from metalab.analysis.neighbourhood import agreement, errors, mean_angle, nearest, squared_distances

RNG = np.random.default_rng(0)
N = 60


def numbers(values):
    return Attribute("a", "number", np.asarray(values, np.float32))


def labels(which):
    return Attribute("a", "class", np.eye(max(which) + 1, dtype=np.float32)[list(which)], tuple("abcdef"))


def score(attribute, x, raw=None):
    around = nearest(squared_distances(x))
    other = None if raw is None else nearest(squared_distances(raw))
    return agreement(attribute, [None, around], 1, other)


def test_distances_and_neighbours_are_those_of_brute_force():
    x = RNG.normal(size=(12, 4))
    brute = np.array([[np.square(a - b).sum() for b in x] for a in x])
    np.testing.assert_allclose(squared_distances(x), brute, atol=1e-9)
    found = nearest(brute, 3)
    for i in range(12):
        assert list(found[i]) == sorted(set(range(12)) - {i}, key=lambda j, i=i: brute[i, j])[:3]


def test_a_line_sorted_by_the_attribute_is_nearly_perfect_and_noise_is_not():
    values = np.linspace(0, 1, N)
    good = score(numbers(values), values[:, None]).stages[1]
    assert good.value > 0.97
    assert good.low <= good.value <= good.high
    noise = score(numbers(values), RNG.normal(size=(N, 8))).stages[1]
    assert noise.value < 0.2


def test_the_score_of_a_number_is_the_leave_one_out_r_squared():
    values, x = RNG.normal(size=N), RNG.normal(size=(N, 2))
    x[:, 0] += values
    found = score(numbers(values), x).stages[1]
    around = nearest(squared_distances(x))
    guess = values[around].mean(1)
    others = np.array([np.delete(values, i).mean() for i in range(N)])
    expected = 1 - np.square(values - guess).sum() / np.square(values - others).sum()
    assert found.value == pytest.approx(expected, abs=1e-6)


def test_labels_of_clusters_are_known_and_scale_and_turns_change_nothing():
    which = np.arange(N) % 3
    x = RNG.normal(size=(N, 5)) + 20 * np.eye(5)[which]
    assert score(labels(which), x).stages[1].value == 1
    turn = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    values = numbers(RNG.normal(size=N))
    before, after = score(values, x), score(values, 3 * x @ turn)
    assert before.stages[1].value == pytest.approx(after.stages[1].value)


def test_an_angle_knows_no_seam():
    degrees = RNG.uniform(-180, 180, N)
    x = np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], 1)
    around = Attribute("a", "angle", degrees.astype(np.float32))
    moved = Attribute("a", "angle", ((degrees + 360) % 360).astype(np.float32))
    assert score(around, x).stages[1].value > 0.97
    assert score(around, x).stages[1].value == pytest.approx(score(moved, x).stages[1].value, abs=1e-5)
    assert abs(mean_angle(np.array([170.0, -170.0]))) == pytest.approx(180)


def test_sets_count_what_a_neighbour_does_not_share():
    shares = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]], np.float32)
    attribute = Attribute("s", "set", shares, ("a", "b", "c"))
    weights = np.array([[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]])
    np.testing.assert_allclose(errors(attribute, weights), [0.5, 0.75, 1.0])


def test_the_gain_over_raw_inputs_is_paired():
    values = RNG.normal(size=N)
    x = values[:, None] + 0.1 * RNG.normal(size=(N, 1))
    same = score(numbers(values), x, x)
    assert (same.gain.value, same.gain.low, same.gain.high) == (0, 0, 0)
    better = score(numbers(values), x, RNG.normal(size=(N, 1)))
    assert better.gain.low > 0.5
    assert better.gain.value == pytest.approx(better.stages[1].value - better.raw.value)
    assert better.stages[0] is None
