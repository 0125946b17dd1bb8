"""Adapt: can it learn my task? Contenders race on one support set, sampled, clicked or drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from metalab.tasks import FAMILIES
from metalab.training.presets import PRESETS
from metalab.ui import adapt, adapt_entrants, links, runs
from metalab.ui.adapt_entrants import MOST_CONTENDERS, SCRATCH, Entrant
from metalab.ui.adapt_race import STAGE, diverged, pictures, scores
from metalab.ui.adapt_task import Task, own, sampled
from metalab.ui.dials import Reading, draw_dials, read_dials
from metalab.ui.downloads import missing, missing_data_card
from metalab.ui.fold import fold_button, folded
from metalab.ui.i18n import _
from metalab.ui.stage import draw_stage, player_step
from metalab.ui.take_home import take_home_later

HOME = Path(__file__).with_name("home.py")
TRAIN = Path(__file__).with_name("train.py")
INSTEAD = "glyphs"


def question(state: dict[str, Any]) -> None:
    """What the page is about."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title(_("Can it learn your task?"), width="content", anchor=False)
        with st.container(horizontal=True, width="content"):
            with st.container(width=180):
                take_home_later(lambda: [name for name in state["who"] if name != SCRATCH], key="adapt-take-home")
            with st.container(width=160):
                links.share("adapt", links.link_of(adapt.schema(), adapt.linked(state)), key="adapt.share")


def words() -> None:
    """What happens here."""
    st.markdown(
        _(
            "Every contender gets the same few examples. Who learns by inner steps takes the same number of them from "
            "its own θ; others read the examples at once. Step through it, change α, or make a task of your own."
        )
    )


def menus(state: dict[str, Any], wrong: list[str]) -> None:
    """Which family, whose task, who races; `wrong` gets a sentence for whatever the link asks in vain."""
    fold_button()
    with folded("words"):
        words()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        with folded("family", width=280):
            family = st.selectbox(
                _("Task family"),
                list(FAMILIES),
                format_func=lambda name: _(FAMILIES[name].title),
                key=adapt.menu("family", state["family"]),
                help=_("What kind of task is to be learned: only runs that practised on its family can race."),
            )
        adapt.choose_family(state, family)
        found = adapt_entrants.candidates(state["family"], state["who"])
        if FAMILIES[state["family"]].kind == "classification":
            with folded("ways", width="content"):
                found = ways_menu(state, found, wrong)
        state["mode"] = st.segmented_control(
            _("Task"),
            ["sample", "own"],
            format_func=lambda name: _("Sample a task") if name == "sample" else _("Make your own"),
            required=True,
            key=adapt.menu("mode", state["mode"]),
            help=_("A held-out task drawn at random, or one that you click or draw yourself."),
        )
    if not found:
        nobody(state["family"])
    with folded("contenders"):
        contenders_menu(state, found, wrong)


def ways_menu(state: dict[str, Any], found: list[runs.Run], wrong: list[str]) -> list[runs.Run]:
    """How many classes: a network has as many outputs as it was trained for, so this chooses among runs."""
    trained = {ways for run in found if (ways := adapt_entrants.ways_of(run))}
    usual = adapt.own_ways(state["family"])
    options = sorted(trained | set(usual))
    if state["ways"] not in options:
        instead = min(trained, default=usual[-1])
        if "ways" in state["asked"]:
            sentence = _("ways = {ways} in the link: no run here tells so many classes apart; {instead} is used.")
            wrong.append(sentence.format(ways=state["ways"], instead=instead))
        state["ways"] = instead
    state["ways"] = st.segmented_control(
        _("Ways"),
        options,
        required=True,
        key=adapt.menu(f"ways.{state['family']}", state["ways"]),
        help=_("A network has one output for each class that it was meta-trained for: these race among themselves."),
    )
    return [run for run in found if adapt_entrants.ways_of(run) == state["ways"]]


def contenders_menu(state: dict[str, Any], found: list[runs.Run], wrong: list[str]) -> None:
    """Who races: runs of this family, and scratch."""
    options = {run.id: run for run in found}
    named = runs.labels(found)
    begin, gone = adapt_entrants.begin_with(state["who"], found, asked=state["fresh"])
    lost = _("Run {run} of the link is not here, or learned another family or other ways: it is left out.")
    wrong += [lost.format(run=name) for name in gone]

    def label(name: str) -> str:
        if name == SCRATCH:
            return _("From scratch (no meta-training)")
        run = options[name]
        return _("{run}, {steps} outer steps").format(run=named[name], steps=f"{run.step:,}")

    state["who"] = st.multiselect(
        _("Contenders"),
        [*options, SCRATCH],
        format_func=label,
        max_selections=MOST_CONTENDERS,
        key=adapt.menu(f"who.{state['family']}.{state['ways']}", begin),
        placeholder=_("Choose who races"),
        help=_("Runs, each from its own θ, and a random network that never practised."),
    )
    state["fresh"] = False


def nobody(family: str) -> None:
    """There is no run to choose yet: the way to one."""
    on_home = any(config["family"] == family for preset in PRESETS.values() for config in preset.configs)
    sentence = _("Nobody has learned to learn **{family}** yet. {press} Until then you see the random network.")
    if on_home:
        press = _("Press Start on its card on Home, and come back when its curve has begun to rise or fall.")
    else:
        press = _("Press Start on Train, and come back after a while.")
    with st.container(border=True):
        st.markdown(sentence.format(family=_(FAMILIES[family].title), press=press))
        label = _("To the presets") if on_home else _("To Train")
        told = _("Opens the page on which a run of this family is started.")
        if st.button(label, icon=":material/play_arrow:", key="adapt.presets", help=told):
            if on_home:
                st.switch_page(HOME)
            st.switch_page(TRAIN, query_params={"family": family})


@st.fragment
def race(state: dict[str, Any], wrong: list[str]) -> None:
    """Everything that moves with a slider, a point or a stroke; `wrong` is added to as in `menus`."""
    if not state["who"]:
        st.info(_("Choose at least one contender above."), icon=":material/arrow_upward:")
        return
    try:
        found = adapt_entrants.entrants(adapt.at_checkpoints(state), state["family"], state["ways"])
        wrong += adapt.fit(state, found)
        found = checkpoints_moved(state, found)
        left, right = st.columns([3, 9], gap="medium")
        dials, revision = adapt.dials_of(state, found)
        reading = read_dials(dials, key="adapt.dials", revision=revision)
        adapt.take(state, reading, found)
        with left:
            if state["mode"] == "sample":
                new_task(state)
            with folded("controls"):
                controls_of(state, found, dials, revision)
        with right:
            task = make_task(state, found)
            show(state, task, reading)
    except runs.Problem as problem:
        st.warning(links.escape(str(problem)), icon=":material/info:")


def checkpoints_moved(state: dict[str, Any], found: list[Entrant]) -> list[Entrant]:
    """The contenders at the checkpoints that their dials say."""
    dials, revision = adapt.checkpoint_dials(state, found)
    reading = read_dials(dials, key="adapt.checkpoints", revision=revision)
    if not reading.moved:
        return found
    state["at"] |= {name: int(step) for name, step in reading.values.items()}
    return adapt_entrants.entrants(adapt.at_checkpoints(state), state["family"], state["ways"])


def new_task(state: dict[str, Any]) -> None:
    """Another task, and its number."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        key = adapt.menu("seed", state["seed"])
        told = _("Draws another held-out task, that of the next number.")
        if st.button(_("New task"), icon=":material/casino:", type="primary", key="adapt.new", help=told):
            st.session_state[key] += 1
        number = _("The same number is always the same task.")
        state["seed"] = st.number_input(_("Task number"), 0, 2**31 - 1, key=key, width="stretch", help=number)


def controls_of(state: dict[str, Any], found: Sequence[Entrant], dials: Sequence[Any], revision: int) -> None:
    """The dials, the switches."""
    draw_dials(dials, key="adapt.dials", revision=revision)
    if len(adapt.rated(found)) > 1:
        state["together"] = st.toggle(
            _("One α for all"),
            key=adapt.menu("together", state["together"]),
            on_change=adapt.turn,
            args=(state,),
            help=_("Give every contender the same inner learning rate, with one slider."),
        )
    log = _("Small losses in more detail: each grid line is a power of ten.")
    state["log"] = st.toggle(_("Logarithmic losses"), key=adapt.menu("log", state["log"]), help=log)
    for entrant in found:
        if entrant.note:
            st.caption(links.escape(entrant.note))
    moving, steps = adapt.checkpoint_dials(state, found)
    if moving:
        with st.expander(_("Checkpoints"), icon=":material/history:"):
            st.caption(_("θ after fewer outer steps: watch what meta-training changed."))
            draw_dials(moving, key="adapt.checkpoints", revision=steps)


def make_task(state: dict[str, Any], found: Sequence[Entrant]) -> Task:
    """Sampled, clicked or drawn. Raises Problem."""
    if state["mode"] == "sample":
        return sampled(state, found)
    return own(state, found)


def show(state: dict[str, Any], task: Task, reading: Reading) -> None:
    """The race's stage, and the link that leads here."""
    settled = adapt.settled(state, reading)
    if task.race is None:
        if settled:
            adapt.write_link(state)
        return
    lanes, metric = scores(task.race)
    revision = state["revision"]
    draw_stage(
        pictures(task.race, own=state["mode"] == "own", log=state["log"]),
        lanes,
        metric,
        task.race.steps,
        task.race.axis,
        key=STAGE,
        revision=revision,
        begin=None if state["step"] < 0 else state["step"],
        follow=state["mode"] == "own",
        trouble=diverged(task.race),
        settle=not settled,
    )
    step = player_step(STAGE, revision, task.race.steps)
    state["step"] = -1 if step == task.race.steps else step
    if settled:
        adapt.write_link(state)


def data_here(state: dict[str, Any]) -> bool:
    """Whether tasks can be sampled; if not, a card says what is missing. Drawing needs no data."""
    lacking = missing(state["family"]) if state["mode"] == "sample" else ""
    if lacking and missing_data_card(state["family"], lacking, instead=INSTEAD):
        adapt.choose_family(state, INSTEAD)
        adapt.restart_menus()
        st.rerun()
    return not lacking


remembered, wrong = adapt.begin()
question(remembered)
warnings_box = st.container()
menus(remembered, wrong)
if data_here(remembered):
    race(remembered, wrong)
with warnings_box:
    links.show_warnings(wrong)
