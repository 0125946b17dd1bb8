"""The chart library's text, which pages and reports carry so that they work offline."""

from __future__ import annotations

from pathlib import Path

VERSION = "4.1.1"
"""Of the plotly.js in assets/vendor: the package plotly.js-cartesian-dist-min, its file as it is."""
CARTESIAN = Path(__file__).resolve().parents[2] / "assets" / "vendor" / f"plotly-cartesian-{VERSION}.min.js"


def plotly_js() -> str:
    """The part of plotly.js that draws lines, bars and maps: a third of the whole to send and to compile."""
    return CARTESIAN.read_text(encoding="utf-8")


def whole_plotly_js() -> str:
    """All of plotly.js, which pictures in 3-D need, out of the installed plotly package."""
    return (plotly_folder() / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def plotly_folder() -> Path:
    """Where plotly is installed, found without importing it (which takes a while)."""
    from importlib.util import find_spec

    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The package 'plotly' is missing. Run: python -m pip install -r requirements.txt")
    return Path(spec.origin).parent
