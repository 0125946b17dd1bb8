"""higher (Grefenstette et al. 2019, arXiv:1910.01727): a patched module and a differentiable SGD, task after task."""

from __future__ import annotations

import higher
import torch

from peers.work import Job, Work, loss_of, meta_step


def job(work: Work) -> Job | None:
    if work.kind != "maml":
        return None
    module = work.module()
    inner = torch.optim.SGD(module.parameters(), lr=work.alpha)
    theta = list(module.parameters())

    def maml() -> None:
        module.zero_grad()
        for xs, ys, xq, yq in work.examples():
            with higher.innerloop_ctx(
                module, inner, copy_initial_weights=False, track_higher_grads=work.order == 2
            ) as (patched, steps):
                for _ in range(work.steps):
                    steps.step(loss_of(patched(xs), ys))
                loss = loss_of(patched(xq), yq) / work.batch.n_tasks
                # In first order the graph ends at the adapted parameters, whose gradient theta then takes.
                at = theta if work.order == 2 else list(patched.parameters())
                for value, slope in zip(theta, torch.autograd.grad(loss, at), strict=True):
                    value.grad = slope if value.grad is None else value.grad + slope

    return meta_step(module, work.optimiser(module), maml)
