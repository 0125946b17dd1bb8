"""What a scenario found: lines with a figure, the mark that it should reach, and whether it does."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Line:
    """One quantity."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the mark is reached; None without one."""
        if self.most is None and self.least is None:
            return None
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def mark(self) -> str:
        if self.most is not None:
            return f"at most {self.most:g}"
        return "" if self.least is None else f"at least {self.least:g}"


@dataclass
class Findings:
    """The lines of one scenario, and what went wrong, in sentences."""

    scenario: str
    lines: list[Line] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str, *, most: float | None = None, least: float | None = None) -> None:
        self.lines.append(Line(name, float(value), unit, most, least))

    @property
    def missed(self) -> bool:
        """Whether a mark is not reached."""
        return any(line.reached is False for line in self.lines)

    def text(self) -> str:
        """As a table."""
        said = {True: "reached", False: "MISSED", None: ""}
        rows = [(line.name, f"{line.value:.3g}", line.unit, line.mark, said[line.reached]) for line in self.lines]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        body = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([self.scenario, *body, *(f"problem: {problem}" for problem in self.problems[:20])])

    def data(self) -> dict[str, Any]:
        """For JSON."""
        lines = [asdict(line) | {"reached": line.reached} for line in self.lines]
        return {"scenario": self.scenario, "lines": lines, "problems": self.problems}


def p95(values: Sequence[float]) -> float:
    """The 95th percentile (the value itself that 95% do not exceed); NaN of nothing."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1] if values else math.nan


def median(values: Sequence[float]) -> float:
    """NaN of nothing."""
    return statistics.median(values) if values else math.nan
