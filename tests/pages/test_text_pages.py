"""Train and Adapt with families of texts: they train, tasks are sampled, names are typed and checked."""

import time

import pytest
import torch

from metalab.store import Store
from metalab.training.config import parse_config
from metalab.training.events import Checkpoint
from metalab.training.start import initialise

SHORT = {"outer_steps": "2", "evaluate_every": "1", "evaluation_tasks": "2", "meta_batch_size": "2"}
SMALL = {"languages": {"name": "ngrams", "buckets": 64}, "names": {"name": "char_transformer", "width": 8, "heads": 2}}


@pytest.fixture
def keep(tmp_path):
    """Makes a finished run with random parameters; its id."""

    def kept(family, algorithm="maml"):
        config = parse_config({"family": family, "algorithm": algorithm, "model": SMALL[family], "outer_steps": 1})
        store = Store(tmp_path / "home")
        run = store.create(config, "0" * 16, state="finished")
        theta = initialise(config)
        store.save_checkpoint(run.id, Checkpoint(1, config, theta, {}, torch.Generator().get_state()))
        store.close()
        return run.id

    return kept


def said(page):
    return "\n".join(
        str(part.value) for part in [*page.markdown, *page.caption, *page.info, *page.warning, *page.error]
    )


def area(page, label):
    return next(each for each in page.text_area if each.label.startswith(label))


@pytest.mark.parametrize(("family", "algorithm"), [("languages", "maml"), ("names", "maml"), ("names", "prompting")])
def test_train_trains_it(open_page, tmp_path, family, algorithm):
    page = open_page("train", family=family, algorithm=algorithm, **SHORT)
    assert not page.warning
    page.button(key="train.start").click().run()
    assert not page.exception
    store = Store(tmp_path / "home")
    deadline = time.monotonic() + 60
    while (run := store.runs(1)[0]).state != "finished":
        assert run.state != "failed", run
        assert time.monotonic() < deadline, run
        time.sleep(0.05)
    curves = store.evaluations(run.id)[-1].curves
    store.close()
    assert set(curves) == {"loss", "accuracy" if family == "languages" else "perplexity"}


def test_adapt_shows_a_sampled_task_of_languages(open_page, keep):
    run = keep("languages")
    page = open_page("adapt", family="languages", who=run, seed="2")
    assert not page.warning
    assert "Task 2:" in said(page)
    assert said(page).split("Task 2: ")[1].splitlines()[0].count(", ") >= 4


def test_adapt_lets_names_be_put_to_ones_own_lists(open_page, keep):
    page = open_page("adapt", family="languages", who=keep("languages"), mode="own")
    assert not page.warning
    assert len(page.text_area) == 5
    area(page, "Names of B").set_value("").run()
    assert "list 2 has no name" in said(page)
    area(page, "Names of B").set_value("<script>alert(1)</script>").run()
    assert not page.exception
    assert "is not among" in said(page) or "letters: expected" in said(page)


def test_adapt_writes_names_and_draws_others(open_page, keep):
    page = open_page("adapt", family="names", who=f"{keep('names')},{keep('names', 'prompting')}", temperature="0.5")
    assert not page.warning
    assert "names of" in said(page)
    assert page.session_state["adapt.state"]["temperature"] == 0.5
    next(button for button in page.button if button.label == "Write others").click().run()
    assert not page.exception
    assert page.session_state["adapt.state"]["draw"] == 1


def test_adapt_writes_names_like_ones_own_and_refuses_what_is_none(open_page, keep):
    page = open_page("adapt", family="names", who=keep("names"), mode="own")
    assert not page.warning
    assert "borduria" in area(page, "Your names").value
    area(page, "Your names").set_value("Atlantis\nUtopia").run()
    assert not page.warning
    area(page, "Your names").set_value("東京\nutopia").run()
    assert "is not among" in said(page)
    assert not page.exception


@pytest.mark.parametrize("family", ["languages", "names"])
@pytest.mark.parametrize("mode", ["sample", "own"])
def test_without_a_run_the_random_network_is_there(open_page, family, mode):
    page = open_page("adapt", family=family, mode=mode)
    assert not page.exception
    assert not page.warning
    assert "Press Start on Train" in said(page)
