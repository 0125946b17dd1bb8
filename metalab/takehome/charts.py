"""The chart library's text, which pages and reports carry so that they work offline."""

from __future__ import annotations

from pathlib import Path


def plotly_js() -> str:
    """plotly.js out of the installed plotly package."""
    return (plotly_folder() / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def plotly_folder() -> Path:
    """Where plotly is installed, found without importing it (which takes a while)."""
    from importlib.util import find_spec

    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The package 'plotly' is missing. Run: python -m pip install -r requirements.txt")
    return Path(spec.origin).parent
