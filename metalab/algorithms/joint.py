"""Learning all training tasks as one: what the transfer baselines share, and leave to their `adapt`.

For classification one wide joint head tells all meta-training classes apart; a new task starts from the body and a
fresh head, or from the joint head's own columns where a label means the same class in every task. Elsewhere the joint
network's head is the head.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metalab.algorithms.base import Algorithm, Learner, MetaGradient
from metalab.models.base import HEAD, init_linear, linear
from metalab.params import Params, detach, expand, gradients, statistics, weights
from metalab.tasks.base import Examples, TaskBatch, TaskFamily, moved

JOINT = "joint"
"""Prefix of the wide head's entries; they are left behind when a new task is learned."""
HEAD_SEED = 0
"""Draws the head for tasks of another number of classes than theta's head is made for."""


class Joint(Algorithm):
    """theta <- theta - beta * grad_theta L(all examples of all tasks; theta). A subclass declares `adapt`."""

    def init(self, learner: Learner, rng: torch.Generator, dtype: torch.dtype = torch.float32) -> Params:
        theta = learner.init(rng, dtype)
        if learner.family.kind == "classification":
            width = theta["head.weight"].shape[0]
            theta |= init_linear(JOINT, width, learner.family.n_classes("train"), rng, dtype)
        return theta

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        examples = all_examples(batch)
        theta = detach(weights(theta), requires_grad=True) | statistics(theta)
        collected: Params = {}
        if learner.family.kind == "classification":
            shared = expand(theta, 1)
            # All examples are one support set: with `support` given, support-plus-one takes each image by itself.
            features = learner.model.features(shared, examples.x.flatten(0, 1)[None], collect=collected)
            classes = class_ids(batch, examples.y)
            prediction, target = linear(shared, JOINT, features), classes.flatten()[None]
            loss = F.cross_entropy(prediction[0], target[0])
            figures = {"loss": loss, "accuracy": (prediction.argmax(-1) == target).double().mean()}
        else:
            # Task by task: what an example is judged against, such as a baseline of returns, is the task's own.
            shared = expand(theta, batch.n_tasks)
            found = learner.family.attempt(lambda x: learner.model.forward(shared, x, collect=collected), examples)
            loss = learner.family.loss(found, examples.y).mean()
            figures = {n: each.mean() for n, each in learner.family.metrics(found.detach(), examples.y).items()}
        return MetaGradient(
            gradients(loss, weights(theta)),
            {name: value.detach() for name, value in figures.items()},
            {name: collected[name] for name in statistics(theta)},
        )


def without_joint(theta: Params) -> Params:
    """The network without the wide head."""
    return {name: value for name, value in theta.items() if not name.startswith(JOINT)}


def new_task(family: TaskFamily, theta: Params) -> Params:
    """What a new task starts from, however many classes it has."""
    start = without_joint(theta)
    if family.kind != "classification":
        return start
    weight = start[f"{HEAD}weight"]
    if not family.shuffles_labels:
        # Label k is class k in every task.
        start |= {f"{HEAD}{part}": theta[f"{JOINT}.{part}"][..., : family.output_size] for part in ("weight", "bias")}
    elif weight.shape[-1] != family.output_size:
        # theta's own head is as it was drawn, too: joint training leaves it alone.
        rng = torch.Generator().manual_seed(HEAD_SEED)
        fresh = init_linear(HEAD.removesuffix("."), weight.shape[0], family.output_size, rng, weight.dtype)
        start |= {name: value.to(weight.device) for name, value in fresh.items()}
    return start


def all_examples(batch: TaskBatch) -> Examples:
    """Support before query in each task: (T, n, ...)."""
    return Examples(*(torch.cat(parts, 1) for parts in zip(batch.support, batch.query, strict=True)))


def class_ids(batch: TaskBatch, labels: Tensor) -> Tensor:
    """The global class of each task's labels (T, n)."""
    return moved(batch.info["classes"], labels.device).gather(1, labels)
