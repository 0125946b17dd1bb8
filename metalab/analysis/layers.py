"""A network as a stack of layers: what each gives out, how many parameters it has, and how far adaptation moves it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from metalab.algorithms.base import Learner
from metalab.algorithms.maml_plus_plus import layer_of, layers
from metalab.analysis.adaptation import Contender
from metalab.analysis.challenge import Challenge
from metalab.models.base import HEAD, Model
from metalab.models.conv4 import BLOCKS, Conv4
from metalab.models.mlp import MLP
from metalab.models.ngrams import NGrams
from metalab.params import Params, network
from metalab.tasks.base import TaskFamily


@dataclass(frozen=True)
class Layer:
    """One layer, from the input on."""

    name: str
    shape: tuple[int, ...]
    """Of what it gives out for one example; empty where it is not known."""
    parameters: int
    moved: float
    """||phi_K - theta|| / ||theta|| over its parameters; 0 where it has none."""


def stack(contender: Contender, challenge: Challenge, *, steps: int) -> tuple[Layer, ...]:
    """The contender's network, the input first, adapted to the challenge."""
    learner, algorithm = Learner(contender.model, challenge.family), contender.algorithm
    wanted = algorithm.evaluation_steps if algorithm.axis == "shot" else steps
    phi: Params = {}
    for inner in algorithm.adapt(learner, contender.theta, challenge.support, wanted):
        phi = inner.phi
    theta = network(contender.theta)
    head = {name: value[0] for name, value in phi.items() if name.startswith(HEAD)}
    every = theta | {name: value for name, value in head.items() if name not in theta}
    # A stored theta has its entries in the alphabet's order, a fresh one in the network's.
    order = list(learner.init(torch.Generator().manual_seed(0)))
    every = {name: every[name] for name in sorted(every, key=lambda name: order.index(name))}
    shapes = outputs(contender.model, challenge.family)
    found = [Layer("input", tuple(challenge.family.input_shape), 0, 0.0)]
    for layer in layers(every):
        mine = [name for name in every if layer_of(name) == layer]
        moved = math.sqrt(sum(float((phi[name][0] - every[name]).square().sum()) for name in mine))
        length = math.sqrt(sum(float(torch.square(every[name]).sum()) for name in mine))
        share = moved / length if length else 0.0
        found.append(Layer(layer, shapes.get(layer, ()), sum(every[name].numel() for name in mine), share))
    return tuple(found)


def outputs(model: Model, family: TaskFamily) -> dict[str, tuple[int, ...]]:
    """The shape of what each layer gives out for one example, as far as it is known; images channels last."""
    found: dict[str, tuple[int, ...]] = {"head": (family.output_size,)}
    if isinstance(model, MLP):
        found |= {f"layer{i + 1}": (width,) for i, width in enumerate(model.widths)}
    elif isinstance(model, NGrams):
        found |= {"pieces": (model.width,)}
    elif isinstance(model, Conv4):
        height, width = family.input_shape[1:]
        for i in range(1, BLOCKS + 1):
            pooled = model.downsampling == "max_pool"
            inside = (height, width) if pooled else ((height + 1) // 2, (width + 1) // 2)
            found[f"conv{i}"] = (*inside, model.filters)
            height, width = (height // 2, width // 2) if pooled else inside
            found[f"norm{i}"] = (height, width, model.filters)
    return found
