"""NIL: trained as ANIL or MAML; at test, votes of the support examples by the cosine of features, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from engine_cases import ALL, assert_same

from metalab.algorithms import ANIL, MAML, NIL
from metalab.models.base import HEAD
from metalab.params import expand
from metalab.tasks.base import Examples

NETWORKS = ["image_mlp", "strided-transductive", "max_pool-running", "strided-support_plus_one"]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("trained_as", "method"), [("anil", ANIL), ("maml", MAML)])
def test_it_is_trained_as_anil_or_maml(trained_as, method, name, order):
    case, settings = ALL[name](), {"inner_lr": 0.1, "inner_steps": 2, "order": order}
    algorithm = NIL(**settings, trained_as=trained_as)
    theta = case.theta(algorithm)
    found, expected = (a.meta_gradient(case.learner, theta, case.batch) for a in (algorithm, method(**settings)))
    for field in ("gradient", "metrics", "statistics", "each"):
        assert_same(getattr(found, field), getattr(expected, field), 0.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_class_has_the_votes_of_its_examples(name):
    """p(c | x) = sum of softmax_j cos(f(x), f(x_j)) over the first k shots of each class, one query at a time."""
    case, algorithm = ALL[name](), NIL()
    theta, batch, family = case.theta(algorithm), case.batch, case.learner.family
    model, shots = case.learner.model, family.shots
    phi = expand(theta, batch.n_tasks)
    at_query = model.features(phi, batch.query.x, support=batch.support.x)
    path = list(algorithm.adapt(case.learner, theta, batch.support, 10))
    assert [inner.k for inner in path] == list(range(shots + 1))
    for inner in path:
        found = algorithm.predict(case.learner, inner.phi, batch.query.x, batch.support.x).softmax(-1)
        for task in range(batch.n_tasks):
            seen, counts = [], [0] * family.ways
            for j, label in enumerate(batch.support.y[task].tolist()):
                if counts[label] < inner.k:
                    seen.append(j)
                counts[label] += 1
            if not seen:
                assert bool((found[task] == 1 / family.ways).all())
                continue
            if name == "strided-support_plus_one" and inner.k < shots:
                continue  # its query features depend on the examples that were read: compared with all of them
            xs = batch.support.x[task : task + 1, seen]
            at_support = model.features({n: v[:1] for n, v in phi.items()}, xs)[0]
            for q in range(batch.query.x.shape[1]):
                cosine = torch.nn.functional.cosine_similarity(at_query[task, q][None], at_support)
                votes = cosine.softmax(0)
                expected = [votes[batch.support.y[task, seen] == c].sum() for c in range(family.ways)]
                torch.testing.assert_close(found[task, q], torch.stack(expected), rtol=1e-9, atol=1e-9)


def test_with_one_shot_it_is_the_class_of_the_nearest_example():
    case, algorithm = ALL["image_mlp"](), NIL()
    theta = case.theta(algorithm)
    first = [[task.tolist().index(c) for c in range(case.learner.family.ways)] for task in case.batch.support.y]
    rows = torch.tensor(first)
    tasks = torch.arange(len(rows))[:, None]
    support = Examples(case.batch.support.x[tasks, rows], case.batch.support.y[tasks, rows])
    *_, end = algorithm.adapt(case.learner, theta, support, 5)
    found = algorithm.predict(case.learner, end.phi, case.batch.query.x, support.x).argmax(-1)
    phi = expand(theta, len(rows))
    query, known = (case.learner.model.features(phi, x) for x in (case.batch.query.x, support.x))
    angle = torch.acos((query / query.norm(dim=-1, keepdim=True)) @ (known / known.norm(dim=-1, keepdim=True)).mT)
    assert angle.max() < math.pi
    assert torch.equal(found, support.y.gather(1, angle.argmin(-1)))


def test_the_head_is_thrown_away_and_no_gradient_is_taken():
    case, algorithm = ALL["image_mlp"](), NIL()
    theta = case.theta(algorithm)
    other = {n: v + 1.0 if n.startswith(HEAD) else v for n, v in theta.items()}
    predictions = []
    for start in (theta, other):
        with torch.no_grad():
            *_, end = algorithm.adapt(case.learner, start, case.batch.support, 5)
        assert (end.support_loss, end.gradient) == (None, None)
        predictions.append(algorithm.predict(case.learner, end.phi, case.batch.query.x, case.batch.support.x))
    assert torch.equal(*predictions)


def test_a_class_without_an_example_is_unlikely_and_finite():
    case, algorithm = ALL["image_mlp"](), NIL()
    theta = case.theta(algorithm)
    kept = [j for j, label in enumerate(case.batch.support.y[0].tolist()) if label != 1]
    support = Examples(case.batch.support.x[:1, kept], case.batch.support.y[:1, kept])
    *_, end = algorithm.adapt(case.learner, theta, support, 5)
    found = algorithm.predict(case.learner, end.phi, case.batch.query.x[:1], support.x)
    assert bool(found.isfinite().all())
    assert found.softmax(-1)[..., 1].max() < 1e-9
