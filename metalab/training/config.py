"""A whole run as data: what is learned, by which network, with which algorithm, and the outer loop."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, field_serializer, model_validator

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.base import Learner
from metalab.models import MODELS
from metalab.settings import Settings, explain, setting
from metalab.tasks import FAMILIES
from metalab.training.recommended import recommended

if TYPE_CHECKING:
    from metalab.algorithms import Algorithm as Method
    from metalab.models import Model as Network
    from metalab.tasks import TaskFamily as Family
else:
    Family = Annotated[reduce(operator.or_, FAMILIES.values()), Field(discriminator="name")]
    Network = Annotated[reduce(operator.or_, MODELS.values()), Field(discriminator="name")]
    Method = Annotated[reduce(operator.or_, ALGORITHMS.values()), Field(discriminator="name")]

PARTS: Mapping[str, Mapping[str, type[Settings]]] = {"family": FAMILIES, "model": MODELS, "algorithm": ALGORITHMS}
LIVE = ("outer_lr", "algorithm.inner_lr")
"""The settings that can change while a run goes on."""


class ConfigError(ValueError):
    """A setting is wrong; the message is one sentence for the person who made it."""


class RunConfig(Settings):
    """Everything that determines a run: with the same config and device it gives the same numbers."""

    family: Family
    model: Network
    algorithm: Method
    outer_optimiser: Literal["adam", "sgd", "natural"] = setting(
        "adam",
        "Who steps along the mean meta-gradient g. natural: by β g / (F + damping), F the tasks' mean squared "
        "meta-gradients, the diagonal of the empirical Fisher matrix; slower where an algorithm mixes its tasks. "
        "It wants a larger β than adam.",
        label="Outer optimiser",
    )
    fisher_damping: float = setting(
        0.1,
        "What is added to every Fisher value: the larger, the more cautious the step, and the nearer to sgd.",
        low=1e-6,
        high=100.0,
        scale="log",
        only_if={"outer_optimiser": "natural"},
    )
    fisher_decay: float = setting(
        0.95,
        "How much of the Fisher values stays from one outer step to the next; 0 takes the last meta-batch's alone.",
        low=0.0,
        high=0.999,
        advanced=True,
        only_if={"outer_optimiser": "natural"},
    )
    outer_lr: float = setting(
        1e-3,
        "Beta: how far one outer step moves the meta-parameters.",
        label="Outer learning rate β",
        low=1e-5,
        high=1.0,
        scale="log",
    )
    schedule: Literal["constant", "linear", "cosine"] = setting(
        "constant", "How the outer learning rate falls to zero over the run, if at all.", label="Outer schedule"
    )
    meta_batch_size: int = setting(
        25,
        "Tasks whose meta-gradients are averaged into one outer step: more give a steadier direction and cost as much "
        "more time and memory.",
        label="Meta-batch",
        low=1,
        high=128,
        scale="log",
    )
    accumulate: int = setting(
        1,
        "Meta-batches averaged into one outer step, one after the other: the same mean as that of one meta-batch as "
        "many times as large, in the memory of one.",
        low=1,
        high=32,
        advanced=True,
    )
    clip_norm: float = setting(
        0.0, "Longest meta-gradient that is let through; 0 clips nothing.", low=0, high=100, advanced=True
    )
    outer_steps: int = setting(
        5_000, "Outer steps from start to end.", label="Outer steps", low=1, high=1_000_000, scale="log"
    )
    evaluate_every: int = setting(
        100,
        "Outer steps between two looks at the held-out tasks; a checkpoint is kept at each.",
        low=1,
        high=100_000,
        scale="log",
        advanced=True,
    )
    evaluation_tasks: int = setting(
        100, "Held-out tasks, the same at every look.", label="Held-out tasks", low=2, high=1_000, advanced=True
    )
    seed: int = setting(0, "Fixes the initialisation and the order of tasks.", low=0, high=2**31 - 1)
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Where the run computes; auto takes a GPU where there is one.", advanced=True
    )

    compiled: Literal["off", "auto"] = setting(
        "off",
        "auto: a faster meta-gradient. A C++ compiler, if there is one, makes it beside the run; the numbers then "
        "agree but for rounding. On a GPU it is recorded and played back, bit for bit the same. A note says when, or "
        "why not.",
        advanced=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Settings that were not given take what is recommended for this family and algorithm."""
        if not isinstance(given, Mapping):
            return given
        given = {"family": "sinusoid", "algorithm": "maml"} | dict(given)
        for part in PARTS:
            if isinstance(given.get(part), str):
                given[part] = {"name": given[part]}
        names = {part: _name(given.get(part)) for part in PARTS}
        return _merged(recommended(names["family"], names["algorithm"], names["model"]), given)

    @model_validator(mode="after")
    def _fits(self) -> RunConfig:
        reason = self.algorithm.misfit(self.learner)
        if reason:
            raise ValueError(reason)
        return self

    @field_serializer("family", "model", "algorithm")
    def _whole(self, part: Settings) -> dict[str, Any]:
        return part.model_dump(mode="json")

    @property
    def learner(self) -> Learner:
        return Learner(self.model, self.family)

    @property
    def live(self) -> tuple[str, ...]:
        """Those of LIVE that this run has, and that have an effect while it goes on."""
        algorithm = self.algorithm
        idle = algorithm.axis == "inner step" and algorithm.alpha is None  # learned, or a head in closed form
        fixed = "inner_lr" not in type(algorithm).model_fields or idle
        return tuple(name for name in LIVE if not (fixed and name == "algorithm.inner_lr"))

    def changed_live(self, changes: Mapping[str, Any]) -> RunConfig:
        """The config with `changes` that are made while its run goes on. Raises ConfigError for other settings, too."""
        for name in sorted(set(changes) - set(self.live)):
            if name == "algorithm.inner_lr" and self.algorithm.learns_rates:
                raise ConfigError(
                    f"{name} is only where the inner learning rates started that this run learns: changing it now has "
                    f"no effect; expected {' or '.join(self.live)}"
                )
            raise ConfigError(f"{name} cannot change while a run goes on; expected one of {', '.join(self.live)}")
        return self.changed(changes)

    def changed(self, changes: Mapping[str, Any]) -> RunConfig:
        """The config with `changes` (dotted names to values). Raises ConfigError."""
        data = self.model_dump(mode="json")
        for name, value in changes.items():
            set_dotted(data, name, value)
        return parse_config(data)


def parse_config(data: Any, source: str = "") -> RunConfig:
    """A checked config out of nested dictionaries. Raises ConfigError, naming `source` (a file, a link)."""
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, source)) from None


def set_dotted(data: dict[str, Any], name: str, value: Any) -> None:
    """data["algorithm"]["inner_lr"] = value for name "algorithm.inner_lr". Raises ConfigError."""
    *path, last = name.split(".")
    for part in path:
        inner = data.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{name}: {part!r} holds a value, no further settings")
        data = inner
    data[last] = value


def _name(part: Any) -> str | None:
    if isinstance(part, Settings):
        return getattr(part, "name", None)
    name = part.get("name") if isinstance(part, Mapping) else None
    return name if isinstance(name, str) else None


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        below = out.get(key)
        nested = isinstance(value, Mapping) and isinstance(below, Mapping)
        out[key] = _merged(below, value) if nested else value  # type: ignore[arg-type]
    return out
