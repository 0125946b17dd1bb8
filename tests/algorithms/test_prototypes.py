"""Prototypes against the definition, one distance after another, and as the linear head that they are."""

from __future__ import annotations

import pytest
import torch
from support_readers import case, theta_of
from torch.nn import functional as F

from metalab.algorithms.prototypes import SHARPNESS
from metalab.params import expand

EXACT = {"rtol": 0.0, "atol": 1e-12}
EUCLIDEAN = ["prototypes-mlp", "prototypes-transductive", "prototypes-running"]


def features(name: str):
    """(algorithm, learner, batch, adapted phi, support features, query features)."""
    algorithm, learner, batch = case(name)
    theta = theta_of(algorithm, learner)
    *_, end = algorithm.adapt(learner, theta, batch.support, 100)
    body = expand(theta, batch.n_tasks)
    support = learner.model.features(body, batch.support.x)
    return (
        algorithm,
        learner,
        batch,
        end.phi,
        support,
        learner.model.features(body, batch.query.x, support=batch.support.x),
    )


def centres(support, labels, ways: int):
    return torch.stack([support[labels == w].mean(0) for w in range(ways)])


@pytest.mark.parametrize("name", EUCLIDEAN)
def test_the_linear_head_is_the_squared_distance_to_the_prototypes(name):
    """Identity 11: 2 c.f - |c|^2 = -|f - c|^2 + |f|^2, whose last term all classes share."""
    algorithm, learner, batch, phi, support, query = features(name)
    found = algorithm.predict(learner, phi, batch.query.x, batch.support.x)
    for task in range(batch.n_tasks):
        c = centres(support[task], batch.support.y[task], learner.family.ways)
        torch.testing.assert_close(phi["head.weight"][task], 2 * c.T, **EXACT)
        torch.testing.assert_close(phi["head.bias"][task], -c.square().sum(1), **EXACT)
        distances = torch.stack([(query[task] - centre).square().sum(-1) for centre in c], -1)
        lengths = query[task].square().sum(-1, keepdim=True)
        torch.testing.assert_close(found[task], lengths - distances, **EXACT)
        torch.testing.assert_close(found[task].softmax(-1), (-distances).softmax(-1), **EXACT)
    head = {entry: value for entry, value in phi.items() if not entry.startswith("context.")}
    torch.testing.assert_close(learner.predict(head, batch.query.x, batch.support.x), found, **EXACT)


def test_cosine_compares_directions():
    algorithm, learner, batch, phi, support, query = features("prototypes-cosine")
    found = algorithm.predict(learner, phi, batch.query.x, batch.support.x)
    for task in range(batch.n_tasks):
        unit = support[task] / support[task].norm(dim=-1, keepdim=True)
        c = centres(unit, batch.support.y[task], learner.family.ways)
        cosines = F.cosine_similarity(query[task][:, None], c[None], dim=-1)
        torch.testing.assert_close(found[task], SHARPNESS * cosines, **EXACT)


@pytest.mark.parametrize("name", EUCLIDEAN)
def test_the_training_gradient_is_that_of_the_definition(name):
    """Snell et al. 2017, algorithm 1, written with distances and differentiated by autograd."""
    algorithm, learner, batch = case(name)
    theta = {entry: value.requires_grad_() for entry, value in theta_of(algorithm, learner).items()}
    body = expand(theta, batch.n_tasks)
    support = learner.model.features(body, batch.support.x)
    query = learner.model.features(body, batch.query.x, support=batch.support.x, collect={})
    losses = []
    for task in range(batch.n_tasks):
        c = centres(support[task], batch.support.y[task], learner.family.ways)
        scores = -(query[task][:, None] - c).square().sum(-1)
        losses.append(F.cross_entropy(scores, batch.query.y[task]))
    found = algorithm.meta_gradient(learner, theta, batch)
    loss = torch.stack(losses).mean()
    torch.testing.assert_close(found.metrics["loss"], loss.detach(), **EXACT)
    expected = torch.autograd.grad(loss, [theta[entry] for entry in found.gradient])
    for entry, slope in zip(found.gradient, expected, strict=True):
        torch.testing.assert_close(found.gradient[entry], slope, rtol=1e-10, atol=1e-12)
        assert slope.any()
