"""The card of an algorithm: what flows where, as boxes and arrows."""

from __future__ import annotations

import re

import pytest

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.base import Card
from metalab.algorithms.flow import Edge
from metalab.ui.algorithm_card import diagram


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_its_diagram(name):
    card = ALGORITHMS[name].card
    html = diagram(card)
    boxes = re.findall(r"<b [^>]*>([^<]*)</b>", html)
    assert set(boxes) == {box for edge in card.edges for box in (edge.start, edge.end)}
    assert len(boxes) == len(set(boxes))
    assert html.count("<span") == len(card.edges)


def test_arrows_reach_from_box_to_box_and_back():
    edges = (Edge("a", "over\nunder", "b"), Edge("b", "on", "c"), Edge("c", "back", "a"))
    html = diagram(Card("baseline", "", "", "", "", "", "", "", flow=edges))
    assert '<span class="on" style="grid-column:2/3"><i>over</i><i>under</i>' in html
    assert '<span class="on" style="grid-column:4/5"><i>on</i>' in html
    assert '<span class="back" style="grid-column:1/6"><i>back</i>' in html
    assert 'aria-label="a → b: over, under; b → c: on; c → a: back"' in html


def test_what_a_card_says_is_no_html():
    html = diagram(Card("baseline", "", "", "", "", "", "", "", flow=(Edge("<a>", '"<i>', "b"),)))
    assert "<a>" not in html
    assert "&lt;a&gt;" in html
    assert '"&lt;i' not in html
