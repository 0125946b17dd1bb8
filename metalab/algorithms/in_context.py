"""Learning in context: the support set is an input, and one forward pass is all the adaptation there is.

Santoro, Bartunov, Botvinick, Wierstra, Lillicrap: Meta-Learning with Memory-Augmented Neural Networks. ICML 2016; with
a transformer Garg, Tsipras, Liang, Valiant: What Can Transformers Learn In-Context? NeurIPS 2022, arXiv:2208.01066, and
Kirsch et al.: General-Purpose In-Context Learning by Meta-Learning Transformers. 2022, arXiv:2212.04458.

theta descends the query loss of the answers. No weight changes on a new task: phi is theta and what the support set
was read into (`context.` entries).
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from torch import Tensor

from metalab.algorithms.base import Card, Learner, MetaGradient
from metalab.algorithms.shot_based import ShotBased, as_numbers, first_shots, shot_numbers
from metalab.models.base import Model, SupportReader
from metalab.models.transformer import Transformer
from metalab.params import Params, detach, expand, gradients, weights
from metalab.settings import setting
from metalab.tasks.base import Examples, TaskBatch, TaskFamily


class ModelBased(ShotBased):
    """theta <- theta - beta * grad_theta mean_i L_query_i(read(theta, support_i)). A subclass declares `network`."""

    network: ClassVar[type[SupportReader]]
    """The kind of network that it trains."""
    descends: ClassVar[str] = "loss"
    """What theta descends is called so among the metrics."""
    vary_shots: bool = setting(
        True,
        "Train with fewer shots too, in turn from none (of classes: one) to all, so that every number is practised.",
    )

    def misfit_with_family(self, family: TaskFamily) -> str | None:
        if family.kind == "generation":
            return f"{self.name} reads numbers, but the examples of {family.name} are letters: choose prompting"
        if family.kind not in ("regression", "classification"):
            return (
                f"{self.name} answers queries from labelled examples, but {family.name} is about "
                f"{family.kind}: choose a regression or classification family"
            )
        if family.tokens:
            return f"{self.name} reads numbers, but the examples of {family.name} are letters: choose maml"
        if not math.prod(family.input_shape):
            return f"{self.name} answers queries from their inputs, but tasks of {family.name} have none: choose maml"
        return None

    def misfit_with_network(self, model: Model) -> str | None:
        wanted = self.network.model_fields["name"].default
        if not isinstance(model, self.network):
            return f"{self.name} needs a network that reads the support set: choose {wanted}, not {model.name}"
        return None

    def read(self, learner: Learner, theta: Params, support: Examples) -> Params:
        return expand(theta, support.x.shape[0]) | self.known(learner, theta, support)

    @property
    def steady_from(self) -> int | None:
        return None if self.vary_shots else 0

    def known(self, learner: Learner, theta: Params, support: Examples) -> Params:
        """What the network reads the examples into."""
        like = next(iter(theta.values()))
        y = as_numbers(learner.family, support.y, like)
        return self._network(learner).read(theta, support.x, y)

    def meta_gradient(self, learner: Learner, theta: Params, batch: TaskBatch, *, done: int = 0) -> MetaGradient:
        theta = detach(weights(theta), requires_grad=True)
        known = self.known(learner, theta, self._practised(learner, batch.support, done))
        loss, prediction = self.loss(learner, theta, known, batch.query)
        figures = learner.family.metrics(prediction.detach(), batch.query.y)
        metrics = {name: value.mean() for name, value in figures.items()} | {self.descends: loss.detach()}
        return MetaGradient(gradients(loss, theta), metrics)

    def loss(self, learner: Learner, theta: Params, known: Params, query: Examples) -> tuple[Tensor, Tensor]:
        """What theta descends, (), and the predictions that the family's metrics judge."""
        prediction = self._network(learner).answer(theta, known, query.x)
        return learner.family.loss(prediction, query.y).mean(), prediction

    def _practised(self, learner: Learner, support: Examples, done: int) -> Examples:
        """The shots of outer step `done`: another number of them at each, or always all."""
        if not self.vary_shots:
            return support
        # Every class has as many shots in a meta-batch, so that no GPU has to be asked how many.
        fewest, ways = (1, learner.family.output_size) if learner.family.kind == "classification" else (0, 1)
        most = support.y.shape[1] // ways
        k = most - done % (most - fewest + 1)
        return first_shots(support, shot_numbers(learner.family, support.y), k, k * ways)

    def _network(self, learner: Learner) -> SupportReader:
        assert isinstance(learner.model, self.network)
        return learner.model


class InContext(ModelBased):
    """A transformer over the support set, trained on the family's loss."""

    title: ClassVar[str] = "In-context transformer"
    summary: ClassVar[str] = "Reads the support set as a sequence and answers in one pass: no weight changes."
    card: ClassVar[Card] = Card(
        kind="model-based",
        learned="The transformer's weights θ: how to learn from a sequence of examples.",
        adapts="No weights: the support set is read into keys and values that queries attend to.",
        gradient_order="1",
        memory="Constant: there are no inner steps; grows with the support set.",
        paper="Garg, Tsipras, Liang, Valiant: What Can Transformers Learn In-Context? NeurIPS 2022",
        url="https://arxiv.org/abs/2208.01066",
        rule=r"\theta \leftarrow \theta - \beta \, \nabla_{\theta} \tfrac{1}{T} \textstyle\sum_i"
        r" \mathcal{L}\big(f_{\theta}(x^{\mathrm{query}}_i \mid (x_{i1}, y_{i1}), \ldots, (x_{iK}, y_{iK})),"
        r" y^{\mathrm{query}}_i\big)",
    )
    network: ClassVar[type[SupportReader]] = Transformer

    name: Literal["in_context"] = "in_context"
