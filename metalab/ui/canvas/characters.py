"""Pads on which people draw a few characters and then a query that the adapted model classifies as they draw."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import ArrayLike

from metalab.ui.canvas.bridge import asset, sequence_number, stored
from metalab.ui.canvas.strokes import MAX_SHOTS, MAX_WAYS, Drawings, empty_drawings, fitted, parse_drawings
from metalab.ui.i18n import _

# Okabe-Ito, without the yellow that vanishes on white: class 1 to 5.
CLASS_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
MAX_IMAGE_SIDE = 105

Images = Sequence[Sequence[ArrayLike | None]]

_mount = st.components.v2.component(
    "metalab_characters",
    html='<div class="characters"></div>',
    css=asset("canvas.css", "characters.css"),
    js=asset("canvas.js", "pad.js", "characters.js"),
)


def current_drawings(key: str, ways: int, shots: int, *, revision: int = 0, begin: Drawings | None = None) -> Drawings:
    """What stands on the canvas `key` now; `begin`, else blank pads, before the first stroke of this revision.

    A page calls this before `character_canvas`, computes probabilities and previews for it and passes both on.
    """
    return _read(key, ways, shots, revision, begin)[0]


def character_canvas(
    ways: int,
    shots: int,
    *,
    key: str,
    revision: int = 0,
    begin: Drawings | None = None,
    support_previews: Images | None = None,
    query_preview: ArrayLike | None = None,
    probabilities: Sequence[float] | None = None,
    asks: bool = True,
) -> Drawings:
    """Show `ways` classes of `shots` pads and a query pad with probability bars, and return what is drawn.

    Args:
        ways, shots: 1 to 5 each. Fewer pads hide what is drawn on the others; more bring it back.
        key: the widget's name; one canvas each.
        revision: another number puts every pad to `begin`.
        begin: what stands on the pads at first; None for blank ones.
        support_previews: [way][shot] images or None, shown small under each pad: what the network sees.
        query_preview: the same for the query.
        probabilities: one a class, in [0, 1]; None while there is no adapted model or no query.
        asks: whether there is a query pad at all.

        Images are (size, size) arrays or nested lists of 0 to 255, 255 being ink, with size at most 105.

    Returns:
        the drawings, as strokes in the unit square; `strokes.rasterise` makes the network's input of one.

    Raises:
        ValueError: sizes, images or probabilities that do not fit.
    """
    now, problem = _read(key, ways, shots, revision, begin)
    value = stored(key, "drawings", revision)
    _mount(
        key=key,
        data={
            "revision": revision,
            "seq": sequence_number(value),
            "ways": ways,
            "shots": shots,
            "support": now.support,
            "query": now.query,
            "labels": [chr(ord("A") + way) for way in range(ways)],
            "colours": CLASS_COLOURS[:ways],
            "previews": _encoded(support_previews, ways, shots, "support_previews"),
            "query_preview": None if query_preview is None else encode_image(query_preview, "query_preview"),
            "asks": asks,
            "probabilities": _checked_probabilities(probabilities, ways),
            "problem": problem,
            "text": _texts(),
        },
        on_drawings_change=lambda: None,
    )
    return now


def _read(key: str, ways: int, shots: int, revision: int, begin: Drawings | None = None) -> tuple[Drawings, str]:
    """The drawings and, if the browser's were not usable, one sentence that says why."""
    value = stored(key, "drawings", revision)
    if value is None:
        return fitted(begin or empty_drawings(ways, shots), ways, shots), ""
    try:
        return parse_drawings(value, ways, shots), ""
    except ValueError as error:
        return empty_drawings(ways, shots), _("The drawings could not be read. {reason}").format(reason=error)


def encode_image(image: ArrayLike, name: str) -> dict[str, Any]:
    """An image of 0 to 255 as {"size", "bytes" (base64)}: a tenth of the length of nested lists."""
    try:
        pixels = np.asarray(image, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected a square image of numbers from 0 to 255.") from error
    if pixels.ndim != 2 or pixels.shape[0] != pixels.shape[1] or not 1 <= len(pixels) <= MAX_IMAGE_SIDE:
        raise ValueError(
            f"{name} has shape {pixels.shape}: expected (size, size) with size from 1 to {MAX_IMAGE_SIDE}."
        )
    if not (pixels.min() >= 0 and pixels.max() <= 255):  # also false for NaN
        raise ValueError(f"{name} has values outside 0 to 255.")
    return {"size": len(pixels), "bytes": base64.b64encode(pixels.astype(np.uint8).tobytes()).decode("ascii")}


def _encoded(images: Images | None, ways: int, shots: int, name: str) -> list[list[dict[str, Any] | None]] | None:
    if images is None:
        return None
    if len(images) != ways or any(len(row) != shots for row in images):
        raise ValueError(f"{name}: expected {ways} rows (ways) of {shots} images (shots).")
    return [
        [None if image is None else encode_image(image, f"{name}[{way}][{shot}]") for shot, image in enumerate(row)]
        for way, row in enumerate(images)
    ]


def _checked_probabilities(probabilities: Sequence[float] | None, ways: int) -> list[float] | None:
    if probabilities is None:
        return None
    values = [float(p) for p in probabilities]
    if len(values) != ways or not all(math.isfinite(p) and -1e-6 <= p <= 1 + 1e-6 for p in values):
        raise ValueError(f"probabilities {values!r}: expected {ways} numbers in [0, 1].")
    return [round(min(max(p, 0.0), 1.0), 4) for p in values]


def _texts() -> dict[str, Any]:
    return {
        "most_ways": MAX_WAYS,
        "most_shots": MAX_SHOTS,
        "pad": _("Drawing pad: class {label}, example {number}. Strokes drawn: {count}."),
        "query_pad": _("Drawing pad for the query. Strokes drawn: {count}."),
        "query": _("Query"),
        "query_hint": _("Draw one of the characters again"),
        "undo": _("Undo"),
        "undo_pad": _("Undo the last change: class {label}, example {number}"),
        "undo_query": _("Undo the last change to the query"),
        "clear": _("Clear"),
        "clear_pad": _("Clear class {label}, example {number}"),
        "clear_query": _("Clear the query"),
        "clear_all": _("Clear all pads"),
        "seen": _("What the network sees"),
        "prediction": _("Which class is it?"),
        "need_support": _("Draw one example of each class first."),
        "need_query": _("Now draw a query: one of your characters, once more."),
        "wait": _("The model is adapting."),
        "result": _("Class {label}: {percent}"),
        "full": _("A pad takes at most {most} strokes."),
    }
