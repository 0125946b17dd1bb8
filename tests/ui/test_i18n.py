"""The language of a page."""

import gettext

import pytest
from streamlit.testing.v1 import AppTest

from metalab.ui import i18n


class Catalogue(gettext.NullTranslations):
    def gettext(self, message):
        return {"Start": "Commencer"}.get(message, message)

    def ngettext(self, msgid1, msgid2, n):
        return "une course" if n < 2 else "des courses"


@pytest.fixture
def french(monkeypatch):
    monkeypatch.setattr(i18n, "languages", lambda: ("en", "fr"))
    catalogue = i18n._catalogue
    monkeypatch.setattr(i18n, "_catalogue", lambda name: Catalogue() if name == "fr" else catalogue(name))


def page():
    import streamlit as st

    from metalab.ui.i18n import _, choose_language, language, ngettext

    choose_language()
    st.text(_("Start"))
    st.text(ngettext("a run", "runs", 3))
    st.text(language())


def texts(test):
    return [element.value for element in test.run().text]


def test_english_without_a_choice(french):
    assert texts(AppTest.from_function(page)) == ["Start", "runs", "en"]


def test_the_links_language_is_kept_for_the_session(french):
    test = AppTest.from_function(page)
    test.query_params["lang"] = "fr"
    assert texts(test) == ["Commencer", "des courses", "fr"]
    test.query_params.clear()
    assert texts(test) == ["Commencer", "des courses", "fr"]


@pytest.mark.parametrize("wanted", ["de", "", "../../etc", "FR"])
def test_a_language_without_a_catalogue_changes_nothing(french, wanted):
    test = AppTest.from_function(page)
    test.query_params["lang"] = wanted
    assert texts(test) == ["Start", "runs", "en"]


def test_outside_a_page_the_text_itself():
    assert i18n._("Start") == "Start"
    assert i18n.ngettext("a run", "runs", 1) == "a run"
