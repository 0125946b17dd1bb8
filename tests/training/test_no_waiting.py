"""No outer step asks the device for a number: a GPU would finish all its work before it answered.

Tensors on the meta device have shapes and no numbers, so that whatever asks for one raises there.
"""

from __future__ import annotations

import pytest
import torch

from metalab.algorithms import ALGORITHMS
from metalab.tasks.base import Examples, TaskBatch
from metalab.training.config import ConfigError, RunConfig, parse_config
from metalab.training.outer import Outer, aggregate
from metalab.training.start import initialise, stream

FAMILIES = {
    "sinusoid": {"shots": 3, "queries": 2},
    "languages": {"ways": 3, "shots": 2, "queries": 1},
    "names": {"shots": 2, "queries": 1},
    "navigation": {"shots": 2, "queries": 2, "horizon": 5},
}
ONLY = {"names": ("reptile", "prompting"), "navigation": ("maml", "pretrained")}
"""Every algorithm is tried with the other families, if it learns them."""
SHORT = {"inner_steps": 2, "cg_steps": 1}


def configs() -> list:
    """Every algorithm that trains with every family that it learns, small."""
    found = []
    for family, settings in FAMILIES.items():
        for name, algorithm in ALGORITHMS.items():
            if name not in ONLY.get(family, ALGORITHMS):
                continue
            short = {key: value for key, value in SHORT.items() if key in algorithm.model_fields}
            small = {
                "family": {"name": family, **settings},
                "algorithm": {"name": name, **short},
                "meta_batch_size": 2,
                "clip_norm": 1.0,
            }
            try:
                config = parse_config(small)
            except ConfigError:
                continue
            if algorithm.trains:
                found.append(pytest.param(config, id=f"{family}-{name}"))
    return found


def without_numbers(batch: TaskBatch) -> TaskBatch:
    parts = (Examples(*(value.to("meta") for value in part)) for part in (batch.support, batch.query))
    return TaskBatch(*parts, batch.info)


@pytest.mark.parametrize("config", configs())
def test_an_outer_step_needs_no_number_from_the_device(config: RunConfig):
    batch = without_numbers(config.family.sample(2, "train", stream(0, "train")))
    outer = Outer(config, {name: value.to("meta") for name, value in initialise(config).items()})
    meta = config.algorithm.meta_gradient(config.learner, outer.theta, batch, done=1)
    found = aggregate(meta, batch.n_tasks, squared=False)
    assert outer.step(found, config, 1).device.type == "meta"
    assert all(value.device.type == "meta" for value in found.metrics.values())


def test_what_asks_for_a_number_is_noticed():
    with pytest.raises(RuntimeError, match="meta"):
        bool(torch.ones((), device="meta").isfinite())
