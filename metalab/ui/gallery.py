"""Pictures in cards, each with its question, a sentence of data and downloads; perhaps a player (assets/stage.js)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metalab.figures.adaptation import STEP
from metalab.ui.canvas.bridge import stored
from metalab.ui.stage import Placed, inner_step_texts, mount, training_texts

__all__ = ["Pick", "Placed", "draw_gallery", "picked"]

MOST_PICKED = 1000


@dataclass(frozen=True)
class Pick:
    """What was clicked or encircled in a picture."""

    picture: str
    """Its name."""
    how: str
    """'click' or 'lasso'."""
    data: tuple[int, ...]
    """The points' `customdata`, which pages that ask for picks make whole numbers; of other points nothing."""
    number: int
    """Counts the picks of this revision, from 1."""


def draw_gallery(
    pictures: Sequence[Placed],
    *,
    key: str,
    revision: int = 0,
    steps: int = 0,
    begin: int | None = None,
    outer_steps: Sequence[int] = (),
    pickable: bool = False,
    trouble: str = "",
) -> Pick | None:
    """Draw the pictures; return what was picked last, if they are `pickable` and something was.

    With `steps` there is a player of the inner steps 0 .. steps for the figures' frames, with `outer_steps` one of the
    checkpoints after so many outer steps. A new `revision` puts the player to `begin`, None for its end, and forgets
    what was picked.
    `trouble` is a warning above the pictures.
    """
    said: dict[str, Any] = {
        "step": begin,
        "steps": steps,
        "column": STEP["inner step"],
        "prefix": key.partition(".")[0],
    }
    if outer_steps:
        said |= {"steps": len(outer_steps) - 1, "counts": list(outer_steps), "column": "outer_step"}
    mount(
        pictures,
        {**said, "pickable": pickable, "trouble": trouble},
        training_texts() if outer_steps else inner_step_texts(),
        key=key,
        revision=revision,
    )
    return picked(key, revision) if pickable else None


def picked(key: str, revision: int = 0) -> Pick | None:
    """What was picked last in the gallery of this key, also before it is drawn in this run of the page."""
    value = stored(key, "pick", revision)
    if not value:
        return None
    name, how, points, number = (value.get(part) for part in ("picture", "how", "points", "seq"))
    if not (isinstance(name, str) and how in ("click", "lasso") and isinstance(points, list)):
        return None
    if type(number) is not int or not 0 < number < 2**53:
        return None
    data = (_whole(point.get("data")) for point in points[:MOST_PICKED] if isinstance(point, dict))
    return Pick(name[:80], how, tuple(n for n in data if n is not None), number)


def _whole(value: Any) -> int | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 2**53 else None
