"""MAML's meta-gradient against finite differences, Hessian products and the expansions in alpha, in float64."""

from __future__ import annotations

import pytest
import torch
from engine_cases import CONVS, Case, clones, conv_case, sine_case
from torch import Tensor

from metalab.algorithms import MAML, Reptile
from metalab.algorithms.base import Algorithm
from metalab.algorithms.inner_loop import minibatch
from metalab.params import Params, weights
from metalab.tasks.base import Examples

STEP = 1e-6
NETWORKS = {
    **{name: (lambda name=name: sine_case(name)) for name in ("relu", "tanh", "softplus")},
    **{name: (lambda down=down, mode=mode: conv_case(down, mode)) for name, (down, mode) in CONVS.items()},
}


def directions(theta: Params, n: int = 3) -> list[Params]:
    """Random unit directions in the space of the learned entries."""
    rng = torch.Generator().manual_seed(7)
    out = []
    for _ in range(n):
        direction = {name: torch.randn(v.shape, generator=rng, dtype=v.dtype) for name, v in weights(theta).items()}
        length = flat(direction).norm()
        out.append({name: value / length for name, value in direction.items()})
    return out


def flat(params: Params) -> Tensor:
    return torch.cat([params[name].flatten() for name in sorted(params)])


def moved(params: Params, direction: Params, by: float) -> Params:
    """`params` with the entries of `direction` moved; a task axis in front stays."""
    return params | {name: params[name] + by * value for name, value in direction.items()}


@pytest.mark.parametrize("steps", [1, 3, 5])
@pytest.mark.parametrize("name", NETWORKS)
def test_second_order_is_the_slope_of_the_loss_after_adaptation(name, steps):
    case, algorithm = NETWORKS[name](), MAML(order=2, inner_lr=0.05, inner_steps=steps)
    theta = case.theta(algorithm)

    def objective(at: Params) -> float:
        return float(algorithm.meta_gradient(case.learner, at, case.batch).metrics["loss"])

    gradient = flat(algorithm.meta_gradient(case.learner, theta, case.batch).gradient)
    for direction in directions(theta):
        slope = (objective(moved(theta, direction, STEP)) - objective(moved(theta, direction, -STEP))) / (2 * STEP)
        expected = float(gradient @ flat(direction))
        assert slope == pytest.approx(expected, rel=1e-5, abs=1e-7 * float(gradient.norm()))


@pytest.mark.parametrize("steps", [1, 3, 5])
@pytest.mark.parametrize("name", NETWORKS)
def test_first_order_is_the_slope_of_the_query_loss_at_the_adapted_parameters(name, steps):
    case, algorithm = NETWORKS[name](), MAML(order=1, inner_lr=0.05, inner_steps=steps)
    theta = case.theta(algorithm)
    *_, end = algorithm.adapt(case.learner, theta, case.batch.support, steps)
    batch = case.batch

    def query_loss(phi: Params) -> float:
        prediction = case.learner.predict(phi, batch.query.x, batch.support.x, collect={})
        return float(case.learner.family.loss(prediction, batch.query.y).mean())

    gradient = flat(algorithm.meta_gradient(case.learner, theta, batch).gradient)
    for direction in directions(theta):
        slope = (query_loss(moved(end.phi, direction, STEP)) - query_loss(moved(end.phi, direction, -STEP))) / (
            2 * STEP
        )
        expected = float(gradient @ flat(direction))
        assert slope == pytest.approx(expected, rel=1e-5, abs=1e-7 * float(gradient.norm()))


class Smooth:
    """One sine task and a tanh network in plain torch: losses, gradients and Hessians at a vector theta."""

    def __init__(self) -> None:
        self.case: Case = sine_case("tanh", n_tasks=1)
        self.theta = self.case.theta(MAML())
        state = self.case.plain.to_torch(self.theta)
        self.names = [name for name, _ in self.case.plain.named_parameters() if name in state]
        self.start = torch.cat([state[name].flatten() for name in self.names])
        self.shapes = [state[name].shape for name in self.names]

    def loss(self, examples: Examples, vector: Tensor) -> Tensor:
        parts = vector.split([shape.numel() for shape in self.shapes])
        state = {n: part.view(shape) for n, part, shape in zip(self.names, parts, self.shapes, strict=True)}
        prediction = torch.func.functional_call(self.case.plain, state, (examples.x[0],))
        return torch.nn.functional.mse_loss(prediction, examples.y[0])

    def slope(self, examples: Examples, at: Tensor) -> Tensor:
        return torch.func.grad(lambda vector: self.loss(examples, vector))(at)

    def hessian(self, examples: Examples, at: Tensor) -> Tensor:
        return torch.autograd.functional.hessian(lambda vector: self.loss(examples, vector), at)

    def engine(self, algorithm: Algorithm) -> Tensor:
        found = algorithm.meta_gradient(self.case.learner, self.theta, self.case.batch).gradient
        state = self.case.plain.to_torch(found)
        return torch.cat([state[name].flatten() for name in self.names])


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_second_order_is_the_product_of_the_shrinkages_along_the_path(steps):
    """g = (I - alpha H_s(phi_0)) .. (I - alpha H_s(phi_{k-1})) grad L_q(phi_k); first order is the last factor."""
    smooth, alpha = Smooth(), 0.1
    support, query = smooth.case.batch.support, smooth.case.batch.query
    path = [smooth.start]
    for _ in range(steps):
        path.append(path[-1] - alpha * smooth.slope(support, path[-1]))
    first = smooth.slope(query, path[-1])
    exact = first
    for phi in reversed(path[:-1]):
        exact = exact - alpha * smooth.hessian(support, phi) @ exact
    found = smooth.engine(MAML(order=1, inner_lr=alpha, inner_steps=steps))
    torch.testing.assert_close(found, first, rtol=1e-10, atol=1e-10)
    found = smooth.engine(MAML(order=2, inner_lr=alpha, inner_steps=steps))
    torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-10)


def test_first_and_second_order_differ_on_a_network_in_proportion_to_alpha():
    smooth = Smooth()
    alphas = torch.tensor([1e-4, 1e-3, 1e-2], dtype=torch.float64)
    missed = []
    for alpha in alphas.tolist():
        exact, first = (smooth.engine(MAML(order=order, inner_lr=alpha, inner_steps=2)) for order in (2, 1))
        missed.append((exact - first).norm())
    slopes = torch.stack(missed).log().diff() / alphas.log().diff()
    torch.testing.assert_close(slopes, torch.ones_like(slopes), rtol=0, atol=0.1)
    for activation in ("relu", "tanh"):
        case = sine_case(activation)
        exact, first = (
            flat(algorithm.meta_gradient(case.learner, case.theta(algorithm), case.batch).gradient)
            for algorithm in (MAML(order=order, inner_lr=0.1, inner_steps=1) for order in (2, 1))
        )
        assert (exact - first).norm() > 0.1 * exact.norm()


def test_expansions_in_alpha_leave_a_second_order_rest_on_a_network():
    """Nichol et al. 2018, k = 2: the engine minus the expansion falls with the square of alpha."""
    smooth = Smooth()
    support, query = smooth.case.batch.support, smooth.case.batch.query
    g1, g2 = (smooth.slope(examples, smooth.start) for examples in (support, query))
    h1, h2 = (smooth.hessian(examples, smooth.start) for examples in (support, query))
    alphas = torch.tensor([1e-4, 1e-3], dtype=torch.float64)
    rest = {"maml": [], "fomaml": [], "reptile": []}
    n = support.x.shape[1]
    both = Examples(torch.cat([support.x, query.x], 1), torch.cat([support.y, query.y], 1))
    b1, b2 = (minibatch(both, n, k) for k in (0, 1))
    r1, r2, rh2 = smooth.slope(b1, smooth.start), smooth.slope(b2, smooth.start), smooth.hessian(b2, smooth.start)
    for alpha in alphas.tolist():
        expansions = {
            "maml": (MAML(order=2, inner_lr=alpha), g2 - alpha * (h2 @ g1 + h1 @ g2), 1),
            "fomaml": (MAML(order=1, inner_lr=alpha), g2 - alpha * h2 @ g1, 1),
            "reptile": (Reptile(inner_lr=alpha, inner_steps=2, inner_batch=n), r1 + r2 - alpha * rh2 @ r1, alpha),
        }
        for name, (algorithm, expansion, scale) in expansions.items():
            rest[name].append((smooth.engine(algorithm) / scale - expansion).norm())
    for name, errors in rest.items():
        slope = torch.stack(errors).log().diff() / alphas.log().diff()
        assert float(slope) == pytest.approx(2, abs=0.1), name


@pytest.mark.parametrize("name", ["relu", "strided-running"])
@pytest.mark.parametrize("order", [1, 2])
def test_meta_gradient_descends(name, order):
    case, algorithm = NETWORKS[name](), MAML(order=order, inner_lr=0.02, inner_steps=2)
    theta = case.theta(algorithm)
    before = algorithm.meta_gradient(case.learner, theta, case.batch)
    after = algorithm.meta_gradient(case.learner, moved(clones(theta), before.gradient, -1e-3), case.batch)
    assert after.metrics["loss"] < before.metrics["loss"]
