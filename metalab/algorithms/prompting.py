"""Prompting: the examples are put in front of what is to be written, and no weight changes.

Brown et al.: Language Models are Few-Shot Learners. NeurIPS 2020, arXiv:2005.14165; trained on sets of examples as in
Min, Lewis, Zettlemoyer, Hajishirzi: MetaICL, Learning to Learn In Context. NAACL 2022, arXiv:2110.15943.

theta descends the loss of all names of a task, written one after another: the first without any example, the last
after all others, so that every number of examples is practised. On a new task phi is theta and the names themselves.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from metalab.algorithms.base import Card, Learner, MetaGradient
from metalab.algorithms.joint import all_examples
from metalab.algorithms.shot_based import READ, ShotBased
from metalab.models.base import Model
from metalab.models.char_transformer import CharTransformer
from metalab.params import Params, expand, gradients, separate, weights
from metalab.tasks.base import Examples, TaskBatch, TaskFamily


class Prompting(ShotBased):
    """theta <- theta - beta * grad_theta mean_i sum_j L(name_ij | name_i1 .. name_i,j-1; theta)."""

    title: ClassVar[str] = "In-context prompting"
    summary: ClassVar[str] = "Reads the examples before it writes: no weight changes."
    card: ClassVar[Card] = Card(
        kind="model-based",
        learned="The parameters θ of a network that reads examples before it writes.",
        adapts="No parameter: the examples stand in the network's context.",
        gradient_order="1",
        memory="No inner steps; attention grows with the square of the letters in the context.",
        paper="Brown et al.: Language Models are Few-Shot Learners. NeurIPS 2020",
        url="https://arxiv.org/abs/2005.14165",
        rule=r"\theta \leftarrow \theta - \beta \, \nabla_{\theta} \tfrac{1}{T} \textstyle\sum_i \sum_j"
        r" \mathcal{L}\big(x_{ij} \mid x_{i1}, \ldots, x_{i,j-1}; \theta\big)",
    )

    name: Literal["prompting"] = "prompting"

    @property
    def label(self) -> str:
        return "Prompting"

    def misfit_with_family(self, family: TaskFamily) -> str | None:
        if family.kind != "generation":
            return f"prompting goes on with text that it has read, but {family.name} asks for none: choose names"
        return None

    def misfit_with_network(self, model: Model) -> str | None:
        if not isinstance(model, CharTransformer):
            return f"{self.name} needs a network that reads examples before it writes: choose char_transformer"
        return super().misfit_with_network(model)

    def read(self, learner: Learner, theta: Params, support: Examples) -> Params:
        """theta itself: the names that are read stand beside it in phi."""
        return expand(theta, support.x.shape[0])

    def answer(self, learner: Learner, phi: Params, x: Tensor, collect: Params | None = None) -> Tensor:
        return _network(learner).in_context(phi, x, phi[READ])

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        own = separate(weights(theta), batch.n_tasks)
        examples = all_examples(batch)
        prediction = _network(learner).one_after_another(own, examples.x)
        losses = learner.family.loss(prediction, examples.y)
        with torch.no_grad():
            figures = learner.family.metrics(prediction, examples.y)
        means = {name: value.mean() for name, value in figures.items()}
        return MetaGradient.of_tasks(gradients(losses.sum(), own), means, {})


def _network(learner: Learner) -> CharTransformer:
    assert isinstance(learner.model, CharTransformer)
    return learner.model
