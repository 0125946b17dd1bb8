"""The state of a page in its link: what a link may carry, reading it without trust, writing it back.

A page lists what its link carries as `Parameter`s. `read_state` turns the address into checked values, the
default and one sentence for each that is wrong; `write_state` puts into the address what differs from the
defaults, so that a link is short and means the same later. Imports no torch: Home draws with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import streamlit as st

from metalab.ui.i18n import _, ngettext

LONGEST_VALUE = 600
MOST_WARNINGS = 5
MOST_KNOWN = 100
"""Links of a page that are remembered as its own."""
NOT_OURS = frozenset({"lang", "embed", "embed_options"})
"""Parameters that every page has and no page's state owns."""
RUN_ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
OF_RUN_ID = "letters, digits, - and _"
RUN_AT = rf"{RUN_ID}(@\d{{1,7}})?"
"""A run, perhaps at a checkpoint: "abcd2345@1200"."""
OF_RUN_AT = "letters, digits, - and _ of a run, and perhaps @ and a checkpoint of at most 7 digits"
LONGEST_RUN_AT = 64


@dataclass(frozen=True)
class Parameter:
    """One value that a link can carry.

    kind      int, float, bool, str or tuple (of `item`s, joined by commas in the link).
    choices   the allowed values; empty where there is a range or a pattern instead.
    low, high inclusive bounds of a number, or of each number in a tuple.
    pattern   what a text, or each text in a tuple, must match as a whole.
    longest   how many characters a text may have.
    made_of   what a text is made of, in words.
    least, most  how many entries a tuple may have.
    rising    whether the numbers of a tuple may not fall.
    automatic  whether the default leaves the choice to the page: no value that a person could make sense of.
    """

    name: str
    default: Any
    kind: type = str
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    pattern: str = r"[\w .,:+-]*"
    longest: int = 100
    made_of: str = "letters, digits, spaces and . , : + -"
    most: int = 16
    item: type = int
    least: int = 0
    rising: bool = False
    automatic: bool = False

    def parse(self, text: str) -> Any:
        """The value of `text`. Raises ValueError for what is not allowed."""
        if len(text) > LONGEST_VALUE:
            raise ValueError
        if self.choices:
            return next(choice for choice in self.choices if _text(choice) == text)
        if self.kind is not tuple:
            return self._one(text, self.kind)
        parts = text.split(",") if text else []
        if not self.least <= len(parts) <= self.most:
            raise ValueError
        values = tuple(self._one(part.strip(), self.item) for part in parts)
        if self.rising and list(values) != sorted(values):
            raise ValueError
        return values

    def _one(self, text: str, kind: type) -> Any:
        if kind is bool:
            return {"1": True, "true": True, "0": False, "false": False}[text]
        if kind is str:
            if len(text) > self.longest or not re.fullmatch(self.pattern, text):
                raise ValueError
            return text
        if not text.isascii() or "_" in text:
            raise ValueError
        value = int(text) if kind is int else float(text)
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not math.isfinite(value) or not low <= value <= high:
            raise ValueError
        return value

    def expected(self) -> str:
        """What `parse` accepts, in words."""
        if self.choices:
            return _("one of {choices}").format(choices=", ".join(map(_text, self.choices)))
        if self.kind is bool:
            return _("true or false")
        kind = self.item if self.kind is tuple else self.kind
        text = _("at most {n} {characters}").format(n=self.longest, characters=_(self.made_of))
        one = {int: _("a whole number"), float: _("a number")}.get(kind, text)
        if self.low is not None and self.high is not None:
            low, high = readable(self.low), readable(self.high)
            one = _("{number} from {low} to {high}").format(number=one, low=low, high=high)
        if self.rising:
            return _("two numbers, {one} each, the smaller one first, joined by a comma").format(one=one)
        if self.kind is tuple:
            if self.least == self.most:
                return _("{most} entries, each {one}, joined by commas").format(most=self.most, one=one)
            if self.least > 1:
                told = _("{least} to {most} entries, each {one}, joined by commas")
                return told.format(least=self.least, most=self.most, one=one)
            if self.most == 1:
                return _("one entry, {one}").format(one=one)
            return _("at most {most} entries, each {one}, joined by commas").format(most=self.most, one=one)
        return one


class Wrong(str):
    """A sentence about a wrong value of a link."""

    name: str
    """The value's name, shortened."""

    @classmethod
    def of(cls, name: str, sentence: str) -> Wrong:
        wrong = cls(sentence)
        wrong.name = name
        return wrong


def read_state(
    schema: Sequence[Parameter], link: Mapping[str, str] | None = None, ignore: Collection[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """The values of a page's link (by default the current one), and a sentence for each that was wrong.

    Every name of `schema` has a value: the link's where it is allowed, else the default. Names in the link
    that are neither in `schema` nor in `ignore` are reported too.
    """
    given = dict(st.query_params) if link is None else dict(link)
    values: dict[str, Any] = {}
    warnings: list[str] = []
    for parameter in schema:
        values[parameter.name] = parameter.default
        if parameter.name not in given:
            continue
        text = given[parameter.name]
        try:
            values[parameter.name] = parameter.parse(text)
        except (ValueError, KeyError, StopIteration, OverflowError):
            default = _("the default") if parameter.automatic else _text(parameter.default) or _("nothing")
            warnings.append(refused(parameter.name, text, parameter.expected(), default))
    known = {parameter.name for parameter in schema} | NOT_OURS | set(ignore)
    unknown = _("{name} in the link: no setting of that name exists here; it is left out.")
    for name in (_shortened(name) for name in given if name not in known):
        warnings.append(Wrong.of(name, unknown.format(name=name)))
    return values, warnings


def refused(name: str, value: object, expected: str, used: str) -> Wrong:
    """The sentence about a value of a link that cannot be used: what was expected, and what is used instead."""
    sentence = _("{name} = {value} in the link: expected {expected}; {default} is used.")
    told = sentence.format(name=name, value=_shortened(_text(value)), expected=expected, default=used)
    return Wrong.of(name, told)


def beyond(name: str, value: int, most: int, used: str) -> Wrong:
    """The sentence about a number of a link that is larger than what was chosen with it allows."""
    told = _("{number} from {low} to {high}").format(number=_("a whole number"), low=0, high=readable(most))
    return refused(name, value, told, used)


def unknown_run(state: dict[str, Any], ids: Sequence[str]) -> list[Wrong]:
    """The sentence about the `run` of a link that is none of those compared, which is left out of the state."""
    if not state["run"] or state["run"] in ids:
        return []
    asked, state["run"] = state["run"], ""
    expected = _("one of the runs that are compared, {choices}").format(choices=", ".join(ids))
    return [refused("run", asked, expected, _("the first"))]


def link_of(schema: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of a link that says `values`: only those that differ from their defaults."""
    return {
        parameter.name: _text(values[parameter.name])
        for parameter in schema
        if parameter.name in values and values[parameter.name] != parameter.default
    }


def write_state(schema: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, str]:
    """Make the address in the browser say `values`, and return its parameters; touches nothing if it does already."""
    now = dict(st.query_params)
    wanted = {name: text for name, text in now.items() if name in NOT_OURS} | link_of(schema, values)
    if wanted != now:
        st.query_params.from_dict(wanted)
    return wanted


# --- whose link it is


def own_parameters() -> dict[str, str]:
    """The parameters in the address that belong to the page."""
    return {name: text for name, text in st.query_params.items() if name not in NOT_OURS}


def is_news(page: str) -> bool:
    """Whether the address has parameters that the page has neither read nor written since the visitor came to it.

    A browser on a slow machine tells of an address that the page has written over meanwhile: that is no news.
    """
    here = own_parameters()
    return bool(here) and here not in st.session_state.get(f"{page}.links", [])


def know(page: str, parameters: Mapping[str, str]) -> None:
    """Take these parameters, read or written just now, for the page's own."""
    own = {name: text for name, text in parameters.items() if name not in NOT_OURS}
    former = [link for link in st.session_state.get(f"{page}.links", []) if link != own]
    st.session_state[f"{page}.links"] = [*former[1 - MOST_KNOWN :], own]


def come_to(page: str) -> None:
    """The visitor is on this page: coming from another they may open a link anew, unless it is where they left."""
    if st.session_state.get("links.page") != page:
        st.session_state["links.page"] = page
        st.session_state[f"{page}.links"] = st.session_state.get(f"{page}.links", [])[-1:]


# --- sharing


def address(path: str, parameters: Mapping[str, str]) -> str:
    """The full address of a page of this server as the visitor's browser knows it, e.g. http://host:8501/train?seed=3.

    `path` is the page's, without slashes; "" is Home.
    """
    from metalab.ui.routes import base_path

    here = urlsplit(st.context.url or "")
    origin = f"{here.scheme}://{here.netloc}" if here.netloc else ""
    query = urlencode(parameters, quote_via=quote, safe=",:")
    return f"{origin}{base_path()}/{path}{'?' if query else ''}{query}"


def share(path: str, parameters: Mapping[str, str], *, key: str, label: str | None = None) -> None:
    """A button that opens the page's link, with a button to copy it."""
    told = _("Shows a link to copy: whoever opens it sees the same.")
    with st.popover(label or _("Share link"), icon=":material/link:", key=key, width="stretch", help=told):
        st.markdown(_("Whoever opens this link sees this page as it is now, with the same settings and seed."))
        st.code(address(path, parameters), language=None, wrap_lines=True)


def show_warnings(warnings: Sequence[str]) -> None:
    """What was wrong with a link, in one box above the page: a few sentences, and the names of the rest."""
    shown, rest = list(warnings[:MOST_WARNINGS]), warnings[MOST_WARNINGS:]
    if rest:
        more = ngettext("{n} more value of the link is wrong", "{n} more values of the link are wrong", len(rest))
        names = ", ".join(wrong.name for wrong in rest if isinstance(wrong, Wrong))
        shown.append(more.format(n=len(rest)) + (f": {names[:LONGEST_VALUE]}" if names else "."))
    if shown:
        lines = [escape(sentence) for sentence in shown]
        text = lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)
        st.warning(text, icon=":material/link_off:")


def readable(value: float) -> str:
    """A setting's number for the eye: 0.00001, 0.03, 25, 5,000."""
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:.10f}".rstrip("0").rstrip(".")


def flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names and values."""
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", tuple(value) if isinstance(value, list) else value


def escape(text: str) -> str:
    """Text from outside as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$:^])", r"\\\1", text.replace("\n", " "))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return ",".join(map(_text, value))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
