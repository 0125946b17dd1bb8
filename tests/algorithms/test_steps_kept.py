"""Inner steps that are computed again instead of kept: the same meta-gradient, in the memory of those kept."""

from __future__ import annotations

import pytest
import torch
from engine_cases import ALL, assert_same, sine_case

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.unrolled import Unrolled
from metalab.analysis.order_cost import Kept
from metalab.settings import declarations

UNROLLED = ("maml", "anil", "boil", "meta_sgd", "maml_plus_plus")
KEPT = (1, 2, 3, 4)
STEPS = 5


def one(name: str, **settings: object) -> Unrolled:
    """The algorithm with five inner steps of a rate at which they bend."""
    return ALGORITHMS[name](**{"inner_steps": STEPS, "inner_lr": 0.1} | settings)


@pytest.mark.parametrize("case", ["sine", "conv"])
@pytest.mark.parametrize("name", UNROLLED)
def test_what_is_computed_again_changes_no_number(name, case):
    """To rounding where a step's phi is used by its own query loss, too; else to the last bit."""
    at = sine_case("tanh") if case == "sine" else ALL["strided-running"]()
    theta = at.theta(one(name))
    plain = one(name).meta_gradient(at.learner, theta, at.batch)
    for kept in KEPT:
        found = one(name, steps_kept=kept).meta_gradient(at.learner, theta, at.batch)
        assert_same(found.gradient, plain.gradient, 1e-13)
        assert_same(found.each, plain.each, 1e-13)
        if name != "maml_plus_plus":
            assert all(torch.equal(found.gradient[entry], value) for entry, value in plain.gradient.items())
        for entry, value in (plain.statistics | plain.metrics).items():
            assert torch.equal((found.statistics | found.metrics)[entry], value)


def peak(algorithm: Unrolled) -> int:
    """The most bytes that autograd held at once in a meta-gradient."""
    case = sine_case()
    theta = case.theta(algorithm)
    with Kept() as held:
        algorithm.meta_gradient(case.learner, theta, case.batch)
    return held.peak


@pytest.mark.parametrize("name", UNROLLED)
def test_with_one_step_kept_further_steps_are_held_by_nobody(name):
    # MAML++'s rates of each step would make theta itself longer.
    more = {"learn_rates": False} if name == "maml_plus_plus" else {}
    few, many = (peak(one(name, inner_steps=steps, steps_kept=1, **more)) for steps in (4, 12))
    all_few, all_many = (peak(one(name, inner_steps=steps, **more)) for steps in (4, 12))
    assert many == few < all_few < all_many


@pytest.mark.parametrize("kept", [0, STEPS, STEPS + 1])
def test_a_stretch_as_long_as_the_loop_is_the_loop(kept):
    assert peak(one("maml", steps_kept=kept)) == peak(one("maml"))


def test_first_order_keeps_nothing_and_computes_nothing_again(monkeypatch):
    case, calls = sine_case(), []
    support_loss = type(case.learner).support_loss
    monkeypatch.setattr(type(case.learner), "support_loss", lambda *a: calls.append(1) or support_loss(*a))
    for order, times in ((1, STEPS), (2, 2 * STEPS - 1)):
        calls.clear()
        algorithm = one("maml", order=order, steps_kept=1)
        algorithm.meta_gradient(case.learner, case.theta(algorithm), case.batch)
        assert len(calls) == times


def test_it_is_offered_where_the_second_order_is_and_nowhere_else():
    for name, algorithm in ALGORITHMS.items():
        found = {declared.name: declared for declared in declarations(algorithm)}
        assert ("steps_kept" in found) == (name in (*UNROLLED, "nil"))
        assert "steps_kept" not in found or found["steps_kept"].only_if == {"order": 2}
