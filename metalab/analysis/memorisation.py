"""When does meta-learning memorise? The same training twice: labels shuffled in every task, and labels that stay.

Where a character has the same label in every task, one network can know the label without a support set, and nothing
pulls theta towards adapting (Yin, Tucker, Zhou, Levine, Finn: Meta-Learning without Memorization. ICLR 2020,
arXiv:1912.03820). With labels shuffled per task the accuracy before adaptation is 1/N, whatever theta is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from metalab.algorithms.base import Learner
from metalab.algorithms.maml import MAML
from metalab.analysis.background import Report, quiet
from metalab.analysis.bootstrap import Band, band
from metalab.models.conv4 import Conv4
from metalab.params import Params
from metalab.tasks.base import Examples, Split, TaskBatch
from metalab.tasks.characters import CharacterFamily

POOL = 40
"""Characters of the meta-training split that both trainings use: few enough to be learned by heart."""
OUTER_STEPS = 160
LOOK_EVERY = 20
META_BATCH = 8
OUTER_LR = 5e-3
TEST_TASKS = 48
AT_ONCE = 8
NETWORK = Conv4(filters=16)
ALGORITHM = MAML(inner_lr=0.4, inner_steps=1, inner_steps_eval=3)


@dataclass(frozen=True, eq=False)
class Labels:
    """One of the two trainings. Accuracies over TEST_TASKS tasks, before adaptation and after: (looks,) each."""

    shuffled: bool
    known: Band
    """Before adaptation, on characters of the pool."""
    known_after: Band
    new: Band
    """Before adaptation, on characters of the meta-test split."""
    new_after: Band


@dataclass(frozen=True, eq=False)
class Memorisation:
    """Both trainings."""

    ways: int
    outer_steps: np.ndarray
    """(looks,)"""
    fixed: Labels
    shuffled: Labels


def memorise(
    family: CharacterFamily, *, outer_steps: int = OUTER_STEPS, seed: int = 0, report: Report = quiet
) -> Memorisation:
    """Train a small MAML from one initialisation, on the same characters, with labels that stay and shuffled ones.

    Raises DataMissing, and what `report` raises.
    """
    report(0.0)
    looks = np.arange(0, outer_steps + 1, LOOK_EVERY)
    found = []
    for i, shuffled in enumerate((False, True)):

        def part(done: float, i: int = i) -> None:
            report((i + done) / 2)

        found.append(_train(family, shuffled, outer_steps, seed, part))
    return Memorisation(family.ways, looks, *found)


def draw(
    family: CharacterFamily, n_tasks: int, split: Split, pool: int | None, rng: torch.Generator, *, shuffled: bool
) -> TaskBatch:
    """Tasks of one character from each of `ways` groups, c mod ways being the group of character c.

    The group is the label, or with `shuffled` a random permutation of the groups for each task. `pool` characters of
    the split are used, None for all. Raises DataMissing.
    """
    images, ways = family.images(split)[:pool], family.ways
    n = family.shots + family.queries
    classes = torch.arange(ways) + ways * torch.randint(len(images) // ways, (n_tasks, ways), generator=rng)
    if shuffled:
        order = torch.rand(n_tasks, ways, generator=rng).argsort(1)
        classes = classes.gather(1, order)
    drawers = torch.rand(n_tasks, ways, images.shape[1], generator=rng).topk(n).indices
    x = images[classes[..., None], drawers].float()[:, :, :, None] / 255
    y = torch.arange(ways)[:, None].expand(n_tasks, ways, n)

    def cut(part: slice) -> Examples:
        return Examples(x[:, :, part].flatten(1, 2), y[:, :, part].flatten(1))

    return TaskBatch(cut(slice(None, family.shots)), cut(slice(family.shots, None)), {"classes": classes})


def _train(family: CharacterFamily, shuffled: bool, outer_steps: int, seed: int, report: Report) -> Labels:
    learner, rng = Learner(NETWORK, family), torch.Generator().manual_seed(seed)
    theta = {name: value.requires_grad_() for name, value in learner.init(rng).items()}
    optimiser = torch.optim.Adam(theta.values(), lr=OUTER_LR)
    kinds: tuple[tuple[Split, int | None], ...] = (("train", POOL), ("test", None))
    tests = [
        draw(family, TEST_TASKS, split, pool, torch.Generator().manual_seed(seed + 1), shuffled=shuffled)
        for split, pool in kinds
    ]
    seen: list[list[np.ndarray]] = []
    for step in range(outer_steps + 1):
        report(step / (outer_steps + 1))
        if step % LOOK_EVERY == 0:
            plain = {name: value.detach() for name, value in theta.items()}
            seen.append([each for test in tests for each in _accuracies(learner, plain, test)])
        batch = draw(family, META_BATCH, "train", POOL, rng, shuffled=shuffled)
        gradient = ALGORITHM.meta_gradient(learner, theta, batch, done=step).gradient
        for name, value in theta.items():
            value.grad = gradient[name].detach()
        optimiser.step()
    bands = [band(np.stack([look[i] for look in seen], 1)) for i in range(4)]
    return Labels(shuffled, *bands)


def _accuracies(learner: Learner, theta: Params, batch: TaskBatch) -> tuple[np.ndarray, np.ndarray]:
    """Of each task (T,), before adaptation and after."""
    before: list[np.ndarray] = []
    after: list[np.ndarray] = []
    for first in range(0, batch.n_tasks, AT_ONCE):
        part = batch.tasks(first, min(first + AT_ONCE, batch.n_tasks))
        for inner in ALGORITHM.adapt(learner, theta, part.support, ALGORITHM.evaluation_steps):
            if inner.k in (0, ALGORITHM.evaluation_steps):
                with torch.no_grad():
                    prediction = ALGORITHM.attempt(learner, inner.phi, part.support, part.query)
                    found = learner.family.metrics(prediction, part.query.y)["accuracy"]
                (before if inner.k == 0 else after).append(found.numpy())
    return np.concatenate(before), np.concatenate(after)
