"""What holds for every algorithm that reads a support set: phi_k knows the first k shots, and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from support_readers import IN_ONE_PASS, READERS, case, theta_of

from metalab.algorithms import InContext, Prototypes
from metalab.algorithms.shot_based import READ, first_shots, shot_numbers
from metalab.models.transformer import Transformer
from metalab.params import weights
from metalab.tasks.base import Examples, TaskBatch

EXACT = {"rtol": 0.0, "atol": 1e-12}
STEP = 1e-6
EVERY = pytest.mark.parametrize("name", READERS)
SHOTS = 3


def of_first(support: Examples, k: int) -> Examples:
    """The first k shots of each class, or of the function, picked one by one."""
    labels = support.y[0].tolist() if support.y.dim() == 2 else [0] * support.y.shape[1]
    places = [place for place, label in enumerate(labels) if labels[:place].count(label) < k]
    return Examples(support.x[:, places], support.y[:, places])


@EVERY
@pytest.mark.parametrize("k", [1, 2, 3])
def test_phi_k_predicts_as_if_there_were_only_k_shots(name, k):
    algorithm, learner, batch = case(name)
    theta = theta_of(algorithm, learner)
    path = list(algorithm.adapt(learner, theta, batch.support, 100))
    assert [inner.k for inner in path] == list(range(SHOTS + 1))
    few = of_first(batch.support, k)
    *_, alone = algorithm.adapt(learner, theta, few, 100)
    assert alone.k == k
    found = algorithm.attempt(learner, path[k].phi, batch.support, batch.query)
    torch.testing.assert_close(found, algorithm.attempt(learner, alone.phi, few, batch.query), **EXACT)
    assert not torch.equal(found, algorithm.attempt(learner, path[k - 1].phi, batch.support, batch.query))


@EVERY
def test_steps_end_where_they_are_asked_to(name):
    algorithm, learner, batch = case(name)
    path = list(algorithm.adapt(learner, theta_of(algorithm, learner), batch.support, 2))
    assert [inner.k for inner in path] == [0, 1, 2]
    assert all(inner.support_loss is None and inner.gradient is None for inner in path)


@EVERY
def test_without_examples_classes_are_equally_likely_and_a_function_is_the_prior(name):
    algorithm, learner, batch = case(name)
    start = next(algorithm.adapt(learner, theta_of(algorithm, learner), batch.support, 1))
    found = algorithm.attempt(learner, start.phi, batch.support, batch.query)
    if learner.family.kind == "classification":
        assert not found.any()
        loss = learner.family.loss(found, batch.query.y)
        torch.testing.assert_close(loss, torch.full_like(loss, math.log(learner.family.output_size)))
        return
    other = algorithm.attempt(learner, start.phi, batch.support, Examples(batch.query.x[[1, 2, 0]], batch.query.y))
    torch.testing.assert_close(found[[1, 2, 0]], other, **EXACT)
    assert found.std() > 0


@EVERY
def test_the_support_loss_is_the_loss_on_the_examples(name):
    algorithm, learner, batch = case(name)
    *_, end = algorithm.adapt(learner, theta_of(algorithm, learner), batch.support, 100)
    prediction = algorithm.predict(learner, end.phi, batch.support.x, batch.support.x)
    found = algorithm.support_loss(learner, end.phi, batch.support)
    torch.testing.assert_close(found, learner.family.loss(prediction, batch.support.y), **EXACT)


@EVERY
def test_tasks_do_not_touch_each_other_and_nothing_is_left_in_a_graph(name):
    algorithm, learner, batch = case(name)
    theta = {entry: value.requires_grad_() for entry, value in theta_of(algorithm, learner).items()}
    *_, whole = algorithm.adapt(learner, theta, batch.support, 100)
    assert not any(value.requires_grad for value in whole.phi.values())
    prediction = algorithm.attempt(learner, whole.phi, batch.support, batch.query)
    for i in range(batch.n_tasks):
        one = batch.tasks(i, i + 1)
        *_, alone = algorithm.adapt(learner, theta, one.support, 100)
        found = algorithm.attempt(learner, alone.phi, one.support, one.query)
        torch.testing.assert_close(prediction[i : i + 1], found, **EXACT)


@EVERY
def test_the_order_of_the_examples_does_not_matter(name):
    algorithm, learner, batch = case(name)
    theta = theta_of(algorithm, learner)
    shuffle = torch.randperm(batch.support.x.shape[1], generator=torch.Generator().manual_seed(3))
    mixed = Examples(batch.support.x[:, shuffle], batch.support.y[:, shuffle])
    *_, ordered = algorithm.adapt(learner, theta, batch.support, 100)
    *_, other = algorithm.adapt(learner, theta, mixed, 100)
    found = algorithm.attempt(learner, ordered.phi, batch.support, batch.query)
    torch.testing.assert_close(found, algorithm.attempt(learner, other.phi, mixed, batch.query), **EXACT)


@pytest.mark.parametrize("name", IN_ONE_PASS)
def test_queries_do_not_see_each_other(name):
    algorithm, learner, batch = case(name)
    *_, end = algorithm.adapt(learner, theta_of(algorithm, learner), batch.support, 100)
    together = algorithm.predict(learner, end.phi, batch.query.x, batch.support.x)
    for j in range(batch.query.x.shape[1]):
        alone = algorithm.predict(learner, end.phi, batch.query.x[:, j : j + 1], batch.support.x)
        torch.testing.assert_close(together[:, j : j + 1], alone, **EXACT)


@pytest.mark.parametrize("done", [0, 1, 2, 3])
@pytest.mark.parametrize("name", READERS)
def test_the_training_gradient_is_the_slope_of_its_loss(name, done):
    """Central differences along random directions; `done` is the outer step, which decides how many shots are read."""
    algorithm, learner, batch = case(name)
    theta = theta_of(algorithm, learner)
    descended = getattr(algorithm, "descends", "loss")

    def objective(at):
        return float(algorithm.meta_gradient(learner, at, batch, done=done).metrics[descended])

    gradient = algorithm.meta_gradient(learner, theta, batch, done=done).gradient
    assert set(gradient) == set(weights(theta))
    rng = torch.Generator().manual_seed(7)
    for _ in range(3):
        way = {entry: torch.randn(v.shape, generator=rng, dtype=v.dtype) for entry, v in weights(theta).items()}
        length = math.sqrt(sum(float(v.square().sum()) for v in way.values()))
        there = theta | {entry: theta[entry] + STEP * v / length for entry, v in way.items()}
        back = theta | {entry: theta[entry] - STEP * v / length for entry, v in way.items()}
        expected = sum(float((gradient[entry] * v).sum()) for entry, v in way.items()) / length
        slope = (objective(there) - objective(back)) / (2 * STEP)
        assert slope == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", IN_ONE_PASS)
def test_training_reads_every_number_of_shots_in_turn(name):
    """Of a function from none on, of classes from one on; each step's loss is that after so many shots."""
    algorithm, learner, batch = case(name)
    theta = theta_of(algorithm, learner)
    path = list(algorithm.adapt(learner, theta, batch.support, 100))
    after = [
        float(learner.family.loss(algorithm.attempt(learner, s.phi, batch.support, batch.query), batch.query.y).mean())
        for s in path
    ]
    seen = [3, 2, 1, 0, 3] if learner.family.kind == "regression" else [3, 2, 1, 3, 2]
    for done, k in enumerate(seen):
        found = algorithm.meta_gradient(learner, theta, batch, done=done).metrics["loss"]
        assert float(found) == pytest.approx(after[k], rel=1e-12)
    always = type(algorithm)(vary_shots=False)
    for done in range(3):
        found = always.meta_gradient(learner, theta, batch, done=done).metrics["loss"]
        assert float(found) == pytest.approx(after[3], rel=1e-12)


def test_shots_are_counted_within_each_class():
    _, learner, _ = case("prototypes-mlp")
    y = torch.tensor([[0, 1, 0, 2, 0, 1], [2, 2, 2, 0, 0, 1]])
    numbers = shot_numbers(learner.family, y)
    assert numbers.tolist() == [[0, 0, 1, 0, 2, 1], [0, 1, 2, 0, 1, 0]]
    x = torch.arange(12.0).view(2, 6, 1)
    assert first_shots(Examples(x, y), numbers, 2).x[..., 0].tolist() == [[0, 1, 2, 3, 5], [6, 7, 9, 10, 11]]
    assert first_shots(Examples(x, y), numbers, 0).x.shape == (2, 0, 1)


def test_a_class_with_fewer_examples_keeps_what_it_has():
    algorithm, learner, batch = case("prototypes-mlp", n_tasks=1)
    some = [0, 1, 2, 3, 6]  # three examples of the first class, one of each other
    support = Examples(batch.support.x[:, some], batch.support.y[:, some])
    path = list(algorithm.adapt(learner, theta_of(algorithm, learner), support, 100))
    assert [inner.phi[READ].shape[1] for inner in path] == [0, 3, 4, 5]


def test_what_needs_classes_or_a_reader_says_so():
    _, sine, _ = case("cnp")
    _, images, _ = case("prototypes-mlp")
    _, in_context, _ = case("transformer-images")
    assert "stand for classes" in (Prototypes().misfit(sine) or "")
    assert "choose transformer" in (InContext().misfit(images) or "")
    assert "reads the support set itself" in (Prototypes().misfit(in_context) or "")
    assert Transformer(heads=3).width == 48


def test_batches_of_one_number_of_shots_only_mix_what_is_known():
    """The context of a task is its own: exchanging two tasks' support sets exchanges their answers."""
    algorithm, learner, batch = case("transformer-sine")
    theta = theta_of(algorithm, learner)
    swapped = TaskBatch(Examples(*(part[[1, 0, 2]] for part in batch.support)), batch.query)
    *_, end = algorithm.adapt(learner, theta, batch.support, 100)
    *_, other = algorithm.adapt(learner, theta, swapped.support, 100)
    x = batch.query.x[:1].expand(3, -1, -1)
    found = algorithm.predict(learner, end.phi, x, batch.support.x)
    torch.testing.assert_close(found[[1, 0, 2]], algorithm.predict(learner, other.phi, x, swapped.support.x), **EXACT)
