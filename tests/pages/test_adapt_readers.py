"""The Adapt page with contenders that read their shots at once: alone, beside others, on tasks of one's own."""

import pytest
from test_adapt import SMALL, contenders, home, keep, state_of, whole_text

from metalab.ui import dials, stage

__all__ = ["home"]
TINY = {"name": "transformer", "layers": 1, "heads": 1, "filters": 4}


@pytest.fixture
def shown(monkeypatch):
    """The names of the sliders, and what the stage was given, at each run of the page."""
    seen = {"dials": [], "stage": []}
    draw_dials, mount = dials.draw_dials, stage._mount

    def record_dials(drawn, **more):
        seen["dials"].append([dial.name for dial in drawn])
        return draw_dials(drawn, **more)

    def record_stage(**more):
        seen["stage"].append(more["data"])
        return mount(**more)

    monkeypatch.setattr(dials, "draw_dials", record_dials)
    monkeypatch.setattr(stage, "_mount", record_stage)
    return seen


def test_readers_alone_have_a_player_of_shots_and_no_sliders_for_steps(open_page, home, shown):
    runs = [keep(home, "cnp", (0,)), keep(home, "in_context", (0,), model=TINY)]
    page = open_page("adapt", who=",".join(runs), shots="4")
    assert not page.exception
    assert not page.warning
    assert shown["dials"][-1] == ["shots"]
    assert not [toggle for toggle in page.toggle if toggle.label == "One α for all"]
    data = shown["stage"][-1]
    assert data["steps"] == 4
    assert data["column"] == "shots"
    assert data["text"]["where"] == "{step} of {steps} shots"
    assert [len(lane["values"]) for lane in data["lanes"]] == [5, 5]
    names = ["functions", "query_loss", "support_loss", "query_negative_log_likelihood"]
    assert [picture["name"] for picture in data["pictures"]] == names
    bands = [trace["name"] for trace in data["pictures"][0]["figure"]["data"] if trace.get("fill")]
    assert bands == ["Neural process, ± 2σ"]


def test_beside_maml_the_player_counts_inner_steps(open_page, home, shown):
    runs = [keep(home, "cnp", (0,)), keep(home, "maml", (0,))]
    page = open_page("adapt", who=",".join(runs), steps="3", shots="5")
    assert not page.exception
    assert shown["dials"][-1] == ["steps", "shots", f"alpha:{runs[1]}"]
    data = shown["stage"][-1]
    assert data["steps"] == 3
    assert data["column"] == "inner_step"
    reader, maml = data["lanes"]
    assert reader["label"] == "Neural process"
    assert reader["values"][1] == reader["values"][2] == reader["values"][3] != reader["values"][0]
    assert len(set(maml["values"])) == 4
    assert "gradient_norm" in [picture["name"] for picture in data["pictures"]]


def test_points_of_ones_own_are_read_one_after_another(open_page, home, shown):
    run = keep(home, "cnp", (0,))
    page = open_page("adapt", who=run, mode="own", x="-1,2.5,3", y="0.5,-3,1")
    assert not page.exception
    assert state_of(page)["points"] == [(-1.0, 0.5), (2.5, -3.0), (3.0, 1.0)]
    assert shown["stage"][-1]["steps"] == 3
    assert open_page("adapt", who=run, mode="own").exception == []


@pytest.mark.parametrize("algorithm", ["prototypes", "nearest_neighbour", "in_context"])
def test_characters_are_sampled_or_drawn(open_page, home, shown, algorithm):
    model = TINY if algorithm == "in_context" else SMALL
    run = keep(home, algorithm, (0,), family={"name": "glyphs", "ways": 3}, model=model)
    page = open_page("adapt", family="glyphs", ways="3", shots="2")
    assert not page.exception
    assert contenders(page).value == [run, "scratch"]
    assert "Task 1:" in whole_text(page)
    _before, *after = shown["stage"][-1]["lanes"][0]["values"]
    assert len(set(after)) == 1
    page = open_page("adapt", family="glyphs", ways="3", mode="own")
    assert not page.exception
    assert not page.warning
