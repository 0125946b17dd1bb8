"""The Adapt page without a browser: what it shows with and without runs, and what a link says."""

import json

import pytest
import torch

from metalab.store import Store
from metalab.training.config import parse_config
from metalab.training.events import Checkpoint
from metalab.training.start import initialise

SMALL = {"name": "conv4", "filters": 4}


@pytest.fixture
def home(tmp_path):
    """Where the page's runs lie."""
    return tmp_path / "home"


def keep(home, algorithm="maml", steps=(0, 40), **settings):
    """A finished run with random checkpoints; its id."""
    config = parse_config({"algorithm": algorithm, "outer_steps": steps[-1] or 1, **settings})
    store = Store(home)
    run = store.create(config, "0" * 16, state="finished")
    for step in steps:
        theta = initialise(config.changed({"seed": step}))
        store.save_checkpoint(run.id, Checkpoint(step, config, theta, {}, torch.Generator().get_state()))
    store.close()
    return run.id


def whole_text(page):
    parts = [*page.markdown, *page.caption, *page.info, *page.warning, *page.error]
    return "\n".join(str(part.value) for part in parts)


def contenders(page):
    return next(menu for menu in page.multiselect if menu.label == "Contenders")


def state_of(page):
    return page.session_state["adapt.state"]


def test_without_a_run_it_says_what_to_press_and_still_races_the_random_network(open_page):
    page = open_page("adapt")
    assert not page.exception
    assert "Press Start" in whole_text(page)
    assert contenders(page).value == ["scratch"]
    assert "Task 1: amplitude 2.90, phase 1.74" in whole_text(page)
    assert not page.warning
    assert not page.error


def test_the_newest_run_of_each_algorithm_races_from_the_start(open_page, home):
    keep(home)
    maml, reptile = keep(home), keep(home, "reptile")
    page = open_page("adapt")
    assert not page.exception
    assert contenders(page).value == [maml, reptile, "scratch"]
    assert "Press Start" not in whole_text(page)
    assert page.query_params["who"] == f"{maml},{reptile},scratch"


def test_a_new_task_is_the_next_number(open_page, home):
    keep(home)
    page = open_page("adapt", seed="3")
    assert "Task 3:" in whole_text(page)
    next(button for button in page.button if button.label == "New task").click().run()
    assert not page.exception
    assert "Task 4:" in whole_text(page)


def test_a_link_carries_contenders_checkpoints_rates_and_points(open_page, home):
    run = keep(home)
    page = open_page(
        "adapt", who=f"{run}@0,scratch", mode="own", x="-1,2.5", y="0.5,-3", rates="0.2,0", steps="4", log="true"
    )
    assert not page.exception
    state = state_of(page)
    assert state["at"] == {run: 0}
    assert state["alpha"] == {run: 0.2}
    assert state["points"] == [(-1.0, 0.5), (2.5, -3.0)]
    assert state["steps"] == 4
    assert state["log"] is True
    assert not page.warning
    assert page.query_params["x"] == "-1,2.5"
    assert page.query_params["rates"] == "0.2,0"
    assert page.query_params["who"] == f"{run}@0,scratch"


def test_a_wrong_link_is_said_and_the_page_still_works(open_page):
    page = open_page("adapt", seed="many", x="1,nan", who="../../etc/passwd", mode="own", nonsense="1")
    assert not page.exception
    assert any("seed = 'many' in the link" in str(w.value) for w in page.warning)
    assert contenders(page).value == ["scratch"]


@pytest.mark.parametrize(
    ("link", "sentence", "changed"),
    [
        ({"who": "RUN@30"}, "has no checkpoint after outer step 30 of the link\\: that after 40", ("at", {"RUN": 40})),
        ({"who": "RUN,RUN"}, "names a contender twice", ("who", ["RUN"])),
        ({"who": "scratch@3"}, "scratch has no checkpoints", ("who", ["scratch"])),
        ({"who": "RUN", "rates": "0.1,0.2"}, "2 numbers in the link for 1 contenders", ("alpha", {"RUN": 0.1})),
        ({"who": "RUN", "rates": "0.00001"}, "is 0.00001 in the link, beyond its range", ("alpha", {"RUN": 1e-4})),
        ({"x": "1,2", "y": "3"}, "x and y differ in length in the link, 2 and 1", ("points", [(1.0, 3.0)])),
        ({"steps": "4", "step": "9"}, "there are 4 inner steps", ("step", -1)),
        ({"family": "glyphs", "ways": "7"}, "no run here tells so many classes apart; 5 is used", ("ways", 5)),
        ({"family": "glyphs", "mode": "own", "shots": "9"}, "at most 5 are possible; 5 is used", ("shots", 5)),
    ],
)
def test_whatever_a_link_asks_beyond_the_possible_is_changed_and_said(open_page, home, link, sentence, changed):
    run = keep(home)
    page = open_page("adapt", **{name: text.replace("RUN", run) for name, text in link.items()})
    assert [sentence in str(warning.value) for warning in page.warning] == [True]
    name, expected = changed
    assert json.dumps(state_of(page)[name]) == json.dumps(expected).replace("RUN", run)


def test_a_run_that_is_gone_is_left_out(open_page, home):
    run = keep(home)
    page = open_page("adapt", who="zzzzzzzz,scratch")
    assert not page.exception
    assert contenders(page).value == ["scratch"]
    assert any("zzzzzzzz" in str(w.value) for w in page.warning)
    page = open_page("adapt", who="zzzzzzzz")
    assert contenders(page).value == [run, "scratch"]


def test_only_networks_with_as_many_outputs_race_together(open_page, home):
    five = keep(home, family={"name": "glyphs", "ways": 5}, model=SMALL, steps=(0,))
    three = keep(home, family={"name": "glyphs", "ways": 3}, model=SMALL, steps=(0,))
    page = open_page("adapt", family="glyphs", ways="3")
    assert not page.exception
    assert contenders(page).value == [three, "scratch"]
    assert not any(five in str(option) for option in contenders(page).options)
    assert "Task 1:" in whole_text(page)


def test_missing_omniglot_is_a_card_and_glyphs_are_offered(open_page):
    page = open_page("adapt", family="omniglot")
    assert not page.exception
    assert "is not on this machine" in whole_text(page)
    page.button(key="missing-data.instead").click().run()
    assert not page.exception
    assert state_of(page)["family"] == "glyphs"
    assert "Task 1:" in whole_text(page)


def test_own_drawings_need_no_data(open_page):
    page = open_page("adapt", family="omniglot", mode="own", ways="3")
    assert not page.exception
    assert "too large for a link" in whole_text(page)
    assert not page.warning


def test_two_runs_of_one_algorithm_race_under_two_names(open_page, home):
    first, second = keep(home), keep(home)
    page = open_page("adapt", who=f"{first},{second},scratch")
    assert not page.exception
    assert contenders(page).value == [first, second, "scratch"]
    assert "Task 1:" in whole_text(page)
    assert not page.warning


def test_beside_running_averages_the_random_network_is_the_recommended_one_and_that_is_said(open_page, home):
    keep(home, family={"name": "glyphs", "ways": 3}, model={**SMALL, "batch_norm": "running"}, steps=(0,))
    page = open_page("adapt", family="glyphs", ways="3")
    assert not page.exception
    assert contenders(page).value[1:] == ["scratch"]
    assert "From scratch races with the recommended network" in whole_text(page)
    assert "Task 1:" in whole_text(page)


def test_too_many_ways_to_draw_is_explained(open_page, home):
    keep(home, family={"name": "glyphs", "ways": 10}, model=SMALL, steps=(0,))
    page = open_page("adapt", family="glyphs", mode="own", ways="10")
    assert not page.exception
    assert "choose runs with at most 5 ways" in whole_text(page)


def test_another_family_starts_with_its_own_contenders_and_settings(open_page, home):
    sine = keep(home)
    glyph = keep(home, family="glyphs", model=SMALL, steps=(0,))
    page = open_page("adapt", steps="7")
    assert contenders(page).value == [sine, "scratch"]
    family = next(menu for menu in page.selectbox if menu.label == "Task family")
    family.set_value("glyphs").run()
    assert not page.exception
    assert contenders(page).value == [glyph, "scratch"]
    assert state_of(page)["steps"] == 0


def test_without_contenders_it_asks_for_one(open_page):
    page = open_page("adapt")
    contenders(page).set_value([]).run()
    assert not page.exception
    assert "Choose at least one contender" in whole_text(page)


def test_learned_rates_race_and_a_rate_of_a_link_is_left_out(home, open_page):
    run = keep(home, "meta_sgd", steps=(0,))
    page = open_page("adapt", family="sinusoid", who=run, rates="0.2")
    assert not page.exception
    assert any("Meta-SGD has no inner learning rate to be set" in str(w.value) for w in page.warning)
    assert state_of(page)["alpha"] == {}


def test_rates_that_are_scaled_can_be_set(home, open_page):
    run = keep(home, "maml_plus_plus", steps=(0,))
    page = open_page("adapt", family="sinusoid", who=run, rates="0.2")
    assert not page.exception
    assert state_of(page)["alpha"] == {run: 0.2}


def test_a_contender_without_an_inner_loop_races_one_that_adapts_its_head(home, open_page):
    glyphs = {"family": {"name": "glyphs", "ways": 3, "queries": 2}, "model": SMALL, "steps": (0,)}
    runs = [keep(home, name, **glyphs) for name in ("nil", "anil")]
    page = open_page("adapt", family="glyphs", ways=3, who=",".join(runs))
    assert not page.exception
    assert not page.error
    assert contenders(page).value == runs
