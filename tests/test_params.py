"""Dictionaries of tensors: what is learned, what is carried along, and their gradients."""

from __future__ import annotations

import pytest
import torch

from metalab.params import detach, expand, gradients, norm, statistics, weights


def test_statistics_and_weights_share_out_the_entries():
    params = {"a": torch.zeros(1), "running.a": torch.ones(1), "b.running.": torch.ones(1)}
    assert set(weights(params)) == {"a", "b.running."}
    assert set(statistics(params)) == {"running.a"}


def test_expand_adds_a_task_axis_without_copying():
    theta = {"a": torch.arange(3.0)}
    phi = expand(theta, 4)
    assert phi["a"].shape == (4, 3)
    assert phi["a"].data_ptr() == theta["a"].data_ptr()
    assert all(torch.equal(row, theta["a"]) for row in phi["a"])


def test_expand_sums_the_gradients_of_the_tasks():
    theta = {"a": torch.arange(3.0).requires_grad_()}
    loss = (expand(theta, 2)["a"] * torch.tensor([[1.0], [10.0]])).sum()
    assert torch.equal(gradients(loss, theta)["a"], torch.full((3,), 11.0))


def test_detach_cuts_the_graph_and_keeps_the_values():
    value = torch.arange(3.0, requires_grad=True) * 2
    plain, leaf = detach({"a": value})["a"], detach({"a": value}, requires_grad=True)["a"]
    assert not plain.requires_grad
    assert leaf.requires_grad
    assert leaf.is_leaf
    assert torch.equal(plain, value)


def test_gradients_are_zero_where_the_loss_does_not_reach():
    params = {"a": torch.tensor([2.0], requires_grad=True), "b": torch.tensor([[3.0]], requires_grad=True)}
    found = gradients(params["a"].square().sum(), params)
    assert torch.equal(found["a"], torch.tensor([4.0]))
    assert torch.equal(found["b"], torch.zeros(1, 1))


def test_gradients_can_be_differentiated_again():
    params = {"a": torch.tensor([2.0], requires_grad=True)}
    found = gradients(params["a"].pow(3).sum(), params, create_graph=True)
    assert torch.equal(gradients(found["a"].sum(), params)["a"], torch.tensor([12.0]))
    assert not gradients(params["a"].pow(3).sum(), params)["a"].requires_grad


def test_gradients_of_a_loss_that_reaches_nothing_are_refused():
    params = {"b": torch.zeros(1, requires_grad=True), "a": torch.zeros(1, requires_grad=True)}
    with pytest.raises(RuntimeError, match=r"^the loss depends on none of \['a', 'b'\]$"):
        gradients(torch.zeros(1, requires_grad=True).sum(), params)


def test_norm_is_euclidean_over_all_entries_or_per_task():
    a, b = torch.tensor([[3.0, 0.0], [1.0, 2.0]]), torch.tensor([[[4.0]], [[2.0]]])
    assert torch.equal(norm([a, b], task_axis=True), torch.tensor([5.0, 3.0]))
    torch.testing.assert_close(norm([a, b], task_axis=False), torch.tensor(34.0).sqrt())
