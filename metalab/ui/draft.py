"""A run that is being chosen: the names of its three parts, and its settings as flat dotted names.

Between the controls and the link on one side and `parse_config`, which checks it all once, on the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from metalab.settings import Declaration, Settings, declarations
from metalab.training.config import PARTS, RunConfig, parse_config, set_dotted
from metalab.training.recommended import recommended
from metalab.ui.links import Parameter, flat, link_of, read_state

FIRST = {"family": "sinusoid", "algorithm": "maml"}
RANGE: Mapping[str, Any] = {"item": float, "least": 2, "most": 2, "rising": True}
"""How a link carries a range."""


@dataclass(frozen=True)
class Draft:
    """Parts by name ("family", "model", "algorithm") and settings by dotted name ("outer_lr", "family.shots")."""

    names: Mapping[str, str]
    values: Mapping[str, Any] = field(default_factory=dict)

    def config(self) -> RunConfig:
        """The run's config. Raises ConfigError with one sentence."""
        data: dict[str, Any] = {part: {"name": name} for part, name in self.names.items()}
        for name, value in self.values.items():
            set_dotted(data, name, value)
        return parse_config(data)

    def link(self) -> dict[str, str]:
        """The parameters of a link to this draft: what differs from the recommended values."""
        return link_of(schema(self.names), {**self.values, **self.names})

    def of_part(self, part: str) -> dict[str, Any]:
        """The settings of one part, without its prefix; of the outer loop for part ""."""
        if not part:
            return {name: value for name, value in self.values.items() if "." not in name}
        return {name.removeprefix(f"{part}."): v for name, v in self.values.items() if name.startswith(f"{part}.")}


def start(family: str, algorithm: str, model: str | None = None) -> Draft:
    """Where the controls stand for these parts: the declarations' defaults under what is recommended."""
    advice = recommended(family, algorithm, model)
    names = {"family": family, "algorithm": algorithm, "model": advice["model"]["name"]}
    values = {name: declaration.default for name, declaration in declared(names)}
    values |= {name: value for name, value in flat(advice) if name in values}
    return Draft(names, values)


def from_link(link: Mapping[str, str] | None = None, ignore: tuple[str, ...] = ()) -> tuple[Draft, list[str]]:
    """The draft that a link describes (by default the current page's), and a sentence for each wrong value."""
    heads = [Parameter(part, name, choices=tuple(PARTS[part])) for part, name in FIRST.items()]
    names, _ignored = read_state(heads, link)
    advised = start(names["family"], names["algorithm"]).names["model"]
    names, _ignored = read_state([*heads, Parameter("model", advised, choices=tuple(PARTS["model"]))], link)
    values, warnings = read_state(schema(names), link, ignore)
    return Draft(names, {name: value for name, value in values.items() if name not in names}), warnings


def from_config(config: RunConfig) -> Draft:
    """The draft of a run that exists already."""
    nested = config.model_dump()
    names = {part: str(nested[part]["name"]) for part in PARTS}
    known = {name for name, _declaration in declared(names)}
    return Draft(names, {name: value for name, value in flat(nested) if name in known})


def schema(names: Mapping[str, str]) -> list[Parameter]:
    """What a link can say about a run with these parts; the defaults are the recommended values."""
    begin = start(names["family"], names["algorithm"], names["model"]).values
    advised = start(names["family"], names["algorithm"]).names["model"]
    heads = {**FIRST, "model": advised}
    parameters = [Parameter(part, name, choices=tuple(PARTS[part])) for part, name in heads.items()]
    for name, declaration in declared(names):
        parameters.append(
            Parameter(
                name,
                begin[name],
                kind=declaration.type,
                choices=declaration.choices,
                low=declaration.low,
                high=declaration.high,
                **(RANGE if declaration.is_range else {"item": declaration.item}),
            )
        )
    return parameters


def declared(names: Mapping[str, str]) -> Iterator[tuple[str, Declaration]]:
    """Every setting of a run with these parts: its dotted name and its declaration."""
    for part, cls in classes(names).items():
        for declaration in declarations(cls):
            yield (f"{part}.{declaration.name}" if part else declaration.name), declaration


def classes(names: Mapping[str, str]) -> dict[str, type[Settings]]:
    """The settings classes of a run with these parts; "" is the run itself, its outer loop."""
    found: dict[str, type[Settings]] = {part: PARTS[part][names[part]] for part in PARTS}
    return found | {"": RunConfig}
