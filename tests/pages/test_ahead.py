"""What is computed before anybody comes is what pages ask for first."""

import pytest

from metalab.analysis.background import Background, Work, background
from metalab.ui.ahead import FAMILIES, LOOKS, look_ahead


@pytest.fixture
def asked(monkeypatch):
    """The keys that are asked for, of computations that all fail."""
    keys = []

    def ask(_self, key, make, asker, **_):
        keys.append(key)
        work = Work(key, make, asker, state="failed", problem="Nothing is computed here.")
        work.ended.set()
        return work

    monkeypatch.setattr(Background, "ask", ask)
    return keys


def test_a_page_that_is_opened_asks_first_for_what_was_computed_ahead(asked, open_page):
    open_page("home")  # a home of its own
    look_ahead()
    ahead = list(asked)
    assert len(set(ahead)) == len(FAMILIES) * len(LOOKS)
    for family in FAMILIES:
        for place, look in enumerate(LOOKS):
            asked.clear()
            open_page(look.study.page, family=family)
            expected = ahead[FAMILIES.index(family) * len(LOOKS) + place]
            assert asked[0] == expected, (look.study.page, family)


def test_the_result_is_there_when_the_page_asks(open_page, monkeypatch):
    monkeypatch.setattr("metalab.ui.ahead.FAMILIES", ("sinusoid",))
    monkeypatch.setattr("metalab.ui.ahead.LOOKS", [look for look in LOOKS if look.study.page == "decision"])
    open_page("home")
    others = set(background()._works)  # of tests before this one, in the same process
    look_ahead()
    page = open_page("decision", family="sinusoid")
    assert not page.get("progress")
    computed = [work for work in background()._works.values() if work.key not in others]
    computed = [work for work in computed if work.key[0] == "decision.influence"]
    assert [(work.state, work.person) for work in computed] == [("done", "ahead")]
