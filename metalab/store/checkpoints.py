"""Checkpoint files: safetensors, written whole or not at all, and believed only after a check.

`<step>.safetensors` holds theta; `resume.safetensors` also holds the outer optimiser's state, the random state
and, in its metadata, the step and the config.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from metalab.places import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from metalab.params import Params
    from metalab.training.config import RunConfig
    from metalab.training.events import Checkpoint

RESUME = "resume.safetensors"
SLOTS = {"adam": ("step", "exp_avg", "exp_avg_sq"), "sgd": ()}
"""What each outer optimiser keeps of each learned entry after its first step."""


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged or not of this run. The message says which file and what is wrong."""


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write both files of a checkpoint. Raises OSError."""
    import safetensors.torch

    theta = _contiguous(checkpoint.theta)
    write_theta(folder, checkpoint.step, theta)
    tensors = {f"theta/{name}": value for name, value in theta.items()}
    tensors |= {f"optimiser/{name}": value for name, value in _contiguous(checkpoint.optimiser).items()}
    tensors["rng"] = checkpoint.rng
    metadata = {"step": str(checkpoint.step), "config": checkpoint.config.model_dump_json()}
    resume = safetensors.torch.save(tensors, metadata)
    write_atomically(folder / RESUME, lambda file: file.write(resume), sync=True)


def write_theta(folder: Path, step: int, theta: Params) -> None:
    """Write theta after `step` outer steps. Raises OSError."""
    import safetensors.torch

    folder.mkdir(parents=True, exist_ok=True)
    data = safetensors.torch.save(_contiguous(theta))
    write_atomically(theta_path(folder, step), lambda file: file.write(data))


def sweep(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left; only for whoever writes here."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def theta_path(folder: Path, step: int) -> Path:
    """Where theta after `step` outer steps lies."""
    return folder / f"{step}.safetensors"


def read_theta(path: Path, config: RunConfig) -> Params:
    """theta of a run with this config. Raises CheckpointError."""
    theta, _ = read(path)
    check_theta(path, theta, config)
    return theta


def read_resume(path: Path, config: RunConfig) -> Checkpoint:
    """The resume checkpoint of a run that was started with `config`. Raises CheckpointError."""
    import torch

    from metalab.training.events import Checkpoint

    tensors, metadata = read(path)
    step, current = _step_and_config(path, metadata, config)
    theta, optimiser = _below("theta/", tensors), _below("optimiser/", tensors)
    unknown = sorted(name for name in tensors if not name.startswith(("theta/", "optimiser/")) and name != "rng")
    if unknown:
        raise CheckpointError(f"{path} holds {unknown[0]!r}, which no checkpoint has: it is not one of MetaLab's")
    check_theta(path, theta, config)
    _check_optimiser(path, optimiser, theta, config, step)
    rng = tensors.get("rng")
    try:
        torch.Generator().set_state(torch.empty(0) if rng is None else rng)
    except (RuntimeError, TypeError) as problem:
        raise CheckpointError(f"{path} holds no valid random state ({problem})") from problem
    assert rng is not None
    return Checkpoint(step, current, theta, optimiser, rng)


def read(path: Path) -> tuple[Params, dict[str, str]]:
    """A file's tensors and metadata. Raises CheckpointError."""
    import safetensors
    import safetensors.torch

    try:
        # The bytes are read at once: a memory map would keep the file from being replaced on Windows.
        data = path.read_bytes()
        tensors = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: train the run again, or choose another checkpoint") from None
    except (OSError, safetensors.SafetensorError, ValueError, KeyError) as problem:
        raise CheckpointError(f"{path} cannot be read ({problem}): it is damaged, or no safetensors file") from problem
    return tensors, metadata


def _step_and_config(path: Path, metadata: dict[str, str], config: RunConfig) -> tuple[int, RunConfig]:
    from metalab.training.config import LIVE, ConfigError, parse_config

    try:
        step, current = int(metadata["step"]), parse_config(json.loads(metadata["config"]), str(path))
        was = current.changed({name: _setting(config, name) for name in LIVE if _setting(config, name) is not None})
    except (KeyError, ValueError, RecursionError, ConfigError) as problem:
        raise CheckpointError(f"{path} does not tell its step and config ({problem}): it is foreign") from problem
    if was != config:
        raise CheckpointError(f"{path} belongs to a run with another config: it is not this run's checkpoint")
    if not 0 <= step <= config.outer_steps:
        raise CheckpointError(f"{path} says step {step}, expected 0 to {config.outer_steps}")
    return step, current


def _setting(config: RunConfig, name: str) -> object:
    value: object = config
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def check_theta(path: Path, theta: Params, config: RunConfig) -> None:
    """Whether theta out of the file `path` fits the network of a run with this config. Raises CheckpointError."""
    from metalab.training.start import initialise

    _check_layout(path, theta, initialise(config))
    for name, value in theta.items():
        if not bool(value.isfinite().all()):
            raise CheckpointError(f"{path}: {name} holds numbers that are not finite")


def _check_optimiser(path: Path, optimiser: Params, theta: Params, config: RunConfig, step: int) -> None:
    import torch

    from metalab.params import weights

    slots = SLOTS[config.outer_optimiser] if step > 0 else ()
    expected = {
        f"{slot}/{name}": torch.empty(()) if slot == "step" else value
        for slot in slots
        for name, value in weights(theta).items()
    }
    _check_layout(path, optimiser, expected)
    for name, value in optimiser.items():
        if bool(value.isnan().any()):
            raise CheckpointError(f"{path}: the optimiser's {name} holds numbers that are not numbers")


def _check_layout(path: Path, found: Params, expected: Params) -> None:
    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())[0]
        what = "holds" if odd in found else "lacks"
        raise CheckpointError(f"{path} {what} {odd!r}: it is not a checkpoint of this run's network")
    for name, value in expected.items():
        given = found[name]
        if given.shape != value.shape or given.dtype != value.dtype:
            raise CheckpointError(
                f"{path}: {name} is {given.dtype} {tuple(given.shape)}, "
                f"expected {value.dtype} {tuple(value.shape)} for this run's network"
            )


def _below(prefix: str, tensors: Params) -> Params:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _contiguous(tensors: Params) -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in tensors.items()}
