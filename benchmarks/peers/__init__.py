"""The engine's workloads once more, as one would do them with other libraries.

Every module has `job(work)`, the same tiny interface: one unit of work to be timed, and what it computes, to be
compared. `naive_loop` and `torch_vmap` need no more than torch; the others need `peers/requirements.txt`.
"""

from __future__ import annotations

import importlib
from typing import cast

from peers.work import Answer, Job, Peer, Work, work_of

ENGINE = "metalab"
PEERS = {
    ENGINE: "engine",
    "metalab compiled": "engine_compiled",
    "naive loop": "naive_loop",
    "learn2learn": "learn2learn_maml",
    "higher": "higher_maml",
    "torch vmap": "torch_vmap",
    "JAX jit": "jax_jit",
}
"""Modules by the names that tables use."""


def load(name: str) -> Peer:
    """The peer of this name. Raises ImportError where its library is not installed."""
    return cast(Peer, importlib.import_module(f"peers.{PEERS[name]}"))


__all__ = ["ENGINE", "PEERS", "Answer", "Job", "Peer", "Work", "load", "work_of"]
