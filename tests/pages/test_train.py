"""Train without a browser: its controls, its link, its warnings, and runs that really train."""

import contextlib
import time

import pytest

from metalab.store import COMMAND_LINE, Store
from metalab.training.config import parse_config
from metalab.ui import runs
from metalab.ui.draft import from_config, from_link

SHORT = {"outer_steps": "3", "evaluate_every": "1", "evaluation_tasks": "2", "meta_batch_size": "2"}


def menu(app, label):
    return next(box for box in app.selectbox if box.label == label)


def slider(app, label):
    return next(each for each in [*app.slider, *app.select_slider] if each.label == label)


def finished(tmp_path):
    """The store's newest run once it is over."""
    store = Store(tmp_path / "home")
    deadline = time.monotonic() + 20
    while (run := store.runs(1)[0]).state != "finished":
        assert time.monotonic() < deadline, run
        time.sleep(0.02)
    store.close()
    return run


def test_the_empty_page_says_what_to_press_and_its_link_is_bare(open_page):
    app = open_page("train")
    assert "Press Start" in app.info[0].value
    assert dict(app.query_params) == {}
    assert not app.warning


def test_start_trains_the_run_that_the_link_describes(open_page, tmp_path):
    app = open_page("train", algorithm="reptile", algorithm__inner_lr="0.037", seed="3", **SHORT)
    assert slider(app, "Inner learning rate α").value == 0.037
    app.button(key="train.start").click().run()
    assert not app.exception
    run = finished(tmp_path)
    assert run.config.algorithm.inner_lr == 0.037
    assert run.config.seed == 3
    assert run.step == 3
    assert app.query_params["runs"] == run.id
    assert app.query_params["algorithm.inner_lr"] == "0.037"


def test_a_moved_slider_is_in_the_link_and_another_algorithm_starts_from_its_recommended_values(open_page):
    app = open_page("train")
    slider(app, "Inner learning rate α").set_value(0.05).run()
    assert dict(app.query_params) == {"algorithm.inner_lr": "0.05"}
    menu(app, "Algorithm").set_value("reptile").run()
    assert slider(app, "Inner learning rate α").value == 0.02
    assert dict(app.query_params) == {"algorithm": "reptile"}
    menu(app, "Task family").set_value("glyphs").run()
    assert menu(app, "Network").value == "conv4"
    assert not app.error


def test_an_algorithm_that_cannot_go_with_the_network_brings_its_own_and_says_so(open_page):
    app = open_page("train")
    menu(app, "Algorithm").set_value("cnp").run()
    assert menu(app, "Network").value == "cnp"
    said = "Conditional neural process does not go with the network Multi-layer perceptron"
    assert [each.value for each in app.caption if each.value.startswith(said)]
    assert not app.error
    assert not app.exception
    assert dict(app.query_params) == {"algorithm": "cnp"}
    slider(app, "Meta-batch").set_value(20).run()
    assert menu(app, "Network").value == "cnp"
    assert not [each.value for each in app.caption if "does not go with" in each.value]
    menu(app, "Algorithm").set_value("maml").run()
    assert menu(app, "Network").value == "mlp"
    assert not app.error
    menu(app, "Network").set_value("transformer").run()
    assert "transformer reads the support set itself" in app.error[0].value
    assert app.button(key="train.start").disabled


def test_what_does_not_fit_says_why_in_a_sentence_and_cannot_start(open_page):
    app = open_page("train", model="conv4")
    assert "conv4 reads images" in app.error[0].value
    assert app.button(key="train.start").disabled


def test_a_hostile_link_gives_sentences_and_defaults(open_page):
    app = open_page("train", seed="-1", outer_lr="nan", family="<script>", nonsense="1", runs="../../etc")
    assert len(app.warning) == 1, "one box"
    lines = app.warning[0].value.splitlines()
    assert lines[0].startswith("- family = '\\<script\\>' in the link\\: expected one of sinusoid, linear")
    assert 3 <= len(lines) <= 6
    assert dict(app.query_params) == {}


def test_a_run_that_is_gone_is_named(open_page):
    app = open_page("train", runs="deleted1")
    assert "There is no run deleted1" in app.warning[0].value


def test_a_link_with_runs_alone_opens_the_settings_of_the_first_run(open_page, tmp_path):
    open_page("train")
    store = Store(tmp_path / "home")
    changed = {"family": {"name": "glyphs", "ways": 3}, "algorithm": {"name": "reptile", "inner_lr": 0.037}, "seed": 5}
    first, second = (store.create(parse_config(data), "someone", state="paused") for data in (changed, {}))
    app = open_page("train", runs=f"{first.id},{second.id}")
    assert [menu(app, label).value for label in ("Task family", "Algorithm")] == ["glyphs", "reptile"]
    assert slider(app, "Inner learning rate α").value == 0.037
    assert "Reptile: how does it learn?" in " ".join(markdown.value for markdown in app.markdown)
    written = dict(app.query_params)
    assert written.pop("runs") == f"{first.id},{second.id}"
    assert from_link(written) == (from_config(first.config), [])
    assert not app.warning
    app = open_page("train", runs=first.id, algorithm="maml")
    assert menu(app, "Task family").value == "sinusoid", "settings in the link are not the run's"
    store.close()


def test_absent_omniglot_shows_where_to_put_it_and_takes_glyphs_only_when_asked(open_page):
    app = open_page("train", family="omniglot")
    shown = " ".join(markdown.value for markdown in app.markdown)
    assert shown.count("images\\_background.zip") == 1
    assert "python" not in shown.replace("folder python", "")
    assert app.button(key="train.start").disabled
    assert menu(app, "Task family").value == "omniglot"
    app.button(key="missing-data.instead").click().run()
    assert menu(app, "Task family").value == "glyphs"
    assert not app.button(key="train.start").disabled
    assert dict(app.query_params) == {"family": "glyphs"}


def test_others_runs_can_be_followed_but_not_changed(open_page, tmp_path):
    open_page("train")
    store = Store(tmp_path / "home")
    run = store.create(parse_config({}), "someone", state="paused")
    app = open_page("train", runs=run.id)
    assert app.multiselect[0].value == [run.id]
    assert not [each for each in app.select_slider if each.key and each.key.startswith("rates.")]
    store.close()


@pytest.mark.parametrize("local", [True, False])
def test_a_run_of_the_command_line_is_called_so_and_deleted_from_this_machine_only(
    open_page, tmp_path, monkeypatch, local
):
    monkeypatch.setattr(runs, "current_user", lambda: "someone")
    owners = frozenset({"someone", COMMAND_LINE} if local else {"someone"})
    monkeypatch.setattr(runs, "current_owners", lambda: owners)
    monkeypatch.setattr("metalab.ui.identity.current_user", lambda: "someone")
    monkeypatch.setattr("metalab.ui.identity.current_owners", lambda: owners)
    store = Store(tmp_path / "home")
    run = store.create(parse_config({}), COMMAND_LINE, state="finished")
    assert open_page("train", runs=run.id).multiselect[0].options == ["MAML · Sine waves (command line)"]
    assert "· command line ·" in " ".join(markdown.value for markdown in open_page("home").markdown)
    with contextlib.nullcontext() if local else pytest.raises(runs.Problem, match="belongs to somebody else"):
        runs.delete(run.id)
    assert (store.find(run.id) is None) == local
    store.close()


def test_learning_rates_of_an_own_run_change_at_once(open_page, tmp_path):
    app = open_page("train", outer_steps="100000", evaluation_tasks="2", meta_batch_size="1")
    app.button(key="train.start").click().run()
    run_id = app.query_params["runs"]
    rate = next(each for each in app.select_slider if each.key == f"rates.{run_id}.algorithm.inner_lr")
    rate.set_value(0.05).run()
    assert not app.error
    store = Store(tmp_path / "home")
    deadline = time.monotonic() + 20
    while store.get(run_id).current.algorithm.inner_lr != 0.05:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert store.get(run_id).config.algorithm.inner_lr == 0.01
    store.close()


@pytest.mark.parametrize("state", ["failed", "interrupted", "finished"])
def test_a_run_that_may_be_resumed_has_sliders_for_its_rates(open_page, tmp_path, monkeypatch, state):
    monkeypatch.setattr(runs, "current_owners", lambda: {"someone"})
    store = Store(tmp_path / "home")
    run = store.create(parse_config({}), "someone", state=state)
    app = open_page("train", runs=run.id)
    assert not app.exception
    assert any(each.key and each.key.startswith("rates.") for each in app.select_slider) is (state != "finished")
    store.close()


@pytest.mark.parametrize("overlay", [False, True])
def test_a_second_run_takes_the_place_of_the_first_or_is_drawn_over_it(open_page, overlay):
    app = open_page("train", **SHORT)
    app.toggle(key="train.overlay").set_value(overlay)
    app.button(key="train.start").click().run()
    first = app.query_params["runs"]
    app.button(key="train.start").click().run()
    second = app.query_params["runs"].split(",")
    assert len(second) == (2 if overlay else 1)
    assert (first in second) == overlay
