"""A run's record as arrays: stretches of the training loss, means and intervals of the looks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from metalab.analysis import history as module
from metalab.analysis.history import history
from metalab.store import Evaluation


def metrics(values, name="train/loss"):
    return pd.DataFrame({"step": range(1, len(values) + 1), "name": name, "value": values})


def test_a_short_run_keeps_every_outer_step_and_other_metrics_stay_out():
    frame = pd.concat([metrics([3.0, 2.0, 1.0]), metrics([9.0] * 3, "train/gradient_norm")])
    record = history(frame, [], "loss", "mse")
    assert record.steps.tolist() == [1, 2, 3]
    assert record.loss.tolist() == [3, 2, 1]
    assert record.looks == ()


def test_a_long_run_becomes_means_of_stretches_that_leave_nothing_out(monkeypatch):
    monkeypatch.setattr(module, "MOST_POINTS", 4)
    values = np.random.default_rng(0).normal(size=10)
    record = history(metrics(values), [], "loss", "mse")
    assert record.steps.tolist() == [3, 6, 9, 10]
    expected = [values[0:3].mean(), values[3:6].mean(), values[6:9].mean(), values[9]]
    assert record.loss == pytest.approx(expected)


def test_looks_are_means_over_tasks_with_their_intervals_and_the_latest_of_a_step_counts():
    curves = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.5, 0.7]])
    seen = [Evaluation(3, 20, {"accuracy": curves}, None), Evaluation(1, 0, {"accuracy": 1 - curves}, None)]
    again = Evaluation(4, 20, {"accuracy": curves / 2}, None)
    first, last = history(metrics([]), [*seen, again], "accuracy", "nats").looks
    assert (first.step, last.step, last.tasks) == (0, 20, 3)
    assert last.mean == pytest.approx(np.array([0.25, 0.45]), abs=1e-6)
    assert last.ci95 == pytest.approx(1.96 * curves.numpy().std(0, ddof=1) / 2 / 3**0.5, abs=1e-6)
    assert first.mean == pytest.approx(np.array([0.5, 0.1]), abs=1e-6)
