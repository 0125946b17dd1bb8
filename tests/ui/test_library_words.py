"""The sentence of the best start says where adapting hurts."""

import numpy as np
import pytest

from metalab.analysis.starts import Ranking, Start
from metalab.ui.library_words import start_verdict


def start(label, *curve):
    return Start(label, label, 2000, ("maml", 2, 0), np.array(curve))


def ranking(*found, metric="loss"):
    return Ranking(metric, "mean squared error", "", 2, found, 0)


def test_nothing_is_said_of_harm_where_all_gain():
    said = start_verdict(ranking(start("A", 3.0, 0.2), start("B", 2.0, 0.5)))
    assert "makes it worse" not in said
    assert "to 0.2; the next run, B, gets to 0.5. This is one task" in said


def test_a_start_that_gets_as_far_is_no_worse():
    said = start_verdict(ranking(start("A", 0.1, 0.7558), start("B", 0.2, 0.7556), metric="accuracy"))
    assert "to 75.6%; B gets as far. This is one task" in said


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            ranking(start("A", 3.0, 0.2), start("B", 2.0, 2.5)),
            "For 1 of 2 starts adapting makes it worse: B at outer step 2,000 goes from 2 to 2.5.",
        ),
        (
            ranking(start("A", 3.0, 3.5), start("B", 2.0, 9.0), start("C", 1.0, np.nan)),
            "For 3 of 3 starts adapting makes it worse, most for C at outer step 2,000: from 1 to ∞.",
        ),
        (
            ranking(start("A", 0.5, 0.9), start("B", 0.6, 0.4), metric="accuracy"),
            "For 1 of 2 starts adapting makes it worse: B at outer step 2,000 goes from 60.0% to 40.0%.",
        ),
    ],
)
def test_starts_that_adapting_makes_worse_are_counted_and_the_worst_is_named(found, words):
    assert words in start_verdict(found)
