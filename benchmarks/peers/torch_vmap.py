"""torch.func: the naive loop's arithmetic under `vmap` and `grad`, all tasks at once, without a compiler."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from peers.work import Answer, Job, Work, computation, loss_of, meta_step

State = dict[str, Tensor]


def job(work: Work) -> Job:
    module = work.module()
    theta: State = dict(module.named_parameters())

    def loss(phi: State, x: Tensor, y: Tensor) -> Tensor:
        return loss_of(functional_call(module, phi, (x,)), y)

    def descend(phi: State, x: Tensor, y: Tensor) -> State:
        slopes = grad(loss)(phi, x, y)
        if work.order == 1:
            slopes = {name: slope.detach() for name, slope in slopes.items()}
        return {name: value - work.alpha * slopes[name] for name, value in phi.items()}

    def adapt(phi: State, x: Tensor, y: Tensor) -> State:
        for _ in range(work.steps):
            phi = descend(phi, x, y)
        return phi

    def meta_loss(start: State) -> Tensor:
        def of_task(xs: Tensor, ys: Tensor, xq: Tensor, yq: Tensor) -> Tensor:
            return loss(adapt(start, xs, ys), xq, yq)

        return vmap(of_task)(*work.batch.support, *work.batch.query).mean()

    def maml() -> None:
        for name, slope in grad(meta_loss)({n: value.detach() for n, value in theta.items()}).items():
            theta[name].grad = slope

    @torch.no_grad()
    def reptile() -> None:
        phi = vmap(adapt, (None, 0, 0))(theta, *work.joined())
        for name, value in theta.items():
            value.grad = value - phi[name].mean(0)

    def predictions(xs: Tensor, ys: Tensor, x: Tensor) -> list[Tensor]:
        phi, found = theta, []
        for k in range(work.steps + 1):
            found.append(functional_call(module, phi, (x,)))
            if k < work.steps:
                phi = descend(phi, xs, ys)
        return found

    def losses(xs: Tensor, ys: Tensor, xq: Tensor, yq: Tensor) -> Tensor:
        return torch.stack([loss_of(f, yq) for f in predictions(xs, ys, xq)])

    @torch.no_grad()
    def adaptation() -> Answer:
        found = vmap(lambda xs, ys, x: torch.stack(predictions(xs, ys, x)))(*work.batch.support, work.points)
        return {"prediction": found[0].cpu().numpy()}

    @torch.no_grad()
    def evaluation() -> Answer:
        return {"loss": vmap(losses)(*work.batch.support, *work.batch.query).cpu().numpy()}

    if work.kind == "adaptation":
        return computation(adaptation)
    if work.kind == "evaluation":
        return computation(evaluation)
    return meta_step(module, work.optimiser(module), maml if work.kind == "maml" else reptile)
