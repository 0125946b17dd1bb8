"""The best predictor that never adapts against Monte Carlo, and what contenders do before and after adaptation."""

import math

import numpy as np
import pytest
import torch

from metalab.algorithms import MAML, Prototypes
from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.theta import best_unadapted, held_out_tasks, moments, starts
from metalab.models.conv4 import Conv4
from metalab.models.mlp import MLP
from metalab.tasks import FAMILIES

SINES = FAMILIES["sinusoid"]
OTHERS = [
    SINES(amplitude=(1.0, 2.0), phase=(0.5, 2.0), frequency=(0.5, 1.7)),
    SINES(phase=(1.0, 1.0)),
    FAMILIES["linear"](slope=(0.2, 1.5), intercept=(-1.0, 3.0)),
    FAMILIES["mixture"](),
    FAMILIES["mixture"](sines=False),
]


def contender(family, model, algorithm=None, seed=0):
    theta = Learner(model, family).init(torch.Generator().manual_seed(seed))
    return Contender("MAML", algorithm or MAML(inner_lr=0.05), model, theta, ("drawn", seed))


def test_for_the_papers_sine_waves_it_is_minus_5_1_over_pi_cos_x():
    best = best_unadapted(SINES())
    np.testing.assert_allclose(best.mean, -(5.1 / math.pi) * np.cos(best.x), atol=1e-12)
    assert best.loss == pytest.approx(3.0057, abs=5e-5)
    assert best_unadapted(SINES(noise=0.5)).loss == pytest.approx(best.loss + 0.25)


def test_over_a_full_turn_it_is_zero_everywhere():
    best = best_unadapted(SINES(phase=(0.0, 2 * math.pi)))
    np.testing.assert_allclose(best.mean, 0, atol=1e-12)
    assert best.loss == pytest.approx(4.2517, abs=5e-5)


@pytest.mark.parametrize("family", OTHERS, ids=lambda family: f"{family.name}{OTHERS.index(family)}")
def test_both_moments_are_those_of_many_drawn_tasks(family):
    x = np.array([-4.5, -2.0, 0.3, 1.7, 4.9])
    info = family.sample(60_000, "train", torch.Generator().manual_seed(3)).info
    values = family.truth(info, torch.from_numpy(x)[:, None])[..., 0].double().numpy()
    mean, square = moments(family, x)
    for found, drawn in ((mean, values), (square, values**2)):
        error = drawn.std(0) / math.sqrt(len(drawn))
        assert (np.abs(found - drawn.mean(0)) < 4.5 * error + 1e-5).all()


def test_its_loss_is_the_integral_of_the_variance():
    family = OTHERS[0]
    rng = torch.Generator().manual_seed(5)
    tasks = FAMILIES["sinusoid"](**family.model_dump() | {"queries": 20}).sample(20_000, "train", rng)
    x, y = tasks.query.x[..., 0].double().numpy(), tasks.query.y[..., 0].double().numpy()
    errors = ((y - moments(family, x.ravel())[0].reshape(x.shape)) ** 2).mean(1)
    assert best_unadapted(family).loss == pytest.approx(errors.mean(), abs=4.5 * errors.std() / math.sqrt(len(errors)))


@pytest.mark.parametrize("name", ["glyphs", "quadratic"])
def test_it_is_known_for_functions_alone(name):
    assert best_unadapted(FAMILIES[name]()) is None
    assert best_unadapted(FAMILIES["linear"](dimension=3)) is None


def test_before_and_after_are_the_networks_own_numbers():
    family, one = SINES(), contender(SINES(), MLP(widths=(7,)))
    found = starts([one], family, steps=3, n_tasks=10, seed=2)
    theta = {name: value.double().numpy() for name, value in one.theta.items()}
    h = np.maximum(found.best.x[:, None] @ theta["layer1.weight"] + theta["layer1.bias"], 0)
    function = (h @ theta["head.weight"] + theta["head.bias"])[:, 0]
    (start,) = found.starts
    np.testing.assert_allclose(start.function, function, atol=1e-5)
    assert start.distance == pytest.approx(np.sqrt(np.mean((function - found.best.mean) ** 2)), rel=1e-5)
    tasks, learner = held_out_tasks(family, 10, 2), Learner(one.model, family)
    for inner in one.algorithm.adapt(learner, one.theta, tasks.support, 3):
        loss = float(learner.query_loss(inner.phi, tasks).mean())
        if inner.k in (0, 3):
            assert float((start.before if inner.k == 0 else start.after).mean) == pytest.approx(loss, rel=1e-5)
    assert found.chance is None


def test_characters_have_accuracy_and_chance_in_place_of_functions():
    family = FAMILIES["glyphs"](ways=4, queries=3)
    found = starts([contender(family, Conv4(filters=4))], family, steps=1, n_tasks=3)
    (start,) = found.starts
    assert (start.function, start.distance, found.best) == (None, None, None)
    assert found.metric == "accuracy"
    assert found.chance == 0.25
    assert 0 <= start.before.low <= start.before.high <= 1


def test_whoever_takes_no_inner_steps_is_refused():
    family = FAMILIES["glyphs"](ways=2)
    with pytest.raises(ValueError, match="takes no inner steps"):
        starts([contender(family, Conv4(filters=4), Prototypes())], family, steps=1, n_tasks=1)
