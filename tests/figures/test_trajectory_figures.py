"""The picture of trajectories: a frame for each inner step, one ramp of colours, equal axes, a sentence of data."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from metalab.analysis.trajectories import Trails
from metalab.figures.trajectories import MOST_MEANS, RAMP, ramp, trajectories

H = 6


def made_up(steps: int) -> Trails:
    k = np.arange(steps + 1, dtype=np.float32)
    walk = np.linspace(0, 0.4, H + 1, dtype=np.float32)
    mean = k[:, None, None] / max(steps, 1) * np.stack([walk, -walk], -1)
    paths = np.repeat(mean[:, None], 3, 1) + np.linspace(-0.01, 0.01, 3, dtype=np.float32)[None, :, None, None]
    return Trails(
        label="MAML <b>", goal=np.array([0.4, -0.4], np.float32), paths=paths, mean=mean,
        distance=(1 - k / max(steps, 1)) * 0.56, returns=-40 + k, best=-0.9, reach=0.55,
    )  # fmt: skip


@pytest.mark.parametrize("steps", [1, 3, 40])
def test_each_inner_step_has_a_frame_and_plotly_accepts_it(steps):
    picture = trajectories(made_up(steps), str)
    go.Figure(data=picture.figure["data"], layout=picture.figure["layout"])
    frames = picture.figure["frames"]
    assert [frame["name"] for frame in frames] == [str(k) for k in range(steps + 1)]
    for k, frame in enumerate(frames):
        single, mean = frame["data"]
        np.testing.assert_array_equal(mean["x"], made_up(steps).mean[k, :, 0])
        assert np.isnan(single["x"]).sum() == 3
        assert single["line"]["color"] == mean["line"]["color"] == ramp(k, steps)
        assert len(single["x"]) == 3 * (H + 2)
    dotted = [t for t in picture.figure["data"] if t["mode"] == "lines" and t["line"]["dash"] == "dot"]
    assert len(dotted) == min(steps + 1, MOST_MEANS)


def test_the_end_is_shown_at_first():
    found = made_up(3)
    picture = trajectories(found, str)
    shown = [picture.figure["data"][i] for i in picture.figure["frames"][0]["traces"]]
    for trace, part in zip(shown, picture.figure["frames"][-1]["data"], strict=True):
        np.testing.assert_array_equal(trace["x"], part["x"])
        assert trace["line"]["color"] == RAMP[-1]


def test_axes_are_equal_and_the_goal_stands_where_it_is():
    picture = trajectories(made_up(2), str)
    look = picture.figure["layout"]
    assert look["yaxis"]["scaleanchor"] == "x"
    assert look["xaxis"]["range"] == look["yaxis"]["range"]
    goal = next(trace for trace in picture.figure["data"] if trace["name"] == "goal")
    np.testing.assert_allclose([goal["x"][0], goal["y"][0]], [0.4, -0.4], rtol=1e-6)
    assert picture.aspect == 1


def test_the_ramp_runs_through_its_colours():
    assert [ramp(k, 3) for k in range(4)] == list(RAMP)
    assert len({ramp(k, 30) for k in range(31)}) == 31


def test_the_sentence_says_the_returns_and_the_distances():
    alt = trajectories(made_up(2), str).alt
    assert "return of MAML <b> goes from −40 to −38, where −0.9 is possible" in alt
    assert "0.56 from the goal before and 0 after" in alt
