"""How held-out tasks are cut into calls, and that neither the cut nor the threads change what is measured."""

from __future__ import annotations

import pytest
import torch

from metalab.tasks.base import Examples, TaskBatch
from metalab.training.config import parse_config
from metalab.training.evaluation import evaluate, tasks_per_call
from metalab.training.parallel import Workers, cuts
from metalab.training.start import initialise, stream

CPU = torch.device("cpu")


def of_points(n: int, n_tasks: int = 3) -> TaskBatch:
    """Tasks of n points of the support set and n of the query set."""
    return TaskBatch(*(Examples(torch.zeros(n_tasks, n, 2), torch.zeros(n_tasks, n, 1)) for _ in range(2)))


@pytest.mark.parametrize(
    ("entries", "points", "most"),
    [(0, 5, 500), (1_761, 5, 500), (4_000, 5, 250), (112_000, 5, 100), (1_761, 2_000, 125), (4_000, 50_000, 100)],
)
def test_the_larger_a_network_or_a_task_the_fewer_tasks_go_at_once(entries, points, most):
    """125: a task of 2,000 points twice, of two numbers each, has 8,000 to read, and 125 of them a million."""
    assert tasks_per_call({"weight": torch.zeros(entries)} if entries else {}, of_points(points)) == most


def test_tasks_are_measured_alike_on_any_number_of_threads_and_in_any_company():
    config = parse_config({"family": "sinusoid", "model": {"name": "mlp", "widths": [8]}, "device": "cpu"})
    theta, batch = initialise(config), config.family.sample(620, "test", stream(0, "test"))
    found = []
    for threads in (1, 3):
        workers = Workers(config.model, CPU, threads)
        found.append(evaluate(config.learner, config.algorithm, theta, batch, 2, workers))
        workers.close()
    assert found[0].keys() == found[1].keys() >= {"loss"}
    for name, curve in found[0].items():
        assert torch.equal(curve, found[1][name])
    assert list(cuts(620, tasks_per_call(theta, batch))) == [0, 310, 620]
    workers = Workers(config.model, CPU, 1)
    across = evaluate(config.learner, config.algorithm, theta, batch.tasks(300, 320), 2, workers)["loss"]
    torch.testing.assert_close(found[0]["loss"][300:320], across, rtol=1e-5, atol=1e-6)
