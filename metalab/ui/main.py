"""The script that Streamlit runs for every visitor: page settings and navigation."""

from pathlib import Path
from typing import Literal

import streamlit as st

from metalab.ui.classroom import show_notice
from metalab.ui.history import one_entry_a_page
from metalab.ui.i18n import _, choose_language
from metalab.ui.identity import in_charge
from metalab.ui.links import come_to
from metalab.ui.teacher import desk

ROOT = Path(__file__).resolve().parents[2]

st.set_page_config(
    page_title="MetaLab",
    page_icon=str(ROOT / "assets" / "icon.png"),
    layout="wide",
    initial_sidebar_state="auto",
)
choose_language()
in_the_menu: Literal["visible", "hidden"] = "visible" if desk().guarded and in_charge() else "hidden"
st.logo(str(ROOT / "assets" / "logo.svg"), size="large")
st.html(ROOT / "assets" / "style.css")
one_entry_a_page()
show_notice()

pages = ROOT / "pages"
page = st.navigation(
    {
        "": [
            st.Page(pages / "home.py", title=_("Home"), icon=":material/home:", default=True),
            st.Page(pages / "train.py", title=_("Train"), icon=":material/model_training:", url_path="train"),
            st.Page(pages / "adapt.py", title=_("Adapt"), icon=":material/gesture:", url_path="adapt"),
            st.Page(
                pages / "classroom.py",
                title=_("The class"),
                icon=":material/school:",
                url_path="classroom",
                visibility=in_the_menu,
            ),
        ],
        _("Compare"): [
            st.Page(pages / "speed.py", title=_("Who learns fastest?"), icon=":material/speed:", url_path="speed"),
            st.Page(pages / "sweeps.py", title=_("Which settings?"), icon=":material/tune:", url_path="sweeps"),
            st.Page(
                pages / "library.py",
                title=_("What have we learned?"),
                icon=":material/library_books:",
                url_path="library",
            ),
        ],
        _("Understand"): [
            st.Page(
                pages / "embeddings.py",
                title=_("How do tasks lie?"),
                icon=":material/scatter_plot:",
                url_path="embeddings",
            ),
            st.Page(pages / "theta.py", title=_("What is theta doing?"), icon=":material/target:", url_path="theta"),
            st.Page(pages / "order.py", title=_("Why second order?"), icon=":material/looks_two:", url_path="order"),
            st.Page(
                pages / "sensitivity.py",
                title=_("How sensitive is it?"),
                icon=":material/tune:",
                url_path="sensitivity",
            ),
            st.Page(pages / "decision.py", title=_("Why this answer?"), icon=":material/quiz:", url_path="decision"),
            st.Page(pages / "lab.py", title=_("The exact lab"), icon=":material/science:", url_path="lab"),
        ],
    },
    position="top",
)
come_to(page.url_path)
page.run()
