"""What the pages that study runs have in common: state and link, the question, the menus of runs, the explanation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from metalab.store import Run
from metalab.tasks import FAMILIES
from metalab.ui import adapt_entrants, examples, links, runs
from metalab.ui.adapt_entrants import MOST_CONTENDERS, Entrant
from metalab.ui.background import leave_others
from metalab.ui.downloads import missing, missing_data_card
from metalab.ui.fold import fold_button, folded
from metalab.ui.i18n import _
from metalab.ui.links import LONGEST_RUN_AT, OF_RUN_AT, RUN_AT, Parameter
from metalab.ui.preload import preload_charts
from metalab.ui.take_home import take_home_later

__all__ = ["Study"]

BEGIN_WITH = 3
"""Runs that are compared at first."""
MOST_NAMED = 8
"""Checkpoints that a sentence names."""
Check = Callable[[dict[str, Any], list[Entrant]], list[str]]
"""Puts right what a link asks of these runs in vain, and returns a sentence for each such value."""


class Study:
    """One page's state, kept in the session and carried by its link."""

    def __init__(
        self,
        page: str,
        schema: Sequence[Parameter],
        *,
        families: Collection[str] = tuple(FAMILIES),
        family: str = "sinusoid",
        most: int = MOST_CONTENDERS,
        without: str = "",
        mend: Callable[[dict[str, Any]], list[str]] = lambda _state: [],
    ) -> None:
        """`page` is its address. `families` are those that it can study, `family` the first; `most` counts runs.

        `without` says in one sentence why the other families cannot be studied there. `mend` puts right those values
        of a link that do not go together, and returns a sentence for each.
        """
        self.page, self.most, self.mend = page, most, mend
        self.families = [name for name in FAMILIES if name in families]
        self.without = without
        common = [
            Parameter("family", family, choices=tuple(self.families)),
            Parameter("ways", 5, int, low=2, high=20, automatic=True),
            Parameter(
                "who",
                (),
                tuple,
                item=str,
                pattern=RUN_AT,
                longest=LONGEST_RUN_AT,
                made_of=OF_RUN_AT,
                most=most,
                automatic=True,
            ),
        ]
        self.schema = [*common, *schema]

    # --- state and link

    def begin(self) -> tuple[dict[str, Any], list[str]]:
        """The page's state, and a sentence for each wrong value of a link that was just opened.

        A link that this page did not write itself wins over what the session remembers.
        """
        remembered = st.session_state.get(f"{self.page}.state")
        if remembered is not None and not links.is_news(self.page):
            return remembered, remembered["untold"]
        here = links.own_parameters()
        state, warnings = links.read_state(self.schema)
        warnings += self.mend(state)
        state["revision"] = (remembered or {}).get("revision", 0) + 1
        state["asked"] = bool(state["who"])
        state["given"] = frozenset(here)
        # A run of the page that another one interrupts tells nothing: the sentences wait for one that ends.
        state["untold"] = warnings
        named = [name.partition("@") for name in state["who"]]
        state["who"] = list(dict.fromkeys(name for name, _at, _step in named))
        state["at"] = {name: int(step) for name, _at, step in named if step}
        st.session_state[f"{self.page}.state"] = state
        links.know(self.page, here)
        return state, warnings

    def linked(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state as the link's parameters."""
        return {**state, "who": tuple(self._at_checkpoints(state))}

    def write_link(self, state: Mapping[str, Any]) -> None:
        """Make the address say the state."""
        links.know(self.page, links.write_state(self.schema, self.linked(state)))

    def menu(self, state: Mapping[str, Any], name: str, value: Any) -> str:
        """The key of one of the page's controls, which stands at `value` at first."""
        key = f"{self.page}.menu.{state['revision']}.{name}"
        told = f"{key}.told"
        st.session_state[told] = key in st.session_state and (st.session_state.get(told) or _in_browser(key))
        if not st.session_state[told]:
            # A run of the page that is interrupted may never tell the browser where the control stands, and a browser
            # that was not told puts it to its first place: so it is told until it says itself where the control is.
            st.session_state[key] = st.session_state.get(key, value)
        return key

    def restart(self, state: dict[str, Any], **changes: Any) -> None:
        """Take other values than the browser's, and put every control to them."""
        state |= changes
        state["revision"] += 1

    # --- what stands on the page

    def show(
        self,
        title: str,
        bench: Callable[[dict[str, Any], list[Entrant]], None],
        *,
        suits: Callable[[Run], bool] = lambda _run: True,
        label: str = "",
        check: Check | None = None,
    ) -> dict[str, Any]:
        """Question and menus, then `bench(state, entrants)` where there are runs to study; the page's state."""
        preload_charts(key="preload", idle=False)
        before = st.session_state.get(f"{self.page}.state")
        state, wrong = self.begin()
        if state is not before:
            leave_others()
        self.question(title, state)
        box, opener = st.container(), st.container()
        with folded("menus"):
            family, who = st.columns([3, 9], gap="medium")
        with family:
            self.family_menu(state)
        lacking = missing(state["family"])
        if lacking:
            if missing_data_card(state["family"], lacking, instead="glyphs"):
                self.restart(state, family="glyphs", who=[], at={})
                st.rerun()
        else:
            with who:
                entrants = self.runs_menu(state, wrong, suits=suits, label=label)
                self.left_out()
            if entrants:
                self._fit(state, entrants, wrong, check)
                with opener:
                    fold_button()
                bench(state, entrants)
        with box:
            self.show_warnings(state, wrong)
        return state

    def _fit(self, state: dict[str, Any], entrants: list[Entrant], wrong: list[str], check: Check | None) -> None:
        """Bring what a link that was just opened asks for to what these runs have."""
        if not state["given"]:
            return
        for entrant in entrants:
            step = state["at"].get(entrant.id)
            if step is not None and step != entrant.step:
                there = ", ".join(map(str, entrant.checkpoints[-MOST_NAMED:]))
                expected = _("a checkpoint that the run has, such as {there}").format(there=there)
                wrong.append(links.refused("who", f"{entrant.id}@{step}", expected, f"{entrant.id}@{entrant.step}"))
                state["at"][entrant.id] = entrant.step
        wrong += check(state, entrants) if check else []
        state["given"] = frozenset()

    def question(self, title: str, state: Mapping[str, Any]) -> None:
        """The page's question, what can be taken home of its runs, and the link to what it shows."""
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.title(title, width="content", anchor=False)
            with st.container(horizontal=True, width="content"):
                with st.container(width=180):
                    take_home_later(lambda: state["who"], key=f"{self.page}-take-home")
                with st.container(width=160):
                    parameters = links.link_of(self.schema, self.linked(state))
                    links.share(self.page, parameters, key=f"{self.page}.share")

    def show_warnings(self, state: dict[str, Any], wrong: list[str]) -> None:
        """What was wrong with the link, until something else is chosen: a page is drawn anew as results come."""
        now = links.link_of(self.schema, self.linked(state))
        if wrong:
            state["wrong"], state["untold"] = (list(dict.fromkeys(wrong)), now), []
        told, then = state.get("wrong", ([], now))
        links.show_warnings(told if then == now else [])

    def explanation(self, sentences: str, formula: str) -> None:
        """Three sentences of Markdown and one formula in LaTeX."""
        with st.container(border=True, key=f"{self.page}-explanation"):
            words, rule = st.columns([3, 2], gap="large", vertical_alignment="center")
            words.markdown(sentences)
            rule.latex(formula)

    # --- runs

    def family_menu(self, state: dict[str, Any]) -> str:
        """Which task family; example runs are put there where nobody has trained on it."""
        family = st.selectbox(
            _("Task family"),
            self.families,
            format_func=lambda name: _(FAMILIES[name].title),
            key=self.menu(state, "family", state["family"]),
            help=_("What kind of tasks: only runs that practised on this family are offered."),
        )
        if family != state["family"]:
            state |= {"family": family, "who": [], "at": {}, "asked": False}
        return family

    def left_out(self) -> None:
        """Which families cannot be studied here, and why: in one line below the menus."""
        if self.without:
            names = ", ".join(_(FAMILIES[name].title) for name in FAMILIES if name not in self.families)
            st.caption(_("Not here: {families}. {why}").format(families=names, why=_(self.without)))

    def runs_menu(
        self,
        state: dict[str, Any],
        wrong: list[str],
        *,
        label: str = "",
        suits: Callable[[Run], bool] = lambda _run: True,
        begin_with: int = BEGIN_WITH,
    ) -> list[Entrant]:
        """Which runs; loaded, each at its checkpoint. Empty, with a sentence on the page, where there is none.

        `suits` says which runs the page can study. At first the newest of `begin_with` algorithms are chosen. `wrong`
        gets a sentence for whatever the link asks in vain.
        """
        family = state["family"]
        found = examples.candidates(family, suits, state["who"])
        if not found:
            self._nobody(family)
            return []
        here = {run.id for run in found}
        if not state["asked"]:
            told = _("Run {run} is not here any more: it is left out.")
            wrong += [told.format(run=name) for name in state["who"] if name not in here]
        found = self._ways_menu(state, found)
        named = runs.labels(found)
        ids = [run.id for run in found]
        chosen = [name for name in state["who"] if name in ids][: self.most]
        lost = [name for name in state["who"] if name not in ids] if state["asked"] else []
        told = _("Run {run} of the link is not here, or not one that this page can study: it is left out.")
        wrong += [told.format(run=name) for name in lost]
        chosen = chosen or adapt_entrants.newest_of_each(found)[: min(begin_with, self.most)]
        state["who"], state["asked"] = self._choose(state, label, ids, chosen, named), False
        if not state["who"]:
            st.info(_("Choose a run above."), icon=":material/arrow_upward:")
            return []
        try:
            return adapt_entrants.entrants(self._at_checkpoints(state), family, state["ways"])
        except runs.Problem as problem:
            st.warning(links.escape(str(problem)), icon=":material/info:")
            return []

    def at_first(self, family: str, suits: Callable[[Run], bool]) -> tuple[dict[str, Any], list[Entrant]]:
        """What the page shows a newcomer of a family before anything is chosen: its state, and its runs if any suit.

        Draws nothing. Raises runs.Problem where a run cannot be read.
        """
        state, _wrong = links.read_state(self.schema, {"family": family})
        found = examples.candidates(family, suits)
        if options := _ways(found):
            state["ways"] = _usual_ways(options)
            found = [run for run in found if adapt_entrants.ways_of(run) == state["ways"]]
        newest = adapt_entrants.newest_of_each(found, mine=lambda _run: False)
        state |= {"who": newest[: min(BEGIN_WITH, self.most)], "at": {}, "revision": 0}
        return state, adapt_entrants.entrants(state["who"], family, state["ways"]) if found else []

    def _choose(
        self, state: Mapping[str, Any], label: str, ids: list[str], chosen: list[str], named: Mapping[str, str]
    ) -> list[str]:
        key = self.menu(state, f"who.{state['family']}.{state['ways']}", chosen if self.most > 1 else chosen[0])
        if self.most == 1:
            told = _("The run whose θ is studied.")
            only = st.selectbox(label or _("Run"), ids, format_func=named.__getitem__, key=key, help=told)
            return [only]
        return st.multiselect(
            label or _("Runs"),
            ids,
            format_func=named.__getitem__,
            max_selections=self.most,
            key=key,
            placeholder=_("Choose runs"),
            help=_("Runs that are compared, each from its own θ."),
        )

    def _ways_menu(self, state: dict[str, Any], found: list[Run]) -> list[Run]:
        """Of classification runs those with one number of classes, chosen where there are several."""
        options = _ways(found)
        if not options:
            return found
        asked, asked_for = [run for run in found if run.id in state["who"]], state["ways"]
        if asked and state["asked"]:
            state["ways"] = adapt_entrants.ways_of(asked[0])
        if state["ways"] not in options:
            state["ways"] = _usual_ways(options)
            if "ways" in state["given"]:
                expected = _("one of {choices}").format(choices=", ".join(map(str, options)))
                state["untold"].append(links.refused("ways", asked_for, expected, str(state["ways"])))
        if len(options) > 1:
            told = _("A network has one output for each class that it was meta-trained for.")
            key = self.menu(state, f"ways.{state['family']}", state["ways"])
            state["ways"] = st.segmented_control(_("Ways"), options, required=True, key=key, help=told)
        return [run for run in found if adapt_entrants.ways_of(run) == state["ways"]]

    def _nobody(self, family: str) -> None:
        sentence = _("Nobody has learned to learn **{family}** yet. Press Start on Train, and come back after a while.")
        with st.container(border=True):
            st.markdown(sentence.format(family=_(FAMILIES[family].title)))
            told = _("Opens the page on which a run of this family is started.")
            if st.button(_("To Train"), icon=":material/play_arrow:", key=f"{self.page}.train", help=told):
                from metalab.ui.main import ROOT

                st.switch_page(ROOT / "pages" / "train.py", query_params={"family": family})

    def _at_checkpoints(self, state: Mapping[str, Any]) -> list[str]:
        return [f"{name}@{state['at'][name]}" if name in state["at"] else name for name in state["who"]]


def _ways(found: list[Run]) -> list[int]:
    """The numbers of classes of these runs."""
    return sorted({ways for run in found if (ways := adapt_entrants.ways_of(run))})


def _usual_ways(options: list[int]) -> int:
    return 5 if 5 in options else options[0]


def _in_browser(key: str) -> bool:
    """Whether the browser, asking for this run of the page, said where the control of this key stands."""
    context = get_script_run_ctx(suppress_warning=True)
    states = context.session_state.get_widget_states() if context else []
    return any(state.id.endswith(f"-{key}") for state in states)
