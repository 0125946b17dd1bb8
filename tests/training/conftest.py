"""A store for each test, services that end with it, and one folder for what can be computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metalab.store import Store
from metalab.training.service import Service


@pytest.fixture(autouse=True)
def _shared_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "metalab"
    monkeypatch.setenv("METALAB_HOME", str(folder))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Makes services on this test's own store: `serve(workers=2)`."""
    made: list[Service] = []

    def make(workers: int = 1) -> Service:
        made.append(Service(Store(tmp_path), workers))
        return made[-1]

    yield make
    for service in made:
        service.close()
