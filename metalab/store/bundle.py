"""A finished run in one safetensors file: how example runs come with MetaLab, and how they get into a store."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from metalab.places import write_atomically
from metalab.store import checkpoints as files
from metalab.store.runs import EXAMPLE, Run
from metalab.store.store import News, Store

if TYPE_CHECKING:
    from torch import Tensor


def pack(store: Store, run_id: str, path: Path, steps: Collection[int], name: str) -> None:
    """Write a run to `path`, under another `name`: its checkpoints and its evaluations after `steps` outer steps.

    Metrics of single outer steps are left out: they are many. Raises RunNotFound, CheckpointError, OSError.
    """
    import safetensors.torch

    run = store.get(run_id)
    tensors: dict[str, Tensor] = {}
    for step in steps:
        tensors |= {f"theta/{step}/{key}": value for key, value in store.load_theta(run_id, step).items()}
    for seen in store.evaluations(run_id):
        if seen.step not in steps:
            continue
        tensors |= {f"curve/{seen.step}/{metric}": value for metric, value in seen.curves.items()}
        if seen.functions is not None:
            tensors[f"functions/{seen.step}"] = seen.functions
    metadata = {"name": name, "config": run.current_json, "step": str(run.step), "seconds": str(run.seconds)}
    data = safetensors.torch.save({key: value.contiguous() for key, value in tensors.items()}, metadata)
    write_atomically(path, lambda file: file.write(data))


def unpack(store: Store, path: Path) -> Run:
    """Make a finished run, owned by nobody, of what `pack` wrote. Raises CheckpointError, ConfigError, OSError."""
    from metalab.training.config import parse_config
    from metalab.training.events import Evaluated

    tensors, metadata = files.read(path)
    theta: dict[int, dict[str, Tensor]] = {}
    curves: dict[int, dict[str, Tensor]] = {}
    functions: dict[int, Tensor] = {}
    for key, value in tensors.items():
        kind, step, *rest = key.split("/", 2)
        if kind == "functions":
            functions[int(step)] = value
        else:
            (theta if kind == "theta" else curves).setdefault(int(step), {})[rest[0]] = value
    run = store.create(parse_config(json.loads(metadata["config"]), str(path)), EXAMPLE, metadata["name"])
    for after, found in sorted(theta.items()):
        files.write_theta(store.folder(run.id), after, found)
    seen = [Evaluated(after, found, functions.get(after)) for after, found in sorted(curves.items())]
    status = {"state": "finished", "step": int(metadata["step"]), "seconds": float(metadata["seconds"])}
    store.append(run.id, News(evaluations=seen, checkpoints=sorted(theta), status=status))
    return store.get(run.id)
