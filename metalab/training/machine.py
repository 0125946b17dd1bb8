"""What this machine offers to training."""

from __future__ import annotations

import os

import torch

from metalab.training.config import ConfigError


def cores() -> int:
    """Processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def worker_count() -> int:
    """`METALAB_WORKERS`, by default one for each GPU, or one less than there are cores. Raises ConfigError."""
    given = os.environ.get("METALAB_WORKERS", "").strip()
    if not given:
        return torch.cuda.device_count() or max(1, cores() - 1)
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(f"METALAB_WORKERS = {given!r}: expected a whole number of trainers, 1 or more")
    return int(given)
