"""Contenders that read their shots at once, alone and beside others that take inner steps."""

import numpy as np
import pytest
import torch

from metalab.algorithms import ALGORITHMS, MAML, ConditionalNeuralProcess, InContext, NearestNeighbour, Prototypes
from metalab.algorithms.base import Learner
from metalab.algorithms.cnp import SURPRISE
from metalab.analysis.adaptation import Contender, race
from metalab.analysis.challenge import drawings_challenge, points_challenge, sample_challenge
from metalab.models import CNP, MLP, Conv4, Transformer
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.sinusoid import Sinusoid

POINTS = [(-2.0, 1.0), (0.5, -0.4), (3.0, 2.0)]
IMAGES = Glyphs(ways=3, shots=2, queries=2)
READER = Transformer(layers=1, heads=1, filters=4)


def contender(algorithm, model, family):
    theta = algorithm.init(Learner(model, family), torch.Generator().manual_seed(0))
    return Contender(algorithm.name, algorithm, model, theta, ("test", algorithm.name, model.name))


PROCESS = contender(ConditionalNeuralProcess(), CNP(width=8), Sinusoid())
IN_CONTEXT = contender(InContext(), READER, Sinusoid())
MAML_SINE = contender(MAML(), MLP(widths=(8,)), Sinusoid())


def test_alone_they_count_shots():
    result = race([PROCESS, IN_CONTEXT], points_challenge(Sinusoid(), POINTS), steps=20)
    assert (result.axis, result.steps) == ("shot", 3)
    for lane in result.lanes:
        assert lane.axis == "shot"
        assert lane.steps == 3
        assert lane.functions.shape == (4, 101)
        assert lane.gradient_norm.shape == (0,)
        assert lane.finite
        assert [result.index(lane, k) for k in range(4)] == [0, 1, 2, 3]


def test_a_lane_after_k_points_is_that_of_a_task_of_k_points():
    whole = race([PROCESS, IN_CONTEXT], points_challenge(Sinusoid(), POINTS), steps=1)
    for k in (1, 2):
        part = race([PROCESS, IN_CONTEXT], points_challenge(Sinusoid(), POINTS[:k]), steps=1)
        for lane, short in zip(whole.lanes, part.lanes, strict=True):
            assert short.steps == k
            np.testing.assert_allclose(lane.functions[k], short.functions[-1], rtol=1e-5, atol=1e-6)


def test_beside_inner_steps_they_stand_at_their_end_from_the_first_step_on():
    result = race([MAML_SINE, PROCESS], points_challenge(Sinusoid(), POINTS), steps=5)
    assert (result.axis, result.steps) == ("inner step", 5)
    stepping, reading = result.lanes
    assert (stepping.steps, reading.steps) == (5, 3)
    assert [result.index(stepping, k) for k in range(6)] == [0, 1, 2, 3, 4, 5]
    assert [result.index(reading, k) for k in range(6)] == [0, 3, 3, 3, 3, 3]


def test_what_was_read_is_not_read_again(monkeypatch):
    challenge = points_challenge(Sinusoid(), [*POINTS, (1.0, 1.0)])
    first = race([PROCESS], challenge, steps=2)
    monkeypatch.setattr(ConditionalNeuralProcess, "adapt", None)
    second = race([PROCESS], challenge, steps=40)
    np.testing.assert_array_equal(first.lanes[0].support_loss, second.lanes[0].support_loss)


@pytest.mark.parametrize("algorithm", [Prototypes(), NearestNeighbour(), InContext()])
def test_characters_are_told_apart_after_each_shot(algorithm):
    model = READER if algorithm.name == "in_context" else Conv4(filters=4)
    challenge = sample_challenge(IMAGES, 1, shots=4)
    result = race([contender(algorithm, model, IMAGES)], challenge, steps=1, one_by_one=True)
    (lane,) = result.lanes
    assert lane.probabilities.shape == (5, 6, 3)
    np.testing.assert_allclose(lane.probabilities[0], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(lane.probabilities.sum(-1), 1, rtol=1e-5)
    right = (lane.probabilities.argmax(-1) == result.query_y).mean(-1)
    np.testing.assert_allclose(lane.query["accuracy"][1:], right[1:], rtol=1e-6)


def test_classes_may_be_drawn_unequally_often():
    rng = np.random.default_rng(0)
    drawings = [[rng.random((28, 28)) for _ in range(n)] for n in (1, 3, 2)]
    challenge = drawings_challenge(IMAGES, drawings, rng.random((28, 28)))
    result = race([contender(Prototypes(), Conv4(filters=4), IMAGES)], challenge, steps=1, one_by_one=True)
    assert result.lanes[0].probabilities.shape == (4, 1, 3)
    assert result.lanes[0].finite


def test_prototypes_race_at_any_number_of_ways():
    """Their head is made anew for each task; a network with a head of its own is refused."""
    five = Glyphs(ways=5, shots=1, queries=2)
    trained = contender(Prototypes(), Conv4(filters=4), IMAGES)
    assert race([trained], sample_challenge(five, 1), steps=1).lanes[0].probabilities.shape[-1] == 5
    fixed = contender(ALGORITHMS["in_context"](), READER, IMAGES)
    with pytest.raises(ValueError, match="its network has 3 outputs, but the task needs 5"):
        race([fixed], sample_challenge(five, 1), steps=1)


def test_a_neural_process_says_how_unsure_it_is_and_how_surprised():
    """After each number of points: the spread of its own distribution, and -log N(y; mean, spread^2) by hand."""
    family = Sinusoid(shots=3, queries=7)
    challenge = sample_challenge(family, seed=5)
    process, stepping = race([PROCESS, MAML_SINE], challenge, steps=2).lanes
    assert stepping.spread is None
    assert SURPRISE not in stepping.query
    theta = {name: value.numpy() for name, value in PROCESS.theta.items()}

    def layers(part, h, last):
        for i in (1, 2, 3):
            h = h @ theta[f"{part}{i}.weight"] + theta[f"{part}{i}.bias"]
            h = h if last and i == 3 else np.maximum(h, 0)
        return h

    def distribution(k, x):
        examples = np.concatenate([challenge.support.x[0, :k], challenge.support.y[0, :k]], 1)
        r = layers("encoder", examples, True).mean(0) if k else np.zeros(8)
        h = layers("decoder", np.concatenate([x, np.tile(r, (len(x), 1))], 1), False)
        mean, spread = (h @ theta["head.weight"] + theta["head.bias"]).T
        return mean, 0.1 + 0.9 * np.log1p(np.exp(spread))

    x, y = challenge.query_x[0].numpy(), challenge.query_y[0, :, 0].numpy()
    for k in range(4):
        mean, spread = distribution(k, family.probe_x.numpy())
        np.testing.assert_allclose(process.functions[k], mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(process.spread[k], spread, rtol=1e-4, atol=1e-5)
        mean, spread = distribution(k, x)
        density = np.exp(-0.5 * ((y - mean) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
        assert process.query[SURPRISE][k] == pytest.approx(-np.log(density).mean(), rel=1e-4)
        assert process.query["loss"][k] == pytest.approx(np.mean((y - mean) ** 2), rel=1e-4)
