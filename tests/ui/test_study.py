"""What a page that studies runs remembers survives runs of it that are cut short, and late news of its address."""

from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from metalab.ui import adapt, links, study
from metalab.ui.links import Parameter
from metalab.ui.study import Study


def script():
    import streamlit as st

    from metalab.ui.links import Parameter
    from metalab.ui.study import Study

    page = Study("test", [Parameter("tasks", 50, int, low=1, high=600)])
    state, wrong = page.begin()
    state["tasks"] = st.slider("Tasks", 1, 600, key=page.menu(state, "tasks", state["tasks"]))
    page.write_link(state)
    page.show_warnings(state, wrong)


@pytest.fixture
def page():
    app = AppTest.from_function(script, default_timeout=60)
    app.query_params["tasks"] = "100"
    return app.run()


def test_the_browser_is_told_where_a_control_stands_until_it_says_so_itself(page, monkeypatch):
    monkeypatch.setattr(study, "_in_browser", lambda _key: False)
    for _lost in range(3):
        page.run()
        assert page.slider[0].value == 100
        assert (page.slider[0].proto.set_value, list(page.slider[0].proto.value)) == (True, [100.0])
    monkeypatch.undo()
    page.run()
    assert not page.slider[0].proto.set_value, "a browser that knows is not contradicted while somebody drags"
    page.slider[0].set_value(200).run()
    assert page.query_params["tasks"] == "200"


def test_a_browser_that_is_behind_does_not_bring_back_what_was_written_over(page):
    page.slider[0].set_value(200).run()
    page.query_params["tasks"] = "100"
    page.run()
    assert page.slider[0].value == 200
    assert page.query_params["tasks"] == "200"
    page.query_params["tasks"] = "300"
    page.run()
    assert page.slider[0].value == 300, "a link that the page has not seen is opened"


@pytest.mark.parametrize("schema", [Study("test", []).schema, adapt.schema()])
def test_a_checkpoint_of_too_many_digits_is_refused_with_what_is_expected(schema):
    values, wrong = links.read_state(schema, {"who": "zzzzzzzz@9999999"})
    assert (values["who"], wrong) == (("zzzzzzzz@9999999",), [])
    values, (sentence,) = links.read_state(schema, {"who": "zzzzzzzz@99999999"})
    assert values["who"] == ()
    assert "and perhaps @ and a checkpoint of at most 7 digits, joined by commas" in sentence


def test_what_was_wrong_with_a_link_is_told_by_the_first_run_that_ends(monkeypatch):
    told = []
    monkeypatch.setattr(study.st, "session_state", {})
    monkeypatch.setattr(study.st, "query_params", {"tasks": "none", "who": "gone"})
    monkeypatch.setattr(study.links, "show_warnings", lambda wrong: told.append(list(wrong)))
    page = Study("test", [Parameter("tasks", 50, int, low=1, high=600)])
    state, wrong = page.begin()
    wrong.append("Run gone is not here.")
    again, wrong = page.begin()  # the first was cut short before it could tell
    wrong.append("Run gone is not here.")
    assert again is state
    page.show_warnings(state, wrong)
    assert [len(told), len(told[0]), told[0][1]] == [1, 2, "Run gone is not here."]
    page.show_warnings(*page.begin())
    assert told[1] == told[0], "until something else is chosen"
    page.show_warnings(state | {"tasks": 51}, [])
    assert told[2] == []


def test_a_checkpoint_that_the_run_does_not_have_is_told(monkeypatch):
    monkeypatch.setattr(study.st, "session_state", {})
    monkeypatch.setattr(study.st, "query_params", {"who": "abcd@70,efgh@50"})
    page = Study("test", [])
    state, wrong = page.begin()
    entrants = [SimpleNamespace(id=name, step=50, checkpoints=(0, 50)) for name in ("abcd", "efgh")]
    page._fit(state, entrants, wrong, lambda _state, _entrants: ["and more"])
    expected = "who = 'abcd@70' in the link: expected a checkpoint that the run has, such as 0, 50; abcd@50 is used."
    assert wrong == [expected, "and more"]
    page._fit(state, entrants, wrong, lambda _state, _entrants: ["never"])
    assert len(wrong) == 2
    assert state["at"] == {"abcd": 50, "efgh": 50}
