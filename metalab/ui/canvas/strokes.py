"""Hand-drawn characters as strokes: checking what a browser sent, and drawing it as the network sees it.

A stroke is a sequence of (x, y) in the unit square of its pad, y downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_WAYS = 5
MAX_SHOTS = 5
MAX_STROKES = 30
MAX_POINTS = 200

# Measured on 2,000 drawings of Omniglot's background set, reduced from 105x105 to 28x28 by box averaging: the longer
# side of the ink is 0.647 of the canvas (mean), and lines redrawn from the drawings' skeletons come closest to the
# originals (mean squared error 0.0025) with a pen of 1.35 pixels whose edge fades over 0.9 of a pixel.
OMNIGLOT_EXTENT = 0.647
OMNIGLOT_PEN = 1.35
EDGE = 0.9
MAX_ENLARGEMENT = 4.0  # a dot stays a dot: it is not blown up to the size of a character

Point = tuple[float, float]
Stroke = tuple[Point, ...]
Drawing = tuple[Stroke, ...]


@dataclass(frozen=True)
class Drawings:
    """What stands on a character canvas: `support[way][shot]` and `query`, each a tuple of strokes."""

    support: tuple[tuple[Drawing, ...], ...]
    query: Drawing

    @property
    def ready(self) -> bool:
        """Whether every class has at least one example."""
        return all(any(shots) for shots in self.support)


def empty_drawings(ways: int, shots: int) -> Drawings:
    """Blank pads for `ways` classes of `shots` examples."""
    return Drawings(support=(((),) * shots,) * ways, query=())


def fitted(drawings: Drawings, ways: int, shots: int) -> Drawings:
    """These drawings on `ways` classes of `shots` pads: others are left out, missing ones are blank."""
    rows = [row[:shots] + ((),) * (shots - len(row)) for row in drawings.support[:ways]]
    return Drawings((*rows, *[((),) * shots] * (ways - len(rows))), drawings.query)


def parse_drawings(value: Any, ways: int, shots: int) -> Drawings:
    """Check a value that came from a browser and bring it to `ways` classes of `shots` examples.

    Args:
        value: None (nothing drawn yet), or {"support": [way][shot][stroke][point], "query": [stroke][point]} with
            points [x, y]. Coordinates a little outside [0, 1] (a finger that leaves the pad) are clipped.
        ways, shots: what is wanted; other classes and examples are left out, missing ones are blank.

    Raises:
        ValueError: anything else, in one sentence that names the place. At most 5 x 5 pads and a query of
            30 strokes of 200 points are read; a longer value is refused before its contents are looked at.
    """
    if not (1 <= ways <= MAX_WAYS and 1 <= shots <= MAX_SHOTS):
        raise ValueError(
            f"ways={ways!r} and shots={shots!r}: expected 1 to {MAX_WAYS} ways and 1 to {MAX_SHOTS} shots."
        )
    if value is None:
        return empty_drawings(ways, shots)
    if not isinstance(value, dict):
        raise ValueError(f"The drawings are a {type(value).__name__}: expected a dict with 'support' and 'query'.")
    classes = _list_of(value.get("support", []), MAX_WAYS, "The support set", "classes")
    support = []
    for way in range(ways):
        row = classes[way] if way < len(classes) else []
        pads = _list_of(row, MAX_SHOTS, f"Class {way + 1}", "examples")
        support.append(
            tuple(
                _drawing(pads[shot] if shot < len(pads) else [], f"Class {way + 1}, example {shot + 1}")
                for shot in range(shots)
            )
        )
    return Drawings(support=tuple(support), query=_drawing(value.get("query", []), "The query"))


def _list_of(value: Any, most: int, where: str, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{where} is a {type(value).__name__}: expected a list of {what}.")
    if len(value) > most:
        raise ValueError(f"{where} has {len(value)} {what}: expected at most {most}.")
    return value


def _drawing(value: Any, where: str) -> Drawing:
    strokes = _list_of(value, MAX_STROKES, where, "strokes")
    parsed = (_stroke(stroke, f"{where}, stroke {n}") for n, stroke in enumerate(strokes, 1))
    return tuple(stroke for stroke in parsed if stroke)


def _stroke(value: Any, where: str) -> Stroke:
    return tuple(_point(point, where) for point in _list_of(value, MAX_POINTS, where, "points"))


def _point(value: Any, where: str) -> Point:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{where} holds something that is not a point: expected [x, y].")
    return _coordinate(value[0], where), _coordinate(value[1], where)


def _coordinate(value: Any, where: str) -> float:
    # bool is an int to Python, and an int of any length is finite until it is made a float.
    if type(value) is int:
        return float(min(max(value, 0), 1))
    if type(value) is not float or not math.isfinite(value):
        raise ValueError(f"{where} has a coordinate that is not a finite number: expected one in [0, 1].")
    return min(max(value, 0.0), 1.0)


def rasterise(
    strokes: Drawing, size: int = 28, pen: float = OMNIGLOT_PEN, extent: float = OMNIGLOT_EXTENT
) -> NDArray[np.float32]:
    """Draw strokes as an image with the look of Omniglot: centred, scaled, with antialiased lines.

    Args:
        strokes: points in the unit square, y downwards.
        size: pixels a side.
        pen: width of the line in pixels of a 28 x 28 image (it scales with `size`).
        extent: the longer side of the ink as a share of the image. Small drawings grow at most fourfold.

    Returns:
        (size, size) float32 in [0, 1]; 1 is ink, 0 is background. Blank if there are no strokes.
    """
    lines = [np.asarray(stroke, dtype=np.float64).reshape(-1, 2) for stroke in strokes if len(stroke)]
    if not lines:
        return np.zeros((size, size), dtype=np.float32)
    width = pen * size / 28
    points = np.concatenate(lines)
    low, high = points.min(axis=0), points.max(axis=0)
    longest = float((high - low).max())
    target = extent * size - width
    scale = min(target / longest if longest > 0 else math.inf, MAX_ENLARGEMENT * size)
    starts, ends = [], []
    for line in lines:
        placed = (line - (low + high) / 2) * scale + size / 2
        starts.append(placed[:-1] if len(placed) > 1 else placed)
        ends.append(placed[1:] if len(placed) > 1 else placed)
    distance = _distance_to_segments(np.concatenate(starts), np.concatenate(ends), size)
    edge = EDGE * size / 28
    return np.clip((width / 2 - distance) / edge + 0.5, 0.0, 1.0).astype(np.float32)


def _distance_to_segments(starts: NDArray[np.float64], ends: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Distance from each pixel's centre to the nearest of the segments; (S, 2), (S, 2) -> (size, size)."""
    keep = np.any(np.abs(np.diff(starts, axis=0, prepend=starts[:1] - 1)) > 1e-9, axis=1)
    keep |= np.any(starts != ends, axis=1)
    starts, ends = starts[keep], ends[keep]
    centres = np.arange(size) + 0.5
    x, y = np.meshgrid(centres, centres)
    pixels = np.stack([x.ravel(), y.ravel()])
    nearest = np.full(size * size, np.inf)
    for first in range(0, len(starts), 256):  # bounds the memory: 256 segments x pixels
        start = starts[first : first + 256]
        along = ends[first : first + 256] - start
        length = np.maximum((along**2).sum(axis=1, keepdims=True), 1e-12)
        offset = (start * along).sum(axis=1, keepdims=True)
        share = np.clip((along @ pixels - offset) / length, 0.0, 1.0)
        dx = pixels[0] - start[:, :1] - share * along[:, :1]
        dy = pixels[1] - start[:, 1:] - share * along[:, 1:]
        np.minimum(nearest, (dx * dx + dy * dy).min(axis=0), out=nearest)
    return np.sqrt(nearest).reshape(size, size)
