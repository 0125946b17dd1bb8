"""Second order is second order: the meta-gradient notices a curvature that no inner step could see, in float64.

Two support losses with the same value and gradient at theta but another Hessian: the second adds
kappa |f - f_theta|^2 to it, whose gradient 2 kappa J^T (f - f_theta) is zero where f = f_theta and whose Hessian there,
2 kappa J^T J, is not. One inner step leads both to the same phi_1, so that only derivatives of the step can differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from engine_cases import ALL, Case, assert_same
from torch import Tensor

from metalab.algorithms import ALGORITHMS, Reptile
from metalab.algorithms.base import Algorithm, Learner
from metalab.params import Params, expand
from metalab.tasks.base import Examples, TaskBatch, TaskFamily

KAPPA = 3.0


class Bent(TaskFamily):
    """A classification or regression family whose targets carry f_theta and kappa behind their own values."""

    kind: ClassVar = "regression"
    name: str = "bent"
    inner: TaskFamily

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.inner.input_shape

    @property
    def output_size(self) -> int:
        return self.inner.output_size

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        width = prediction.shape[-1]
        y, at_theta, kappa = target.split([target.shape[-1] - width - 1, width, 1], -1)
        own = y[..., 0].long() if self.inner.kind == "classification" else y
        bent = (kappa * (prediction - at_theta).square()).sum(-1).mean(1)
        return self.inner.loss(prediction, own) + bent


def bent(case: Case, theta: Params, kappa: float) -> tuple[Learner, TaskBatch]:
    """The case's tasks with kappa in the support sets, and with 0 in the query sets."""
    learner, batch = case.learner, case.batch

    def targets(examples: Examples, kappa: float) -> Examples:
        f = learner.model.forward(expand(theta, batch.n_tasks), examples.x)
        y = examples.y if examples.y.is_floating_point() else examples.y[..., None].to(f)
        return Examples(examples.x, torch.cat([y, f, torch.full_like(f[..., :1], kappa)], -1))

    tasks = TaskBatch(targets(batch.support, kappa), targets(batch.query, 0.0), batch.info)
    return replace(learner, family=Bent(inner=learner.family)), tasks


SECOND = {
    name: ALGORITHMS[name](inner_lr=0.05, inner_steps=1)
    for name in ("maml", "anil", "boil", "meta_sgd", "maml_plus_plus", "imaml")
}
FIRST = {
    **{f"{name}-1": algorithm.model_copy(update={"order": 1}) for name, algorithm in SECOND.items() if name != "imaml"},
    "maml_plus_plus-annealed": SECOND["maml_plus_plus"].model_copy(update={"anneal_order": True}),
    "imaml-0": SECOND["imaml"].model_copy(update={"cg_steps": 0}),
    "reptile": ALGORITHMS["reptile"](inner_lr=0.05, inner_steps=1),
}
NETWORKS = ["sine", "image_mlp", "strided-transductive"]


def gradients_of(algorithm: Algorithm, name: str, theta_of: Algorithm) -> tuple[Params, Params]:
    """The meta-gradients on the losses with kappa and without."""
    case = ALL[name]()
    theta = case.theta(theta_of)
    found = []
    for kappa in (KAPPA, 0.0):
        learner, tasks = bent(case, theta, kappa)
        if isinstance(algorithm, Reptile):
            tasks = TaskBatch(tasks.support, tasks.support)
        found.append(algorithm.meta_gradient(learner, theta, tasks).gradient)
    return found[0], found[1]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", SECOND)
def test_second_order_notices_the_curvature(method, name):
    bent_one, straight = gradients_of(SECOND[method], name, SECOND[method])
    missed = torch.cat([(bent_one[e] - straight[e]).flatten() for e in straight]).norm()
    assert missed > 1e-3 * torch.cat([g.flatten() for g in straight.values()]).norm()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", FIRST)
def test_first_order_does_not(method, name):
    bent_one, straight = gradients_of(FIRST[method], name, FIRST[method])
    assert_same(bent_one, straight, 1e-12)


def test_every_algorithm_that_claims_a_second_order_is_asked():
    claims = {name for name, cls in ALGORITHMS.items() if "2" in cls.card.gradient_order}
    assert claims - {"nil"} == set(SECOND)  # NIL trains as ANIL or MAML, and classifies alone
