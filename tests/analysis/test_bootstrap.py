"""Bootstrap intervals against the normal ones, and what pairing takes away."""

import numpy as np
import pytest

from metalab.analysis.bootstrap import apart, band, interval, median_band, resampled, weights

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


@pytest.mark.parametrize(("n_tasks", "most"), [(8, 1.0), (32, 0.985), (65, 0.985)])
def test_a_medians_interval_holds_it_as_often_as_it_says_however_skewed(n_tasks, most):
    """The exponential distribution's median is ln 2; the ends for 8 and 65 tasks are those of the printed tables."""
    found = median_band(RNG.exponential(size=(n_tasks, 4000)))
    held = (found.low <= np.log(2)) & (np.log(2) <= found.high)
    assert 0.945 <= held.mean() <= most
    ranks = median_band(np.arange(1.0, n_tasks + 1))
    assert (ranks.low, ranks.high) == {8: (1, 8), 32: (10, 23), 65: (25, 41)}[n_tasks]
    assert ranks.mean == (n_tasks + 1) / 2


def test_a_median_needs_six_tasks_and_numbers():
    with pytest.raises(ValueError, match="n_tasks = 5: expected 6 or more"):
        median_band(np.zeros(5))
    found = median_band([[1.0, np.inf]] * 4 + [[2.0, 1.0], [3.0, np.nan]])
    assert (found.low[0], found.mean[0], found.high[0]) == (1, 1, 3)
    assert np.isnan([found.low[1], found.mean[1], found.high[1]]).all()


def test_two_figures_are_apart_where_the_bootstrap_of_their_difference_leaves_out_zero():
    """Against the bootstrap of independent samples, near the edge on both sides; whichever is named first."""
    rng = np.random.default_rng(3)
    first, second = rng.normal(0, 1, 400), rng.normal(0, 2, 300)
    a, b = (band(values) for values in (first, second))
    spread = resampled(first).std() ** 2 + resampled(second).std() ** 2
    edge = 1.96 * float(spread) ** 0.5
    for shift, expected in ((0.9 * edge, False), (1.1 * edge, True)):
        moved = shift + float(a.mean - b.mean)
        ends = [float(part + moved) for part in (b.mean, b.low, b.high)]
        given = tuple(float(part) for part in (a.mean, a.low, a.high)), (ends[0], ends[1], ends[2])
        assert apart(*given) is expected
        assert apart(*given[::-1]) is expected
    for value in (np.inf, np.nan):
        assert apart((value, value, value), (1.0, 0.5, 1.5))
    assert not apart((1.0, 0.5, np.inf), (2.0, 1.9, 2.1))
