"""Plain PyTorch, task after task: what one writes first."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from peers.work import Answer, Job, Work, computation, loss_of, meta_step

State = dict[str, Tensor]


def job(work: Work) -> Job:
    module = work.module()
    theta: State = dict(module.named_parameters())

    def descend(phi: State, x: Tensor, y: Tensor, create_graph: bool) -> State:
        loss = loss_of(functional_call(module, phi, (x,)), y)
        slopes = torch.autograd.grad(loss, list(phi.values()), create_graph=create_graph)
        return {name: value - work.alpha * g for (name, value), g in zip(phi.items(), slopes, strict=True)}

    def descend_anew(phi: State, x: Tensor, y: Tensor) -> State:
        return descend({name: value.detach().requires_grad_() for name, value in phi.items()}, x, y, False)

    def maml() -> None:
        module.zero_grad()
        for xs, ys, xq, yq in work.examples():
            phi = theta
            for _ in range(work.steps):
                phi = descend(phi, xs, ys, work.order == 2)
            (loss_of(functional_call(module, phi, (xq,)), yq) / work.batch.n_tasks).backward()

    def reptile() -> None:
        ends = []
        for x, y in zip(*work.joined(), strict=True):
            phi = theta
            for _ in range(work.steps):
                phi = descend_anew(phi, x, y)
            ends.append(phi)
        for name, value in theta.items():
            value.grad = value.detach() - torch.stack([phi[name].detach() for phi in ends]).mean(0)

    def predictions(xs: Tensor, ys: Tensor, x: Tensor) -> list[Tensor]:
        phi, found = theta, []
        for k in range(work.steps + 1):
            with torch.no_grad():
                found.append(functional_call(module, phi, (x,)))
            if k < work.steps:
                phi = descend_anew(phi, xs, ys)
        return found

    def adaptation() -> Answer:
        xs, ys, _, _ = work.examples()[0]
        return {"prediction": torch.stack(predictions(xs, ys, work.points[0])).cpu().numpy()}

    def evaluation() -> Answer:
        curves = [[loss_of(f, yq).cpu() for f in predictions(xs, ys, xq)] for xs, ys, xq, yq in work.examples()]
        return {"loss": np.array(curves, np.float32)}

    if work.kind == "adaptation":
        return computation(adaptation)
    if work.kind == "evaluation":
        return computation(evaluation)
    return meta_step(module, work.optimiser(module), maml if work.kind == "maml" else reptile)
