"""A small config, its checkpoints, and where the store keeps them."""

from __future__ import annotations

from pathlib import Path

from metalab.store import Store
from metalab.training.config import RunConfig, parse_config
from metalab.training.events import Checkpoint, Checkpointed
from metalab.training.trainer import train

ROOT = Path(__file__).parents[2]
CONFIG = parse_config(
    {
        "model": {"name": "mlp", "widths": [4]},
        "algorithm": {"name": "maml", "inner_steps_eval": 2},
        "meta_batch_size": 2,
        "evaluation_tasks": 2,
        "outer_steps": 4,
        "evaluate_every": 2,
        "device": "cpu",
    }
)


def checkpoint_of(config: RunConfig = CONFIG, step: int = 2) -> Checkpoint:
    return next(e.checkpoint for e in train(config) if isinstance(e, Checkpointed) and e.step == step)


def resume_file(store: Store, run_id: str) -> Path:
    return store.home / "checkpoints" / run_id / "resume.safetensors"
