"""Caruana: Multitask Learning. Machine Learning 28, 1997: one body for all training tasks, a head for each of them.

Hard sharing: every training task has a last layer of its own, all read the same features, and the body descends the
tasks' mean loss. Where joint training (`joint.py`) learns all tasks as one, here each is told which task it is.

For classification a task is its classes: its head is those columns of one wide head, with a softmax over the task's
own ways, where joint training has one over all classes. For regression tasks are drawn once, `training_tasks` of them
with fixed examples, and theta holds a head for each; the family's stream of ever new tasks only draws among them.

A new task gets a head of its own, fitted by gradient steps, with which the body may move, or in closed form
(`new_head.py`). It starts, for regression, from the mean of the training tasks' heads; for classification, where
classes are new, from a random one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from metalab.algorithms.base import Card, InnerStep, Learner, MetaGradient
from metalab.algorithms.joint import JOINT, all_examples, new_task
from metalab.algorithms.new_head import NewHead
from metalab.models.base import HEAD, Model, init_linear, linear
from metalab.params import Params, detach, expand, gradients, statistics, weights
from metalab.settings import setting
from metalab.tasks.base import Examples, TaskBatch, TaskFamily, moved

POOL_SEED = 0
"""Draws the pool of training tasks."""


class MultiTask(NewHead):
    """theta <- theta - beta * grad_theta mean_i L_i(body, head_i)."""

    title: ClassVar[str] = "Multi-task"
    summary: ClassVar[str] = "Learns the training tasks side by side: one body for all, a head for each."
    card: ClassVar[Card] = Card(
        kind="transfer",
        learned="A body that all training tasks share, and a head for each of them.",
        adapts="A new head, by gradient steps or in closed form; the body too, where it is let.",
        gradient_order="1",
        memory="Constant in the inner steps; a head for each training task is kept.",
        paper="Caruana: Multitask Learning. Machine Learning 28, 1997",
        url="https://doi.org/10.1023/A:1007379606734",
        rule=r"\begin{aligned}"
        r"(\theta, h_1, \ldots, h_T) &\leftarrow (\theta, h_1, \ldots, h_T) - \beta \nabla \tfrac{1}{T}"
        r" \textstyle\sum_i \mathcal{L}_i(\theta, h_i) \\"
        r"h &\leftarrow h - \alpha \nabla_h \mathcal{L}^{\mathrm{support}}(\theta, h) \quad \text{on a new task}"
        r"\end{aligned}",
    )

    name: Literal["multi_task"] = "multi_task"
    adapt_body: bool = setting(
        False,
        "Let the body move with the new head on a held-out task, or only the head.",
        only_if={"head": "gradient"},
    )
    training_tasks: int = setting(
        200,
        "How many training tasks there are, for regression: each with its own head and its own fixed examples. For "
        "classification the classes are what is trained on.",
        low=2,
        high=1_000,
        scale="log",
    )

    @model_validator(mode="after")
    def _one_fit(self) -> Self:
        if self.adapt_body and self.head == "ridge":
            raise ValueError("adapt_body = True, expected False: head = 'ridge' fits the head alone, at once")
        return self

    def misfit_with_family(self, family: TaskFamily) -> str | None:
        if family.kind not in ("regression", "classification"):
            return (
                f"multi_task gives each task a head for its examples, but {family.name} is about "
                f"{family.kind}: choose a regression or classification family"
            )
        if not math.prod(family.input_shape):
            return f"multi_task shares a body among tasks, but those of {family.name} have no inputs for it to read"
        return super().misfit_with_family(family)

    def misfit_with_network(self, model: Model) -> str | None:
        if not model.has_body:
            return f"multi_task shares a body among tasks, but this {model.name} is nothing but a head"
        return super().misfit_with_network(model)

    def init(self, learner: Learner, rng: torch.Generator, dtype: torch.dtype = torch.float32) -> Params:
        """The body, the head that new classes start from, and the training tasks' heads."""
        theta = super().init(learner, rng, dtype)
        if learner.family.kind == "regression":
            fan_in, fan_out = theta[f"{HEAD}weight"].shape
            heads = [init_linear(JOINT, fan_in, fan_out, rng, dtype) for _ in range(self.training_tasks)]
            theta |= {name: torch.stack([head[name] for head in heads]) for name in heads[0]}
        return theta

    def adapt(self, learner: Learner, theta: Params, support: Examples, steps: int) -> Iterator[InnerStep]:
        start = new_task(learner.family, theta)
        if learner.family.kind == "regression":
            start |= {f"{HEAD}{part}": theta[f"{JOINT}.{part}"].mean(0) for part in ("weight", "bias")}
        return self.fitted(learner, expand(start, support.x.shape[0]), support, steps, body=self.adapt_body)

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        theta = detach(weights(theta), requires_grad=True) | statistics(theta)
        examples, heads = self._tasks(learner.family, theta, batch)
        collected: Params = {}
        # As in joint training, all examples are one support set: the heads are all that differs from it.
        x = examples.x.flatten(0, 1)[None]
        features = learner.model.features(expand(theta, 1), x, collect=collected)[0].unflatten(0, examples.x.shape[:2])
        prediction = linear(heads, JOINT, features)
        loss = learner.family.loss(prediction, examples.y).mean()
        figures = learner.family.metrics(prediction.detach(), examples.y)
        return MetaGradient(
            gradients(loss, weights(theta)),
            {name: value.mean() for name, value in figures.items()},
            {name: collected[name] for name in statistics(theta)},
        )

    def _tasks(self, family: TaskFamily, theta: Params, batch: TaskBatch) -> tuple[Examples, Params]:
        """The examples (T, n, ...) that the meta-batch stands for, and their tasks' heads (T, ...)."""
        weight, bias = theta[f"{JOINT}.weight"], theta[f"{JOINT}.bias"]
        if family.kind == "classification":
            classes = moved(batch.info["classes"], weight.device)
            return all_examples(batch), {
                f"{JOINT}.weight": weight[:, classes].permute(1, 0, 2),
                f"{JOINT}.bias": bias[classes],
            }
        chosen = drawn_by(batch, self.training_tasks)
        pool = pool_of(family, self.training_tasks, weight.device)
        examples = Examples(*(part.to(weight.dtype)[chosen] for part in pool))
        return examples, {f"{JOINT}.weight": weight[chosen], f"{JOINT}.bias": bias[chosen]}


def drawn_by(batch: TaskBatch, n_tasks: int) -> Tensor:
    """A training task (T,) for each task of the meta-batch, at random: by the last bits of its first input.

    So the choice follows from the meta-batch alone, however it is cut or accumulated.
    """
    first = batch.support.x.flatten(1)[:, 0].to(torch.float32).contiguous()
    return first.view(torch.int32) % n_tasks


@lru_cache(maxsize=8)
def pool_of(family: TaskFamily, n_tasks: int, device: torch.device | str = "cpu") -> Examples:
    """The fixed training tasks of a regression family: all examples of each, kept on the device."""
    return all_examples(family.sample(n_tasks, "train", torch.Generator().manual_seed(POOL_SEED), device))
