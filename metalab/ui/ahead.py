"""What pages that study runs show first, computed before anybody opens them: so that a link shows its picture at once.

Of the families that need no download, with the runs that a page begins with. Whoever asks for something meanwhile goes
first (metalab.analysis.background), and a page that is opened while its look is computed joins in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from metalab.store import Run
from metalab.ui import decision, embeddings, order, sensitivity, speed, theta
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.background import without_page
from metalab.ui.study import Study

FAMILIES = ("sinusoid", "glyphs")


class Look(NamedTuple):
    """A page, which runs suit it, and what asks for its first computation."""

    study: Study
    ask: Callable[[dict[str, Any], Sequence[Entrant]], object]
    suits: Callable[[Run], bool] = lambda _run: True


LOOKS = (
    Look(speed.STUDY, lambda state, entrants: speed.measured(state, list(entrants))),
    Look(embeddings.STUDY, lambda state, entrants: embeddings.embedded(state, entrants[0], None)),
    Look(theta.STUDY, theta.begun, theta.suits),
    Look(order.STUDY, lambda state, entrants: order.compared(state, entrants[0]), order.suits),
    Look(sensitivity.STUDY, lambda state, entrants: sensitivity.rates(state, entrants[0])),
    Look(decision.STUDY, lambda state, entrants: decision.begun(state, entrants[0]), decision.suits),
)


def look_ahead() -> None:
    """Compute each first look that is not kept already; returns when they are there.

    Raises runs.Problem where a run cannot be read, StoreError, PlaceError.
    """
    for family in FAMILIES:
        for look in LOOKS:
            state, entrants = look.study.at_first(family, look.suits)
            if entrants:
                with without_page():
                    look.ask(state, entrants)
