"""What an algorithm is, on a card: its rule, what flows where, what it learns, what adapts, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import streamlit as st

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.base import Card
from metalab.algorithms.flow import Edge
from metalab.ui.i18n import _

_STYLE = Path(__file__).resolve().parents[2] / "assets" / "algorithm_card.css"


def algorithm_card(name: str) -> None:
    """Draw the card of the algorithm of that name."""
    algorithm = ALGORITHMS[name]
    card = algorithm.card
    with st.container(border=True, key="algorithm-card"):
        st.markdown(f"#### {_('{algorithm}: how does it learn?').format(algorithm=_(algorithm.title))}")
        st.markdown(_(algorithm.summary))
        st.latex(card.rule)
        st.html(diagram(card))
        st.html(_STYLE)
        st.markdown(_facts(card))


def _facts(card: Card) -> str:
    facts = {
        _("Kind"): _(card.kind),
        _("Learned by the outer loop"): _(card.learned),
        _("Adapts to a task"): _(card.adapts),
        _("Order of the gradient"): _(card.gradient_order),
        _("Memory"): _(card.memory),
        _("Paper"): f"[{card.paper}]({card.url})",
    }
    return "\n".join(f"- **{title}**: {text}" for title, text in facts.items())


def diagram(card: Card) -> str:
    """What flows where, as HTML for assets/algorithm_card.css: boxes in a row, arrows back in rows below them."""
    names = list(dict.fromkeys(name for edge in card.edges for name in (edge.start, edge.end)))
    columns = {name: 2 * i + 1 for i, name in enumerate(names)}
    alt = "; ".join(f"{_(e.start)} → {_(e.end)}: {_(e.label)}".replace("\n", ", ") for e in card.edges)
    boxes = (f'<b style="grid-column:{column}">{escape(_(name))}</b>' for name, column in columns.items())
    parts = [*boxes, *(_arrow(columns, edge) for edge in card.edges)]
    template = " ".join(["auto", *["minmax(4.5rem, 1fr) auto"] * (len(names) - 1)])
    style = f"grid-template-columns:{template}"
    return f'<div class="ml-flow" role="img" aria-label="{escape(alt)}" style="{style}">{"".join(parts)}</div>'


def _arrow(columns: Mapping[str, int], edge: Edge) -> str:
    start, end, label = columns[edge.start], columns[edge.end], escape(_(edge.label))
    if end > start:
        over, _line, under = label.partition("\n")
        return f'<span class="on" style="grid-column:{start + 1}/{end}"><i>{over}</i><i>{under}</i></span>'
    return f'<span class="back" style="grid-column:{end}/{start + 1}"><i>{label}</i></span>'
