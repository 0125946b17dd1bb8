"""A sweep's results as a table: ranking, landscape and influence against numpy by hand; the example's round trip."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from metalab.analysis.sweep import (
    LEFT,
    Table,
    Tried,
    influence,
    landscape,
    level_with_best,
    packed,
    table,
    unpacked,
)
from metalab.store import News, Store
from metalab.store import sweeps as disk
from metalab.store.sweeps import Trial
from metalab.training.config import parse_config
from metalab.training.events import Evaluated

NAMES = ("algorithm.inner_lr", "algorithm.inner_steps")
PLAN = {
    "base": {"family": {"name": "sinusoid"}},
    "axes": [{"name": NAMES[0], "values": [0.1, 0.01]}, {"name": NAMES[1], "values": [1, 2, 4]}],
}


def table_of(results, ci95=0.1, metric="loss"):
    rows = tuple(
        Tried(place, values, f"run{place}", "finished", float(result), ci95)
        for place, (values, result) in enumerate(results.items())
    )
    return Table(metric, NAMES, (True, False), len(rows), rows)


GRID = {(rate, steps): 10 * rate + steps**2 for rate in (0.1, 0.01) for steps in (1, 2, 4)}


def test_the_best_comes_first_and_what_has_no_result_is_left_out():
    losses = {(0.1, 1): 2.0, (0.1, 2): math.nan, (0.01, 1): 0.5, (0.01, 2): math.inf}
    assert [row.result for row in table_of(losses).ranked] == [0.5, 2.0]
    assert [row.result for row in table_of(losses, metric="accuracy").ranked] == [2.0, 0.5]


@pytest.mark.parametrize("state", ["running", "stopped", "interrupted", "paused", "failed"])
def test_only_what_was_trained_to_its_end_is_ranked(state):
    rows = list(table_of(GRID).rows)
    best = min(range(len(rows)), key=lambda place: rows[place].result)
    rows[best] = replace(rows[best], state=state)
    found = Table("loss", NAMES, (True, False), len(rows), tuple(rows))
    assert found.ranked == tuple(sorted((row for row in rows if row.place != best), key=lambda row: row.result))
    assert landscape(found, *NAMES).trials.sum() == len(rows) - 1


def test_progress_counts_what_no_resume_takes_up(tmp_path):
    store = Store(tmp_path)
    sweep = disk.create(store, PLAN, "ada", "mine")
    states = ["finished", "failed", "stopped", "interrupted", "paused", "queued"]
    for place, state in enumerate(states):
        run = store.create(parse_config({}), "ada", state=state)
        disk.add_trial(store, sweep.id, Trial(place, {NAMES[0]: 0.1, NAMES[1]: 1}, run.id, ""))
    over = {}
    for of_sweep in ("running", "stopped", "finished"):
        disk.settle(store, sweep.id, of_sweep)
        found = table(store, disk.get(store, sweep.id))
        over[of_sweep] = [row.state for row in found.rows if row.over]
        assert found.done == len(over[of_sweep])
    assert over["running"] == over["stopped"] == ["finished", "failed"]
    assert over["finished"] == ["finished", "failed", "stopped"]
    store.close()


def test_the_landscape_has_every_cell_in_its_place():
    land = landscape(table_of(GRID), *NAMES)
    assert (land.x, land.y) == ((0.01, 0.1), (1, 2, 4))
    for j, steps in enumerate(land.y):
        for i, rate in enumerate(land.x):
            assert land.mean[j, i] == pytest.approx(GRID[rate, steps])
    turned = landscape(table_of(GRID), *reversed(NAMES))
    assert turned.mean == pytest.approx(land.mean.T)
    holes = landscape(table_of({(0.1, 1): 1.0, (0.01, 2): math.nan}), *NAMES)
    assert np.isnan(holes.mean).sum() == 3
    assert holes.trials.sum() == 1


def test_influence_is_the_share_of_variance_between_the_values():
    found = influence(table_of(GRID, metric="accuracy"))
    y = np.array([[GRID[rate, steps] for steps in (1, 2, 4)] for rate in (0.01, 0.1)])
    assert found[NAMES[0]] == pytest.approx(y.mean(1).var() / y.var())
    assert found[NAMES[1]] == pytest.approx(y.mean(0).var() / y.var())
    assert sum(found.values()) == pytest.approx(1)
    only = influence(table_of({(rate, steps): math.exp(steps) for rate, steps in GRID}))
    assert only == pytest.approx({NAMES[0]: 0, NAMES[1]: 1})
    assert influence(table_of({(0.1, 1): 1.0})) == {}


def test_who_differs_by_less_than_chance_leaves_open_cannot_be_told_from_the_best():
    results = {(0.1, 1): 1.0, (0.1, 2): 1.13, (0.1, 4): 1.25, (0.01, 1): 5.0}
    assert level_with_best(table_of(results)) == 1
    assert level_with_best(table_of(results, ci95=0.2)) == 2
    assert level_with_best(table_of({(0.1, 1): 1.0, (0.1, 2): 1.15})) == 0, "the intervals overlap all the same"
    assert level_with_best(table_of({})) == 0


def test_a_table_is_read_off_the_store(tmp_path):
    store = Store(tmp_path)
    sweep = disk.create(store, PLAN, "ada", "mine")
    run = store.create(parse_config({}), "ada", state="finished")
    store.append(run.id, News(evaluations=[Evaluated(5, {"loss": torch.tensor([[3.0, 1.0], [3.0, 2.0]])}, None)]))
    waiting = store.create(parse_config({}), "ada")
    failed = store.create(parse_config({}), "ada")
    store.append(failed.id, News(status={"state": "failed", "message": "It diverged."}))
    left = store.create(parse_config({}), "ada")
    far = Evaluated(5, {"loss": torch.tensor([[3.0, math.inf], [3.0, 2.0]])}, None)
    store.append(left.id, News(evaluations=[far], status={"state": "finished"}))
    trials = [(run.id, ""), (waiting.id, ""), ("", "no"), ("deleted1", ""), (failed.id, ""), (left.id, "")]
    for place, (name, message) in enumerate(trials):
        disk.add_trial(store, sweep.id, Trial(place, {NAMES[0]: 0.1, NAMES[1]: [1, 2]}, name, message))
    found = table(store, disk.get(store, sweep.id))
    assert [row.state for row in found.rows] == ["finished", "queued", "refused", "gone", "failed", "finished"]
    assert [row.message for row in found.rows] == ["", "", "no", "", "It diverged.", LEFT]
    assert found.rows[0].result == pytest.approx(1.5)
    assert found.rows[0].ci95 == pytest.approx(1.96 * 0.5**0.5 / 2**0.5)
    assert found.rows[0].values == (0.1, "1,2")
    assert math.isnan(found.rows[1].result)
    assert (found.size, found.done, found.log) == (6, 5, (True, False))
    store.close()


def test_a_packed_table_comes_back():
    found = table_of({**GRID, (0.01, 4): math.nan})
    again, plan = unpacked(packed(found, PLAN))
    assert plan == PLAN
    assert again.metric == found.metric
    assert [row.values for row in again.rows] == [row.values for row in found.rows]
    assert [row.result for row in again.ranked] == [row.result for row in found.ranked]
    assert {row.run for row in again.rows} == {""}
