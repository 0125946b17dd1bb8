"""Texts on the Adapt page: names of one's own, and how boldly contenders write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from metalab.analysis.challenge import MOST_NAMES, Challenge, names_challenge, words_challenge
from metalab.analysis.text import HIGHEST, LOWEST
from metalab.figures.images import class_name
from metalab.tasks.base import TaskFamily
from metalab.tasks.cldr import LONGEST
from metalab.ui import adapt, runs
from metalab.ui.i18n import _

# Countries of stories.
FIRST_NAMES = ("borduria", "freedonia", "genovia", "latveria", "ruritania", "sokovia", "syldavia", "wakanda")
FIRST_WORDS = (
    ("helsinki", "tampere", "oulu", "jyväskylä", "rovaniemi"),
    ("roma", "napoli", "torino", "palermo", "bergamo"),
    ("caerdydd", "aberystwyth", "llanelli", "caernarfon", "llangollen"),
    ("ouagadougou", "koudougou", "tenkodogo", "banfora", "ouahigouya"),
    ("reykjavík", "akureyri", "keflavík", "húsavík", "borgarnes"),
)
"""Towns, since the networks know names of countries, languages and currencies."""
FIRST_QUERY = "kuopio"
ROOM = MOST_NAMES * (LONGEST + 2)
"""Letters that a list of names may have."""


def writing(state: dict[str, Any], challenge: Challenge) -> Challenge:
    """The challenge with the temperature and the draw that the controls say; as it is where nothing is written."""
    if challenge.family.kind != "generation":
        return challenge
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state["temperature"] = st.slider(
            _("Temperature"),
            LOWEST,
            HIGHEST,
            step=0.1,
            key=adapt.menu("temperature", state["temperature"]),
            help=_("How boldly letters are drawn: low takes the likeliest ones, high takes risks."),
            width=320,
        )
        if st.button(_("Write others"), icon=":material/refresh:", key="adapt.write", help=_("Draw again by chance.")):
            state["draw"] += 1
    return replace(challenge, temperature=state["temperature"], draw=state["draw"])


def own_names(state: dict[str, Any], family: TaskFamily) -> Challenge:
    """The names that a person types. Raises Problem for what is no name."""
    text = st.text_area(
        _("Your names, one a line"),
        "\n".join(FIRST_NAMES),
        max_chars=ROOM,
        height=240,
        key=f"adapt.names.{state['revision']}",
        help=_("Up to {most} names of 3 to {letters} letters; capital letters count as small ones.").format(
            most=MOST_NAMES, letters=LONGEST
        ),
    )
    st.caption(_("Your names stay in this browser tab."))
    try:
        return writing(state, names_challenge(family, _lines(text)))
    except ValueError as problem:
        raise runs.Problem(str(problem)) from None


def own_words(state: dict[str, Any], family: TaskFamily) -> Challenge:
    """Lists of names that a person types, and a name to ask. Raises Problem for what is no name."""
    ways, revision = family.output_size, state["revision"]
    if ways > len(FIRST_WORDS):
        sentence = _("These networks tell {ways} languages apart: choose runs with at most {most}, or sample a task.")
        raise runs.Problem(sentence.format(ways=ways, most=len(FIRST_WORDS)))
    texts = []
    for column, label in zip(st.columns(ways), range(ways), strict=True):
        with column:
            texts.append(
                st.text_area(
                    _("Names of {language}, one a line").format(language=class_name(label)),
                    "\n".join(FIRST_WORDS[label]),
                    max_chars=ROOM,
                    height=180,
                    key=f"adapt.words.{label}.{revision}",
                )
            )
    query = st.text_input(
        _("Whose is this name?"),
        FIRST_QUERY,
        max_chars=LONGEST + 2,
        key=f"adapt.asked.{revision}",
        help=_("A name that every contender puts to one of the lists."),
    )
    st.caption(_("Your names stay in this browser tab."))
    try:
        return words_challenge(family, [_lines(text) for text in texts], query.strip())
    except ValueError as problem:
        raise runs.Problem(str(problem)) from None


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]
