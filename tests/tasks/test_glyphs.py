"""The invented alphabets: geometry against closed forms, and how hard they are for pixels alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from metalab.tasks import glyphs
from metalab.tasks.glyphs import POINTS, STROKES, Glyphs, Strokes, alphabet, alphabet_name, extent, render, trace
from metalab.training.config import parse_config
from metalab.training.evaluation import evaluate
from metalab.training.events import Checkpointed
from metalab.training.parallel import Workers
from metalab.training.trainer import train


def one(**fields):
    """A character of one stroke: by default a straight line of length 1 to the right from the middle."""
    shape = (1, STROKES)
    values = {name: np.zeros(shape, np.float32) for name in Strokes.__dataclass_fields__}
    values |= {"count": np.ones(1, np.int64), "parent": np.full(shape, -1), "corner_at": np.full(shape, 0.5)}
    values["length"] = np.ones(shape, np.float32)
    for name, value in fields.items():
        values[name] = values[name].copy()
        values[name][0, : len(value)] = value
    return Strokes(**values)


def chord(strokes, stroke=0):
    path = trace(strokes)[0, stroke]
    return path[-1] - path[0]


def test_a_stroke_without_turn_is_straight():
    path = trace(one(direction=[0.3], length=[2.0], x=[0.1], y=[-0.2]))[0, 0]
    assert path[0] == pytest.approx([0.1, -0.2])
    steps = np.diff(path, axis=0)
    assert steps == pytest.approx(
        np.tile(np.array([math.cos(0.3), math.sin(0.3)]) * 2 / (POINTS - 1), (POINTS - 1, 1)), abs=1e-6
    )


@pytest.mark.parametrize("turn", [math.pi / 2, -math.pi, 1.5 * math.pi])
def test_a_turning_stroke_is_an_arc_with_its_chord_in_its_direction(turn):
    """An arc of length L that turns by a has the chord 2 L/a sin(a/2)."""
    found = chord(one(direction=[0.4], length=[1.0], turn=[turn]))
    expected = 2 / turn * math.sin(turn / 2)
    assert np.hypot(*found) == pytest.approx(expected, rel=1e-3)
    assert found / np.hypot(*found) == pytest.approx([math.cos(0.4), math.sin(0.4)], abs=1e-5)


def test_a_corner_turns_at_once():
    steps = np.diff(trace(one(corner=[math.pi / 2]))[0, 0], axis=0)
    angles = np.arctan2(steps[:, 1], steps[:, 0])
    early = np.arange(POINTS - 1) + 0.5 <= (POINTS - 1) / 2
    assert angles == pytest.approx(np.where(early, -math.pi / 4, math.pi / 4), abs=1e-3)


def test_an_attached_stroke_starts_on_its_parent():
    strokes = one(length=[1.0, 0.5, 0.5], direction=[0, 1.5, 1.0], parent=[-1, 0, 1], along=[0, 1.0, 0.5], x=[-0.5])
    path = trace(strokes)[0]
    assert path[1, 0] == pytest.approx(path[0, -1])
    assert np.abs(path[1] - path[2, 0]).sum(1).min() < 1e-6


def test_strokes_that_are_not_used_leave_no_ink():
    strokes = one()
    centre, half = extent(trace(strokes), strokes.count)
    assert half[0] == pytest.approx([0.5, 0.0], abs=1e-6)
    assert centre[0] == pytest.approx([0.5, 0.0], abs=1e-6)
    assert render(trace(strokes), np.zeros_like(strokes.count), np.ones(1, np.float32)).max() == 0


@pytest.mark.parametrize("pen", [0.6, 0.8, 1.1])
@pytest.mark.parametrize("direction", [0.0, 0.7, math.pi / 2])
def test_a_line_has_the_ink_of_its_width_times_its_length(pen, direction):
    cos, sin = math.cos(direction), math.sin(direction)
    strokes = one(direction=[direction], length=[1.2], x=[-0.6 * cos], y=[-0.6 * sin])
    picture = render(trace(strokes), strokes.count, np.array([pen], np.float32))[0] / 255
    assert picture.sum() == pytest.approx(2 * pen * 1.2 * 14, rel=0.12)
    rows, columns = np.nonzero(picture > 0.05)
    away = np.abs((columns - 13.5) * sin - (rows - 13.5) * cos)
    assert away.max() < pen + 0.6


def test_an_alphabet_comes_out_of_its_number_alone():
    assert np.array_equal(alphabet(3), alphabet(3))
    assert not np.array_equal(alphabet(3), alphabet(4))


def test_every_drawing_is_new_dark_enough_and_whole():
    for split in ("train", "validation", "test"):
        images = Glyphs().images(split)
        drawings = images.flatten(0, 1)
        assert len({drawing.numpy().tobytes() for drawing in drawings[:8000]}) == len(drawings[:8000])
        ink = drawings.float().mean((1, 2)) / 255
        assert ink.min() > 0.01
        assert ink.max() < 0.3
        assert drawings.amax((1, 2)).min() > 180
        border = torch.cat([drawings[:, 0], drawings[:, -1], drawings[:, :, 0], drawings[:, :, -1]], 1)
        assert border.float().mean() / 255 < 0.005, "characters stay inside their picture"


def test_alphabets_have_names_of_their_own():
    names = {alphabet_name(i) for i in range(sum(glyphs.ALPHABETS.values()))}
    assert len(names) == sum(glyphs.ALPHABETS.values())
    assert all(name.isalpha() and name.istitle() for name in names)


def test_splits_are_whole_alphabets():
    family, first = Glyphs(), 0
    for split, count in glyphs.ALPHABETS.items():
        turns = 4 if split == "train" else 1
        assert family.n_classes(split) == count * glyphs.PER_ALPHABET * turns
        for i in range(count):
            name = family.class_name(split, i * glyphs.PER_ALPHABET)
            assert name == f"{alphabet_name(first + i)} 1"
        first += count


def test_the_cache_holds_what_is_drawn(shared_home):
    family = Glyphs()
    family.n_classes("train")
    kept = np.load(shared_home / "cache" / f"glyphs-{glyphs.VERSION}.npy", allow_pickle=False)
    assert np.array_equal(kept[37 * 20 : 38 * 20], alphabet(37))
    assert np.array_equal(family.images("validation")[20:40].numpy(), alphabet(37))


def accuracy_of_pixels(family, batch):
    """Each task's accuracy (T,) where a query has the class of the support picture that is nearest in its pixels."""
    distance = torch.cdist(batch.query.x.flatten(2), batch.support.x.flatten(2))
    return family.metrics(-distance, batch.query.y)["accuracy"]


def test_pixels_alone_solve_some_tasks_but_not_most():
    """5-way 1-shot, 600 meta-test tasks; by chance it would be 0.2."""
    family, rng = Glyphs(ways=5, shots=1, queries=9), torch.Generator().manual_seed(0)
    right = [accuracy_of_pixels(family, family.sample(100, "test", rng)) for _ in range(6)]
    accuracy = torch.cat(right)
    assert 1.96 * float(accuracy.std()) / math.sqrt(600) < 0.015
    assert 0.55 < float(accuracy.mean()) < 0.65


def test_a_network_that_practised_for_seconds_is_far_better_than_pixels():
    """MAML, 150 outer steps of 4 tasks: on 100 meta-test tasks its lead is above 0.1, with 95% confidence."""
    config = parse_config(
        {
            "family": {"name": "glyphs", "queries": 3},
            "model": {"name": "conv4", "filters": 16},
            "algorithm": {"name": "maml", "inner_lr": 0.4, "inner_steps": 1, "inner_steps_eval": 3},
            "meta_batch_size": 4,
            "outer_lr": 0.003,
            "outer_steps": 150,
            "evaluate_every": 150,
            "evaluation_tasks": 2,
        }
    )
    checkpoints = [event.checkpoint for event in train(config, threads=1) if isinstance(event, Checkpointed)]
    family = Glyphs(ways=5, shots=1, queries=5)
    batch = family.sample(100, "test", torch.Generator().manual_seed(1))
    workers = Workers(config.model, torch.device("cpu"), 1)
    after = evaluate(config.learner, config.algorithm, checkpoints[-1].theta, batch, 3, workers)["accuracy"][:, -1]
    lead = after - accuracy_of_pixels(family, batch)
    assert float(lead.mean()) - 1.96 * float(lead.std()) / math.sqrt(len(lead)) > 0.1
