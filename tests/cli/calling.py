"""What a command said, and the flags of a run that takes a moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TINY = ("--outer-steps", "12", "--evaluate-every", "6", "--evaluation-tasks", "5", "--meta-batch-size", "3")
"""Flags of a run that takes a moment."""


@dataclass(frozen=True)
class Said:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


Call = Callable[..., Said]
