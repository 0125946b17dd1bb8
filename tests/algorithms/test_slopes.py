"""Every meta-gradient that is one against central differences of the loss it descends, rates included, in float64."""

from __future__ import annotations

import pytest
import torch
from engine_cases import ALL, sine_case

from metalab.algorithms import ALGORITHMS
from metalab.params import RATES, Params, weights

STEP = 1e-6
NETWORKS = {
    "relu": sine_case,
    "tanh": lambda: sine_case("tanh"),
    **{name: ALL[name] for name in ("image_mlp", "strided-transductive")},
}
SETTINGS = {
    "anil": {"inner_steps": 2},
    "boil": {"inner_steps": 2},
    "meta_sgd": {"inner_steps": 2},
    "maml_plus_plus": {"inner_steps": 3, "multi_step_until": 100},
}


def is_rate(entry: str) -> bool:
    return entry.startswith(RATES)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("method", "done"), [*((m, 0) for m in SETTINGS), ("maml_plus_plus", 60)])
def test_the_meta_gradient_is_the_slope_of_the_loss(method, done, name):
    case = NETWORKS[name]()
    algorithm = ALGORITHMS[method](inner_lr=0.05, **SETTINGS[method])
    theta = case.theta(algorithm)
    rng = torch.Generator().manual_seed(7)
    for entry, value in theta.items():
        if is_rate(entry):
            theta[entry] = value * (0.5 + torch.rand(value.shape, generator=rng, dtype=value.dtype))
    found = algorithm.meta_gradient(case.learner, theta, case.batch, done=done).gradient
    length = float(torch.cat([g.flatten() for g in found.values()]).norm())

    def objective(at: Params) -> float:
        return float(algorithm.meta_gradient(case.learner, at, case.batch, done=done).metrics["loss"])

    kinds = [lambda entry: True] + ([is_rate] if any(map(is_rate, theta)) else [])
    for asked in kinds:
        along = {
            e: torch.randn(v.shape, generator=rng, dtype=v.dtype) if asked(e) else torch.zeros_like(v)
            for e, v in weights(theta).items()
        }
        size = torch.cat([v.flatten() for v in along.values()]).norm()
        along = {e: v / size for e, v in along.items()}
        ends = [objective(theta | {e: theta[e] + sign * STEP * v for e, v in along.items()}) for sign in (1, -1)]
        expected = float(sum((found[e] * v).sum() for e, v in along.items()))
        assert (ends[0] - ends[1]) / (2 * STEP) == pytest.approx(expected, rel=1e-5, abs=1e-7 * length)
