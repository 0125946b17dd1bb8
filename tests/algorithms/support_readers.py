"""Small learners for the algorithms that read a support set, with tasks in float64."""

from __future__ import annotations

import torch
from engine_cases import FILTERS, MODES, WIDTHS, double
from random_images import RandomImages

from metalab.algorithms import ConditionalNeuralProcess, InContext, NearestNeighbour, Prototypes
from metalab.algorithms.base import Algorithm, Learner
from metalab.algorithms.shot_based import ShotBased
from metalab.models import CNP, MLP, Conv4, Model, Transformer
from metalab.params import Params
from metalab.tasks.base import TaskBatch, TaskFamily
from metalab.tasks.sinusoid import Sinusoid

TRANSFORMER = Transformer(layers=2, heads=1, filters=4)
CONVS = {mode: Conv4(filters=FILTERS, batch_norm=mode) for mode in MODES}
READERS: dict[str, tuple[ShotBased, Model, type[TaskFamily]]] = {
    "prototypes-mlp": (Prototypes(), MLP(widths=WIDTHS), RandomImages),
    "prototypes-cosine": (Prototypes(metric="cosine"), MLP(widths=WIDTHS), RandomImages),
    **{f"prototypes-{mode}": (Prototypes(), conv, RandomImages) for mode, conv in CONVS.items()},
    **{f"nearest-{mode}": (NearestNeighbour(), conv, RandomImages) for mode, conv in CONVS.items()},
    "cnp": (ConditionalNeuralProcess(), CNP(width=8, layers=2), Sinusoid),
    "transformer-sine": (InContext(), TRANSFORMER, Sinusoid),
    "transformer-images": (InContext(), TRANSFORMER, RandomImages),
}
IN_ONE_PASS = ["cnp", "transformer-sine", "transformer-images"]


def case(name: str, n_tasks: int = 3) -> tuple[ShotBased, Learner, TaskBatch]:
    algorithm, model, family_class = READERS[name]
    family = family_class(shots=3, queries=2)
    return algorithm, Learner(model, family), double(family.sample(n_tasks, "train", torch.Generator().manual_seed(1)))


def theta_of(algorithm: Algorithm, learner: Learner, seed: int = 0) -> Params:
    """Fresh float64 parameters, moved off their plain defaults."""
    rng = torch.Generator().manual_seed(seed)
    theta = algorithm.init(learner, rng, torch.float64)
    return {
        name: value + 0.1 * torch.rand(value.shape, generator=rng, dtype=value.dtype) for name, value in theta.items()
    }
