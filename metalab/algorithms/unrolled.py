"""What all algorithms share that differentiate the query loss through the inner loop: MAML's outer step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from metalab.algorithms.base import Learner, MetaGradient
from metalab.algorithms.gradient_based import InnerDescent
from metalab.algorithms.inner_loop import inner_loop
from metalab.params import Params, gradients, leaves, separate, statistics, weights
from metalab.settings import setting
from metalab.tasks.base import TaskBatch


@dataclass
class Stretch:
    """Some inner steps in a row that are differentiated at once, and the query losses on the way."""

    end: Params = field(default_factory=dict)
    """phi after the last of them."""
    losses: list[Tensor] = field(default_factory=list)
    """Weighted, (T,) each; in the order of the steps."""
    prediction: Tensor | None = None
    """Of the query set, where last a loss was taken."""
    collected: Params = field(default_factory=dict)
    """Its batch statistics."""


class Unrolled(InnerDescent):
    """theta <- theta - beta * grad_theta mean_i sum_k w_k L_query_i(phi_i,k(theta)), by default w = (0, .., 0, 1)."""

    order: Literal[2, 1] = setting(
        2, "2 differentiates through the inner loop; 1 takes its gradients as constants (FOMAML)."
    )
    inner_steps: int = setting(1, "Inner steps on each task while meta-training.", low=0, high=20)
    steps_kept: int = setting(
        0,
        "How many inner steps stay in memory at a time for the second-order gradient; 0 keeps all. The others are "
        "computed again when their turn comes: the same gradient, in less memory and more time. About the square root "
        "of the inner steps is a good value.",
        label="Inner steps kept",
        low=0,
        high=20,
        advanced=True,
        only_if={"order": 2},
    )

    def order_after(self, done: int) -> Literal[2, 1]:
        """The order of the meta-gradient after `done` outer steps."""
        return self.order

    def importance(self, done: int) -> Sequence[float]:
        """Weights of the query losses after 0 .. K inner steps, the last one not zero, after `done` outer steps."""
        return [*[0.0] * self.inner_steps, 1.0]

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        order, slope, losses = self.order_after(done), Params(), list[Tensor]()
        figures: dict[str, Tensor] = {}
        collected: Params = {}
        # Backwards: the slope at a stretch's start is that at the end of the one before.
        for first, last, start in reversed(self._stretches(learner, separate(theta, batch.n_tasks), batch, order)):
            stretch = self._descend(learner, start, batch, first, last, done)
            slope = gradients(_aim(stretch, slope), weights(start))
            losses[:0] = [loss.detach() for loss in stretch.losses]
            if last == self.inner_steps:
                assert stretch.prediction is not None
                figures = learner.family.metrics(stretch.prediction.detach(), batch.query.y)
                collected = stretch.collected
        if len(losses) > 1:
            figures["loss"] = _total(losses)
        return MetaGradient.of_tasks(
            slope,
            {name: value.mean() for name, value in figures.items()},
            {name: collected[name] for name in statistics(theta)},
        )

    def _stretches(
        self, learner: Learner, own: Params, batch: TaskBatch, order: Literal[2, 1]
    ) -> list[tuple[int, int, Params]]:
        """(first inner step, the one after the last, phi before the first): one stretch of all, or of `steps_kept`."""
        steps, kept = self.inner_steps, self.steps_kept
        if order == 1 or not 0 < kept < steps:
            return [(0, steps, own)]
        starts = range(0, steps, kept)
        path = inner_loop(learner, own, batch.support, starts[-1], self.rates(own))
        return [(inner.k, min(inner.k + kept, steps), leaves(inner.phi)) for inner in path if inner.k in starts]

    def _descend(self, learner: Learner, start: Params, batch: TaskBatch, first: int, last: int, done: int) -> Stretch:
        """Inner steps `first` .. `last` - 1 from `start`, and the query losses after them (and before step 0)."""
        stretch, importance = Stretch(), self.importance(done)
        rates, order = self.rates(start), self.order_after(done)
        for inner in inner_loop(learner, start, batch.support, last, rates, order=order, begin=first):
            weight = importance[inner.k] if inner.k > first or inner.k == 0 else 0.0
            if weight:
                stretch.prediction = learner.attempt(inner.phi, batch, collect=stretch.collected)
                loss = learner.family.loss(stretch.prediction, batch.query.y)
                # Times one is left out, so that the last step alone is MAML bit for bit.
                stretch.losses.append(loss if weight == 1 else weight * loss)
            stretch.end = inner.phi
        return stretch


def _total(losses: Sequence[Tensor]) -> Tensor:
    return sum(losses[1:], start=losses[0])


def _aim(stretch: Stretch, slope: Params) -> Tensor:
    """What a stretch's start is to be differentiated for: its query losses, and its end along the slope there; ()."""
    parts = [_total(stretch.losses).sum()] if stretch.losses else []
    parts += [(value * stretch.end[name]).sum() for name, value in slope.items()]
    return _total(parts)
