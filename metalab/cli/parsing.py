"""From words on the command line to checked values; whatever is wrong is said in one line."""

from __future__ import annotations

import argparse
import difflib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn


class BadInput(ValueError):
    """What was typed cannot be used; the message names it and says what was expected."""


class Parser(argparse.ArgumentParser):
    """argparse with whole flag names only, our layout, and errors as `BadInput`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Layout, **settings)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            kind = "flag" if unknown[0].startswith("-") else "word"
            raise BadInput(f"{unknown[0]!r}: no such {kind} here{closest(unknown[0], flags)}; --help lists them")
        return options

    def error(self, message: str) -> NoReturn:
        raise BadInput(message.removeprefix("argument "))


class _Layout(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=110)


def closest(given: str, known: Iterable[str]) -> str:
    """'; did you mean X?' where one of `known` is spelled nearly like `given`, else nothing."""
    found = difflib.get_close_matches(given.split("=")[0], list(known), 1)
    return f"; did you mean {found[0]}?" if found else ""


def value(text: str) -> Any:
    """A setting's value as typed: 5, 0.02, true, [40, 40], or 40,40 for a list; anything else is a string."""
    for attempt in (text, f"[{text}]" if "," in text else text):
        try:
            return json.loads(attempt)
        except ValueError:
            continue
    return text


def assignment(text: str) -> tuple[str, Any]:
    """'algorithm.inner_lr=0.02' as (dotted name, value). Raises BadInput."""
    name, equals, given = text.partition("=")
    if not equals or not name.strip() or not all(name.strip().split(".")):
        raise BadInput(f"--set {text!r}: expected dotted.name=value, e.g. algorithm.inner_lr=0.02")
    return name.strip(), value(given.strip())


def whole(low: int, high: int) -> Callable[[str], int]:
    """An argparse type: a whole number from low to high."""
    expected = f"expected a whole number from {low:,} to {high:,}"

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text!r}: {expected}")
        return number

    return parse


def one_of(known: Sequence[str], text: str, flag: str) -> str:
    """`text` where it is one of `known`. Raises BadInput."""
    if text not in known:
        raise BadInput(f"{flag} = {text!r}: expected one of {', '.join(known)}{closest(text, known)}")
    return text


def as_json(data: Any) -> str:
    """One line of strict JSON; what is not finite becomes null."""
    return json.dumps(_finite(data), allow_nan=False)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {str(key): _finite(item) for key, item in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(item) for item in data]
    return data
