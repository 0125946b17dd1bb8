"""Sine waves: their ranges, their formula, and what cannot be beaten without adaptation (identity 9)."""

from __future__ import annotations

import math

import pytest
import torch

from metalab.tasks.sinusoid import Sinusoid


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_shapes_and_types():
    batch = Sinusoid(shots=5, queries=7).sample(3, "train", rng())
    assert batch.support.x.shape == batch.support.y.shape == (3, 5, 1)
    assert batch.query.x.shape == batch.query.y.shape == (3, 7, 1)
    assert batch.support.x.dtype == batch.support.y.dtype == torch.float32


@pytest.mark.parametrize(("name", "low", "high"), [("amplitude", 0.1, 5.0), ("phase", 0.0, math.pi), ("x", -5.0, 5.0)])
def test_ranges_are_the_papers_and_evenly_filled(name, low, high):
    batch = Sinusoid().sample(20_000, "test", rng(1))
    found = batch.query.x[:, 0, 0] if name == "x" else batch.info[name]
    assert low <= found.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < found.max() <= high
    tenths = torch.histc(found, 10, low, high)
    # Chi-square with 9 degrees of freedom: 9 +- 4.2; beyond 33 once in ten thousand.
    assert ((tenths - 2000) ** 2 / 2000).sum() < 33


def test_y_is_a_sin_of_x_minus_phase():
    family = Sinusoid(shots=3, queries=2)
    batch = family.sample(4, "train", rng(2))
    for t in range(4):
        a, phase = float(batch.info["amplitude"][t]), float(batch.info["phase"][t])
        for examples in (batch.support, batch.query):
            for x, y in zip(examples.x[t].flatten().tolist(), examples.y[t].flatten().tolist(), strict=True):
                assert y == pytest.approx(a * math.sin(x - phase), abs=1e-5)


def test_truth_is_the_function_the_examples_come_from():
    family = Sinusoid()
    batch = family.sample(3, "test", rng(3))
    for t in range(3):
        truth = family.truth(batch.info, batch.query.x[t])[t]
        assert torch.allclose(truth, batch.query.y[t], atol=1e-5)
    assert family.probe_x.shape == (101, 1)
    assert family.describe({"amplitude": [2.0], "phase": [0.5]}, 0) == "amplitude 2.00, phase 0.50"


def test_the_generator_alone_decides():
    first, again, other = (Sinusoid().sample(2, "train", rng(seed)) for seed in (4, 4, 5))
    assert torch.equal(first.support.x, again.support.x)
    assert torch.equal(first.query.y, again.query.y)
    assert not torch.equal(first.support.x, other.support.x)


@pytest.fixture(scope="module")
def many():
    return Sinusoid(shots=1, queries=20).sample(60_000, "test", rng(6))


@pytest.mark.parametrize(("slope", "expected"), [(-5.1 / math.pi, 3.0057), (0.0, 4.2517)])
def test_mean_squared_error_without_adaptation(many, slope, expected):
    """Identity 9: E[A^2] = (5^3 - .1^3) / (3 * 4.9) = 8.5033 and phases over half a turn give 4.2517 to the zero
    predictor; -(5.1/pi) cos x takes (5.1/pi)^2 (1/2 + sin(10)/20) off that. Four standard errors, about 0.07.
    """
    x, y = many.query
    losses = Sinusoid().loss((slope * torch.cos(x)), y).double()
    error = float(losses.std()) / math.sqrt(len(losses))
    assert error < 0.02
    assert abs(float(losses.mean()) - expected) < 4 * error


def test_no_other_multiple_of_the_cosine_nor_a_sine_does_better(many):
    """The least squares fit on (cos x, sin x, 1) is E[y | x]: -(5.1/pi), 0, 0."""
    x, y = many.query.x[:, 0].double(), many.query.y[:, 0].double()
    features = torch.cat([torch.cos(x), torch.sin(x), torch.ones_like(x)], 1)
    weights = torch.linalg.lstsq(features, y).solution.flatten()
    # 60,000 independent points with residuals of deviation sqrt(3): standard error about 0.01.
    assert weights.tolist() == pytest.approx([-5.1 / math.pi, 0, 0], abs=0.045)


def as_in_the_paper(n_tasks, shots, queries, generator):
    """One draw for all, amplitude, phase and points in this order: what stored runs were made with."""
    u = torch.rand(n_tasks, shots + queries + 2, generator=generator)
    amplitude, phase, x = 0.1 + (5.0 - 0.1) * u[:, 0], 0.0 + math.pi * u[:, 1], -5.0 + 10.0 * u[:, 2:, None]
    return x, amplitude[:, None, None] * torch.sin(x - phase[:, None, None])


@pytest.mark.parametrize(("n_tasks", "shots", "queries"), [(25, 10, 10), (3, 5, 7), (1, 1, 200)])
def test_the_defaults_are_the_papers_bit_for_bit(n_tasks, shots, queries):
    ours, papers = rng(7), rng(7)
    batch = Sinusoid(shots=shots, queries=queries).sample(n_tasks, "train", ours)
    x, y = as_in_the_paper(n_tasks, shots, queries, papers)
    assert torch.equal(torch.cat([batch.support.x, batch.query.x], 1), x)
    assert torch.equal(torch.cat([batch.support.y, batch.query.y], 1), y)
    assert torch.equal(ours.get_state(), papers.get_state()), "and not one number more is drawn"


@pytest.mark.parametrize(
    ("name", "ends"),
    [("amplitude", (2.0, 3.0)), ("phase", (1.0, 6.0)), ("frequency", (0.5, 2.5)), ("phase", (2.0, 2.0))],
)
def test_ranges_are_filled_evenly(name, ends):
    low, high = ends
    found = Sinusoid(**{name: ends}).sample(5_000, "train", rng(1)).info[name].double()
    assert low <= found.min()
    assert found.max() <= high
    # Mean and variance of the uniform distribution; four standard errors of the mean.
    assert abs(float(found.mean()) - (low + high) / 2) <= 4 * (high - low) / math.sqrt(12 * 5_000)
    assert float(found.var()) == pytest.approx((high - low) ** 2 / 12, rel=0.08, abs=1e-12)


def test_frequency_stretches_the_wave():
    family = Sinusoid(frequency=(2.0, 3.0), shots=3, queries=2)
    batch = family.sample(4, "train", rng(2))
    for t in range(4):
        a, phase, w = (float(batch.info[name][t]) for name in ("amplitude", "phase", "frequency"))
        for x, y in zip(batch.query.x[t].flatten().tolist(), batch.query.y[t].flatten().tolist(), strict=True):
            assert y == pytest.approx(a * math.sin(w * x - phase), abs=1e-5)
    assert torch.allclose(family.truth(batch.info, batch.query.x[0])[0], batch.query.y[0], atol=1e-5)
    assert family.describe(batch.info, 0).endswith(f"frequency {float(batch.info['frequency'][0]):.2f}")


def test_noise_is_on_support_and_query_and_not_on_the_truth():
    quiet, noisy = (Sinusoid(noise=noise).sample(2_000, "train", rng(3)) for noise in (0.0, 0.5))
    assert torch.equal(quiet.support.x, noisy.support.x)
    for part in ("support", "query"):
        added = (getattr(noisy, part).y - getattr(quiet, part).y).double()
        # 20,000 normal numbers: the deviation's standard error is 0.5 / sqrt(40,000) = 0.0025.
        assert float(added.std()) == pytest.approx(0.5, abs=0.01)
        assert abs(float(added.mean())) < 4 * 0.5 / math.sqrt(20_000)
    x = torch.linspace(-5, 5, 11)[:, None]
    assert torch.equal(Sinusoid().truth(quiet.info, x), Sinusoid(noise=0.5).truth(noisy.info, x))


def test_over_a_full_turn_of_phases_no_unadapted_function_beats_zero():
    """Identity 9: with phases over [0, 2 pi] the best f is 0."""
    x, y = Sinusoid(phase=(0.0, 2 * math.pi), shots=1, queries=1).sample(60_000, "test", rng(6)).query
    x, y = x[:, 0].double(), y[:, 0].double()
    features = torch.cat([torch.cos(x), torch.sin(x), torch.ones_like(x)], 1)
    assert torch.linalg.lstsq(features, y).solution.flatten().tolist() == pytest.approx([0, 0, 0], abs=0.05)
