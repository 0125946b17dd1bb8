"""What a meta-learning algorithm must offer, and what it works with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor

from metalab.algorithms.flow import FLOWS, Flow
from metalab.models.base import Model
from metalab.params import Params
from metalab.settings import Settings
from metalab.tasks.base import Examples, TaskBatch, TaskFamily


@dataclass(frozen=True)
class Learner:
    """A network together with the loss of the family whose tasks it is to learn."""

    model: Model
    family: TaskFamily

    def init(self, rng: torch.Generator, dtype: torch.dtype = torch.float32) -> Params:
        """Fresh parameters, without a task axis."""
        return self.model.init(self.family.input_shape, self.family.output_size, rng, dtype)

    def predict(self, phi: Params, x: Tensor, support: Tensor, collect: Params | None = None) -> Tensor:
        """Predictions (T, m, output_size) at query inputs x (T, m, ...), given the support inputs."""
        return self.model.forward(phi, x, support=support, collect=collect)

    def support_loss(self, phi: Params, support: Examples) -> Tensor:
        """Loss of each task (T,) on its support set: what the inner loop descends."""
        return self.family.loss(self.family.attempt(lambda x: self.model.forward(phi, x), support), support.y)

    def attempt(self, phi: Params, batch: TaskBatch, collect: Params | None = None) -> Tensor:
        """What phi makes of the query set: the prediction that the family's loss and metrics judge."""
        return self.family.attempt(lambda x: self.predict(phi, x, batch.support.x, collect), batch.query)

    def query_loss(self, phi: Params, batch: TaskBatch) -> Tensor:
        """Loss of each task (T,) on its query set."""
        return self.family.loss(self.attempt(phi, batch), batch.query.y)


class InnerStep(NamedTuple):
    """Where adaptation stands before step `k` (0 .. K; K is the end).

    For an algorithm without inner steps k counts what `Algorithm.axis` says.
    """

    k: int
    phi: Params
    """Adapted parameters phi_k: (T, ...) each, with what else `Algorithm.predict` needs."""
    support_loss: Tensor | None
    """Loss (T,) that the coming step descends, at phi_k; None at the end, and where no step descends."""
    gradient: Params | None
    """Its gradient with respect to the entries that adapt: (T, ...) each; None where the loss is."""


@dataclass(frozen=True)
class MetaGradient:
    """What the outer optimiser descends, averaged over the meta-batch."""

    gradient: Params
    """One entry for each entry of theta that is learned."""
    metrics: dict[str, Tensor]
    """Means over tasks, () each: always `loss`, the family's, of what the algorithm trains on."""
    statistics: Params = field(default_factory=dict)
    """Batch statistics for the running averages in theta; empty where the network keeps none."""
    each: Params = field(default_factory=dict)
    """Every task's own gradient (T, ...), of which `gradient` is the mean; empty where one pass does not tell tasks
    apart (see `Algorithm.task_gradients`)."""

    @classmethod
    def of_tasks(cls, each: Params, metrics: dict[str, Tensor], statistics: Params) -> Self:
        """The mean over tasks of their gradients (T, ...)."""
        return cls({name: value.mean(0) for name, value in each.items()}, metrics, statistics, each)


@dataclass(frozen=True)
class Card:
    """What an algorithm states of itself, for a person who chooses one. Texts are plain words, one line each."""

    kind: Literal["gradient-based", "metric-based", "model-based", "transfer", "baseline"]
    learned: str
    """What the outer loop learns."""
    adapts: str
    """What changes from task to task."""
    gradient_order: str
    """How often a loss is differentiated for an outer step, e.g. "2 (1 as FOMAML)"."""
    memory: str
    """How the memory of an outer step grows with the inner steps."""
    paper: str
    """Authors: title, place and year."""
    url: str
    rule: str
    """The update rule in LaTeX."""
    flow: Flow | None = None
    """What flows where, where it is not as usual for the kind."""

    @property
    def edges(self) -> Flow:
        """What flows where."""
        return self.flow or FLOWS[self.kind]


class Algorithm(Settings):
    """A meta-learning algorithm. A subclass declares `name`, its settings, and the methods below."""

    card: ClassVar[Card]
    trains: ClassVar[bool] = True
    """False where theta stays as initialised, so that there is no outer loop."""
    axis: ClassVar[Literal["inner step", "shot"]] = "inner step"
    """What adaptation counts: gradient steps on the whole support set, or how many shots of it are used."""
    name: str

    @property
    def label(self) -> str:
        """The name that figures use, e.g. FOMAML for first-order MAML."""
        return self.title

    @property
    def alpha(self) -> float | None:
        """The inner learning rate that `adapt` uses, or scales learned ones by; None where it uses no such number."""
        return None

    @property
    def learns_rates(self) -> bool:
        """Whether theta holds the inner learning rates, so that `inner_lr` is only where they started."""
        return False

    @property
    def steady_from(self) -> int | None:
        """Outer steps after which `meta_gradient` no longer depends on how many were `done`; None for never."""
        return 0

    @property
    def evaluation_steps(self) -> int:
        """How far `adapt` goes on held-out tasks."""
        raise NotImplementedError

    def misfit(self, learner: Learner) -> str | None:
        """Why the algorithm cannot train this learner, in one sentence, or None where it can.

        The family comes first: what no network would mend is not blamed on the one that is chosen.
        """
        model, family = learner.model, learner.family
        return self.misfit_with_family(family) or model.misfit_with(family) or self.misfit_with_network(model)

    def misfit_with_family(self, family: TaskFamily) -> str | None:
        """Why the algorithm learns the family's tasks with no network, in one sentence, or None where it does."""
        return None

    def misfit_with_network(self, model: Model) -> str | None:
        """Why the algorithm cannot train this network, in one sentence, or None where it can."""
        if model.reads_support:
            return f"{model.name} reads the support set itself, but {self.name} adapts a network to it"
        return None

    def init(self, learner: Learner, rng: torch.Generator, dtype: torch.dtype = torch.float32) -> Params:
        """theta, without a task axis."""
        return learner.init(rng, dtype)

    def adapt(self, learner: Learner, theta: Params, support: Examples, steps: int) -> Iterator[InnerStep]:
        """phi_0 .. phi_steps for new tasks, one after another, cut off from any graph.

        On the axis "shot", phi_k has read the first k shots, and it ends at phi_K once there are no more than K.
        """
        raise NotImplementedError

    def predict(
        self, learner: Learner, phi: Params, x: Tensor, support: Tensor, collect: Params | None = None
    ) -> Tensor:
        """Predictions (T, m, output_size) of what `adapt` gave at query inputs x (T, m, ...)."""
        return learner.predict(phi, x, support, collect)

    def support_loss(self, learner: Learner, phi: Params, support: Examples) -> Tensor:
        """Loss of each task (T,) on the support set itself, of what `adapt` gave."""
        return learner.support_loss(phi, support)

    def attempt(self, learner: Learner, phi: Params, support: Examples, examples: Examples) -> Tensor:
        """What the family's loss and metrics judge of phi, adapted to `support`, on other examples."""
        return learner.family.attempt(lambda x: self.predict(learner, phi, x, support.x), examples)

    def judged(
        self, learner: Learner, phi: Params, support: Examples, examples: Examples
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`attempt`, and named figures (T,) of it: the family's metrics, and what else the algorithm knows of it."""
        prediction = self.attempt(learner, phi, support, examples)
        return prediction, learner.family.metrics(prediction, examples.y)

    def spread(self, learner: Learner, phi: Params, x: Tensor) -> Tensor | None:
        """How unsure it says it is at query inputs x (T, m, ...): the standard deviation of each prediction.

        (T, m, output_size), or None for an algorithm that does not say.
        """
        return None

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        """The direction of descent for theta on one meta-batch, after `done` outer steps."""
        raise NotImplementedError

    def task_gradients(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> Params:
        """Every task's own meta-gradient (T, ...), one task after another: T times the passes of `meta_gradient`.

        Their mean is the meta-batch's, but where batch normalisation mixes the tasks: here each is normalised alone.
        """
        found = [
            self.meta_gradient(learner, theta, batch.tasks(i, i + 1), done=done).gradient for i in range(batch.n_tasks)
        ]
        return {name: torch.stack([gradient[name] for gradient in found]) for name in found[0]}
