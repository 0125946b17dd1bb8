"""Where a run begins: on which device, from which theta, with which streams of tasks."""

from __future__ import annotations

import torch

from metalab.params import Params
from metalab.tasks.base import Split, TaskBatch
from metalab.training.config import ConfigError, RunConfig

TASK_STREAM = {"train": 1, "validation": 2, "test": 3}
"""Each split draws its tasks from a random stream of its own."""


def place(config: RunConfig) -> torch.device:
    """The device that the config asks for; of several GPUs this thread's. Raises ConfigError where it is not there."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device = 'cuda': no CUDA device is available here; expected cpu or auto")
    chosen = config.device
    if chosen == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(chosen, torch.cuda.current_device()) if chosen == "cuda" else torch.device(chosen)


def stream(seed: int, split: Split) -> torch.Generator:
    """The random stream of a split's tasks."""
    return torch.Generator().manual_seed(seed * len(TASK_STREAM) + TASK_STREAM[split] + 2**40)


def initialise(config: RunConfig, dtype: torch.dtype = torch.float32) -> Params:
    """theta before the first outer step, on the CPU: the same for the same seed, network and family."""
    return config.algorithm.init(config.learner, torch.Generator().manual_seed(config.seed), dtype)


def held_out(config: RunConfig, device: torch.device | str = "cpu", *, split: Split = "validation") -> TaskBatch:
    """The fixed tasks that a run is tried on, of meta-validation or of the family's `away` split, to(device)."""
    return config.family.sample(config.evaluation_tasks, split, stream(config.seed, split), device)
