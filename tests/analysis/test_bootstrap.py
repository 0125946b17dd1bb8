"""Bootstrap intervals against the normal ones, and what pairing takes away."""

import numpy as np
import pytest

from metalab.analysis.bootstrap import band, interval, resampled, weights

RNG = np.random.default_rng(3)


def test_every_resample_draws_as_many_tasks_as_there_are():
    drawn = weights(40, draws=200)
    np.testing.assert_allclose(drawn.sum(1), 1)
    np.testing.assert_allclose(drawn * 40, np.round(drawn * 40), atol=1e-12)
    assert drawn.std(0).min() > 0
    with pytest.raises(ValueError, match="n_tasks = 0: expected 1 or more"):
        weights(0)


def test_an_interval_is_near_the_normal_one_and_centred_on_the_mean():
    values = RNG.normal([2.0, -5.0], [1.0, 3.0], (600, 2))
    found = band(values)
    error = 1.96 * values.std(0, ddof=1) / 600**0.5
    np.testing.assert_allclose(found.mean, values.mean(0))
    np.testing.assert_allclose(found.low, values.mean(0) - error, atol=0.15 * error.max())
    np.testing.assert_allclose(found.high, values.mean(0) + error, atol=0.15 * error.max())


def test_a_hard_task_is_hard_for_both_so_that_a_constant_difference_has_no_spread():
    hardness = RNG.exponential(5.0, 100)
    difference = resampled(hardness + 0.3) - resampled(hardness)
    np.testing.assert_allclose(difference, 0.3)
    assert band(hardness).high - band(hardness).low > 1


def test_ends_may_be_infinite_and_what_is_no_number_has_no_interval():
    assert interval([1.0] * 50 + [np.inf] * 950) == (1.0, np.inf)
    assert np.isnan(interval([1.0, np.nan, 2.0])).all()
    assert np.isnan(band([[1.0], [np.nan]]).mean).all()
