"""The controls of any settings class, drawn from its declarations: one slider, menu or switch for each setting.

What is returned is plain values under the declarations' names; `parse_config` checks them, once, for every
way in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from metalab.settings import Declaration, Settings, declarations
from metalab.ui.i18n import _
from metalab.ui.links import readable

MANTISSAS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
"""Where a logarithmic slider stops within each power of ten."""
WIDEST_SLIDER = 2_000
"""A wider range of whole numbers is typed, not slid over."""
SEGMENTS = 4
SEGMENT_LETTERS = 26


def settings_controls(
    cls: type[Settings], start: Mapping[str, Any], key: str, *, hidden: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Draw every setting of `cls`, the advanced ones folded away, and return their values by name.

    `start` holds where each control stands at first. A setting that is hidden by its `only_if` has the value in
    `hidden`, else its default: what nobody sees may not come from a link, which could contradict what is seen.
    """
    values: dict[str, Any] = {}
    unseen = hidden or {}
    everything = list(declarations(cls))
    for declaration in everything:
        if not declaration.advanced:
            values[declaration.name] = _drawn(declaration, start, unseen, values, key)
    advanced = [declaration for declaration in everything if declaration.advanced]
    if advanced:
        with st.expander(_("Advanced"), key=f"{key}.advanced", type="compact"):
            for declaration in advanced:
                values[declaration.name] = _drawn(declaration, start, unseen, values, key)
    return values


def _drawn(
    declaration: Declaration, start: Mapping[str, Any], unseen: Mapping[str, Any], values: Mapping[str, Any], key: str
) -> Any:
    name, default = declaration.name, declaration.default
    if any({**start, **values}.get(other) != value for other, value in declaration.only_if.items()):
        return unseen.get(name, default)
    return setting_control(declaration, start.get(name, default), key=f"{key}.{name}")


def setting_control(declaration: Declaration, begin: Any, *, key: str, disabled: bool = False) -> Any:
    """Draw one setting and return its value; `begin` is where it stands at first."""
    label, help_text = _(declaration.label), _(declaration.help) or None
    if declaration.choices:
        return _choice(declaration, begin, label, help_text, key, disabled)
    if declaration.type is bool:
        return st.toggle(label, value=bool(begin), key=key, help=help_text, disabled=disabled)
    if declaration.is_range:
        return _range(declaration, begin, label, help_text, key, disabled)
    if declaration.type is tuple:
        return _numbers(declaration, begin, label, help_text, key, disabled)
    if declaration.type is str:
        return st.text_input(label, value=str(begin), max_chars=200, key=key, help=help_text, disabled=disabled)
    return _number(declaration, begin, label, help_text, key, disabled)


def _choice(declaration: Declaration, begin: Any, label: str, help_text: str | None, key: str, disabled: bool) -> Any:
    choices = declaration.choices
    words = [choice_name(choice) for choice in choices]
    if len(choices) <= SEGMENTS and sum(map(len, words)) <= SEGMENT_LETTERS:
        return st.segmented_control(
            label,
            choices,
            default=begin,
            required=True,
            format_func=choice_name,
            key=key,
            help=help_text,
            disabled=disabled,
        )
    return st.selectbox(
        label,
        choices,
        index=choices.index(begin),
        format_func=choice_name,
        key=key,
        help=help_text,
        disabled=disabled,
    )


def _numbers(declaration: Declaration, begin: Any, label: str, help_text: str | None, key: str, disabled: bool) -> Any:
    text = st.text_input(
        label,
        value=", ".join(str(number).removesuffix(".0") for number in begin),
        max_chars=200,
        key=key,
        help=help_text,
        placeholder=_("e.g. 40, 40"),
        disabled=disabled,
    )
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    return tuple(_number_of(part, declaration.item) for part in parts)


def _number_of(text: str, kind: type) -> Any:
    """The number that was typed; what is none stays text, for `parse_config` to name."""
    try:
        return kind(text) if text.isascii() and "_" not in text else text
    except ValueError:
        return text


def _range(declaration: Declaration, begin: Any, label: str, help_text: str | None, key: str, disabled: bool) -> Any:
    low, high = float(declaration.low or 0), float(declaration.high or 0)
    step = declaration.step or (high - low) / 100
    ends = (float(begin[0]), float(begin[1]))
    return st.slider(label, low, high, ends, step, key=key, help=help_text, disabled=disabled)


def _number(declaration: Declaration, begin: Any, label: str, help_text: str | None, key: str, disabled: bool) -> Any:
    whole, low, high = declaration.type is int, declaration.low, declaration.high
    if low is None or high is None or (whole and declaration.scale == "linear" and high - low > WIDEST_SLIDER):
        kind = int if whole else float
        return st.number_input(
            label,
            min_value=None if low is None else kind(low),
            max_value=None if high is None else kind(high),
            value=kind(begin),
            step=kind(declaration.step or 1) if whole else declaration.step,
            key=key,
            help=help_text,
            disabled=disabled,
        )
    if declaration.scale == "log":
        return st.select_slider(
            label,
            log_stops(low, high, whole, begin, declaration.default),
            value=begin,
            format_func=readable,
            key=key,
            help=help_text,
            disabled=disabled,
        )
    if whole:
        step = int(declaration.step or 1)
        return st.slider(label, int(low), int(high), int(begin), step, key=key, help=help_text, disabled=disabled)
    step_size = declaration.step or (high - low) / 100
    return st.slider(label, low, high, float(begin), step_size, key=key, help=help_text, disabled=disabled)


def log_stops(low: float, high: float, whole: bool, *extra: float) -> list[Any]:
    """The values of a logarithmic slider: six round ones in each power of ten, both ends and `extra`."""
    kind = int if whole else float
    stops = {kind(low), kind(high), *(kind(value) for value in extra)}
    exponent = -12
    while 10.0**exponent <= high:
        values = (float(f"{mantissa}e{exponent}") for mantissa in MANTISSAS)
        stops |= {kind(value) for value in values if low <= value <= high and (not whole or value == int(value))}
        exponent += 1
    return sorted(stops)


def choice_name(choice: Any) -> str:
    """A choice of a setting as a word in the page's language, e.g. max_pool as "max pool"."""
    return _(str(choice).replace("_", " "))
