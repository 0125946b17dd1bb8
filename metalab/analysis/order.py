"""Exact, first-order and Reptile's directions from one theta on the same tasks, as alpha or the inner steps grow.

The exact meta-gradient runs through the inner loop (Finn et al. 2017, arXiv:1703.03400, eq. 1),

    g_exact = (I - alpha H_0) .. (I - alpha H_{K-1}) g_first,   g_first = grad L_query(phi_K),

with H_j the Hessian of the support loss at phi_j. The first-order one is g_first alone, and Reptile's direction
(Nichol et al. 2018, arXiv:1803.02999, section 4) is the mean inner gradient (theta - phi_K) / (alpha K). All three
are the algorithms' own `meta_gradient`; nothing here differentiates by another way.

They are compared on each task by itself, and the median over tasks is told. The mean directions would not do: near
convergence they are small against how tasks differ, and then their cosine and the ratio of their lengths are biased,
and every resample of the tasks is biased more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metalab.algorithms import MAML, Reptile
from metalab.algorithms.base import Algorithm, Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.bootstrap import Band, band, median_band
from metalab.params import Params, gradients, network, statistics
from metalab.tasks.base import Examples, TaskBatch, TaskFamily

Doubles = NDArray[np.float64]
Over = Literal["inner_lr", "inner_steps"]
COMPARED = ("fomaml", "reptile")
"""The directions that are held against the exact one."""
ALPHAS = (1e-4, 2.0)
MOST_STEPS = 20
CHUNK = 100_000
"""Tasks times parameters that are differentiated at once: small enough to stop in time between two."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """How the directions compare at each of V values of alpha or of the number of inner steps."""

    over: Over
    values: Doubles
    """(V,)"""
    inner_lr: float
    """Alpha, where it is not what varies."""
    inner_steps: int
    """K, where it is not what varies."""
    n_tasks: int
    cosine: Mapping[str, Band]
    """Of each direction in COMPARED with the exact one of the same task: medians over tasks, (V,)."""
    ratio: Mapping[str, Band]
    """Its length as a share of the exact one's, likewise; Reptile's direction is divided by alpha K."""
    neglected: Band
    """|g_exact - g_first| / |g_exact|, likewise."""
    trace: Band
    """alpha tr H_j, averaged over inner steps and tasks: (V,); Hutchinson's estimate."""
    curvature: Band
    """alpha g^T H_j g / g^T g along the support gradient g at phi_j, averaged over inner steps and tasks: (V,)."""
    n_parameters: int


def start_of(contender: Contender, family: TaskFamily) -> tuple[Learner, Params]:
    """The network and what its inner loop starts from on a new task, without learned rates.

    Raises ValueError where no gradient descent could adapt it.
    """
    learner = Learner(contender.model, family)
    if contender.algorithm.axis == "shot":
        raise ValueError(f"{contender.label} reads its shots and takes no inner steps: choose another run")
    reason = MAML().misfit(learner)
    if reason:
        raise ValueError(f"{reason}.")
    support = family.sample(1, "train", torch.Generator().manual_seed(0)).support
    phi = next(iter(contender.algorithm.adapt(learner, contender.theta, support, 0))).phi
    start = {name: value[0].detach() for name, value in (network(phi) | statistics(phi)).items()}
    outputs = contender.model.outputs(start)
    if outputs != family.output_size:
        raise ValueError(f"{contender.label}: its network has {outputs} outputs, but tasks need {family.output_size}")
    return learner, start


def training_tasks(family: TaskFamily, n_tasks: int, seed: int) -> TaskBatch:
    """Tasks of the meta-training split, where meta-gradients are at home."""
    return family.sample(n_tasks, "train", torch.Generator().manual_seed(seed))


def algorithms(inner_lr: float, inner_steps: int) -> dict[str, Algorithm]:
    """The three whose meta-gradients are compared. Raises ValueError for an alpha or K that they refuse."""
    same = {"inner_lr": inner_lr, "inner_steps": inner_steps}
    return {"exact": MAML(order=2, **same), "fomaml": MAML(order=1, **same), "reptile": Reptile(**same)}


def alphas_around(inner_lr: float, n: int = 11) -> tuple[float, ...]:
    """Alphas on a logarithmic scale from 1e-3 to 1, wider where that leaves `inner_lr` out, `inner_lr` among them."""
    low, high = max(min(1e-3, inner_lr), ALPHAS[0]), min(max(1.0, inner_lr), ALPHAS[1])
    return tuple(sorted({*np.geomspace(low, high, n).round(6).tolist(), inner_lr}))


def steps_up_to(inner_steps: int, most: int = 8) -> tuple[int, ...]:
    """Numbers of inner steps, denser where few, `inner_steps` among them."""
    return tuple(sorted({k for k in (1, 2, 3, 5, 8, 12, 20) if k <= max(most, inner_steps)} | {inner_steps}))


def sweep(
    contender: Contender,
    family: TaskFamily,
    values: Sequence[float],
    *,
    over: Over,
    inner_lr: float,
    inner_steps: int,
    n_tasks: int,
    seed: int = 0,
    report: Report = quiet,
) -> Sweep:
    """Compare the directions at each of the values.

    Raises ValueError for fewer tasks than `bootstrap.FEWEST` and for a contender without inner loop.
    """
    learner, theta = start_of(contender, family)
    tasks = training_tasks(family, n_tasks, seed)
    products, curved = [], []
    for i, value in enumerate(values):
        at = {"inner_lr": inner_lr, "inner_steps": inner_steps} | {over: value}
        compared = algorithms(float(at["inner_lr"]), int(at["inner_steps"]))

        def part(fraction: float, i: int = i) -> None:
            report((i + fraction) / len(values))

        found = task_products(compared, learner, theta, tasks, _share(part, 0, 3 / 4))
        # Reptile's direction comes as theta - phi_K.
        size = np.array([1, 1, at["inner_lr"] * at["inner_steps"]])
        products.append(found / (size[:, None] * size))
        curved.append(
            _curved(compared["exact"], learner, theta, tasks, int(at["inner_steps"]), _share(part, 0.75, 0.25))
        )
    return _assembled(np.stack(products, 1), np.stack(curved), theta, over, values, inner_lr, inner_steps)


def _share(report: Report, first: float, width: float) -> Report:
    return lambda fraction: report(first + width * fraction)


# --- directions


def task_products(
    compared: Mapping[str, Algorithm], learner: Learner, theta: Params, tasks: TaskBatch, report: Report = quiet
) -> Doubles:
    """Inner products of the S algorithms' meta-gradients on each task: (T, S, S)."""
    found = []
    for first, last in _chunks(theta, tasks.n_tasks):
        some, rows = tasks.tasks(first, last), []
        for n, algorithm in enumerate(compared.values()):
            report((first + (last - first) * n / len(compared)) / tasks.n_tasks)
            rows.append(flat(algorithm.meta_gradient(learner, theta, some).each))
        every = np.stack(rows, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            found.append(every @ every.transpose(0, 2, 1))
    return np.concatenate(found)


def flat(each: Params) -> Doubles:
    """Entries (T, ...) of the network, one after another by name: (T, P)."""
    parts = [value.detach().flatten(1) for _name, value in sorted(network(each).items())]
    return torch.cat(parts, 1).double().cpu().numpy()


def _chunks(theta: Params, n_tasks: int) -> list[tuple[int, int]]:
    size = max(1, CHUNK // n_parameters(theta))
    return [(first, min(first + size, n_tasks)) for first in range(0, n_tasks, size)]


def n_parameters(theta: Params) -> int:
    """Numbers that the inner loop may adapt."""
    return sum(value.numel() for value in network(theta).values())


# --- the neglected term


def _curved(
    algorithm: Algorithm, learner: Learner, theta: Params, tasks: TaskBatch, steps: int, report: Report
) -> Doubles:
    """alpha tr H and alpha g^T H g / g^T g of each task, averaged over the inner steps: (T, 2)."""
    assert algorithm.alpha is not None
    probes = int(np.clip(12_000 // n_parameters(theta), 1, 8))
    rng = torch.Generator().manual_seed(0)
    chunks, found = _chunks(theta, tasks.n_tasks), []
    for n, (first, last) in enumerate(chunks):
        support = tasks.tasks(first, last).support
        each = []
        for inner in algorithm.adapt(learner, theta, support, steps):
            report((n + inner.k / (steps + 1)) / len(chunks))
            if inner.gradient is not None:
                trace, along = curvatures(learner, inner.phi, support, probes, rng)
                each.append(torch.stack([trace, along], 1))
        found.append(algorithm.alpha * torch.stack(each).mean(0))
    return torch.cat(found).double().numpy()


def curvatures(
    learner: Learner, phi: Params, support: Examples, probes: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """tr H and g^T H g / g^T g of each task's support loss at phi: (T,) each.

    The trace is Hutchinson's estimate (1990), the mean of v^T H v over `probes` random vectors v of signs.
    """
    adapts = {name: value.detach().requires_grad_() for name, value in network(phi).items()}
    with torch.enable_grad():
        slope = gradients(learner.support_loss(phi | adapts, support).sum(), adapts, create_graph=True)
    if not any(g.requires_grad for g in slope.values()):
        zero = next(iter(slope.values())).new_zeros(support.x.shape[0])
        return zero, zero

    def bent(v: Params) -> Tensor:
        product = gradients(_dot(slope, v).sum(), adapts, retain_graph=True)
        return _dot(product, v)

    def signs(value: Tensor) -> Tensor:
        return (torch.randint(0, 2, value.shape, generator=rng) * 2 - 1).to(value)

    fixed = {name: g.detach() for name, g in slope.items()}
    # By name, so that the same signs are drawn whatever the order in which a process keeps its parameters.
    trace = torch.stack([bent({name: signs(fixed[name]) for name in sorted(fixed)}) for _ in range(probes)]).mean(0)
    return trace, bent(fixed) / _dot(fixed, fixed)


def _dot(a: Params, b: Params) -> Tensor:
    """Inner product of each task's entries: (T,)."""
    return torch.stack([(a[name] * b[name]).flatten(1).sum(1) for name in a]).sum(0)


# --- figures over tasks


def _assembled(
    products: Doubles,
    curved: Doubles,
    theta: Params,
    over: Over,
    values: Sequence[float],
    inner_lr: float,
    inner_steps: int,
) -> Sweep:
    others = {name: n + 1 for n, name in enumerate(COMPARED)}
    return Sweep(
        over=over,
        values=np.asarray(values, float),
        inner_lr=inner_lr,
        inner_steps=inner_steps,
        n_tasks=len(products),
        cosine={name: median_band(_cosine(products, n)) for name, n in others.items()},
        ratio={name: median_band(_ratio(products, n)) for name, n in others.items()},
        neglected=median_band(_difference(products, others["fomaml"])),
        trace=_columns(curved[..., 0]),
        curvature=_columns(curved[..., 1]),
        n_parameters=n_parameters(theta),
    )


def _columns(values: Doubles) -> Band:
    """The mean over tasks, at each value: (V, T) -> (V,)."""
    return band(values.T)


# Of inner products (.., S, S) with the exact direction first: (..). Two directions that are both nothing are the same.


def _cosine(products: Doubles, other: int) -> Doubles:
    return _quotient(products[..., 0, other], np.sqrt(products[..., 0, 0]) * np.sqrt(products[..., other, other]), 1.0)


def _ratio(products: Doubles, other: int) -> Doubles:
    return _quotient(np.sqrt(products[..., other, other]), np.sqrt(products[..., 0, 0]), 1.0)


def _difference(products: Doubles, other: int) -> Doubles:
    squared = products[..., 0, 0] - 2 * products[..., 0, other] + products[..., other, other]
    return _quotient(np.sqrt(np.maximum(squared, 0)), np.sqrt(products[..., 0, 0]), 0.0)


def _quotient(top: Doubles, bottom: Doubles, of_nothing: float) -> Doubles:
    """top / bottom; `of_nothing` for 0 / 0."""
    with np.errstate(all="ignore"):
        return np.where((top == 0) & (bottom == 0), of_nothing, top / bottom)
