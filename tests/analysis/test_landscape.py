"""Planes through parameter space on tasks whose loss is a formula."""

import numpy as np
import pytest
import torch

from metalab.algorithms import MAML
from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.landscape import directions_to, landscape, principal_directions
from metalab.analysis.theta import held_out_tasks
from metalab.models.mlp import MLP
from metalab.models.point import Point
from metalab.tasks import FAMILIES


def contender(family, model, inner_lr=0.2):
    theta = Learner(model, family).init(torch.Generator().manual_seed(1))
    return Contender("MAML", MAML(inner_lr=inner_lr), model, theta, "drawn")


@pytest.mark.parametrize("plane", ["tasks", "directions"])
@pytest.mark.parametrize("on", ["support", "query"])
def test_in_two_parameters_the_plane_is_everything_and_losses_and_paths_are_the_formulas(plane, on):
    family = FAMILIES["quadratic"](query_shift=1.0)
    one = contender(family, Point())
    found = landscape(one, family, plane=plane, on=on, steps=4, n_tasks=5, grid=6)
    info = {name: value.double().numpy() for name, value in held_out_tasks(family, 5, 0).info.items()}
    theta = one.theta["head.bias"].double().numpy()
    left = np.eye(2) - 0.2 * info["curvature"]
    moved = np.stack(
        [
            info["optimum"] - theta + np.einsum("tij,tj->ti", np.linalg.matrix_power(left, k), theta - info["optimum"])
            for k in range(5)
        ],
        1,
    )
    np.testing.assert_allclose(np.linalg.norm(found.paths, axis=2), np.linalg.norm(moved, axis=2), atol=1e-5)
    np.testing.assert_allclose(found.off, 0, atol=1e-3)
    assert found.share == pytest.approx(1)
    axes = principal_directions(moved[:, -1]) if plane == "directions" else directions_to(moved[0, -1], moved[1, -1])
    points = theta + np.stack(np.meshgrid(found.x, found.y), -1) @ axes
    optimum = info["optimum" if on == "support" else "query_optimum"]
    off = points[None] - optimum[:, None, None]
    bowls = 0.5 * np.einsum("tyxi,tij,tyxj->tyx", off, info["curvature"], off)
    np.testing.assert_allclose(found.losses[:3], bowls[:3], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.losses[3], bowls.mean(0), rtol=1e-3, atol=1e-4)


def test_the_plane_through_two_tasks_holds_their_ends_and_no_others():
    family = FAMILIES["sinusoid"]()
    found = landscape(contender(family, MLP(widths=(6,)), 0.05), family, steps=3, n_tasks=4, grid=5)
    np.testing.assert_allclose(found.off[:2], 0, atol=1e-3)
    assert (found.off[2:] > 0.05).all()
    assert found.paths[0, -1, 1] == pytest.approx(0, abs=1e-6)
    assert found.paths[:, 0].tolist() == [[0, 0]] * 4
    assert 0 < found.share < 1
    assert len(found.described) == 3


def test_main_directions_hold_the_most_and_point_where_most_tasks_lie():
    moved = np.random.default_rng(0).normal(size=(7, 20)) + 0.5
    axes = principal_directions(moved)
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-9)
    best = np.linalg.svd(moved, compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.norm(moved @ axes.T, axis=0), best)
    assert ((moved @ axes.T).sum(0) >= 0).all()


def test_no_plane_is_said():
    line = np.outer([1.0, 2.0, 3.0], np.ones(4))
    with pytest.raises(ValueError, match="on one line"):
        principal_directions(line)
    with pytest.raises(ValueError, match="the same parameters"):
        directions_to(line[0], line[1])
    family = FAMILIES["sinusoid"]()
    with pytest.raises(ValueError, match="diverges"):
        landscape(contender(family, MLP(widths=(6,)), 2.0), family, steps=40, n_tasks=3, grid=5)
    with pytest.raises(ValueError, match="3 or more"):
        landscape(contender(family, MLP(widths=(6,))), family, steps=1, n_tasks=2, grid=5)
