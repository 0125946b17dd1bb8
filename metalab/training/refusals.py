"""What is refused, and what a person is told when a run cannot start, go on, or end well."""

from __future__ import annotations

from metalab import places
from metalab.log import tell
from metalab.store import CheckpointError, Store, StoreError
from metalab.store.people import disk_bytes, runs_kept
from metalab.tasks.base import DataMissing
from metalab.training.config import ConfigError, RunConfig
from metalab.training.machine import cores
from metalab.training.memory import is_full, too_much
from metalab.training.quotas import GIGABYTE, Limits
from metalab.training.start import initialise, place


class CommandError(RuntimeError):
    """A run cannot be told this now; the message is one sentence for the person who tried."""


class TooMuch(CommandError):
    """More than is allowed was asked for, and waiting would change nothing."""


def check(config: RunConfig, owner: str, limits: Limits) -> None:
    """Whether a run of `owner` may train here. Raises DataMissing, ConfigError, TooMuch."""
    config.family.require()
    place(config)
    if config.algorithm.trains:
        hold(owner, limits.too_long(config.outer_steps, config.evaluate_every), TooMuch)
    if limits.parameters is not None:
        size = sum(value.numel() for value in initialise(config).values())
        hold(owner, limits.too_large(size), TooMuch)
    check_memory(config, owner, limits, cores())


def check_memory(config: RunConfig, owner: str, limits: Limits, threads: int) -> None:
    """Whether there is memory for a run of `owner` now, that trains on so many threads. Raises TooMuch, DataMissing."""
    allowed = None if limits.memory is None else limits.memory * GIGABYTE
    hold(owner, too_much(config, threads, allowed), TooMuch)


def check_disk(store: Store, owner: str, limits: Limits) -> None:
    """Whether the runs of `owner` may take more of the disk. Raises TooMuch, StoreError."""
    if limits.disk is not None:
        hold(owner, limits.out_of_room(disk_bytes(store, owner)), TooMuch)


def check_kept(store: Store, owner: str, limits: Limits) -> None:
    """Whether `owner` may keep one more run. Raises TooMuch, StoreError."""
    if limits.kept is not None:
        hold(owner, limits.too_many_kept(runs_kept(store, owner)), TooMuch)


def hold(owner: str, sentence: str, error: type[CommandError] = CommandError) -> None:
    """Raise `error` with what a limit says of `owner`, and log it; an empty sentence passes."""
    if sentence:
        tell("quota", person=owner, why=sentence)
        raise error(sentence)


def in_one_sentence(problem: Exception) -> str:
    """What went wrong, for the person whose run it was."""
    if isinstance(problem, ConfigError | DataMissing | CheckpointError | StoreError | places.PlaceError | CommandError):
        return str(problem)
    if is_full(problem):
        return "The memory is full. Try a smaller meta-batch with accumulation, or first order."
    if isinstance(problem, OSError):
        return f"The run could not be written to disk ({problem.strerror or problem}). Make room, then resume it."
    return (
        f"Training ended with an internal error ({type(problem).__name__}), which the server's log describes. "
        "Resume goes on from the last checkpoint."
    )
