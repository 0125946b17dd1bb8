"""Why this answer? One query of a classification task: which support examples it resembles, and what in it counts.

    explain(contender, challenge, query=..) -> Decision, before adaptation (phi_0) and after it (phi_K)

Occlusion: Zeiler, Fergus: Visualizing and Understanding Convolutional Networks. ECCV 2014, arXiv:1311.2901. The input
gradient: Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks. 2013, arXiv:1312.6034.

Legend: n support examples, q queries, H x W pixels, L letters, N ways.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from metalab.algorithms.base import Algorithm, Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.challenge import Challenge, changed
from metalab.models.base import Model
from metalab.params import Params
from metalab.tasks.base import Examples

Floats = NDArray[np.float32]
PATCH = 6
"""Height and width in pixels of what is covered at once."""
STRIDE = 2
AT_ONCE = 24
"""Covered queries that are answered in one call: few enough that a convolution's patches fit the cache."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for the explained class in one query, at one phi."""

    probabilities: Floats
    """(N,) of the classes."""
    similarity: Floats
    """(n,) cosine between the query's features and each support example's, in [-1, 1]."""
    gradient: Floats | None
    """(H, W) of the class's log-probability in nats with respect to each pixel; None for letters."""
    occlusion: Floats
    """(H, W) nats of log-probability that are lost where a patch is covered, the mean over the patches on a pixel; of a
    name (L,), those lost without a letter. Above zero: it speaks for the class."""
    covered: float
    """The class's probability where the patch, or letter, that counts most is missing."""
    place: tuple[float, float]
    """The middle of that patch, down and across, as shares of the image; of a letter (0, its place)."""


@dataclass(frozen=True, eq=False)
class Decision:
    """One answer of one contender, taken apart."""

    label: str
    colour_key: tuple[str, int, int]
    steps: int
    """How far it adapted: inner steps, or shots."""
    axis: str
    title: str
    class_names: tuple[str, ...]
    """Where people know the classes by names."""
    support_x: NDArray
    """(n, H, W) ink, or (n, L) tokens."""
    support_y: NDArray
    query_x: NDArray
    """(q, H, W) ink, or (q, L) tokens."""
    query_y: NDArray
    answers: NDArray
    """(q,) the class that each query is taken for after adaptation."""
    query: int
    """Which one is explained."""
    said: int
    """The class that it is taken for, and that is explained."""
    before: Evidence
    after: Evidence
    alone: bool
    """Whether each query was normalised with the support set alone, where the network would mix the queries."""

    @property
    def tokens(self) -> bool:
        return self.query_x.ndim == 2

    @property
    def ways(self) -> int:
        return len(self.after.probabilities)

    @property
    def right(self) -> bool:
        return self.said == int(self.query_y[self.query])


def misfit(algorithm: Algorithm, model: Model) -> str | None:
    """Why no answer of theirs can be taken apart here, in one sentence, or None where it can."""
    if model.reads_support:
        return f"{algorithm.label} reads the support set as a whole: it has no features of single examples to compare"
    if not model.has_body:
        return f"the network of {algorithm.label} is nothing but a head: it has no features"
    return None


def explain(contender: Contender, challenge: Challenge, *, query: int, steps: int, report: Report = quiet) -> Decision:
    """Take the answer to query image or name number `query` apart.

    Raises ValueError for a family without classes or without known queries, a query that is not there, or a contender
    that `misfit` names.
    """
    family = challenge.family
    reason = misfit(contender.algorithm, contender.model)
    if reason:
        raise ValueError(f"Nothing to explain: {reason}.")
    if family.kind != "classification" or challenge.query_x is None or challenge.query_y is None:
        raise ValueError(f"{family.name}: expected a task with classes and queries whose classes are known")
    if not 0 <= query < challenge.query_x.shape[1]:
        raise ValueError(f"query {query}: expected 0 to {challenge.query_x.shape[1] - 1}")
    model, alone = contender.model, getattr(contender.model, "batch_norm", None) == "transductive"
    if alone:
        model = changed(model, batch_norm="support_plus_one")
    learner, algorithm, support = Learner(model, family), contender.algorithm, challenge.support
    first, last, k = _ends(algorithm, learner, contender.theta, support, steps)
    report(0.1)
    logits = _answers(algorithm, learner, last, challenge.query_x, support.x)
    answers = logits[0].argmax(-1)
    said, asked = int(answers[query]), challenge.query_x[:, query : query + 1]
    found = []
    for i, phi in enumerate((first, last)):

        def part(fraction: float, i: int = i) -> None:
            report(0.2 + 0.4 * (i + fraction))

        found.append(_evidence(algorithm, learner, phi, support, asked, said, part))
    return Decision(
        label=contender.label,
        colour_key=contender.colour_key,
        steps=k,
        axis=algorithm.axis,
        title=challenge.title,
        class_names=challenge.class_names,
        support_x=_seen(support.x),
        support_y=support.y[0].numpy(),
        query_x=_seen(challenge.query_x),
        query_y=challenge.query_y[0].numpy(),
        answers=answers.numpy(),
        query=query,
        said=said,
        before=found[0],
        after=found[1],
        alone=alone,
    )


def _ends(
    algorithm: Algorithm, learner: Learner, theta: Params, support: Examples, steps: int
) -> tuple[Params, Params, int]:
    """phi_0, the last phi, and how far that is."""
    wanted = algorithm.evaluation_steps if algorithm.axis == "shot" else steps
    inner = list(algorithm.adapt(learner, theta, support, wanted))
    return inner[0].phi, inner[-1].phi, inner[-1].k


def _seen(x: Tensor) -> NDArray:
    """Images (1, n, 1, H, W) without their channel, names as they are."""
    return x[0, :, 0].float().numpy() if x.ndim == 5 else x[0].numpy()


def _answers(
    algorithm: Algorithm, learner: Learner, phi: Params, x: Tensor, support_x: Tensor, report: Report = quiet
) -> Tensor:
    """Logits (1, m, N) of many queries x (1, m, ...), a few at a time."""
    found = []
    with torch.no_grad():
        for start in range(0, x.shape[1], AT_ONCE):
            found.append(algorithm.predict(learner, phi, x[:, start : start + AT_ONCE], support_x))
            report((start + AT_ONCE) / max(x.shape[1], AT_ONCE))
    return torch.cat(found, 1)


def _evidence(
    algorithm: Algorithm,
    learner: Learner,
    phi: Params,
    support: Examples,
    asked: Tensor,
    said: int,
    report: Report,
) -> Evidence:
    logits = _answers(algorithm, learner, phi, asked, support.x)[0, 0]
    usual = float(logits.log_softmax(-1)[said])
    covered, masks = _letters_left_out(asked[0, 0]) if learner.family.tokens else _patches_covered(asked[0, 0])
    without = _answers(algorithm, learner, phi, covered[None], support.x, report)[0].log_softmax(-1)[:, said]
    lost = usual - without
    weights = masks.flatten(1).to(lost)
    mean = (weights.T @ lost) / weights.sum(0).clamp_min(1)
    most = int(lost.argmax())
    where = masks[most].nonzero().double().mean(0)
    shape = torch.tensor(masks.shape[1:], dtype=torch.float64)
    place = ((where + 0.5) / shape).tolist() if masks.ndim == 3 else [0.0, float(where[0])]
    return Evidence(
        probabilities=logits.softmax(-1).float().numpy(),
        similarity=similarities(learner, phi, support.x, asked).numpy(),
        gradient=None if learner.family.tokens else _gradient(algorithm, learner, phi, support.x, asked, said),
        occlusion=mean.reshape(masks.shape[1:]).float().numpy(),
        covered=float(without[most].exp()),
        place=(place[0], place[1]),
    )


def similarities(learner: Learner, phi: Params, support_x: Tensor, asked: Tensor) -> Tensor:
    """The cosine (n,) between the features of a query (1, 1, ...) and of each support example (1, n, ...) at phi."""
    with torch.no_grad():
        known = learner.model.features(phi, support_x)[0]
        mine = learner.model.features(phi, asked, support=support_x)[0]
    return F.cosine_similarity(known.flatten(1), mine.flatten(1)).float()


def _gradient(
    algorithm: Algorithm, learner: Learner, phi: Params, support_x: Tensor, asked: Tensor, said: int
) -> Floats:
    """(H, W): how the log-probability of a class changes with each pixel's ink."""
    x = asked.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = algorithm.predict(learner, phi, x, support_x)[0, 0]
        if not logits.requires_grad:
            # What has read no shot says the same of every image.
            return np.zeros(tuple(asked.shape[-2:]), np.float32)
        (found,) = torch.autograd.grad(logits.log_softmax(-1)[said], x)
    return found[0, 0].sum(0).float().numpy()


def _patches_covered(image: Tensor) -> tuple[Tensor, Tensor]:
    """An image (C, H, W) with a patch of its ink taken away, for every place of the patch that has any: (P, C, H, W),
    and where the patch lies (P, H, W). Where nothing is drawn nothing can be covered."""
    height, width = image.shape[-2:]
    masks = []
    for top in range(-PATCH // 2, height - PATCH // 2, STRIDE):
        for left in range(-PATCH // 2, width - PATCH // 2, STRIDE):
            mask = torch.zeros(height, width, dtype=torch.bool)
            mask[max(top, 0) : top + PATCH, max(left, 0) : left + PATCH] = True
            if bool((image * mask).sum() > 0):
                masks.append(mask)
    where = torch.stack(masks or [torch.zeros(height, width, dtype=torch.bool)])
    return image * ~where[:, None], where


def _letters_left_out(name: Tensor) -> tuple[Tensor, Tensor]:
    """A name (L,) without one of its letters, the rest moved up: (P, L), and which letter (P, L)."""
    length = int((name != 0).sum())
    shorter = [torch.cat([name[:i], name[i + 1 :], name.new_zeros(1)]) for i in range(length)]
    return torch.stack(shorter), torch.eye(len(name), dtype=torch.bool)[:length]
