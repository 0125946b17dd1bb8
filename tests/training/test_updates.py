"""What viewers are told: every point once, histories thinned, nothing that JSON cannot say."""

from __future__ import annotations

import json
import math
import threading
import time

import pytest
import torch
from small_runs import CHARACTERS, small

from metalab.store import News, Note, Store
from metalab.training.config import RunConfig
from metalab.training.evaluation import summarise
from metalab.training.events import Evaluated
from metalab.training.recorder import before_and_after
from metalab.training.service import Service
from metalab.training.start import held_out
from metalab.training.updates import EVALUATIONS, POINTS, Updates

PATIENCE = 60.0


def made(serve) -> tuple[Service, Updates]:
    serving = serve()
    return serving, Updates(serving.store, serving)


def new_run(store: Store, config: RunConfig | None = None) -> str:
    return store.create(config or small(), "ada", "one", state="running").id


def losses(*steps: int) -> News:
    return News(metrics=[(step, "train/loss", step / 2) for step in steps])


def evaluated(step: int, inner_steps: int = 2) -> Evaluated:
    rng = torch.Generator().manual_seed(step)
    curves = {"loss": torch.rand(12, inner_steps + 1, generator=rng)}
    return Evaluated(step, curves, torch.rand(3, inner_steps + 1, 101, generator=rng))


def strict(update) -> str:
    return json.dumps(update, allow_nan=False)


def test_a_reader_is_told_every_point_once(serve):
    serving, updates = made(serve)
    run_id = new_run(serving.store)
    serving.store.append(run_id, losses(1, 2))
    first = updates.updates(run_id, None, {"ada"})
    assert first["full"]
    assert first["metrics"] == {"train/loss": {"step": [1, 2], "value": [0.5, 1.0]}}
    nothing = updates.updates(run_id, first["cursor"], {"ada"})
    assert (nothing["full"], nothing["metrics"], nothing["evaluations"], nothing["notes"]) == (False, {}, [], [])
    assert nothing["cursor"] == first["cursor"]
    other = new_run(serving.store)
    serving.store.append(other, losses(1))
    serving.store.append(run_id, losses(3))
    serving.store.append(run_id, News(evaluations=[evaluated(3)], notes=[Note(3, "hello")]))
    second = updates.updates(run_id, first["cursor"], {"ada"})
    assert second["metrics"] == {"train/loss": {"step": [3], "value": [1.5]}}
    assert [e["step"] for e in second["evaluations"]] == [3]
    assert second["notes"] == [{"step": 3, "text": "hello"}]
    assert second["probe"] is None
    third = updates.updates(run_id, second["cursor"], {"ada"})
    assert (third["metrics"], third["evaluations"], third["notes"]) == ({}, [], [])


def test_a_reader_beside_a_writer_misses_and_doubles_nothing(serve):
    serving, updates = made(serve)
    run_id = new_run(serving.store)
    count = 300

    def write():
        for step in range(1, count + 1):
            serving.store.append(run_id, losses(step))

    writer = threading.Thread(target=write)
    writer.start()
    seen, cursor = [], None
    writing = True
    while writing:
        writing = writer.is_alive()  # asked before reading: the last look comes after the last word
        update = updates.updates(run_id, cursor, ())
        cursor = update["cursor"]
        seen += update["metrics"].get("train/loss", {"step": []})["step"]
    assert seen == list(range(1, count + 1))


def test_a_run_that_went_back_is_told_anew(serve):
    serving, updates = made(serve)
    run_id = new_run(serving.store)
    serving.store.append(run_id, losses(1, 2, 3))
    cursor = updates.updates(run_id, None, ())["cursor"]
    serving.store.take_back(run_id, 2)
    update = updates.updates(run_id, cursor, ())
    assert update["full"]
    assert update["metrics"]["train/loss"]["step"] == [1, 2]
    assert update["probe"] is not None


@pytest.mark.parametrize("cursor", ["", "x", "1", "0.0:0:0", "-1.0:0:0:0", "0.0:1:2:3; DROP TABLE runs", "9" * 999])
def test_a_cursor_that_is_none_of_ours_means_everything(serve, cursor):
    serving, updates = made(serve)
    run_id = new_run(serving.store)
    serving.store.append(run_id, losses(1))
    update = updates.updates(run_id, cursor, ())
    assert update["full"]
    assert update["metrics"]["train/loss"]["step"] == [1]


@pytest.mark.parametrize("n", [1, 2, POINTS, POINTS + 1, 2 * POINTS, 5_003])
def test_a_long_history_is_thinned_and_keeps_its_ends(serve, n):
    serving, updates = made(serve)
    run_id = new_run(serving.store)
    serving.store.append(run_id, losses(*range(1, n + 1)))
    update = updates.updates(run_id, None, ())
    steps = update["metrics"]["train/loss"]["step"]
    assert min(n, POINTS // 2) <= len(steps) <= POINTS
    assert (steps[0], steps[-1]) == (1, n)
    assert steps == sorted(set(steps))
    assert updates.updates(run_id, update["cursor"], ())["metrics"] == {}


def test_many_evaluations_are_thinned_and_keep_their_ends(serve):
    serving, updates = made(serve)
    without, with_functions = new_run(serving.store), new_run(serving.store)
    for run_id in (without, with_functions):
        seen = [evaluated(step, inner_steps=10) for step in range(510)]
        if run_id == without:
            seen = [Evaluated(e.step, e.curves, None) for e in seen]
        serving.store.append(run_id, News(evaluations=seen))
    for run_id, most in ((without, EVALUATIONS), (with_functions, EVALUATIONS - 1)):
        update = updates.updates(run_id, None, ())
        steps = [e["step"] for e in update["evaluations"]]
        assert 50 <= len(steps) <= most
        assert (steps[0], steps[-1]) == (0, 509)
        assert updates.updates(run_id, update["cursor"], ())["evaluations"] == []


def test_an_evaluation_is_summed_up(serve):
    serving, updates = made(serve)
    run_id, event = new_run(serving.store), evaluated(5)
    serving.store.append(run_id, News(evaluations=[event]))
    (found,) = updates.updates(run_id, None, ())["evaluations"]
    curve, summary = found["curves"]["loss"], summarise(event.curves["loss"])
    assert curve["mean"] == pytest.approx(summary.mean.tolist(), rel=1e-3)
    assert curve["low"] == pytest.approx((summary.mean - summary.ci95).tolist(), rel=1e-3)
    assert curve["high"] == pytest.approx((summary.mean + summary.ci95).tolist(), rel=1e-3)
    assert len(curve["tasks"]) == 10
    assert curve["tasks"][9] == pytest.approx(event.curves["loss"][9].tolist(), abs=1e-4)
    assert torch.tensor(found["functions"]).shape == (3, 3, 101)
    assert found["functions"][2][1] == pytest.approx(event.functions[2, 1].tolist(), abs=1e-4)


def test_what_json_cannot_say_is_null(serve):
    serving, updates = made(serve)
    run_id = new_run(serving.store)
    curves = {"loss": torch.tensor([[1.0, math.inf], [2.0, math.nan]]), "accuracy": torch.full((2, 2), math.nan)}
    values = [(1, "train/loss", math.nan), (2, "train/loss", math.inf), (3, "train/loss", -math.inf)]
    event = Evaluated(3, curves, torch.full((1, 2, 2), -math.inf))
    serving.store.append(run_id, News(metrics=values, evaluations=[event]))
    serving.store.append(run_id, News(status={"rate": math.inf}))
    update = json.loads(strict(updates.updates(run_id, None, ())))
    assert update["metrics"]["train/loss"]["value"] == [None, None, None]
    assert update["evaluations"][0]["curves"]["loss"]["tasks"] == [[1.0, None], [2.0, None]]
    assert update["evaluations"][0]["curves"]["loss"]["mean"] == [1.5, None]
    assert update["evaluations"][0]["functions"] == [[[None, None], [None, None]]]
    assert update["run"]["steps_per_second"] is None


def test_the_first_message_shows_the_held_out_tasks(serve):
    serving, updates = made(serve)
    config = small(seed=3)
    probe = updates.updates(new_run(serving.store, config), None, ())["probe"]
    tasks = held_out(config)
    assert len(probe["tasks"]) == 3
    for i, task in enumerate(probe["tasks"]):
        assert task["label"] == config.family.describe(tasks.info, i)
        assert task["support"]["x"] == pytest.approx(tasks.support.x[i, :, 0].tolist(), abs=1e-3)
        assert task["support"]["y"] == pytest.approx(tasks.support.y[i, :, 0].tolist(), abs=1e-3)
        amplitude, phase = (float(tasks.info[name][i]) for name in ("amplitude", "phase"))
        expected = [amplitude * math.sin(x - phase) for x in probe["x"]]
        assert task["truth"] == pytest.approx(expected, abs=1e-3)
    assert updates.updates(new_run(serving.store, small(CHARACTERS)), None, "")["probe"] is None


def test_the_state_of_a_run_and_whose_it_is(serve):
    serving, updates = made(serve)
    run_id = new_run(serving.store)
    serving.store.append(run_id, News(status={"step": 6, "rate": 3.0, "seconds": 2.0, "message": "hm"}))
    run = updates.updates(run_id, None, {"ada"})["run"]
    assert (run["id"], run["name"], run["state"], run["message"]) == (run_id, "one", "running", "hm")
    assert (run["family"], run["model"], run["algorithm"]) == ("sinusoid", "mlp", "maml")
    assert (run["step"], run["outer_steps"], run["steps_per_second"], run["eta_seconds"]) == (6, 12, 3.0, 2.0)
    assert (run["mine"], run["controllable"], run["queue_place"]) == (True, True, None)
    assert run["updated"] == serving.store.get(run_id).updated
    run = updates.updates(run_id, None, {"eve"})["run"]
    assert (run["mine"], run["controllable"]) == (False, False)
    scratch = new_run(serving.store, small(algorithm={"name": "scratch", "inner_steps_eval": 2}))
    assert updates.updates(scratch, None, ())["run"]["outer_steps"] == 0


def test_unknown_runs_are_none(serve):
    _, updates = made(serve)
    assert updates.updates("nothing", None, {"ada"}) is None
    assert updates.csv("nothing") is None
    updates.wait("nothing", "0.0:0:0:0", 0.01)


def test_all_metrics_as_csv(serve):
    serving, updates = made(serve)
    run_id = new_run(serving.store)
    serving.store.append(run_id, losses(1, 2))
    serving.store.append(run_id, News(metrics=[(2, "validation/loss_after", math.nan)]))
    assert updates.csv(run_id).splitlines() == [
        "metric,outer_step,value",
        "train/loss,1,0.5",
        "train/loss,2,1.0",
        "validation/loss_after,2,",
    ]


def waited(updates: Updates, run_id: str, cursor: str, timeout: float) -> float:
    start = time.monotonic()
    updates.wait(run_id, cursor, timeout)
    return time.monotonic() - start


def test_waiting_ends_at_once_where_something_is_new_and_in_time_where_not(serve):
    serving, updates = made(serve)
    run_id = new_run(serving.store)
    old = updates.updates(run_id, None, ())["cursor"]
    assert waited(updates, run_id, old, 0.05) >= 0.05
    serving.store.append(run_id, losses(1))
    assert waited(updates, run_id, old, PATIENCE) < PATIENCE / 2
    assert waited(updates, run_id, "rubbish", PATIENCE) < PATIENCE / 2


def test_a_run_of_this_process_wakes_its_readers(serve, monkeypatch):
    monkeypatch.setattr("metalab.training.updates.POLL_SECONDS", PATIENCE)
    serving, updates = made(serve)
    run_id = serving.store.create(small(outer_steps=1), "ada", state="stopped").id
    cursor = updates.updates(run_id, None, ())["cursor"]
    threading.Timer(0.1, lambda: serving.step(run_id, "ada")).start()
    assert waited(updates, run_id, cursor, PATIENCE) < PATIENCE / 2
    serving.wait(run_id, PATIENCE)


def test_a_run_of_another_process_is_found_by_looking(serve):
    (writing, _), (_, updates) = made(serve), made(serve)
    run_id = new_run(writing.store)
    cursor = updates.updates(run_id, None, {"ada"})["cursor"]
    threading.Timer(0.1, lambda: writing.store.append(run_id, losses(1))).start()
    assert waited(updates, run_id, cursor, PATIENCE) < PATIENCE / 2
    update = updates.updates(run_id, cursor, {"ada"})
    assert update["metrics"]["train/loss"]["step"] == [1]
    assert not update["run"]["controllable"]
    writing.close()
    assert updates.updates(run_id, cursor, {"ada"})["run"]["state"] == "interrupted"


def test_a_whole_run_as_its_viewer_sees_it(serve):
    serving, updates = made(serve)
    run_id = serving.start(small(), "ada")
    points: dict[str, list[int]] = {}
    evaluations, cursor, state = [], None, ""
    while state not in ("finished", "failed"):
        update = updates.updates(run_id, cursor, {"ada"})
        strict(update)
        for name, series in update["metrics"].items():
            points.setdefault(name, []).extend(series["step"])
        evaluations += [evaluation["step"] for evaluation in update["evaluations"]]
        cursor, state = update["cursor"], update["run"]["state"]
        updates.wait(run_id, cursor, 1.0)
    looks = [0, 5, 10, 12]
    assert points == {
        "train/loss": list(range(1, 13)),
        "train/gradient_norm": list(range(1, 13)),
        "train/gradient_agreement": list(range(1, 13)),
        "validation/loss_before": looks,
        "validation/loss_after": looks,
    }
    assert evaluations == looks


def test_curves_away_from_home_are_recorded_as_such():
    curves = {"accuracy": torch.tensor([[0.2, 0.4, 0.9], [0.2, 0.6, 0.7]])}
    curves["accuracy_away"] = curves["accuracy"] / 2
    found = {name: (step, value) for step, name, value in before_and_after(Evaluated(7, curves, None))}
    assert found == {
        "validation/accuracy_before": (7, pytest.approx(0.2)),
        "validation/accuracy_after": (7, pytest.approx(0.8)),
        "away/accuracy_before": (7, pytest.approx(0.1)),
        "away/accuracy_after": (7, pytest.approx(0.4)),
    }
