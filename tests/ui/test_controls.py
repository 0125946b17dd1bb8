"""Controls drawn from declarations, for a settings class that has one of each kind."""

from typing import Literal

import pytest
from streamlit.testing.v1 import AppTest

from metalab.algorithms import ALGORITHMS
from metalab.models import MODELS
from metalab.settings import Settings, declarations, setting
from metalab.tasks import FAMILIES
from metalab.training.config import RunConfig
from metalab.ui.controls import log_stops


class Everything(Settings):
    """One setting of each kind."""

    count: int = setting(3, "How many.", low=1, high=9)
    rate: float = setting(0.02, "How fast.", low=1e-4, high=1.0, scale="log")
    share: float = setting(0.5, "How much.", low=0, high=1)
    seed: int = setting(0, "Which.", low=0, high=2**31 - 1)
    bent: bool = setting(False, "Whether it bends.")
    mode: Literal["one_way", "both_ways"] = setting("one_way", "Which way.")
    many: Literal["first choice", "second choice", "third choice", "fourth choice"] = setting("first choice", "Pick.")
    widths: tuple[int, ...] = setting((40, 40), "Layers.")
    bends: tuple[float, ...] = setting((1.0, 0.5), "How bent each is.")
    span: tuple[float, float] = setting((0.1, 5.0), "From where to where.", low=0.0, high=10.0, step=0.1)
    angle: float = setting(0.1, "Only when bent.", low=0, high=1, only_if={"bent": True})
    rare: int = setting(2, "Seldom needed.", low=0, high=5, advanced=True)


def page(start):
    import streamlit as st
    from test_controls import Everything

    from metalab.ui.controls import settings_controls

    st.session_state["values"] = settings_controls(Everything, start, "k")


def drawn(**start):
    app = AppTest.from_function(page, args=(start,), default_timeout=10).run()
    assert not app.exception
    return app


def test_untouched_controls_return_the_defaults():
    assert drawn().session_state["values"] == Everything().model_dump()


def test_controls_start_where_they_are_told_even_between_the_stops():
    start = {"rate": 0.0123, "count": 9, "mode": "both_ways", "many": "third choice", "widths": (8,), "bent": True}
    start["span"] = (0.3333, 3.14159)
    assert drawn(**start).session_state["values"] == Everything(**start).model_dump()


def test_each_kind_has_its_control():
    app = drawn()
    assert [slider.label for slider in app.slider] == ["Count", "Share", "Span", "Rare"]
    assert [slider.label for slider in app.select_slider] == ["Rate"]
    assert [box.label for box in app.number_input] == ["Seed"]
    assert [toggle.label for toggle in app.toggle] == ["Bent"]
    assert [group.label for group in app.button_group] == ["Mode"]
    assert [menu.label for menu in app.selectbox] == ["Many"]
    assert [text.label for text in app.text_input] == ["Widths", "Bends"]
    assert [text.value for text in app.text_input] == ["40, 40", "1, 0.5"]
    assert [expander.label for expander in app.expander] == ["Advanced"]
    assert [slider.label for slider in app.expander[0].slider] == ["Rare"]
    assert app.slider[0].help == "How many."


def test_moves_are_returned_and_hidden_settings_appear():
    app = drawn()
    assert "Angle" not in [slider.label for slider in app.slider]
    app.toggle[0].set_value(True)
    app.select_slider[0].set_value(0.15)
    app.text_input[0].set_value(" 16, 8 ,x,1_0,0.5")
    app.text_input[1].set_value("1, 2.0,.5,-3,x")
    app.button_group[0].set_value("both_ways")
    app.run()
    values = app.session_state["values"]
    assert values["rate"] == 0.15
    assert values["mode"] == "both_ways"
    assert values["widths"] == (16, 8, "x", "1_0", "0.5"), "what is no whole number is left for parse_config to name"
    assert repr(values["bends"]) == "(1.0, 2.0, 0.5, -3.0, 'x')"
    assert "Angle" in [slider.label for slider in app.slider]


def test_a_hidden_setting_has_its_default_and_not_where_a_link_would_put_it():
    app = drawn(angle=0.9)
    assert app.session_state["values"]["angle"] == 0.1
    app.toggle[0].set_value(True).run()
    assert app.session_state["values"]["angle"] == 0.9
    app.toggle[0].set_value(False).run()
    assert app.session_state["values"]["angle"] == 0.1


@pytest.mark.parametrize(
    "cls", [RunConfig, *FAMILIES.values(), *MODELS.values(), *ALGORITHMS.values()], ids=lambda cls: cls.__name__
)
def test_every_registered_setting_has_a_stop_at_its_default(cls):
    for declaration in declarations(cls):
        assert declaration.help
        if declaration.scale == "log":
            whole = declaration.type is int
            stops = log_stops(declaration.low, declaration.high, whole, declaration.default)
            assert declaration.default in stops
            assert stops[0] == declaration.low
            assert stops[-1] == declaration.high
            assert stops == sorted(set(stops))
            assert all(isinstance(stop, declaration.type) for stop in stops)


def test_a_range_is_one_slider_with_two_ends():
    app = drawn()
    span = next(slider for slider in app.slider if slider.label == "Span")
    assert (span.value, span.min, span.max, span.step) == ((0.1, 5.0), 0.0, 10.0, 0.1)
    span.set_range(2.0, 7.5).run()
    assert app.session_state["values"]["span"] == (2.0, 7.5)


def test_logarithmic_stops_are_round():
    assert log_stops(0.01, 0.2, False) == [0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2]
    assert log_stops(1, 30, True, 25) == [1, 2, 3, 5, 7, 10, 15, 20, 25, 30]
