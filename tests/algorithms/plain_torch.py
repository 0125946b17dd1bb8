"""The same networks and algorithms once more, as anyone would write them in plain PyTorch: the oracle.

Ordinary modules, a Python loop over tasks, explicit inner steps. Nothing here is taken from the engine but
the values of its parameters, which `to_torch` lays out as torch's layers want them.
"""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from metalab.tasks.base import TaskBatch

State = dict[str, Tensor]
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "softplus": F.softplus}


class PlainMLP(nn.Module):
    """Linear layers; `joint` is the wide head of pre-training."""

    def __init__(self, n_inputs: int, widths: tuple[int, ...], n_outputs: int, activation: str, n_joint: int = 1):
        super().__init__()
        sizes = (n_inputs, *widths)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.head, self.joint = nn.Linear(sizes[-1], n_outputs), nn.Linear(sizes[-1], n_joint)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, support: Tensor | None = None, joint: bool = False) -> Tensor:
        h = x.flatten(1)
        for layer in self.layers:
            h = self.activation(layer(h))
        return (self.joint if joint else self.head)(h)

    def to_torch(self, params: State) -> State:
        """The engine's entries (values or gradients, no task axis) under this module's names and in its layout."""
        out = {}
        for name, value in params.items():
            layer, entry = name.split(".")
            layer = f"layers.{int(layer.removeprefix('layer')) - 1}" if layer.startswith("layer") else layer
            out[f"{layer}.{entry}"] = value.mT if entry == "weight" else value
        return out


class PlainConv4(nn.Module):
    """Convolution, batch norm, ReLU (and max-pool), four times; `mode` says how query images are normalised."""

    def __init__(self, filters: int, n_outputs: int, pooled: bool, mode: str, n_joint: int = 1):
        super().__init__()
        self.pooled, self.mode, self.filters = pooled, mode, filters
        stride = 1 if pooled else 2
        self.convs = nn.ModuleList(
            nn.Conv2d(1 if i == 0 else filters, filters, 3, stride=stride, padding=1, bias=False) for i in range(4)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(filters, track_running_stats=True) for _ in range(4))
        self.head, self.joint = nn.Linear(filters, n_outputs), nn.Linear(filters, n_joint)

    def forward(
        self, x: Tensor, support: Tensor | None = None, joint: bool = False, evaluating: bool = False
    ) -> Tensor:
        if support is not None and self.mode == "support_plus_one":
            return torch.cat([self(torch.cat([support, image[None]]))[-1:] for image in x])
        running = support is not None and self.mode == "running" and evaluating
        for conv, norm in zip(self.convs, self.norms, strict=True):
            mean, variance = (norm.running_mean, norm.running_var) if running else (None, None)
            x = F.relu(F.batch_norm(conv(x), mean, variance, norm.weight, norm.bias, training=not running))
            x = F.max_pool2d(x, 2) if self.pooled else x
        return (self.joint if joint else self.head)(x.flatten(1))

    def to_torch(self, params: State) -> State:
        """As in PlainMLP; the engine keeps a filter bank as (3 * 3 * channels, filters)."""
        out = {}
        entries = {"scale": "weight", "shift": "bias", "mean": "running_mean", "variance": "running_var"}
        for name, value in params.items():
            layer, entry = name.removeprefix("running.").split(".")
            if layer.startswith("conv"):
                value = value.reshape(3, 3, -1, self.filters).permute(3, 2, 0, 1)
                out[f"convs.{int(layer[4:]) - 1}.weight"] = value
            elif layer.startswith("norm"):
                out[f"norms.{int(layer[4:]) - 1}.{entries[entry]}"] = value
            else:
                out[f"{layer}.{entry}"] = value.mT if entry == "weight" else value
        return out


def loss_of(prediction: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(prediction, target) if target.is_floating_point() else F.cross_entropy(prediction, target)


def inner_steps(module: nn.Module, params: State, x: Tensor, y: Tensor, steps: int, alpha: float, order: int) -> State:
    for _ in range(steps):
        loss = loss_of(functional_call(module, params, (x,)), y)
        found = torch.autograd.grad(loss, list(params.values()), create_graph=order == 2, allow_unused=True)
        slopes = {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(params.items(), found, strict=True)}
        if order == 1:
            slopes = {n: g.detach() for n, g in slopes.items()}
        params = {n: p - alpha * slopes[n] for n, p in params.items()}
    return params


def maml(
    module: nn.Module, theta: State, batch: TaskBatch, steps: int, alpha: float, order: int
) -> tuple[State, Tensor]:
    """(meta-gradient, mean query loss)."""
    theta = {n: p.detach().requires_grad_() for n, p in theta.items()}
    losses = []
    for xs, ys, xq, yq in zip(*batch.support, *batch.query, strict=True):
        phi = inner_steps(module, theta, xs, ys, steps, alpha, order)
        losses.append(loss_of(functional_call(module, phi, (xq, xs)), yq))
    loss = torch.stack(losses).mean()
    found = torch.autograd.grad(loss, list(theta.values()), allow_unused=True)
    return {n: g for n, g in zip(theta, found, strict=True) if g is not None}, loss.detach()


def meta_sgd(
    module: nn.Module, theta: State, alpha: State, batch: TaskBatch, steps: int, order: int
) -> tuple[State, State, Tensor]:
    """(gradient of theta, of alpha, mean query loss); alpha has a rate for each entry of theta, as large as it."""
    theta = {n: p.detach().requires_grad_() for n, p in theta.items()}
    alpha = {n: p.detach().requires_grad_() for n, p in alpha.items()}
    losses = []
    for xs, ys, xq, yq in zip(*batch.support, *batch.query, strict=True):
        phi = dict(theta)
        for _ in range(steps):
            loss = loss_of(functional_call(module, phi, (xs,)), ys)
            slopes = torch.autograd.grad(loss, list(phi.values()), create_graph=order == 2, retain_graph=True)
            phi = {
                n: p - alpha[n] * (g if order == 2 else g.detach())
                for (n, p), g in zip(phi.items(), slopes, strict=True)
            }
        losses.append(loss_of(functional_call(module, phi, (xq, xs)), yq))
    loss = torch.stack(losses).mean()
    found = torch.autograd.grad(loss, [*theta.values(), *alpha.values()])
    return (
        dict(zip(theta, found[: len(theta)], strict=True)),
        dict(zip(alpha, found[len(theta) :], strict=True)),
        loss.detach(),
    )


def reptile(
    module: nn.Module, theta: State, batch: TaskBatch, alpha: float, adam: bool, minibatches: list[Tensor]
) -> State:
    """theta - mean of the adapted parameters; `minibatches` holds the example numbers of each inner step."""
    ends = []
    for xs, ys, xq, yq in zip(*batch.support, *batch.query, strict=True):
        x, y = torch.cat([xs, xq]), torch.cat([ys, yq])
        own = copy.deepcopy(module)
        own.load_state_dict(theta, strict=False)
        learned = list(own.parameters())
        optimiser = (
            torch.optim.Adam(learned, lr=alpha, betas=(0.0, 0.999)) if adam else torch.optim.SGD(learned, lr=alpha)
        )
        for chosen in minibatches:
            optimiser.zero_grad()
            loss_of(own(x[chosen]), y[chosen]).backward()
            optimiser.step()
        ends.append(dict(own.named_parameters()))
    return {n: p - torch.stack([end[n].detach() for end in ends]).mean(0) for n, p in theta.items() if n in ends[0]}


def joint(module: nn.Module, theta: State, batch: TaskBatch) -> tuple[State, Tensor]:
    """(gradient, loss) of all examples of all tasks in one pile; classes are told apart by the wide head."""
    theta = {n: p.detach().requires_grad_() for n, p in theta.items()}
    xs, ys, wide = [], [], "classes" in batch.info
    for task in range(batch.n_tasks):
        for x, y in (batch.support, batch.query):
            xs.append(x[task])
            ys.append(batch.info["classes"][task][y[task]] if wide else y[task])
    loss = loss_of(functional_call(module, theta, (torch.cat(xs),), {"joint": wide}), torch.cat(ys))
    found = torch.autograd.grad(loss, list(theta.values()), allow_unused=True)
    return {n: g for n, g in zip(theta, found, strict=True) if g is not None}, loss.detach()
