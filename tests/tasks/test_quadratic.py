"""Quadratic bowls: their loss by its formula, their curvatures and optima as drawn, and what the query set shares."""

from __future__ import annotations

import math
import re

import pytest
import torch

from metalab.tasks.quadratic import Quadratic
from metalab.training.config import ConfigError, parse_config
from metalab.training.events import Checkpointed
from metalab.training.trainer import train


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_loss_is_the_formula_averaged_over_examples():
    family = Quadratic(dimension=3, shots=4, noise=0.5)
    batch = family.sample(5, "train", rng())
    assert batch.support.x.shape == (5, 4, 0)
    assert batch.support.y.shape == (5, 4, 12)
    theta = torch.randn(5, 3, generator=rng(1))
    found = family.loss(theta[:, None].expand(5, 4, 3), batch.support.y)
    for t in range(5):
        expected = 0.0
        for example in batch.support.y[t]:
            matrix, offset = example[:9].view(3, 3), theta[t] - example[9:]
            expected += 0.5 * float(offset @ matrix @ offset) / 4
        assert float(found[t]) == pytest.approx(expected, rel=1e-5)


def test_gradient_vanishes_at_the_mean_of_the_examples_and_the_hessian_is_the_curvature():
    family = Quadratic(dimension=3, shots=4, noise=0.5)
    batch = family.sample(1, "train", rng(2))
    target = batch.support.y.double()

    def loss(theta):
        return family.loss(theta.expand(1, 4, 3), target)[0]

    bottom = target[0, :, 9:].mean(0)
    assert torch.autograd.functional.jacobian(loss, bottom).abs().max() < 1e-12
    hessian = torch.autograd.functional.hessian(loss, bottom)
    torch.testing.assert_close(hessian.float(), batch.info["curvature"][0])


@pytest.mark.parametrize("turned", [True, False])
def test_eigenvalues_fill_their_range_evenly(turned):
    info = Quadratic(dimension=2, curvature=(1.0, 4.0), turned=turned).sample(5_000, "train", rng(3)).info
    matrix = info["curvature"].double()
    assert torch.equal(matrix, matrix.mT)
    values = torch.linalg.eigvalsh(matrix)
    assert 1.0 - 1e-5 < values.min() < 1.01
    assert 3.99 < values.max() < 4.0 + 1e-5
    # trace and squared norm: sum and sum of squares of two U[1, 4]; four standard errors of about 0.87 sqrt(2).
    assert abs(float(values.sum(1).mean()) - 5) < 4 * 0.87 * math.sqrt(2 / 5_000)
    assert float((matrix**2).sum((1, 2)).mean()) == pytest.approx(2 * 7, rel=0.03)
    assert bool((matrix[:, 0, 1] == 0).all()) is not turned


def test_turned_axes_prefer_no_direction():
    """The angle of the first axis modulo a half turn is uniform: the mean of (cos 2a, sin 2a) is zero."""
    matrix = Quadratic(dimension=2, curvature=(1.0, 4.0)).sample(8_000, "train", rng(4)).info["curvature"].double()
    axis = torch.linalg.eigh(matrix).eigenvectors[..., 0]
    angle = 2 * torch.atan2(axis[:, 1], axis[:, 0])
    # Four standard errors of a mean of cosines, 1 / sqrt(2 n).
    assert max(abs(float(angle.cos().mean())), abs(float(angle.sin().mean()))) < 4 / math.sqrt(16_000)


def test_optima_fill_their_range():
    optimum = Quadratic(optimum=(-1.0, 3.0)).sample(5_000, "test", rng(5)).info["optimum"].double()
    assert -1 <= optimum.min() < optimum.max() <= 3
    assert (optimum.mean(0) - 1).abs().max() < 4 * 4 / math.sqrt(12 * 5_000)


def test_query_and_support_are_the_same_unless_asked():
    same = Quadratic().sample(6, "train", rng(6))
    assert torch.equal(same.support.y, same.query.y)
    own = Quadratic(query_curvature="own").sample(6, "train", rng(6)).info
    assert torch.equal(own["optimum"], own["query_optimum"])
    assert not torch.isclose(own["curvature"], own["query_curvature"]).all((1, 2)).any()
    shifted = Quadratic(query_shift=0.5).sample(5_000, "train", rng(7)).info
    assert torch.equal(shifted["curvature"], shifted["query_curvature"])
    shift = (shifted["query_optimum"] - shifted["optimum"]).double()
    # 10,000 normal numbers: the deviation's standard error is 0.5 / sqrt(20,000).
    assert float(shift.std()) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(20_000))
    assert shift.mean(0).abs().max() < 4 * 0.5 / math.sqrt(5_000)


def test_examples_lie_about_their_tasks_optimum():
    family = Quadratic(noise=0.8, shots=50, queries=50)
    batch = family.sample(100, "train", rng(8))
    for part, centre in ((batch.support, "optimum"), (batch.query, "query_optimum")):
        away = (part.y[..., 4:] - batch.info[centre][:, None]).double()
        assert float(away.std()) == pytest.approx(0.8, abs=4 * 0.8 / math.sqrt(20_000))
    assert not torch.equal(batch.support.y, batch.query.y)


def test_loss_at_the_origin_is_what_theory_says():
    """E[1/2 c^T A c] = d/2 E[lambda] E[c^2] = 1 * 1.25 * 3 for the defaults."""
    family = Quadratic()
    batch = family.sample(20_000, "test", rng(9))
    losses = family.loss(torch.zeros(20_000, 1, 2), batch.query.y).double()
    assert abs(float(losses.mean()) - 3.75) < 4 * float(losses.std()) / math.sqrt(20_000)


def test_a_task_is_described_by_its_optimum_and_curvatures():
    info = {"optimum": torch.tensor([[1.0, -2.0]]), "curvature": torch.tensor([[[2.0, 0.0], [0.0, 0.5]]])}
    assert Quadratic().describe(info, 0) == "lowest at (1.00, -2.00), curvatures 0.50, 2.00"


LISTED = {"dimension": 2, "curvatures": (1.0, 0.5, 2.0, 0.5, 0.25, 3.0), "optima": (1.0, -2.0, 0.0, 3.0, -1.5, 0.5)}
A = torch.tensor(LISTED["curvatures"]).view(3, 2)
C = torch.tensor(LISTED["optima"]).view(3, 2)


def test_listed_tasks_come_as_they_are_in_random_order_and_equally_often():
    info = Quadratic(**LISTED).sample(7, "train", rng(4)).info
    found = torch.cat([torch.diagonal(info["curvature"], dim1=1, dim2=2), info["optimum"]], 1).tolist()
    listed = torch.cat([A, C], 1).tolist()
    assert [sum(task == one for task in found) for one in listed] in ([2, 2, 3], [2, 3, 2], [3, 2, 2])
    assert sorted(found[:3]) == sorted(found[3:6]) == sorted(listed)
    orders = {str(Quadratic(**LISTED).sample(3, "train", rng(seed)).info["optimum"]) for seed in range(40)}
    assert len(orders) == 6
    assert not (info["curvature"] - torch.diag_embed(torch.diagonal(info["curvature"], dim1=1, dim2=2))).any()


SHRUNK = 1 - 0.2 * A
RULES = {
    "joint": ({"name": "pretrained"}, A),
    "maml": ({"name": "maml", "inner_steps": 3, "inner_lr": 0.2}, A * SHRUNK**6),
    "fomaml": ({"name": "maml", "order": 1, "inner_steps": 3, "inner_lr": 0.2}, A * SHRUNK**3),
    "reptile": ({"name": "reptile", "inner_steps": 3, "inner_lr": 0.2}, 1 - SHRUNK**3),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_run_on_listed_tasks_ends_at_the_fixed_point_of_theory(rule):
    """Identity 2: theta* = (sum W_i)^-1 sum W_i c_i, W_i = A_i, A_i (I - alpha A_i)^2k, A_i (I - alpha A_i)^k,
    I - (I - alpha A_i)^k; along each axis by itself, because the curvatures are.
    """
    algorithm, weight = RULES[rule]
    config = parse_config(
        {
            "family": {"name": "quadratic", **LISTED},
            "algorithm": algorithm,
            "outer_optimiser": "sgd",
            "outer_lr": 0.5,
            "schedule": "constant",
            "meta_batch_size": 3,
            "outer_steps": 150,
            "evaluate_every": 150,
            "evaluation_tasks": 3,
            "device": "cpu",
        }
    )
    *_, last = (event.checkpoint for event in train(config, threads=1) if isinstance(event, Checkpointed))
    expected = (weight * C).sum(0) / weight.sum(0)
    torch.testing.assert_close(last.theta["head.bias"], expected, rtol=0, atol=2e-5)
    assert (expected - C.mean(0)).abs().max() > 0.05, "with other curvatures it is not just the mean"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"curvatures": (1, 2), "optima": (1,)}, "curvatures has 2 numbers and optima has 1: expected as many, 2 for"),
        ({"curvatures": (1, 2, 3), "optima": (1, 2, 3)}, "curvatures has 3 numbers, expected 2 for each task"),
        ({"curvatures": (1, 0), "optima": (1, 1)}, "curvatures.1 = 0: expected greater than 0"),
        ({"curvatures": (1, -2), "optima": (1, 1)}, "curvatures.1 = -2: expected greater than 0"),
        ({"curvatures": (1, 1), "optima": (1, 11)}, "optima.1 = 11: expected less than or equal to 10"),
        ({"curvatures": (1,) * 18, "optima": (1,) * 18}, "at most 16 items"),
        ({"curvatures": (1, 1), "optima": (1, 1), "query_curvature": "own"}, "expected 'same'"),
    ],
)
def test_a_list_that_is_none_is_refused_in_one_sentence(given, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse_config({"family": {"name": "quadratic", **given}})
