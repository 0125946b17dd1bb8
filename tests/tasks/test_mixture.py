"""Waves, lines and steps: each kind by its formula, as often as the others, and recognisable from info."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from metalab.settings import explain
from metalab.tasks.mixture import MODES, PARAMETERS, Mixture


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def by_hand(mode, parameters, x):
    a, b, c = parameters
    return {"sine": a * math.sin(x - b), "line": a * x + b, "step": a if x < c else b}[mode]


def test_each_task_is_a_function_of_its_kind():
    family = Mixture(shots=4, queries=3)
    batch = family.sample(30, "train", rng())
    seen = set()
    for t in range(30):
        mode, parameters = MODES[int(batch.info["mode"][t])], batch.info["parameters"][t].tolist()
        seen.add(mode)
        for examples in (batch.support, batch.query):
            for x, y in zip(examples.x[t].flatten().tolist(), examples.y[t].flatten().tolist(), strict=True):
                assert y == pytest.approx(by_hand(mode, parameters, x), abs=1e-5)
        assert torch.allclose(family.truth(batch.info, batch.query.x[t])[t], batch.query.y[t], atol=1e-6)
    assert seen == set(MODES)


@pytest.mark.parametrize("off", [(), ("sines",), ("lines",), ("steps",), ("sines", "steps")])
def test_kinds_that_are_on_come_equally_often(off):
    family = Mixture(**dict.fromkeys(off, False))
    n = 6_000
    counts = torch.bincount(family.sample(n, "test", rng(1)).info["mode"], minlength=3)
    on = [f"{mode}s" not in off for mode in MODES]
    assert (counts > 0).tolist() == on
    share = 1 / sum(on)
    # Four standard deviations of a binomial count.
    assert all(abs(int(c) - n * share) <= 4 * math.sqrt(n * share * (1 - share)) for c in counts[on])


@pytest.mark.parametrize("mode", MODES)
def test_parameters_fill_their_ranges_and_the_unused_are_zero(mode):
    only = {f"{other}s": other == mode for other in MODES}
    parameters = Mixture(**only).sample(5_000, "train", rng(2)).info["parameters"].double()
    for column, (_name, (low, high)) in zip(parameters.T, PARAMETERS[mode], strict=False):
        assert low <= column.min() < column.max() <= high
        assert abs(float(column.mean()) - (low + high) / 2) < 4 * (high - low) / math.sqrt(12 * 5_000)
        assert float(column.var()) == pytest.approx((high - low) ** 2 / 12, rel=0.08)
    assert not parameters[:, len(PARAMETERS[mode]) :].any()


def test_loss_of_the_zero_function_on_steps():
    """Levels U[-4, 4] on either side: E[y^2] = 16/3, wherever the edge."""
    family = Mixture(sines=False, lines=False, shots=1, queries=5)
    y = family.sample(20_000, "test", rng(3)).query.y
    losses = family.loss(torch.zeros_like(y), y).double()
    assert abs(float(losses.mean()) - 16 / 3) < 4 * float(losses.std()) / math.sqrt(len(losses))


def test_titles_name_the_kind_and_only_its_own_parameters():
    info = {"mode": torch.tensor([0, 1, 2]), "parameters": torch.tensor([[2.0, 0.5, 0], [1, -1, 0], [3, -2, 0.25]])}
    assert [Mixture().describe(info, t) for t in range(3)] == [
        "sine, amplitude 2.00, phase 0.50",
        "line, slope 1.00, intercept -1.00",
        "step, left 3.00, right -2.00, edge 0.25",
    ]


def test_nothing_at_all_is_refused():
    with pytest.raises(ValidationError) as caught:
        Mixture(sines=False, lines=False, steps=False)
    assert explain(caught.value) == "sines, lines and steps are all off: switch on at least one kind of function"
