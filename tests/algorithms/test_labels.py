"""Labels shuffled per task: without adaptation nobody beats chance; with fixed labels a network memorises."""

from __future__ import annotations

import itertools

import pytest
import torch
from random_images import RandomImages

from metalab.algorithms import MAML
from metalab.algorithms.base import Learner
from metalab.models import MLP
from metalab.tasks.base import Examples, TaskBatch

UNADAPTED = MAML(inner_steps=0)


def test_over_all_ways_to_label_a_task_the_accuracy_before_adaptation_is_one_in_n():
    """Exact: each query image has one prediction and every label equally often."""
    family = RandomImages(ways=4)
    learner = Learner(MLP(widths=(8,)), family)
    theta = learner.init(torch.Generator().manual_seed(0), torch.float64)
    task = family.sample(1, "train", torch.Generator().manual_seed(0))
    labellings = torch.tensor(list(itertools.permutations(range(4))))
    support, query = (
        Examples(part.x.expand(24, *part.x.shape[1:]), labellings[:, part.y[0]]) for part in (task.support, task.query)
    )
    found = UNADAPTED.meta_gradient(learner, theta, TaskBatch(support, query)).metrics["accuracy"]
    assert float(found) == pytest.approx(1 / 4, abs=1e-12)


@pytest.mark.parametrize(("shuffled", "low", "high"), [(True, 0.25, 0.42), (False, 0.9, 1.0)])
def test_training_without_adaptation_learns_fixed_labels_and_nothing_from_shuffled_ones(shuffled, low, high):
    """Chance is 1/3; 200 fresh tasks of six queries each have a standard error of about 0.015."""
    family = RandomImages(shuffled=shuffled)
    learner = Learner(MLP(widths=(16,)), family)
    theta = learner.init(torch.Generator().manual_seed(0), torch.float64)
    rng = torch.Generator().manual_seed(1)
    for _ in range(60):
        found = UNADAPTED.meta_gradient(learner, theta, family.sample(20, "train", rng))
        theta = {name: value - 0.05 * found.gradient[name] for name, value in theta.items()}
    fresh = family.sample(200, "train", torch.Generator().manual_seed(2))
    accuracy = float(UNADAPTED.meta_gradient(learner, theta, fresh).metrics["accuracy"])
    assert low <= accuracy <= high


def test_adaptation_beats_chance_on_shuffled_labels():
    """The same tasks can be learned from their support sets: chance above is no fault of the tasks."""
    family = RandomImages()
    learner = Learner(MLP(widths=(16,)), family)
    theta = learner.init(torch.Generator().manual_seed(0), torch.float64)
    tasks = family.sample(30, "train", torch.Generator().manual_seed(2))
    *_, end = MAML(inner_lr=0.1).adapt(learner, theta, tasks.support, 10)
    prediction = learner.predict(end.phi, tasks.query.x, tasks.support.x)
    assert float(family.metrics(prediction, tasks.query.y)["accuracy"].mean()) > 0.9
