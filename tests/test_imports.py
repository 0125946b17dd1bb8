"""Imports point one way, read off the source:

tasks <- models <- algorithms <- training <- analysis <- figures <- ui <- pages
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [
    {"metalab.params", "metalab.settings", "metalab.places", "metalab.log", "metalab.allocator"},
    {"metalab.tasks"},
    {"metalab.models"},
    {"metalab.algorithms"},
    {"metalab.training", "metalab.store"},
    {"metalab.analysis"},
    {"metalab.figures"},
    {"metalab.takehome"},
    {"metalab.cli"},
    {"metalab.ui", "metalab.__main__"},
    {"pages", "app"},
]
"""Each layer may import itself and those before it. A new module of metalab/ finds its place here."""
SCREEN = ("metalab.ui", "pages", "app")
"""Who may import streamlit."""
HEAVY = ("torch", "numpy", "plotly", "scipy", "sklearn")
"""What pages leave to the engine."""


def sources() -> dict[str, Path]:
    """Dotted name to file, for all of metalab/, pages/ and app.py."""
    files = [*ROOT.glob("metalab/**/*.py"), *ROOT.glob("pages/**/*.py"), ROOT / "app.py"]
    found = {}
    for file in files:
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


SOURCES = sources()


def imported(name: str) -> Iterator[tuple[str, int]]:
    """Every module that `name` imports, at its top or inside a function, with the line."""
    tree = ast.parse(SOURCES[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import; write the whole name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in SOURCES else str(node.module)), node.lineno


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def layer(name: str) -> int | None:
    """The number of the layer of a module of ours; None for metalab itself and for others' packages."""
    for number, packages in enumerate(LAYERS):
        if any(within(name, package) for package in packages):
            return number
    return None


def test_the_source_was_found():
    assert {"metalab.params", "metalab.tasks.base", "metalab.algorithms.inner_loop", "app"} <= set(SOURCES)
    found = {name for name, _ in imported("metalab.tasks.base")}
    assert {"metalab.settings", "torch", "typing"} <= found


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_module_has_its_layer(name):
    assert name == "metalab" or layer(name) is not None, f"say in LAYERS where {name} belongs"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_imports_never_point_down(name):
    own = layer(name) or 0
    wrong = [f"{name}:{line} imports {other}" for other, line in imported(name) if (layer(other) or 0) > own]
    assert not wrong


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_streamlit_and_plotly_stay_where_they_belong(name):
    for other, line in imported(name):
        if within(other, "streamlit"):
            assert any(within(name, place) for place in SCREEN), f"{name}:{line} imports {other}"
        if within(other, "plotly"):
            assert within(name, "metalab.figures"), f"{name}:{line} imports {other}"


@pytest.mark.parametrize("name", sorted(name for name in SOURCES if within(name, "pages")))
def test_pages_leave_the_arithmetic_to_the_engine(name):
    wrong = [f"{name}:{line} imports {other}" for other, line in imported(name) if other.split(".")[0] in HEAVY]
    assert not wrong


def test_loading_the_whole_engine_loads_neither_screen_nor_plots():
    """Also what comes in through others: every module below figures, in a fresh interpreter."""
    figures = next(number for number, packages in enumerate(LAYERS) if "metalab.figures" in packages)
    engine = sorted(name for name in SOURCES if (layer(name) or 0) < figures)
    assert "metalab.training.trainer" in engine
    script = "\n".join(
        [
            "import importlib, sys",
            f"for name in {engine!r}: importlib.import_module(name)",
            "found = {'streamlit', 'plotly'} & set(sys.modules)",
            "sys.exit(f'loaded: {sorted(found)}' if found else 0)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
