"""Results in sortable tables: numbers, so that they can be sorted, with accuracies in percent."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import streamlit as st

from metalab.ui.i18n import _


def cell(value: float, metric: str) -> float | None:
    """A figure of a metric for a table: an accuracy in percent, nothing for what is no number."""
    if not math.isfinite(value):
        return None
    return round(100 * value, 1) if metric == "accuracy" else round(value, 4)


def unit(metric: str) -> str:
    """What the figures of `cell` are, where a table has several metrics."""
    return _("accuracy (%)") if metric == "accuracy" else _(metric)


def formats(metrics: Collection[str], columns: Sequence[str]) -> dict[str, Any] | None:
    """How `st.dataframe` writes the columns with these metrics' figures; None where it needs no telling."""
    if set(metrics) != {"accuracy"}:
        return None
    return {name: st.column_config.NumberColumn(format="%.1f%%") for name in columns}
