"""Figures in tables: numbers that sort, accuracies in percent."""

import math

from metalab.ui.cells import cell, formats, unit


def test_an_accuracy_is_in_percent_and_no_number_is_nothing():
    assert [cell(value, "accuracy") for value in (0.9067, 1.0, math.nan)] == [90.7, 100.0, None]
    assert [cell(value, "loss") for value in (0.12345, math.inf, -2.0)] == [0.1235, None, -2.0]


def test_the_sign_stands_in_the_cells_where_all_are_accuracies_and_else_with_the_metric():
    (column,) = formats({"accuracy"}, ("After",)).values()
    assert column["type_config"]["format"] % 90.7 == "90.7%"
    assert formats({"accuracy", "loss"}, ("After",)) is None
    assert formats(set(), ("After",)) is None
    assert [unit(metric) for metric in ("accuracy", "loss")] == ["accuracy (%)", "loss"]
