"""Every page's own reading of its link, fed with what nobody would write: defaults, and harmless sentences."""

from __future__ import annotations

import math
import re

import hostile_values as hostile
import pytest
import streamlit as st
from hypothesis import given, settings
from hypothesis import strategies as some

from metalab.training.config import ConfigError
from metalab.ui import adapt, decision, draft, embeddings, lab, library, links, order, sensitivity, speed, sweeps, theta
from metalab.ui.links import Parameter

STUDIES = {
    module.STUDY.page: module.STUDY for module in (decision, embeddings, library, order, sensitivity, speed, theta)
}
SCHEMAS = {"adapt": adapt.schema, "lab": lab.schema, "sweeps": lambda: sweeps.STUDY.schema} | {
    page: (lambda study=study: study.schema) for page, study in STUDIES.items()
}
READERS = {"adapt": adapt.begin, "lab": lab.begin, "sweeps": sweeps.STUDY.begin} | {
    page: study.begin for page, study in STUDIES.items()
}


@pytest.fixture
def page(monkeypatch):
    """Reads a link as the page does that is opened with it: its state and its warnings, as they are shown."""

    def opened(name, link):
        shown = []
        monkeypatch.setattr(st, "query_params", dict(link))
        monkeypatch.setattr(st, "session_state", {})
        monkeypatch.setattr(st, "warning", lambda text, **_: shown.append(text))
        state, warnings = READERS[name]()
        links.show_warnings(warnings)
        return state, "\n".join(shown)

    return opened


def allowed(parameter: Parameter, value: object) -> bool:
    """Whether a value is one that the parameter promises; written without `Parameter.parse`."""
    if value == parameter.default or (parameter.choices and value in parameter.choices):
        return True
    if parameter.kind is tuple:
        assert isinstance(value, tuple | list)
        return parameter.least <= len(value) <= parameter.most and all(_one(parameter, each) for each in value)
    return not parameter.choices and _one(parameter, value)


def _one(parameter: Parameter, value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= links.LONGEST_VALUE and re.fullmatch(parameter.pattern, value) is not None
    if isinstance(value, bool):
        return True
    low, high = (math.nan if end is None else end for end in (parameter.low, parameter.high))
    return math.isfinite(value) and not value < low and not value > high


def harmless(shown: str) -> bool:
    """No control character, and no sign that begins Markdown, HTML or LaTeX without a backslash before it."""
    return re.search(r"[\x00-\x09\x0b-\x1f]|(?<!\\)[<>`$\[\]|]", shown) is None and len(shown) < 5_000


def links_for(schema):
    """Links of one page: its own names and others, hostile texts and numbers that nearly fit."""
    names = some.sampled_from([parameter.name for parameter in schema]) | hostile.texts.map(lambda name: name[:50])
    near = some.sampled_from([0, -1, 1, 2, 5, 10_000, 2**31]).map(str)
    lists = some.lists(near | hostile.texts, max_size=20).map(",".join)
    choices = some.sampled_from([str(choice) for parameter in schema for choice in parameter.choices] or [""])
    return some.dictionaries(names, hostile.texts | near | lists | choices | hostile.numbers.map(str), max_size=8)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
@given(data=some.data())
@settings(max_examples=settings().max_examples // 3)
def test_a_hostile_link_gives_allowed_values_and_harmless_warnings(name, data, page):
    schema = SCHEMAS[name]()
    link = data.draw(links_for(schema))
    state, shown = page(name, link)
    assert harmless(shown), shown
    values, warnings = links.read_state(schema, link)
    for parameter in schema:
        assert allowed(parameter, values[parameter.name]), (parameter.name, values[parameter.name])
    assert values.keys() == {parameter.name for parameter in schema}
    wrong = {warning.name for warning in warnings}
    assert all(
        parameter.name in wrong or parameter.name not in link or values[parameter.name] is not None
        for parameter in schema
    )
    # What the page writes back is read without a complaint, and means the same.
    again = links.link_of(schema, values)
    assert links.read_state(schema, again) == (values, [])
    assert state["revision"] == 1


@given(link=some.deferred(lambda: links_for(draft.schema({"family": "sinusoid", "model": "mlp", "algorithm": "maml"}))))
def test_a_hostile_link_to_train_gives_a_draft_that_is_a_config_or_says_why_not(link):
    found, warnings = draft.from_link(link)
    assert all(isinstance(warning, str) for warning in warnings)
    config, said = hostile.attempt(found.config, ConfigError)
    if said is not None:
        assert hostile.in_one_sentence(said)
    else:
        assert config.algorithm.name == found.names["algorithm"]
