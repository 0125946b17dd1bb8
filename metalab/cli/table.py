"""Tables of plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"-|± .*|-?[\d.,]+(e[-+]?\d+)?%?|nan|inf")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest entry, numbers to the right, a rule below the head."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [bool(rows) and all(_NUMBER.fullmatch(entry) for entry in column[1:]) for column in columns]

    def line(entries: Sequence[str]) -> str:
        cells = zip(entries, widths, right, strict=True)
        return "  ".join(f"{e:>{w}}" if r else f"{e:<{w}}" for e, w, r in cells).rstrip()

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)])


def figure(value: float, metric: str) -> str:
    """0.91833 as '91.8%' where it is an accuracy, else with four digits."""
    return f"{100 * value:.2f}%" if metric == "accuracy" else f"{value:.4g}"
