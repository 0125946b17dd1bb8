"""What all algorithms share that differentiate the query loss through the inner loop: MAML's outer step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from metalab.algorithms.base import Learner, MetaGradient
from metalab.algorithms.gradient_based import InnerDescent
from metalab.algorithms.inner_loop import inner_loop
from metalab.params import Params, gradients, separate, statistics, weights
from metalab.settings import setting
from metalab.tasks.base import TaskBatch


class Unrolled(InnerDescent):
    """theta <- theta - beta * grad_theta mean_i sum_k w_k L_query_i(phi_i,k(theta)), by default w = (0, .., 0, 1)."""

    order: Literal[2, 1] = setting(
        2, "2 differentiates through the inner loop; 1 takes its gradients as constants (FOMAML)."
    )
    inner_steps: int = setting(1, "Inner steps on each task while meta-training.", low=0, high=20)

    def order_after(self, done: int) -> Literal[2, 1]:
        """The order of the meta-gradient after `done` outer steps."""
        return self.order

    def importance(self, done: int) -> Sequence[float]:
        """Weights of the query losses after 0 .. K inner steps, the last one not zero, after `done` outer steps."""
        return [*[0.0] * self.inner_steps, 1.0]

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        own = separate(theta, batch.n_tasks)
        importance, losses, prediction = self.importance(done), list[Tensor](), None
        collected: Params = {}
        for inner in inner_loop(
            learner, own, batch.support, self.inner_steps, self.rates(own), order=self.order_after(done)
        ):
            weight = importance[inner.k]
            if weight:
                prediction = learner.attempt(inner.phi, batch, collect=collected)
                loss = learner.family.loss(prediction, batch.query.y)
                # Times one is left out, so that the last step alone is MAML bit for bit.
                losses.append(loss if weight == 1 else weight * loss)
        assert prediction is not None
        total = sum(losses[1:], start=losses[0])
        figures = learner.family.metrics(prediction.detach(), batch.query.y)
        if len(losses) > 1:
            figures["loss"] = total.detach()
        return MetaGradient.of_tasks(
            gradients(total.sum(), weights(own)),
            {name: value.mean() for name, value in figures.items()},
            {name: collected[name] for name in statistics(theta)},
        )
