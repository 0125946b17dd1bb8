"""The Adapt page with a family in which the learner acts."""

import pytest
import torch

from metalab.store import Store
from metalab.training.config import parse_config
from metalab.training.events import Checkpoint
from metalab.training.start import initialise


@pytest.fixture
def run(tmp_path):
    """A finished run in navigation with random parameters: its id."""
    family = {"name": "navigation", "shots": 3, "queries": 3, "horizon": 8}
    config = parse_config({"family": family, "model": {"name": "policy", "widths": [4]}, "outer_steps": 5})
    store = Store(tmp_path / "home")
    run = store.create(config, "0" * 16, state="finished")
    store.save_checkpoint(run.id, Checkpoint(5, config, initialise(config), {}, torch.Generator().get_state()))
    store.close()
    return run.id


def text(page):
    return "\n".join(str(part.value) for part in [*page.markdown, *page.caption, *page.info, *page.warning])


def test_a_sampled_goal_is_raced_for(open_page, run):
    page = open_page("adapt", family="navigation", who=run)
    assert not page.exception
    assert not page.warning
    assert "Task 1: goal (" in text(page)


def test_a_goal_of_ones_own_comes_from_the_link(open_page, run):
    page = open_page("adapt", family="navigation", who=f"{run},scratch", mode="own", x="0.1", y="-0.4")
    assert not page.exception
    assert not page.warning
    assert "Drag the point: it is the goal" in text(page)
    assert page.session_state["adapt.state"]["points"] == [(0.1, -0.4)]


def test_a_functions_points_are_no_goal(open_page, run):
    page = open_page("adapt", family="navigation", who=run, mode="own", x="3.0", y="-2.0")
    assert not page.exception
    assert page.session_state["adapt.state"]["points"] == [(0.3, 0.2)]
