"""Invented alphabets: characters made of a few random pen strokes, drawn anew by twenty "drawers".

A stroke is a pen's path: it starts somewhere (most often on an earlier stroke), sets off in a direction
and turns as it goes, with at times a corner. An alphabet has habits: how many strokes, how straight, which
directions, how often a stroke mirrors the one before. A drawer has habits too (slant, pen, neatness) and
draws every stroke a little differently each time. In the spirit of Lake, Salakhutdinov, Tenenbaum:
Human-level concept learning through probabilistic program induction. Science 350, 2015; the strokes are
our own and come out of a seed, so that the family needs no data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from metalab import places
from metalab.tasks.base import Split
from metalab.tasks.characters import DRAWERS, SIDE, CharacterFamily, Characters, Library

SEED = 20170309
VERSION = 2
"""Counts up when the same seed would give other pictures, so that no stale cache is read."""
ALPHABETS: dict[Split, int] = {"train": 36, "validation": 4, "test": 10}
PER_ALPHABET = 20
CANDIDATES = 80
"""Characters an alphabet thinks up; of these, `PER_ALPHABET` that look unlike each other are kept."""
ALIKE = 0.62
"""Cosine between thickly drawn pictures from which on two characters count as alike."""
THICK = 2.0
"""Half width in pixels of the pen for that comparison."""
STROKES = 4
POINTS = 48
"""Points along a stroke."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Strokes:
    """Pen paths in units of half the picture's side; angles in radians, y pointing down.

    `count` is (...), every other field (..., STROKES): the first `count` strokes are drawn. `parent` (-1: none)
    is the earlier stroke on which this one starts, and `along` in [0, 1] says where; without a parent it starts
    at (x, y).
    """

    count: NDArray[np.int64]
    parent: NDArray[np.int64]
    along: Array
    x: Array
    y: Array
    direction: Array
    length: Array
    turn: Array
    """How far the direction turns from start to end."""
    swing: Array
    """How far it turns one way before it turns back: the belly of an S."""
    corner: Array
    corner_at: Array


def invent(rng: np.random.Generator, n: int) -> Strokes:
    """`n` characters of one new alphabet, whose habits are drawn first."""
    shape = (n, STROKES)
    count_odds = np.array([0.06, 0.38, 0.38, 0.18]) * rng.gamma(3.0, 1.0, STROKES)
    straight = rng.uniform(0.25, 0.75)
    cornered = rng.uniform(0.05, 0.4)
    mirrored = rng.choice([0.0, 0.12, 0.35])
    roundness = rng.uniform(0.7, 1.3)
    # Pens go down and to the right: right, down-right, down, down-left, and at times up-right.
    headings = np.array([0.0, 0.25, 0.5, 0.75, -0.25]) * np.pi + rng.normal(0, 0.08)
    heading_odds = np.array([1.0, 0.6, 1.4, 0.6, 0.3]) * rng.gamma(1.5, 1.0, 5)

    count = 1 + rng.choice(STROKES, n, p=count_odds / count_odds.sum())
    direction = rng.choice(headings, shape, p=heading_odds / heading_odds.sum()) + rng.normal(0, 0.1, shape)
    length = rng.uniform(0.6, 1.5, shape)
    length[:, 0] = rng.uniform(1.1, 1.9, n)
    curved = rng.random(shape) > straight
    curved |= (count == 1)[:, None]
    turns = np.array([0.5, 0.8, 1.1, 1.5, 1.9]) * np.pi
    turn = rng.choice(turns, shape, p=[0.25, 0.25, 0.25, 0.15, 0.1]) * roundness * rng.choice([-1, 1], shape)
    bellied = curved & (rng.random(shape) < 0.25)
    swing = np.where(bellied, rng.uniform(0.6, 1.2, shape) * np.sign(turn) * np.pi / 2, 0)
    turn = np.where(curved & ~bellied, turn, rng.normal(0, 0.08, shape))
    # A curled path covers less ground: let it run on.
    length *= 1 + 0.35 * np.abs(turn) / np.pi + 0.3 * np.abs(swing)
    corner = rng.choice([0.5, 0.66, 0.75], shape) * np.pi * rng.choice([-1, 1], shape)
    corner *= (rng.random(shape) < cornered) & ~bellied
    length *= np.where(corner != 0, 1.3, 1.0)
    corner_at = rng.choice([0.35, 0.5, 0.65], shape)
    dot = (rng.random(shape) < 0.06) & (np.arange(STROKES) > 0)
    length = np.where(dot, 0.15, length)

    parent = np.where(np.arange(STROKES) > 0, (rng.random(shape) * np.arange(STROKES)).astype(int), -1)
    parent = np.where((rng.random(shape) < 0.18) | dot, -1, parent)
    along = rng.choice([0.0, 0.25, 0.5, 0.75, 1.0], shape, p=[0.3, 0.12, 0.26, 0.12, 0.2])
    x, y = rng.uniform(-0.8, 0.5, shape), rng.uniform(-0.8, 0.5, shape)
    for j in range(1, STROKES):
        mirror = (rng.random(n) < mirrored) & ~dot[:, j]
        direction[:, j] = np.where(mirror, np.pi - direction[:, j - 1], direction[:, j])
        for value, sign in ((length, 1), (turn, -1), (swing, -1), (corner, -1), (corner_at, 1)):
            value[:, j] = np.where(mirror, sign * value[:, j - 1], value[:, j])
        parent[:, j] = np.where(mirror, j - 1, parent[:, j])
        along[:, j] = np.where(mirror, 0.0, along[:, j])
    return Strokes(
        count, parent, *(v.astype(np.float32) for v in (along, x, y, direction, length, turn, swing, corner, corner_at))
    )


def trace(strokes: Strokes, rng: np.random.Generator | None = None, mess: Array | float = 1.0) -> Array:
    """The points of every stroke: (..., STROKES, POINTS, 2), x to the right and y down.

    With `rng` each stroke is redrawn with jitter, `mess` (broadcast to (..., STROKES)) times the usual amount.
    """

    def noise(deviation: float) -> Array | float:
        if rng is None:
            return 0.0
        return (mess * deviation * rng.standard_normal(strokes.x.shape, dtype=np.float32)).astype(np.float32)

    t = (np.arange(POINTS - 1, dtype=np.float32) + 0.5) / (POINTS - 1)
    direction = strokes.direction + noise(0.11)
    turn = strokes.turn * (1 + noise(0.13)) + noise(0.16)
    swing = strokes.swing * (1 + noise(0.15)) + noise(0.08)
    corner = strokes.corner * (1 + noise(0.12))
    late = t > (strokes.corner_at + noise(0.05))[..., None]
    # The turn is spread evenly about the middle, so that `direction` is where the whole stroke leads.
    heading = (
        direction[..., None]
        + turn[..., None] * (t - 0.5)
        + swing[..., None] * np.cos(2 * np.pi * t)
        + corner[..., None] * (late - 0.5)
    )
    step = (strokes.length * np.exp(noise(0.13)) / (POINTS - 1))[..., None, None]
    path = np.zeros((*strokes.x.shape, POINTS, 2), np.float32)
    path[..., 1:, :] = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], -1) * step, -2)

    free = np.stack([strokes.x + noise(0.07), strokes.y + noise(0.07)], -1)
    shift = np.stack([noise(0.05) + np.zeros_like(strokes.x), noise(0.05) + np.zeros_like(strokes.x)], -1)
    along = np.clip(strokes.along + noise(0.06), 0, 1)
    for j in range(STROKES):
        start = free[..., j, :]
        if j:
            # Take the point of the parent stroke; strokes before j have their place by now.
            chosen = np.maximum(strokes.parent[..., j], 0)[..., None, None, None]
            spot = np.rint(along[..., j] * (POINTS - 1)).astype(np.int64)[..., None, None]
            line = np.take_along_axis(path, chosen, -3)[..., 0, :, :]
            on_parent = np.take_along_axis(line, spot, -2)[..., 0, :] + shift[..., j, :]
            start = np.where(strokes.parent[..., j, None] >= 0, on_parent, start)
        path[..., j, :, :] += start[..., None, :]
    return path


def extent(path: Array, count: NDArray[np.int64]) -> tuple[Array, Array]:
    """Centre and half size (..., 2) of the box about the first `count` strokes."""
    mask = (np.arange(STROKES) < count[..., None])[..., None, None]
    low = np.where(mask, path, np.inf).min((-3, -2))
    high = np.where(mask, path, -np.inf).max((-3, -2))
    return (low + high) / 2, (high - low) / 2


def render(path: Array, count: NDArray[np.int64], pen: Array) -> NDArray[np.uint8]:
    """Pictures (n, SIDE, SIDE), ink 255, of paths (n, STROKES, POINTS, 2) in [-1, 1].

    `count` (n,): the first so many strokes are drawn; `pen` (n,): half the width of the line in pixels.
    """
    images = np.zeros((len(path), SIDE, SIDE), np.uint8)
    for strokes in np.unique(count[count > 0]):
        # Pictures of as many strokes go together: no time is spent on strokes that are not there.
        chosen = count == strokes
        images[chosen] = _render(path[chosen, :strokes], pen[chosen, None, None])
    return images


def _render(path: Array, pen: Array) -> NDArray[np.uint8]:
    """`render` for paths whose strokes are all drawn; pen (n, 1, 1).

    A Gaussian is a product of one in x and one in y, so that one matrix product sums those about all points of
    a picture. Weighted with the points' spacing the sum is exp(-d^2 / width^2) at distance d from a line: it is
    read back as a distance, and the ink falls from 1 to 0 within one pixel about the pen's edge.
    """
    n = len(path)
    width = np.maximum(pen, 0.75)
    pixels = (path + 1) * (SIDE / 2) - 0.5
    spacing = np.linalg.norm(np.diff(pixels, axis=-2), axis=-1)
    # Each point stands for half of the pieces on its two sides.
    weight = (np.pad(spacing, ((0, 0), (0, 0), (0, 1))) + np.pad(spacing, ((0, 0), (0, 0), (1, 0)))) / 2
    points = pixels.reshape(n, -1, 2) / width
    grid = np.arange(SIDE, dtype=np.float32) / width
    across = np.exp(-np.square(points[..., :1] - grid)) * (weight.reshape(n, -1, 1) / (width * np.sqrt(np.pi)))
    down = np.exp(-np.square(points[..., 1:] - grid))
    ridge = np.matmul(down.transpose(0, 2, 1), across)
    distance = width * np.sqrt(-np.log(np.clip(ridge, 1e-6, 1)))
    return np.rint(np.clip(pen + 0.5 - distance, 0, 1) * 255).astype(np.uint8)


def alphabet(index: int) -> NDArray[np.uint8]:
    """The pictures (PER_ALPHABET, DRAWERS, SIDE, SIDE) of alphabet `index`."""
    rng = np.random.default_rng([SEED, index])
    strokes = _choose(invent(rng, CANDIDATES))
    centre, half = extent(trace(strokes), strokes.count)
    size = rng.uniform(0.58, 0.72)
    scale = size / np.maximum(half.max(-1), 0.2)

    shape = (PER_ALPHABET, DRAWERS)
    again = Strokes(*(np.repeat(v[:, None], DRAWERS, 1) for v in vars(strokes).values()))
    mess = rng.uniform(0.5, 1.1, (1, DRAWERS, 1)).astype(np.float32)
    path = (trace(again, rng, mess) - centre[:, None, None, None]) * scale[:, None, None, None, None]

    slant = rng.normal(0, 0.12, (1, DRAWERS)) + rng.normal(0, 0.05, shape)
    tilt = rng.normal(0, 0.06, (1, DRAWERS)) + rng.normal(0, 0.06, shape)
    wide = np.exp(rng.normal(0, 0.08, (1, DRAWERS)) + rng.normal(0, 0.07, shape))
    tall = np.exp(rng.normal(0, 0.08, (1, DRAWERS)) + rng.normal(0, 0.07, shape))
    # Rows: where x and y go. Slant pushes the upper part (negative y) to the right.
    affine = np.stack(
        [
            np.stack([wide * np.cos(tilt), wide * np.sin(tilt)], -1),
            np.stack([-tall * (np.sin(tilt) + slant), tall * np.cos(tilt)], -1),
        ],
        -2,
    )
    path = np.einsum("cdspi,cdij->cdspj", path, affine)
    middle, half = extent(path, again.count)
    fit = np.minimum(1, 0.86 / half.max(-1))
    room = 0.9 - half * fit[..., None]
    place = np.clip(rng.normal(0, 0.05, (*shape, 2)), -room, room)
    path = (path - middle[..., None, None, :]) * fit[..., None, None, None] + place[..., None, None, :]

    pen = np.exp(rng.normal(-0.25, 0.12, (1, DRAWERS)) + rng.normal(0, 0.05, shape)).clip(0.58, 1.1)
    flat = path.reshape(-1, STROKES, POINTS, 2).astype(np.float32)
    images = render(flat, again.count.reshape(-1), pen.reshape(-1).astype(np.float32))
    return images.reshape(*shape, SIDE, SIDE)


def _choose(candidates: Strokes) -> Strokes:
    """The first `PER_ALPHABET` candidates that are legible and unlike those before, then the least alike."""
    path = trace(candidates)
    centre, half = extent(path, candidates.count)
    scale = 0.7 / np.maximum(half.max(-1), 0.2)
    path = (path - centre[:, None, None]) * scale[:, None, None, None]
    pen = np.full(len(path), THICK, np.float32)
    looks = render(path, candidates.count, pen).reshape(len(path), -1).astype(np.float32) / 255
    # Strokes on top of each other leave less ink than their length: nobody could say what was drawn.
    walked = (
        np.where(np.arange(STROKES) < candidates.count[:, None], candidates.length, 0).sum(-1)
        * scale
        * (SIDE / 2)
        * 2
        * THICK
    )
    legible = (looks.sum(1) > 0.72 * walked) & (half.min(-1) > 0.3 * half.max(-1))
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    likeness = looks @ looks.T
    taken: list[int] = []
    for i in np.flatnonzero(legible):
        if len(taken) < PER_ALPHABET and likeness[i, taken].max(initial=0) < ALIKE:
            taken.append(int(i))
    rest = np.where(legible, 0, 1)
    while len(taken) < PER_ALPHABET:
        taken.append(int((likeness[:, taken].max(1, initial=0) + rest).argmin()))
    return Strokes(*(v[taken] for v in vars(candidates).values()))


def alphabet_name(index: int) -> str:
    """A name for alphabet `index`, e.g. 'Tavori'."""
    rng = np.random.default_rng([SEED, index, 1])
    syllables = [rng.choice(list("bdfgklmnprstvz")) + rng.choice(list("aeiou")) for _ in range(3)]
    return "".join([*syllables, rng.choice(["", "n", "r", "s", "k"])]).capitalize()


def build() -> NDArray[np.uint8]:
    """Every alphabet's pictures (alphabets * PER_ALPHABET, DRAWERS, SIDE, SIDE): about 3 s on one core."""
    return np.concatenate([alphabet(i) for i in range(sum(ALPHABETS.values()))])


def load() -> dict[Split, Characters]:
    """The characters of each split, whole alphabets each, from the cache or drawn now."""
    n = sum(ALPHABETS.values())
    shape = (n * PER_ALPHABET, DRAWERS, SIDE, SIDE)
    images = places.cached_array(f"glyphs-{VERSION}.npy", np.dtype(np.uint8), shape, build)
    names = tuple(f"{alphabet_name(i)} {k + 1}" for i in range(n) for k in range(PER_ALPHABET))
    found: dict[Split, Characters] = {}
    first = 0
    for split, count in ALPHABETS.items():
        last = first + count * PER_ALPHABET
        found[split] = Characters(images[first:last], names[first:last])
        first = last
    return found


class Glyphs(CharacterFamily):
    """Characters of invented alphabets: 36 alphabets in meta-training, 4 in meta-validation, 10 in meta-test."""

    title: ClassVar[str] = "Invented characters"
    summary: ClassVar[str] = "Tell new characters apart from a drawing or two; the alphabets are made up here."
    library: ClassVar[Library] = Library(load)

    name: Literal["glyphs"] = "glyphs"
