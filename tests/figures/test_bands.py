"""Parts that figures with uncertainty share."""

import numpy as np
import pytest

from metalab.figures.bands import shares_range


def test_accuracies_have_an_axis_from_a_whole_tenth_below_the_least_of_them():
    assert shares_range([np.array([0.2, 0.9])]) == [0.0, 1.04]
    assert shares_range([np.array([0.83, np.nan]), np.array([0.97])]) == pytest.approx([0.8, 1.008])
    assert shares_range([np.array([0.8, 0.9])]) == pytest.approx([0.7, 1.012])
