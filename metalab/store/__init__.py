"""Runs on disk: an SQLite database and checkpoint files, shared by every process of one home."""

from metalab.store.checkpoints import CheckpointError
from metalab.store.database import StoreError
from metalab.store.runs import (
    ACTIVE,
    COMMAND_LINE,
    EXAMPLE,
    RESUMABLE,
    STATES,
    Evaluation,
    Note,
    Run,
    RunNotFound,
    State,
)
from metalab.store.store import News, Store

__all__ = [
    "ACTIVE",
    "COMMAND_LINE",
    "EXAMPLE",
    "RESUMABLE",
    "STATES",
    "CheckpointError",
    "Evaluation",
    "News",
    "Note",
    "Run",
    "RunNotFound",
    "State",
    "Store",
    "StoreError",
]
