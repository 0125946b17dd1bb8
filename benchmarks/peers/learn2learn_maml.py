"""learn2learn (Arnold, Mahajan, Datta, Bunner, Zarkias 2020, arXiv:2008.12284): its MAML wrapper, task after task."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from peers.work import Answer, Job, Work, computation, loss_of, meta_step

with warnings.catch_warnings():
    # Its own imports use what newer versions of other packages deprecate.
    warnings.simplefilter("ignore")
    import learn2learn


def job(work: Work) -> Job:
    module = work.module()
    learner = learn2learn.algorithms.MAML(module, lr=work.alpha, first_order=work.kind != "maml" or work.order == 1)

    def maml() -> None:
        module.zero_grad()
        for xs, ys, xq, yq in work.examples():
            clone = learner.clone()
            for _ in range(work.steps):
                clone.adapt(loss_of(clone(xs), ys))
            (loss_of(clone(xq), yq) / work.batch.n_tasks).backward()

    def reptile() -> None:
        ends = []
        for x, y in zip(*work.joined(), strict=True):
            clone = learner.clone()
            for _ in range(work.steps):
                clone.adapt(loss_of(clone(x), y))
            ends.append([value.detach() for value in clone.module.parameters()])
        for value, *phi in zip(module.parameters(), *ends, strict=True):
            value.grad = value.detach() - torch.stack(phi).mean(0)

    def predictions(xs: Tensor, ys: Tensor, x: Tensor) -> list[Tensor]:
        clone = learner.clone()
        found = []
        for k in range(work.steps + 1):
            with torch.no_grad():
                found.append(clone(x))
            if k < work.steps:
                clone.adapt(loss_of(clone(xs), ys))
        return found

    def adaptation() -> Answer:
        xs, ys, _, _ = work.examples()[0]
        return {"prediction": torch.stack(predictions(xs, ys, work.points[0])).numpy()}

    def evaluation() -> Answer:
        curves = [[loss_of(f, yq) for f in predictions(xs, ys, xq)] for xs, ys, xq, yq in work.examples()]
        return {"loss": np.array(curves, np.float32)}

    if work.kind == "adaptation":
        return computation(adaptation)
    if work.kind == "evaluation":
        return computation(evaluation)
    return meta_step(module, work.optimiser(module), maml if work.kind == "maml" else reptile)
