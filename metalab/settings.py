"""One declaration per setting: the slider, the config key, the command-line flag, the link and the check.

A settings class is a frozen pydantic model whose fields are made by `setting(...)`. `declarations` lists
them for whoever draws or parses them; `explain` turns a validation error into one plain sentence.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, ErrorDetails, core_schema

Scale = Literal["linear", "log"]


class Settings(BaseModel):
    """Frozen, validated settings; unknown keys, infinities and NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    title: ClassVar[str] = ""
    """What a person reads in a menu."""
    summary: ClassVar[str] = ""
    """One sentence below the menu."""


def setting(
    default: Any,
    help: str,
    *,
    label: str = "",
    low: float | None = None,
    high: float | None = None,
    scale: Scale = "linear",
    step: float | None = None,
    advanced: bool = False,
    only_if: Mapping[str, Any] | None = None,
) -> Any:
    """Declare a setting: default, one-line help in plain words, and the range it is held to.

    `low` and `high` are inclusive. A pair of numbers as default with `low` and `high` declares a range within
    them, of type `tuple[float, float]`, its smaller end first. `scale="log"` asks for a logarithmic slider.
    `advanced` settings are shown folded away. `only_if={"other": value}` hides the control unless the sibling
    has that value.
    """
    extra: Any = {
        "label": label,
        "scale": scale,
        "step": step,
        "advanced": advanced,
        "only_if": dict(only_if or {}),
    }
    bounds: Any = {"ge": low, "le": high}
    checks: list[Any] = [TrueIsNoNumber()]
    if isinstance(default, tuple) and low is not None and high is not None:
        bounds, checks = {}, [Within(low, high), *checks]
    field: FieldInfo = Field(default, description=help, json_schema_extra=extra, **bounds)
    field.metadata += checks
    return field


@dataclass(frozen=True)
class Within:
    """Holds a pair of numbers to be a range: ge <= first <= second <= le."""

    ge: float
    le: float

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = core_schema.no_info_after_validator_function(self.check, handler(source))
        return core_schema.no_info_before_validator_function(self.not_one, checked)

    @staticmethod
    def not_one(given: Any) -> Any:
        """Refuse a single value in the words of who types one."""
        if isinstance(given, int | float | str):
            raise ValueError("expected two numbers low,high")
        return given

    def check(self, ends: tuple[float, float]) -> tuple[float, float]:
        if not self.ge <= ends[0] <= ends[1] <= self.le:
            raise ValueError(f"expected two numbers from {self.ge:g} to {self.le:g}, the smaller one first")
        return ends


class TrueIsNoNumber:
    """Refuses true where a number is expected, for which Python takes it: whoever writes it mistook the setting."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kind, choices = _kind(source)
        if kind is bool or kind is str:
            return handler(source)
        expected = " or ".join(map(str, choices)) or EXPECTED_KIND[kind]

        def check(given: Any) -> Any:
            for each in given if isinstance(given, list | tuple) else [given]:
                if isinstance(each, bool):
                    raise ValueError(f"expected {expected}")
            return given

        return core_schema.no_info_before_validator_function(check, handler(source))


@dataclass(frozen=True)
class Declaration:
    """What was declared of one setting."""

    name: str
    label: str
    help: str
    default: Any
    item: type
    """int or float: what a tuple holds."""
    type: type
    """int, float, bool, str or tuple: of `item`s, or two floats where `is_range`."""
    choices: tuple[Any, ...]
    """The allowed values of a Literal, else empty."""
    low: float | None
    high: float | None
    scale: Scale
    step: float | None
    advanced: bool
    only_if: Mapping[str, Any]
    is_range: bool
    """Whether it is a pair of numbers between `low` and `high`, the smaller one first."""


def declarations(cls: type[Settings]) -> Iterator[Declaration]:
    """The settings that `cls` declares with `setting`, in order; nested settings and `name` are left out."""
    return iter(_declared(cls))


@cache
def _declared(cls: type[Settings]) -> tuple[Declaration, ...]:
    """Read once: pages ask for them at every move of a slider."""
    return tuple(_declarations(cls))


def _declarations(cls: type[Settings]) -> Iterator[Declaration]:
    for name, field in cls.model_fields.items():
        extra = field.json_schema_extra
        if not isinstance(extra, dict) or "advanced" not in extra:
            continue
        kind, choices = _kind(field.annotation)
        yield Declaration(
            name=name,
            label=str(extra["label"]) or name.replace("_", " ").capitalize(),
            help=field.description or "",
            default=field.default,
            type=kind,
            item=_item(field.annotation),
            choices=choices,
            low=_bound(field, "ge"),
            high=_bound(field, "le"),
            scale=typing.cast(Scale, extra["scale"]),
            step=typing.cast("float | None", extra["step"]),
            advanced=bool(extra["advanced"]),
            only_if=typing.cast("Mapping[str, Any]", extra["only_if"]),
            is_range=any(isinstance(m, Within) for m in field.metadata),
        )


def _kind(annotation: Any) -> tuple[type, tuple[Any, ...]]:
    origin = get_origin(annotation)
    if origin is Literal:
        choices = get_args(annotation)
        return type(choices[0]), choices
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in get_args(annotation) if a is not type(None)]
        return _kind(inner[0])
    return (origin or annotation), ()


def _item(annotation: Any) -> type:
    """What a tuple holds; int for what is none."""
    held = get_args(annotation)[0] if get_origin(annotation) is tuple else int
    return _kind(get_args(held)[0] if get_origin(held) is typing.Annotated else held)[0]


def _bound(field: FieldInfo, which: str) -> float | None:
    return next((float(getattr(m, which)) for m in field.metadata if hasattr(m, which)), None)


EXPECTED_KIND: Mapping[type, str] = {int: "an integer", float: "a number", tuple: "numbers"}
"""What a setting of this kind takes, in words."""
EXPECTED = {
    "extra_forbidden": "no setting of that name exists here",
    "model_type": "expected a dictionary of settings",
    "model_attributes_type": "expected a dictionary of settings",
    "int_parsing_size": "expected an integer of fewer digits",
}
"""What to say of the problems for which pydantic's own message speaks of its classes."""


def explain(error: ValidationError, source: str = "") -> str:
    """One sentence for the first problem: which value, what was expected, where it came from."""
    return _sentence(error.errors()[0]) + (f" (from {source})" if source else "")


def _sentence(problem: ErrorDetails) -> str:
    # A discriminated union puts the member's name into the path: family.sinusoid.shots is family.shots.
    where = ".".join(_name(str(part)) for part in _without_tags(problem["loc"]))
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "union_tag_invalid":
        return f"{where}.name = {_short(repr(context['tag']))}: expected one of {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"{where}.name is missing"
    if kind == "missing":
        return f"{where} is missing"
    if kind == "value_error" and isinstance(problem["input"], Mapping):
        # A check of settings together, e.g. a network that cannot read the family's inputs: it names them itself.
        return str(context["error"])
    if kind == "tuple_type" and isinstance(problem["input"], int | float):
        return f"{where} = {problem['input']}: expected a list, e.g. [{problem['input']}]"
    expected = str(context["error"]) if kind == "value_error" else EXPECTED.get(kind) or _expectation(problem["msg"])
    return f"{where or 'settings'} = {_short(repr(problem['input']))}: {expected}"


def _name(text: str) -> str:
    """A setting's name, which may be anybody's text, on one line."""
    return _short(text if text.isprintable() else repr(text))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _expectation(said: str) -> str:
    """pydantic's message in our form: "Input should be a valid integer, unable to .." is "expected an integer"."""
    said = re.sub(r", (unable to|got a number with).*", "", said)
    said = said.replace("a valid integer", "an integer").replace("a valid tuple", "a list").replace("a valid ", "a ")
    return re.sub(r"^(Input|Tuple|Value) should (be|have)", "expected", said).replace(" after validation, not", ", not")


def _without_tags(location: tuple[int | str, ...]) -> Iterator[int | str]:
    skip = False
    for part in location:
        if skip:
            skip = False
            continue
        yield part
        skip = part in ("family", "model", "algorithm")
