"""The trainer as a generator: which events, in what order, and that the same config means the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_runs import CHARACTERS, REPTILE, SINE, checkpoints, evaluations, outer_steps, same, small

from metalab.params import Params
from metalab.tasks import mnist
from metalab.tasks.characters import Characters, Library
from metalab.training.config import ConfigError, parse_config
from metalab.training.events import Change, Changed, Checkpointed, Evaluated, Failed, Finished, Look, OuterStep
from metalab.training.outer import decay
from metalab.training.start import held_out, initialise, stream
from metalab.training.trainer import train

SPLITS = ("train", "validation", "test")


def distance(one: Params, other: Params) -> float:
    return float(torch.stack([(one[name] - other[name]).double().square().sum() for name in one]).sum().sqrt())


def test_events_come_in_the_promised_order():
    events = [(type(event), event.step) for event in train(small(outer_steps=7, evaluate_every=3))]
    look = [Evaluated, Checkpointed]
    expected = [(kind, 0) for kind in look]
    for step in range(1, 8):
        expected.append((OuterStep, step))
        if step in (3, 6, 7):
            expected += [(kind, step) for kind in look]
    assert events == [*expected, (Finished, 7)]


def test_an_algorithm_that_does_not_train_is_looked_at_once():
    events = list(train(small(algorithm={"name": "scratch", "inner_steps_eval": 2})))
    assert [type(event) for event in events] == [Evaluated, Checkpointed, Finished]
    assert events[-1].step == 0


def test_evaluations_have_a_value_for_each_task_and_inner_step():
    config = small(outer_steps=1)
    seen = evaluations(train(config))
    assert set(seen) == {0, 1}
    assert seen[1].curves["loss"].shape == (4, 3)
    assert seen[1].curves["loss"].dtype == torch.float32
    assert seen[1].functions.shape == (3, 3, 101)


def test_a_run_starts_from_its_initialisation_whatever_is_not_network_family_or_seed():
    config = small(outer_steps=1)
    other = small(outer_steps=1, outer_lr=0.1, algorithm=REPTILE["algorithm"], evaluation_tasks=7)
    first, second = (checkpoints(train(c))[0].theta for c in (config, other))
    assert same(first, initialise(config))
    assert same(first, second)
    assert not same(first, initialise(small(seed=1)))


def test_held_out_tasks_are_the_same_at_every_look_and_none_of_the_training_tasks():
    config = small()
    assert torch.equal(held_out(config).support.x, held_out(config).support.x)
    # With a theta that hardly moves, every look measures the same.
    still = list(evaluations(train(small(outer_optimiser="sgd", outer_lr=1e-5))).values())
    torch.testing.assert_close(still[-1].curves["loss"], still[0].curves["loss"], rtol=0.01, atol=0.01)
    training = config.family.sample(4, "train", torch.Generator().manual_seed(0))
    assert not torch.equal(held_out(config).support.x, training.support.x)


@pytest.mark.parametrize("base", [SINE, SINE | REPTILE, CHARACTERS], ids=["maml", "reptile", "conv4"])
def test_the_same_config_gives_the_same_numbers_and_another_seed_others(base):
    first, second, other = (list(train(small(base, seed=seed), threads=1)) for seed in (3, 3, 4))
    assert outer_steps(first) == outer_steps(second)
    last = max(checkpoints(first))
    assert same(checkpoints(first)[last].theta, checkpoints(second)[last].theta)
    assert outer_steps(first) != outer_steps(other)


def test_the_number_of_threads_does_not_change_a_bit():
    config = small(CHARACTERS)
    one, three = (list(train(config, threads=threads)) for threads in (1, 3))
    assert outer_steps(one) == outer_steps(three)
    assert same(checkpoints(one)[4].theta, checkpoints(three)[4].theta)
    assert torch.equal(evaluations(one)[4].curves["loss"], evaluations(three)[4].curves["loss"])


@pytest.mark.parametrize("base", [SINE, SINE | REPTILE, CHARACTERS], ids=["maml", "reptile", "conv4"])
def test_every_checkpoint_leads_to_the_same_end(base):
    config = small(base, schedule="linear")
    whole = list(train(config, threads=1))
    end = checkpoints(whole)[config.outer_steps]
    for step, checkpoint in checkpoints(whole).items():
        rest = list(train(config, resume=checkpoint, threads=1))
        assert outer_steps(rest) == {s: m for s, m in outer_steps(whole).items() if s > step}
        if step < config.outer_steps:
            again = checkpoints(rest)[config.outer_steps]
            assert same(again.theta, end.theta)
            assert same(again.optimiser, end.optimiser)
            assert torch.equal(again.rng, end.rng)


def test_resuming_leaves_the_checkpoint_as_it_was():
    config = small()
    checkpoint = checkpoints(train(config))[5]
    before = {name: value.clone() for name, value in (checkpoint.theta | checkpoint.optimiser).items()}
    list(train(config, resume=checkpoint))
    assert same(checkpoint.theta | checkpoint.optimiser, before)


def test_accumulating_averages_over_the_tasks_of_one_large_meta_batch():
    split = list(train(small(meta_batch_size=4, accumulate=3, outer_steps=5, outer_optimiser="sgd")))
    whole = list(train(small(meta_batch_size=12, outer_steps=5, outer_optimiser="sgd")))
    for step, metrics in outer_steps(split).items():
        assert metrics == pytest.approx(outer_steps(whole)[step], rel=1e-4)
    for name, value in checkpoints(split)[5].theta.items():
        torch.testing.assert_close(value, checkpoints(whole)[5].theta[name], rtol=1e-4, atol=1e-6)


def test_sgd_moves_by_the_rate_times_the_clipped_meta_gradient():
    plain = {"outer_optimiser": "sgd", "outer_lr": 0.01, "outer_steps": 1}
    free, clipped = (list(train(small(**plain, clip_norm=clip))) for clip in (0, 0.05))
    length = outer_steps(free)[1]["gradient_norm"]
    assert length > 0.05
    assert outer_steps(clipped)[1]["gradient_norm"] == pytest.approx(length)
    for events, expected in ((free, 0.01 * length), (clipped, 0.01 * 0.05)):
        found = checkpoints(events)
        assert distance(found[0].theta, found[1].theta) == pytest.approx(expected, rel=1e-3)


def test_a_gradient_that_is_short_enough_is_not_clipped():
    free, wide = (list(train(small(outer_steps=3, clip_norm=clip))) for clip in (0, 100))
    for name, value in checkpoints(wide)[3].theta.items():
        torch.testing.assert_close(value, checkpoints(free)[3].theta[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [("constant", [1, 1, 1, 1]), ("linear", [1, 0.75, 0.5, 0.25]), ("cosine", [1, 0.853553, 0.5, 0.146447])],
)
def test_the_outer_rate_follows_its_schedule(schedule, factors):
    config = small(schedule=schedule, outer_optimiser="sgd", outer_lr=0.01, outer_steps=4, evaluate_every=1)
    assert [decay(config, done) for done in range(4)] == pytest.approx(factors, abs=1e-5)
    events = list(train(config))
    found, steps = checkpoints(events), outer_steps(events)
    for done, factor in enumerate(factors):
        moved = distance(found[done].theta, found[done + 1].theta)
        assert moved == pytest.approx(0.01 * factor * steps[done + 1]["gradient_norm"], rel=2e-3)


def diverging() -> dict:
    return {"algorithm": {"name": "maml", "inner_lr": 2.0, "inner_steps": 5}, "outer_optimiser": "sgd", "outer_lr": 1.0}


def test_divergence_ends_the_run_and_leaves_only_good_checkpoints():
    events = list(train(small(**diverging(), outer_steps=200, evaluate_every=1)))
    assert isinstance(events[-1], Failed)
    assert f"outer step {events[-1].step + 1}" in events[-1].message
    assert "inner learning rate 2.0, outer 1.0" in events[-1].message
    for checkpoint in checkpoints(events).values():
        assert all(bool(value.isfinite().all()) for value in checkpoint.theta.values())


def test_theta_that_fails_on_held_out_tasks_ends_the_run_and_is_not_kept():
    """Every training loss may be finite still."""
    config = parse_config({"outer_lr": 1.0, "outer_steps": 20, "evaluate_every": 10, "evaluation_tasks": 20})
    *before, last = train(config)
    assert isinstance(last, Failed)
    assert "the held-out loss is" in last.message
    assert all(torch.tensor(step["loss"]).isfinite() for step in outer_steps(before).values())
    kept = max(checkpoints(before))
    assert kept < last.step
    assert f"The checkpoint of outer step {kept} is kept" in last.message
    seen = [event for event in before if isinstance(event, Evaluated)]
    assert seen[-1].step == last.step
    assert float(seen[-1].curves["loss"].mean(0)[:2].nan_to_num(torch.inf).max()) > 1e6
    assert all(float(each.curves["loss"].mean(0)[:2].max()) < 1e6 for each in seen[:-1])


def test_over_shots_the_whole_held_out_curve_counts():
    """With no shot read all classes are equally likely, whatever theta is."""
    changed = {"model": {"name": "mlp", "widths": [40] * 4}, "algorithm": {"name": "prototypes"}, "outer_lr": 1.0}
    *before, last = train(small(CHARACTERS, **changed))
    assert isinstance(last, Failed)
    assert "the held-out loss is" in last.message
    loss = evaluations(before)[last.step].curves["loss"].mean(0)
    assert float(loss[0]) == pytest.approx(math.log(3))
    assert float(loss[1]) > 1e6
    assert max(checkpoints(before)) < last.step


def test_a_change_holds_from_the_next_outer_step_on():
    config = small(outer_optimiser="sgd", outer_lr=0.01, outer_steps=3, evaluate_every=1)
    events, seen, command = train(config), [], None
    try:
        while True:
            seen.append(events.send(command))
            now = isinstance(seen[-1], OuterStep) and seen[-1].step == 1
            command = Change({"outer_lr": 0.02, "algorithm.inner_lr": 0.03}) if now else None
    except StopIteration:
        pass
    (changed,) = [event for event in seen if isinstance(event, Changed)]
    assert changed.changes == {"outer_lr": (0.01, 0.02), "algorithm.inner_lr": (0.01, 0.03)}
    assert changed.config.outer_lr == 0.02
    found, steps = checkpoints(seen), outer_steps(seen)
    for before, rate in ((0, 0.01), (1, 0.02), (2, 0.02)):
        moved = distance(found[before].theta, found[before + 1].theta)
        assert moved == pytest.approx(rate * steps[before + 1]["gradient_norm"], rel=1e-3)
    assert found[3].config == changed.config


def test_a_change_in_reply_to_the_first_checkpoint_is_there_for_the_first_step():
    events = train(small())
    assert isinstance(next(events), Evaluated)
    assert isinstance(next(events), Checkpointed)
    assert isinstance(events.send(Change({"outer_lr": 0.5})), Changed)


def test_other_settings_do_not_change_on_the_way():
    events = train(small())
    next(events)
    with pytest.raises(ConfigError, match="meta_batch_size cannot change while a run goes on"):
        events.send(Change({"meta_batch_size": 8}))


@pytest.mark.parametrize("evaluate", [True, False])
def test_a_look_between_two_evaluations_changes_nothing_and_can_be_resumed_from(evaluate):
    config = small()
    plain = list(train(config))
    events = train(config)
    seen = [next(events) for _ in range(5)]
    assert seen[-1].step == 3
    kinds = [type(events.send(Look(evaluate)))]
    if evaluate:
        kinds.append(type(taken := next(events)))
        assert kinds == [Evaluated, Checkpointed]
    else:
        assert kinds == [Checkpointed]
    rest = list(events)
    assert outer_steps(rest) == {step: m for step, m in outer_steps(plain).items() if step > 3}
    if evaluate:
        again = list(train(config, resume=taken.checkpoint))
        assert same(checkpoints(again)[12].theta, checkpoints(plain)[12].theta)
        assert list(evaluations(again)) == [5, 10, 12]


def test_a_look_where_an_evaluation_is_due_is_that_evaluation():
    events = train(small())
    seen = [next(events) for _ in range(7)]
    assert isinstance(seen[-1], OuterStep)
    assert seen[-1].step == 5
    then = [events.send(Look()), next(events), next(events)]
    assert [(type(event), event.step) for event in then] == [(Evaluated, 5), (Checkpointed, 5), (OuterStep, 6)]


def test_running_statistics_move_with_training():
    found = checkpoints(train(small(CHARACTERS)))
    name = "running.norm1.mean"
    assert torch.equal(found[0].theta[name], torch.zeros(4))
    assert not torch.equal(found[4].theta[name], found[0].theta[name])


def test_a_gpu_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="device = 'cuda': no CUDA device is available here"):
        next(train(small(device="cuda")))


def test_a_run_on_two_families_is_tried_on_both_and_trains_as_if_on_one(monkeypatch, tmp_path):
    """At home as the family it trains on alone; away as its checkpoint adapts to tasks of the other's test split."""
    monkeypatch.setattr(mnist, "ALL_DIGITS", Library(lambda: dict.fromkeys(SPLITS, bars()), turn=False))
    monkeypatch.setattr(mnist, "require", lambda: None)
    cross = {"family": CHARACTERS["family"] | {"name": "cross", "train_on": "glyphs", "test_on": "mnist"}}
    both, alone = (list(train(small(CHARACTERS | more, outer_steps=2), threads=1)) for more in (cross, {}))
    assert same(checkpoints(both)[2].theta, checkpoints(alone)[2].theta)
    seen = evaluations(both)[2].curves
    assert set(seen) == {"loss", "accuracy", "loss_away", "accuracy_away"}
    for name, curve in evaluations(alone)[2].curves.items():
        assert torch.equal(seen[name], curve)
    config, theta = small(CHARACTERS | cross), checkpoints(both)[2].theta
    tasks = config.family.sample(6, "test", stream(config.seed, "test"))
    *_, end = config.algorithm.adapt(config.learner, theta, tasks.support, 1)
    prediction = config.algorithm.attempt(config.learner, end.phi, tasks.support, tasks.query)
    accuracy = (prediction.argmax(-1) == tasks.query.y).float().mean(1)
    torch.testing.assert_close(seen["accuracy_away"][:, -1], accuracy)


def bars() -> Characters:
    """Ten classes that are easy to tell apart: a bar in another place in each."""
    images = np.zeros((10, 20, 28, 28), np.uint8)
    for c in range(10):
        images[c, :, :, 2 * c : 2 * c + 4] = 255
    return Characters(images, tuple(str(c) for c in range(10)))
