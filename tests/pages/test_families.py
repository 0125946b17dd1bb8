"""What Train and Adapt make of each kind of family: curves, losses alone, drawings, and data that is not here."""

import pytest
import torch

from metalab.store import Store
from metalab.tasks import FAMILIES
from metalab.training.config import parse_config
from metalab.training.events import Checkpoint
from metalab.training.start import initialise

PLAIN = ("linear", "mixture", "quadratic")
"""Families that need no data and are quickly drawn from."""


def keep(tmp_path, **settings):
    """A finished run with a random checkpoint; its id."""
    config = parse_config({"outer_steps": 1, **settings})
    store = Store(tmp_path / "home")
    run = store.create(config, "0" * 16, state="finished")
    store.save_checkpoint(run.id, Checkpoint(1, config, initialise(config), {}, torch.Generator().get_state()))
    store.close()
    return run.id


def said(page):
    parts = [*page.markdown, *page.caption, *page.info, *page.warning, *page.error]
    return "\n".join(str(part.value) for part in parts)


def slider(app, label):
    return next(each for each in [*app.slider, *app.select_slider] if each.label == label)


@pytest.mark.parametrize("family", PLAIN)
def test_each_family_can_be_started_from_its_link(open_page, family):
    app = open_page("train", family=family)
    assert not app.error
    assert not app.warning
    assert not app.button(key="train.start").disabled
    assert dict(app.query_params) == {"family": family}


def test_a_range_is_moved_with_two_ends_and_is_in_the_link(open_page):
    app = open_page("train", family__amplitude="1,3")
    assert slider(app, "Amplitude").value == (1.0, 3.0)
    slider(app, "Frequency").set_range(0.5, 2.0).run()
    assert not app.exception
    assert app.query_params["family.amplitude"] == "1,3"
    assert app.query_params["family.frequency"] == "0.5,2"
    assert not app.error


def test_a_setting_that_is_no_longer_shown_is_no_longer_wrong(open_page):
    app = open_page("train", family="quadratic", family__query_curvature="own", family__dimension="1")
    for label, typed in (("Curvatures", "1, 2"), ("Optima", "0, 3")):
        next(text for text in app.text_input if text.label == label).set_value(typed)
    app.run()
    assert not app.error
    assert dict(app.query_params) == {
        "family": "quadratic",
        "family.dimension": "1",
        "family.curvatures": "1,2",
        "family.optima": "0,3",
    }
    app = open_page("train", algorithm="multi_task", algorithm__adapt_body="true")
    next(group for group in app.button_group if group.label == "Head").set_value("ridge").run()
    assert not app.error
    assert dict(app.query_params) == {"algorithm": "multi_task", "algorithm.head": "ridge"}


def test_a_wrong_range_in_a_link_is_named(open_page):
    app = open_page("train", family__amplitude="3,1")
    assert "the smaller one first" in app.warning[0].value
    assert slider(app, "Amplitude").value == (0.1, 5.0)


def test_settings_that_leave_nothing_say_so(open_page):
    link = {"family": "mixture", "family__sines": "false", "family__lines": "false", "family__steps": "false"}
    app = open_page("train", **link)
    assert "switch on at least one kind of function" in app.error[0].value
    assert app.button(key="train.start").disabled


def test_networks_that_cannot_read_a_family_are_marked(open_page):
    app = open_page("train", family="quadratic")
    network = next(box for box in app.selectbox if box.label == "Network")
    assert network.value == "point"
    assert "Multi-layer perceptron (does not fit)" in network.options
    network.set_value("mlp").run()
    assert "mlp reads numbers" in app.error[0].value


def test_algorithms_that_cannot_learn_a_family_are_marked_and_blamed(open_page):
    app = open_page("train", family="quadratic")
    algorithm = next(box for box in app.selectbox if box.label == "Algorithm")
    assert "Conditional neural process (does not fit)" in algorithm.options
    assert "MAML" in algorithm.options
    algorithm.set_value("cnp").run()
    assert "cnp answers queries from their inputs, but tasks of quadratic have none" in app.error[0].value


@pytest.mark.parametrize("family", ["mnist", "rotated_mnist", "permuted_mnist"])
def test_absent_digits_show_where_to_put_them_and_can_be_fetched(open_page, family):
    app = open_page("train", family=family)
    assert "t10k-images-idx3-ubyte" in said(app)
    assert app.button(key="train.start").disabled
    assert app.button(key="missing-data.download").label == "Download"


def test_of_a_shift_the_data_of_the_chosen_families_is_asked_for(open_page):
    app = open_page("train", family="cross", family__test_on="mnist")
    assert "t10k-images-idx3-ubyte" in said(app)
    assert "images\\_background.zip" not in said(app)
    app = open_page("train", family="cross", family__test_on="omniglot")
    assert "images\\_background.zip" in said(app)
    app = open_page("train", family="cross", family__test_on="glyphs")
    assert not app.button(key="train.start").disabled


@pytest.mark.parametrize(("family", "title"), [("linear", "slope"), ("mixture", "Task 1:"), ("quadratic", "lowest at")])
def test_a_sampled_task_is_raced_on(open_page, tmp_path, family, title):
    run = keep(tmp_path, family=family)
    page = open_page("adapt", family=family, who=f"{run},scratch", steps="2")
    assert title in said(page)
    assert not page.warning
    assert not page.error


@pytest.mark.parametrize("family", ["linear", "mixture"])
def test_own_points_make_a_task_of_every_family_of_curves(open_page, family):
    page = open_page("adapt", family=family, mode="own", x="-1,2", y="0.5,-0.5", steps="2")
    assert "f with φ" in said(page)
    assert not page.warning
    assert not page.error


@pytest.mark.parametrize("settings", [{"name": "linear", "dimension": 3}, {"name": "quadratic"}])
def test_what_has_no_curve_shows_losses_and_says_why_no_task_can_be_made_by_hand(open_page, tmp_path, settings):
    run = keep(tmp_path, family=settings)
    page = open_page("adapt", family=settings["name"], who=f"{run},scratch", steps="2")
    assert "Task 1:" in said(page)
    assert not page.warning
    page = open_page("adapt", family=settings["name"], who=f"{run},scratch", mode="own")
    assert [str(warning.value).split(":")[1].strip(" \\") for warning in page.warning] == [
        "these tasks are made neither of points of a curve nor of drawings. Sample a task instead."
    ]


def test_runs_of_other_dimensions_cannot_race(open_page, tmp_path):
    one = keep(tmp_path, family={"name": "linear", "dimension": 1})
    three = keep(tmp_path, family={"name": "linear", "dimension": 3})
    page = open_page("adapt", family="linear", who=f"{one},{three},scratch")
    assert "choose runs of the same dimension" in said(page)


def test_ways_are_those_that_the_digits_allow_and_own_drawings_need_no_data(open_page):
    page = open_page("adapt", family="mnist", mode="own")
    ways = next(group for group in page.button_group if group.label == "Ways")
    assert ways.options == ["3"]
    assert "too large for a link" in said(page)
    assert not page.error


def test_every_family_has_words_for_its_loss():
    assert {FAMILIES[name]().loss_name for name in PLAIN} == {"mean squared error", "quadratic loss"}
    assert FAMILIES["mnist"]().loss_name == "cross-entropy, nats"
