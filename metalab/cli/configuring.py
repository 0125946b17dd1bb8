"""Flags out of the declarations, and a checked config out of the flags."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metalab.cli.parsing import BadInput, assignment, closest, value
from metalab.settings import Declaration, declarations
from metalab.training.config import PARTS, RunConfig, parse_config, set_dotted

SOURCE = "the command line"
WIDTH = 110
"""Columns of the listing for --help."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each part and each outer setting of a run; what the parts declare is listed for `--set`."""
    what = parser.add_argument_group("what learns what, and how")
    for part, known in PARTS.items():
        described = "; ".join(f"{name}: {cls.title}" for name, cls in known.items())
        what.add_argument(_flag(part), metavar="NAME", help=_escaped(described))
    outer = parser.add_argument_group("the outer loop (left out: what is recommended for the family and algorithm)")
    for declared in declarations(RunConfig):
        outer.add_argument(_flag(declared.name), metavar="X", help=_escaped(f"{declared.help} {expected(declared)}"))
    inner = parser.add_argument_group("everything else")
    inner.add_argument(
        "--set", action="append", default=[], metavar="NAME=X", help="a setting by its dotted name, as listed below"
    )
    inner.add_argument("--config", metavar="FILE", help="a JSON file of settings; flags have precedence over it")
    parser.epilog = "settings for --set:\n" + "\n".join(_listed())


def configured(options: argparse.Namespace) -> RunConfig:
    """The config that the flags and the file give together. Raises BadInput or ConfigError."""
    data = {} if options.config is None else _read(options.config)
    defaults = parse_config(data, options.config or "")
    for part in PARTS:
        data[part] = _chosen(part, data.get(part), getattr(defaults, part).name, getattr(options, part))
    for declared in declarations(RunConfig):
        text = getattr(options, declared.name)
        if text is not None:
            data[declared.name] = value(text)
    for text in options.set:
        name, given = assignment(text)
        _check_name(name)
        set_dotted(data, name, given)
    return parse_config(data, SOURCE)


def expected(declared: Declaration) -> str:
    """'[default 0.001, from 1e-05 to 1]', '[default adam, or sgd]'."""
    default = declared.default
    shown = ",".join(f"{v:g}" for v in default) if isinstance(default, tuple) else str(default).lower()
    if declared.choices:
        others = [str(choice) for choice in declared.choices if choice != default]
        return f"[default {shown}, or {', '.join(others)}]"
    if declared.low is None and declared.high is None:
        return f"[default {shown}]"
    ends = [f"{word} {end:,.10g}" for word, end in (("from", declared.low), ("to", declared.high)) if end is not None]
    kind = "two numbers " if declared.is_range else ""
    return f"[default {shown}, {kind}{' '.join(ends)}]"


def _listed() -> list[str]:
    lines = []
    for part, known in PARTS.items():
        for name, cls in known.items():
            lines.append(f"  {part} {name}")
            for d in declarations(cls):
                lead = f"    {f'{part}.{d.name}':<30}"
                text = f"{d.help} {expected(d)}"
                lines += textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead))
    return lines


def _check_name(name: str) -> None:
    """Refuse a dotted name that no family, network or algorithm knows; which belongs together is checked later."""
    outer = [declared.name for declared in declarations(RunConfig)]
    inner = [f"{part}.{d.name}" for part, known in PARTS.items() for cls in known.values() for d in declarations(cls)]
    known = [*outer, *inner, *PARTS, *(f"{part}.name" for part in PARTS)]
    if name not in known:
        hint = closest(name, known) or "; train --help lists them"
        raise BadInput(f"--set {name}: no setting has that name{hint}")


def _read(path: str) -> dict[str, Any]:
    try:
        # Some editors put a byte order mark in front.
        data = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as problem:
        raise BadInput(f"--config {path}: cannot be read ({problem.strerror}), expected a JSON file") from None
    except UnicodeDecodeError:
        raise BadInput(f"--config {path}: is not text, expected a JSON file") from None
    except json.JSONDecodeError as problem:
        raise BadInput(
            f"--config {path}: is not JSON ({problem.msg}, line {problem.lineno}), expected an object of settings"
        ) from None
    except RecursionError:
        raise BadInput(f"--config {path}: is nested too deeply, expected an object of settings") from None
    if not isinstance(data, dict):
        raise BadInput(f"--config {path}: holds a {type(data).__name__}, expected an object of settings")
    return data


def _chosen(part: str, given: Any, default: str, flag: str | None) -> dict[str, Any]:
    """A part's settings out of the file's (`given`) and the flag that names the part.

    Settings do not outlive a change of the name: they are another's. A network that nobody named is left to
    what is recommended for the family.
    """
    settings = dict(given) if isinstance(given, Mapping) else {"name": given} if given else {}
    if flag is not None and flag != settings.get("name", default):
        return {"name": flag}
    if flag is not None or part != "model":
        settings["name"] = flag or default
    return settings


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
