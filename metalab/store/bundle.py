"""A finished run in one safetensors file: how example runs come with MetaLab, and how they get into a store."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metalab.places import write_atomically
from metalab.store import checkpoints as files
from metalab.store.runs import EXAMPLE, Run
from metalab.store.store import News, Store

if TYPE_CHECKING:
    from torch import Tensor

    from metalab.params import Params
    from metalab.training.config import RunConfig
    from metalab.training.events import Evaluated


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
    """Make a finished run, owned by nobody, of what `pack` wrote. Raises CheckpointError, ConfigError, OSError.

    Of its metrics there are those on held-out tasks, which its evaluations tell.
    """
    from metalab.training.recorder import before_and_after

    packed = _read(path)
    run = store.create(packed.config, EXAMPLE, packed.name)
    for after, found in sorted(packed.theta.items()):
        files.write_theta(store.folder(run.id), after, found)
    status = {"state": "finished", "step": packed.step, "seconds": packed.seconds}
    metrics = [metric for seen in packed.evaluations for metric in before_and_after(seen)]
    store.append(run.id, News(metrics, packed.evaluations, checkpoints=sorted(packed.theta), status=status))
    return store.get(run.id)


@dataclass(frozen=True)
class _Packed:
    """A packed run, checked."""

    config: RunConfig
    name: str
    step: int
    seconds: float
    theta: Mapping[int, Params]
    evaluations: list[Evaluated]


def _read(path: Path) -> _Packed:
    from metalab.training.config import ConfigError, parse_config
    from metalab.training.events import Evaluated

    tensors, metadata = files.read(path)
    found: dict[str, dict[int, Params]] = {"theta": {}, "curve": {}, "functions": {}}
    try:
        for key, value in tensors.items():
            kind, after, *rest = key.split("/", 2)
            found[kind].setdefault(int(after), {})[rest[0] if rest else ""] = value
        config = parse_config(json.loads(metadata["config"]), str(path))
        name, step, seconds = metadata["name"], int(metadata["step"]), float(metadata["seconds"])
    except ConfigError:
        raise
    except (KeyError, ValueError, RecursionError) as problem:
        raise files.CheckpointError(f"{path} is no run that MetaLab packed ({problem})") from problem
    wrong = [after for after in [step, *found["theta"], *found["curve"]] if not 0 <= after <= config.outer_steps]
    if wrong or not 0 <= seconds < math.inf:
        raise files.CheckpointError(f"{path} says step {(wrong or [step])[0]} and {seconds} seconds: it is damaged")
    for theta in found["theta"].values():
        files.check_theta(path, theta, config)
    evaluations = [
        Evaluated(after, curves, found["functions"].get(after, {}).get(""))
        for after, curves in sorted(found["curve"].items())
    ]
    return _Packed(config, name, step, seconds, found["theta"], evaluations)
