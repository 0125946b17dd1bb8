"""JAX: `vmap` and `grad` under `jit`, the outer step included. conv4's tasks go one after another inside the compiled
function: convolutions with filters of each task's own are several times slower on a CPU."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from peers.work import Answer, Job, Work, computation

Tree = dict[str, Any]


def job(work: Work) -> Job:
    jax.config.update("jax_platforms", work.batch.support.x.device.type)
    jax.config.update("jax_default_matmul_precision", "highest")  # float32 on a GPU too, as everybody else
    theta: Tree = {name: jnp.asarray(value.detach().cpu().numpy()) for name, value in work.module().named_parameters()}
    conv4 = "conv1.weight" in theta
    network = convolutions if conv4 else layers
    (xs, ys), (xq, yq) = (
        [jnp.asarray(value.cpu().numpy()) for value in examples] for examples in (work.batch.support, work.batch.query)
    )

    def loss(phi: Tree, x: jax.Array, y: jax.Array) -> jax.Array:
        return loss_of(network(phi, x), y)

    def descend(phi: Tree, x: jax.Array, y: jax.Array) -> Tree:
        slopes = jax.grad(loss)(phi, x, y)
        if work.order == 1:
            slopes = lax.stop_gradient(slopes)
        return {name: value - work.alpha * slopes[name] for name, value in phi.items()}

    def adapt(phi: Tree, x: jax.Array, y: jax.Array) -> Tree:
        if work.steps > 10:
            return lax.fori_loop(0, work.steps, lambda k, phi: descend(phi, x, y), phi)
        for _ in range(work.steps):
            phi = descend(phi, x, y)
        return phi

    def over_tasks(function: Any, *tasks: jax.Array) -> Any:
        if not conv4:
            return jax.vmap(function)(*tasks)
        return jax.tree.map(lambda *each: jnp.stack(each), *(function(*task) for task in zip(*tasks, strict=True)))

    def gradient(theta: Tree) -> Tree:
        if work.kind == "reptile":
            phi = over_tasks(
                lambda x, y: adapt(theta, x, y), jnp.concatenate([xs, xq], 1), jnp.concatenate([ys, yq], 1)
            )
            return {name: value - phi[name].mean(0) for name, value in theta.items()}
        each = jax.grad(lambda theta, *task: loss(adapt(theta, *task[:2]), *task[2:]))
        if conv4:
            return jax.tree.map(lambda g: g.mean(0), over_tasks(lambda *task: each(theta, *task), xs, ys, xq, yq))
        return jax.grad(lambda theta: over_tasks(lambda *t: loss(adapt(theta, *t[:2]), *t[2:]), xs, ys, xq, yq).mean())(
            theta
        )

    def predictions(xs: jax.Array, ys: jax.Array, x: jax.Array) -> jax.Array:
        phi, found = theta, []
        for k in range(work.steps + 1):
            found.append(network(phi, x))
            if k < work.steps:
                phi = descend(phi, xs, ys)
        return jnp.stack(found)

    if work.kind == "adaptation":
        points = jnp.asarray(work.points[0].cpu().numpy())
        adaptation = jax.jit(lambda xs, ys, x: predictions(xs, ys, x))
        return computation(lambda: {"prediction": np.asarray(adaptation(xs[0], ys[0], points))})
    if work.kind == "evaluation":

        def curve(xs: jax.Array, ys: jax.Array, xq: jax.Array, yq: jax.Array) -> jax.Array:
            return jax.vmap(loss_of, (0, None))(predictions(xs, ys, xq), yq)

        evaluation = jax.jit(jax.vmap(curve))
        return computation(lambda: {"loss": np.asarray(evaluation(xs, ys, xq, yq))})
    return _meta_step(work, theta, gradient)


def _meta_step(work: Work, theta: Tree, gradient: Any) -> Job:
    rate, adam = work.config.outer_lr, work.config.outer_optimiser == "adam"

    @jax.jit
    def step(theta: Tree, first: Tree, second: Tree, k: jax.Array) -> tuple[Tree, Tree, Tree, jax.Array]:
        slopes, k = gradient(theta), k + 1
        if not adam:
            return {name: value - rate * slopes[name] for name, value in theta.items()}, first, second, k
        first = {name: 0.9 * m + 0.1 * slopes[name] for name, m in first.items()}
        second = {name: 0.999 * v + 0.001 * slopes[name] ** 2 for name, v in second.items()}
        moved = {
            name: value - rate * (first[name] / (1 - 0.9**k)) / (jnp.sqrt(second[name] / (1 - 0.999**k)) + 1e-8)
            for name, value in theta.items()
        }
        return moved, first, second, k

    zeros = {name: jnp.zeros_like(value) for name, value in theta.items()}
    state = [theta, zeros, zeros, jnp.zeros(())]

    def unit() -> None:
        state[:] = jax.block_until_ready(step(*state))

    def answer() -> Answer:
        return {name: np.asarray(value) for name, value in jax.jit(gradient)(theta).items()}

    return Job(unit, answer)


def loss_of(prediction: jax.Array, target: jax.Array) -> jax.Array:
    if jnp.issubdtype(target.dtype, jnp.floating):
        return jnp.square(prediction - target).mean()
    return -jnp.take_along_axis(jax.nn.log_softmax(prediction), target[:, None], 1).mean()


def layers(phi: Tree, x: jax.Array) -> jax.Array:
    for i in range(1, len(phi) // 2):
        x = jax.nn.relu(x @ phi[f"layer{i}.weight"].T + phi[f"layer{i}.bias"])
    return x @ phi["head.weight"].T + phi["head.bias"]


def convolutions(phi: Tree, x: jax.Array) -> jax.Array:
    pooled = phi["head.weight"].shape[1] == phi["conv4.weight"].shape[0]
    x = x.transpose(0, 2, 3, 1)
    for i in range(1, 5):
        filters = phi[f"conv{i}.weight"].transpose(2, 3, 1, 0)
        stride = (1, 1) if pooled else (2, 2)
        x = lax.conv_general_dilated(x, filters, stride, ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"))
        mean = x.mean((0, 1, 2))
        variance = jnp.square(x - mean).mean((0, 1, 2))
        x = (x - mean) * (lax.rsqrt(variance + 1e-5) * phi[f"norm{i}.weight"]) + phi[f"norm{i}.bias"]
        x = jax.nn.relu(x)
        if pooled:
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return x.reshape(len(x), -1) @ phi["head.weight"].T + phi["head.bias"]
