"""Values that nobody would send by accident, for the tests that send them everywhere.

`HYPOTHESIS_PROFILE=long python -m pytest -k hostile` tries many more of them, other ones each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="requirements-dev.txt has it")

from hypothesis import HealthCheck, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
COMMON = {"deadline": None, "database": None, "suppress_health_check": CHECKS}
settings.register_profile("short", derandomize=True, max_examples=60, **COMMON)
settings.register_profile("long", max_examples=1_000, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

NUMBERS = [0, -1, 1, 7, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e300, -1e300, 1e-320, 0.5, -0.0]
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]
TEXTS = [
    *("", " ", ",", ",,,,", "0", "-1", "1e999", "nan", "inf", "-inf", "1_0", "0x10", "٣", "true", "null", "9" * 5_000),
    *(
        "../../../etc/passwd",
        "..\\..\\x",
        "/etc/passwd",
        "C:\\x",
        "a\x00b",
        "a\nb",
        "a\r\nSet-Cookie: x=1",
        "\u202eabc",
    ),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "$\\href{x}{y}$"),
    *("'; DROP TABLE runs;--", "%s%n", "{0.__class__}", "${7*7}", "__class__", "abcd2345@99999999", "x" * 100_000),
]
texts = st.sampled_from(TEXTS) | st.text(max_size=30)
numbers = st.sampled_from([*NUMBERS, *NOT_FINITE]) | st.integers() | st.floats()
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
"""Whatever JSON can say, and what only Python's reader takes for it."""


def attempt(action: Callable[[], Any], *expected: type[Exception]) -> tuple[Any, str | None]:
    """What the action gives and None, or None and what an expected error says. Other errors are raised."""
    try:
        return action(), None
    except expected as problem:
        return None, str(problem)


def in_one_sentence(said: str) -> bool:
    """Whether a person can read it: one line, and not long."""
    return "\n" not in said and 0 < len(said) < 1_000
