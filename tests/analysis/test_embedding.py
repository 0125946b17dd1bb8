"""Tasks as points, against closed forms, numpy's own decompositions and brute force."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metalab.algorithms.base import Learner
from metalab.algorithms.maml import MAML
from metalab.algorithms.prototypes import Prototypes
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Cancelled
from metalab.analysis.challenge import points_challenge, sample_challenge
from metalab.analysis.embedding import over_inner_steps, over_training, principal_axes, tsne
from metalab.analysis.embedding_groups import compared, learning
from metalab.analysis.embedding_tasks import raw, sampled
from metalab.analysis.embedding_views import LONGEST, VIEWS, fisher, shortened, vectors
from metalab.analysis.neighbourhood import nearest, squared_distances
from metalab.models.mlp import MLP
from metalab.params import expand
from metalab.tasks.base import Examples
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.mixture import Mixture
from metalab.tasks.navigation import Navigation
from metalab.tasks.sinusoid import Sinusoid

FAMILY = Sinusoid(shots=6, queries=7)
MODEL = MLP(widths=(9, 8), activation="tanh")


def contender(seed=0, family=FAMILY, algorithm=None, model=MODEL):
    algorithm = algorithm or MAML(inner_lr=0.02)
    theta = algorithm.init(Learner(model, family), torch.Generator().manual_seed(seed))
    return Contender("C", algorithm, model, theta, ("test", seed))


@pytest.fixture(scope="module")
def tasks():
    return sampled(FAMILY, range(24))


@pytest.mark.parametrize("family", [FAMILY, Glyphs(ways=3, shots=2, queries=4), Mixture(shots=4)])
def test_a_number_is_the_same_task_as_on_adapt(family):
    seeds = (5, 0, 17)
    found = sampled(family, seeds)
    for i, seed in enumerate(seeds):
        challenge = sample_challenge(family, seed)
        assert torch.equal(found.batch.support.x[i : i + 1], challenge.support.x)
        assert torch.equal(found.batch.query.y[i : i + 1], challenge.query_y)
        assert found.about.titles[i] == challenge.title


def test_attributes_are_what_the_batch_says():
    names = {a.name: a for a in sampled(FAMILY, range(12)).about.attributes}
    assert list(names) == ["amplitude", "phase"]  # the frequency is the same in all
    goals = {a.name: a for a in sampled(Navigation(), range(12)).about.attributes}
    rebuilt = goals["goal distance"].values * np.exp(1j * np.deg2rad(goals["goal angle"].values))
    family = Navigation()
    for seed in range(12):
        x, y = sample_challenge(family, seed).support.y[0, 0].tolist()
        assert rebuilt[seed] == pytest.approx(complex(x, y), abs=1e-5)
    glyphs = sampled(Glyphs(ways=3), range(12)).about.attributes[0]
    assert glyphs.kind == "set"
    np.testing.assert_allclose(glyphs.values.sum(1), 1, atol=1e-6)


def test_raw_inputs_do_not_depend_on_the_order_of_the_points(tasks):
    x, y = tasks.batch.support
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(1))
    np.testing.assert_array_equal(raw(FAMILY, Examples(x[:, order], y[:, order])), tasks.raw)


def test_principal_axes_are_numpys_right_singular_vectors():
    x = np.random.default_rng(0).normal(size=(20, 50)) * np.linspace(3, 0.1, 50)
    x -= x.mean(0)
    axes, shares = principal_axes(x)
    _u, s, vt = np.linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(axes.T * vt[:3], 1)), 1, atol=1e-8)
    np.testing.assert_allclose(shares, (s**2 / (s**2).sum())[:3], atol=1e-10)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-8)
    flat, some = principal_axes(np.outer(np.arange(5) - 2.0, np.ones(4)))
    assert np.all(flat[:, 1:] == 0)
    np.testing.assert_allclose(some, [1, 0, 0], atol=1e-12)


def test_one_step_of_delta_is_minus_alpha_times_the_gradient(tasks):
    one = contender()
    support = tasks.batch.support
    learner = Learner(MODEL, FAMILY)
    (delta,) = vectors("delta", one.algorithm, learner, one.theta, support, (1,))
    (gradient,) = vectors("gradient", one.algorithm, learner, one.theta, support, (0,))
    torch.testing.assert_close(delta, -0.02 * gradient, atol=1e-6, rtol=1e-4)


def test_all_start_in_one_point_and_the_axes_stay(tasks):
    found = over_inner_steps(contender(), tasks, "delta", steps=3)
    assert found.places.shape == (4, 24, 3)
    np.testing.assert_allclose(found.places[0] - found.places[0, :1], 0, atol=1e-7)
    assert found.agreements[0].stages[0] is None
    assert found.agreements[0].stages[3] is not None
    np.testing.assert_allclose(found.places[3].mean(0), 0, atol=1e-5)
    shorter = over_inner_steps(contender(), tasks, "delta", steps=3, fitted_alone=True)
    np.testing.assert_allclose(shorter.places[0], found.places[3], atol=1e-6)
    assert shorter.agreements[0].stages[-1] == found.agreements[0].stages[3]


def test_a_new_task_that_is_one_of_them_lies_on_it(tasks):
    x, y = (part[7, :, 0].tolist() for part in tasks.batch.support)
    new = points_challenge(FAMILY, list(zip(x, y, strict=True)))
    for view in VIEWS:
        found = over_inner_steps(contender(), tasks, view, steps=2, new=new)
        assert found.new is not None
        assert found.new.nearest[0] == 7
        np.testing.assert_allclose(found.new.places, found.places[:, 7], atol=1e-3)
        assert found.new.distances[0] < 1e-2


def test_over_training_ends_where_the_last_theta_stands(tasks):
    first, last = contender(0), contender(1)
    found = over_training([(0, first), (100, last)], tasks, "delta", steps=2)
    alone = over_inner_steps(last, tasks, "delta", steps=2)
    assert found.stages == (0, 100)
    np.testing.assert_allclose(found.places[1], alone.places[2], atol=1e-6)
    assert not np.allclose(found.places[0], alone.places[2], atol=1e-2)


def test_the_fisher_of_a_regression_is_the_mean_squared_jacobian():
    one, support = contender(), sampled(FAMILY, range(2)).batch.support
    learner, phi = Learner(MODEL, FAMILY), expand(contender().theta, 2)
    name = "layer1.weight"
    expected = torch.zeros(2, *one.theta[name].shape[1:])
    for task in range(2):
        for i in range(support.x.shape[1]):
            weight = one.theta[name].clone().requires_grad_()
            at = {key: value[None] for key, value in (one.theta | {name: weight}).items()}
            f = learner.model.forward(at, support.x[task : task + 1, i : i + 1])
            (g,) = torch.autograd.grad(f.sum(), weight)
            expected[task] += g.square().mean(0) / support.x.shape[1]
    draws = torch.stack([fisher(learner, phi, support, seed) for seed in range(40)]).mean(0)
    torch.testing.assert_close(draws[:, : expected.shape[1]], expected, rtol=0.2, atol=1e-4)


def test_the_fisher_of_a_classifier_is_the_expectation_over_its_own_labels():
    """Two classes, one example: F = sum_c p_c (d log p_c)^2, without any draw."""
    family, model = Glyphs(ways=2, shots=1, queries=1), MLP(widths=(5,), activation="tanh")
    learner = Learner(model, family)
    theta = learner.init(torch.Generator().manual_seed(0))
    x = sampled(family, [0]).batch.support.x[:, :1]
    weight = theta["layer1.weight"].clone().requires_grad_()
    at = {key: value[None] for key, value in (theta | {"layer1.weight": weight}).items()}
    log_p = F.log_softmax(model.forward(at, x)[0, 0], -1)
    expected = torch.zeros(5)
    for c in range(2):
        (g,) = torch.autograd.grad(log_p[c], weight, retain_graph=True)
        expected += log_p[c].exp().detach() * g.square().mean(0)
    support = Examples(x, torch.zeros(1, 1, dtype=torch.int64))
    found = torch.stack([fisher(learner, expand(theta, 1), support, seed)[0] for seed in range(60)]).mean(0)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=1e-9)


def test_shortening_keeps_distances():
    x = torch.randn(6, 3 * LONGEST, generator=torch.Generator().manual_seed(0))
    short = shortened(x)
    assert short.shape == (6, LONGEST)
    np.testing.assert_allclose(torch.pdist(short), torch.pdist(x), rtol=0.05)
    assert torch.equal(shortened(x[:, :10]), x[:, :10])


def test_every_view_is_compared_on_every_attribute(tasks):
    found = compared(contender(), tasks, steps=2)
    assert set(found) == set(VIEWS)
    for view, agreements in found.items():
        assert [a.attribute for a in agreements] == ["amplitude", "phase"]
        assert agreements == over_inner_steps(contender(), tasks, view, steps=2, fitted_alone=True).agreements


def test_learning_is_each_tasks_query_loss(tasks):
    one = contender()
    found = learning(one, tasks, steps=3)
    learner = Learner(MODEL, FAMILY)
    last = [inner.phi for inner in one.algorithm.adapt(learner, one.theta, tasks.batch.support, 3)][-1]
    expected = learner.query_loss(last, tasks.batch)
    np.testing.assert_allclose(found.values[:, 3], expected.detach(), rtol=1e-5)
    assert found.values.shape == (24, 4)


def test_what_cannot_be_embedded_says_so(tasks):
    family = Glyphs(ways=3, shots=2, queries=2)
    shots = contender(family=family, algorithm=Prototypes())
    few = sampled(family, range(10))
    with pytest.raises(ValueError, match="takes no inner step"):
        over_inner_steps(shots, few, "delta", steps=1)
    assert over_inner_steps(shots, few, "features", steps=5).stages == (5,)
    wild = contender(algorithm=MAML(inner_lr=2.0))
    with pytest.raises(ValueError, match="diverged on"):
        over_inner_steps(wild, tasks, "delta", steps=20)
    with pytest.raises(ValueError, match="expected 10 or more"):
        over_inner_steps(contender(), sampled(FAMILY, range(4)), "delta", steps=1)
    with pytest.raises(ValueError, match="outputs"):
        over_inner_steps(contender(), few, "delta", steps=1)


def test_it_reports_and_stops_when_nobody_wants_it(tasks):
    heard = []
    over_inner_steps(contender(), tasks, "features", steps=4, report=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(1)

    def stop(_fraction):
        raise Cancelled

    with pytest.raises(Cancelled):
        over_inner_steps(contender(), tasks, "features", steps=4, report=stop)


def test_tsne_keeps_groups_together(tasks):
    found = over_inner_steps(contender(), tasks, "delta", steps=1)
    side = np.arange(24) % 2
    x = np.random.default_rng(0).normal(size=(24, 4)) + 30 * side[:, None]
    apart = np.sqrt(squared_distances(x)).astype(np.float32)
    places = tsne(replace(found, distances=apart), 2)
    np.testing.assert_array_equal(side[nearest(squared_distances(places), 3)], np.stack([side] * 3, 1))
