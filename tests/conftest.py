"""Every test session has a home of its own: nothing is read from or written to the user's runs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Before torch is loaded: what tests compute is small, and processes side by side would wait for each other's threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get("METALAB_HOME")
    os.environ["METALAB_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    if before is None:
        del os.environ["METALAB_HOME"]
    else:
        os.environ["METALAB_HOME"] = before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: their driver keeps an event loop running in this thread until the session ends."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
