"""A run that has learned its inner learning rates: none can be set or tuned when it is tried."""

from __future__ import annotations

import pytest
from calling import TINY


@pytest.fixture
def learned(call, home):
    """A tiny run of Meta-SGD."""
    assert call("train", *TINY, "--algorithm", "meta_sgd", "--json").code == 0


@pytest.mark.parametrize("words", [("--inner-lr", "0.02"), ("--tune-inner-lr",)])
def test_a_rate_of_learned_ones_is_refused(call, learned, words):
    said = call("evaluate", "latest", "--tasks", "3", *words)
    assert (said.code, said.err) == (
        2,
        f"metalab: {words[0]}: Meta-SGD has learned its inner learning rates; leave the flag out\n",
    )


def test_without_one_it_is_evaluated_and_names_none(call, learned):
    found = call("evaluate", "latest", "--tasks", "3", "--json").json
    assert found["inner_lr"] is None
    assert len(found["by_inner_step"]) == 2
