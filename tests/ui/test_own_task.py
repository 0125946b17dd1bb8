"""Tasks of one's own on the pages that study runs: what a link says of their points."""

import pytest
from streamlit.testing.v1 import AppTest

from metalab.ui import own_task

DIFFER = "x and y differ in length in the link"


@pytest.mark.parametrize(
    ("x", "y", "kept", "said"),
    [
        ((), (), 0, None),
        ((1.0, 2.0), (3.0, 4.0), 2, None),
        (
            (1.0, 2.0, 3.0),
            (4.0, 5.0),
            2,
            "x and y differ in length in the link, 3 and 2: the first 2 points are taken.",
        ),
        ((1.0,), (2.0, 3.0), 1, "x and y differ in length in the link, 1 and 2: the first point is taken."),
        ((1.0,), (), 0, "The link has only one of x and y: that makes no point."),
    ],
)
def test_a_number_without_a_partner_is_left_out_and_told(x, y, kept, said):
    state = {"x": x, "y": y}
    assert own_task.pair_points(state) == ([said] if said else [])
    assert state == {"x": x[:kept], "y": y[:kept]}


def _begin(page):
    import importlib

    import streamlit as st

    state, wrong = importlib.import_module(f"metalab.ui.{page}").STUDY.begin()
    st.text(f"{wrong} {state['x']} {state['y']}")


@pytest.mark.parametrize("page", ["library", "embeddings"])
def test_the_pages_with_a_task_of_ones_own_say_which_points_they_take(page):
    app = AppTest.from_function(_begin, kwargs={"page": page}, default_timeout=30)
    app.query_params["x"], app.query_params["y"] = "1,2,3", "0.5"
    app.run()
    assert not app.exception
    assert app.text[0].value == (
        "['x and y differ in length in the link, 3 and 1: the first point is taken.'] (1.0,) (0.5,)"
    )
