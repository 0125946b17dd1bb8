"""A race equals adaptation written out by hand, and refuses what it cannot run."""

import threading

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metalab.algorithms import ALGORITHMS
from metalab.analysis.adaptation import Contender, race, scratch
from metalab.analysis.challenge import drawings_challenge, points_challenge, sample_challenge
from metalab.analysis.memory import Memory
from metalab.models.conv4 import Conv4
from metalab.models.mlp import MLP
from metalab.tasks.base import DataMissing
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.sinusoid import Sinusoid

POINTS = [(-2.0, 1.0), (0.5, -0.4), (3.0, 2.0)]
NET = MLP(widths=(7, 5), activation="tanh")


def doubles(algorithm="maml", seed=0, **settings):
    """A contender with random float64 parameters."""
    theta = NET.init((1,), 1, torch.Generator().manual_seed(seed), torch.float64)
    return Contender(algorithm, ALGORITHMS[algorithm](**settings), NET, theta, ("test", algorithm, seed))


def by_hand(theta, x, y, steps, rate):
    """phi_0 .. phi_K of plain gradient descent, the losses and the gradient norms, without the engine."""
    phi = {name: value.clone().requires_grad_() for name, value in theta.items()}
    phis, losses, norms = [], [], []
    for k in range(steps + 1):
        loss = ((forward(phi, x) - y) ** 2).mean()
        phis.append({name: value.detach() for name, value in phi.items()})
        losses.append(loss.item())
        if k == steps:
            break
        gradient = torch.autograd.grad(loss, list(phi.values()))
        norms.append(torch.cat([g.flatten() for g in gradient]).norm().item())
        phi = {n: (v - rate * g).detach().requires_grad_() for (n, v), g in zip(phi.items(), gradient, strict=True)}
    return phis, losses, norms


def forward(phi, x):
    h = torch.tanh(x @ phi["layer1.weight"] + phi["layer1.bias"])
    h = torch.tanh(h @ phi["layer2.weight"] + phi["layer2.bias"])
    return h @ phi["head.weight"] + phi["head.bias"]


@pytest.mark.parametrize("rate", [None, 0.2])
def test_a_lane_is_gradient_descent_written_out(rate):
    contender = doubles(inner_lr=0.05)
    lane = race(
        [contender], points_challenge(Sinusoid(), POINTS), steps=6, inner_lr={"maml": rate} if rate else None
    ).lanes[0]
    x, y = torch.tensor(POINTS, dtype=torch.float64).split(1, dim=1)
    phis, losses, norms = by_hand(contender.theta, x, y, 6, rate or 0.05)
    np.testing.assert_allclose(lane.support_loss, losses, rtol=1e-6)
    np.testing.assert_allclose(lane.gradient_norm, norms, rtol=1e-6)
    grid = torch.linspace(-5, 5, 101, dtype=torch.float64)[:, None]
    np.testing.assert_allclose(lane.functions, [forward(phi, grid)[:, 0] for phi in phis], rtol=1e-5, atol=1e-6)


def test_the_query_loss_is_taken_on_the_query_set_after_each_step():
    challenge = sample_challenge(Sinusoid(), 4, shots=6, queries=9)
    contender = doubles()
    lane = race([contender], challenge, steps=3).lanes[0]
    x, y = challenge.support.x[0].double(), challenge.support.y[0].double()
    phis, _, _ = by_hand(contender.theta, x, y, 3, contender.algorithm.inner_lr)
    expected = [F.mse_loss(forward(p, challenge.query_x[0].double()), challenge.query_y[0].double()) for p in phis]
    np.testing.assert_allclose(lane.query["loss"], expected, rtol=1e-6)


def test_before_the_first_step_every_lane_is_f_theta():
    contenders = [doubles("maml", 0), doubles("reptile", 1)]
    result = race(contenders, points_challenge(Sinusoid(), POINTS), steps=4)
    grid = torch.linspace(-5, 5, 101, dtype=torch.float64)[:, None]
    for contender, lane in zip(contenders, result.lanes, strict=True):
        np.testing.assert_allclose(lane.functions[0], forward(contender.theta, grid)[:, 0], rtol=1e-5, atol=1e-6)
        assert not np.allclose(lane.functions[0], lane.functions[-1])


def test_fewer_steps_are_the_beginning_of_more():
    challenge = sample_challenge(Sinusoid(), 2, shots=5)
    contender = doubles(seed=5)
    short, long = race([contender], challenge, steps=2), race([contender], challenge, steps=7)
    again = race([contender], challenge, steps=2)
    for result in (short, again):
        lane = result.lanes[0]
        assert lane.steps == result.steps == 2
        np.testing.assert_array_equal(lane.functions, long.lanes[0].functions[:3])
        np.testing.assert_array_equal(lane.gradient_norm, long.lanes[0].gradient_norm[:2])


def test_what_was_computed_is_not_computed_again(monkeypatch):
    challenge = sample_challenge(Sinusoid(), 3)
    contender = doubles(seed=6)
    first = race([contender], challenge, steps=5)
    monkeypatch.setattr(type(contender.algorithm), "adapt", None)
    second = race([contender], sample_challenge(Sinusoid(), 3), steps=5)
    np.testing.assert_array_equal(first.lanes[0].support_loss, second.lanes[0].support_loss)


def test_a_task_keeps_its_wave_when_its_shots_change():
    few, many = (sample_challenge(Sinusoid(), 8, shots=shots) for shots in (3, 12))
    np.testing.assert_array_equal(few.truth, many.truth)
    assert torch.equal(few.support.x, many.support.x[:, :3])
    assert few.key != many.key
    assert few.key == sample_challenge(Sinusoid(), 8, shots=3).key


def test_characters_give_probabilities_of_each_query_image_after_each_step():
    family = Glyphs(ways=3, shots=1, queries=2)
    contender = scratch("scratch", Conv4(filters=4), family, 0, 0.1)
    result = race([contender], sample_challenge(family, 1), steps=2)
    lane = result.lanes[0]
    assert lane.probabilities.shape == (3, 6, 3)
    np.testing.assert_allclose(lane.probabilities.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        lane.query["accuracy"], (lane.probabilities.argmax(-1) == result.query_y).mean(-1), rtol=1e-6
    )
    true_class = np.take_along_axis(lane.probabilities, result.query_y[None, :, None], -1)
    np.testing.assert_allclose(lane.query["loss"], -np.log(true_class).mean((1, 2)), rtol=1e-4)


def test_a_single_drawn_query_is_normalised_with_the_support_set():
    rng = np.random.default_rng(0)
    drawings = [[rng.random((28, 28))] for _ in range(3)]
    challenge = drawings_challenge(Glyphs(ways=3), drawings, drawings[1][0])
    contender = scratch("scratch", Conv4(filters=4), challenge.family, 0, 0.1)
    lane = race([contender], challenge, steps=1, one_by_one=True).lanes[0]
    theta = {name: value[None] for name, value in contender.theta.items()}
    model = Conv4(filters=4, batch_norm="support_plus_one")
    expected = model.forward(theta, challenge.query_x, support=challenge.support.x).softmax(-1)
    np.testing.assert_allclose(lane.probabilities[0], expected[0], rtol=1e-5)
    alone = race([contender], challenge, steps=1).lanes[0]
    assert not np.allclose(lane.probabilities[0], alone.probabilities[0])


def test_a_rate_that_is_too_large_diverges_visibly():
    result = race([doubles(seed=9)], points_challenge(Sinusoid(), [(0, 1000.0)]), steps=60, inner_lr={"maml": 2.0})
    assert not result.lanes[0].finite


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"contenders": []}, "no contenders"),
        ({"contenders": [doubles(), doubles()]}, "labels that differ"),
        ({"steps": -1}, "steps = -1: expected a whole number from 0 to 200"),
        ({"steps": 201}, "steps = 201"),
        ({"steps": True}, "steps = True"),
        ({"inner_lr": {"nobody": 0.1}}, "inner_lr of 'nobody': expected one of maml"),
        ({"inner_lr": {"maml": -1.0}}, "inner_lr = -1.0: expected"),
    ],
)
def test_wrong_arguments_are_named(wrong, said):
    given = {"contenders": [doubles()], "steps": 1, "inner_lr": None} | wrong
    with pytest.raises(ValueError, match=said):
        race(given.pop("contenders"), points_challenge(Sinusoid(), POINTS), **given)


def test_a_network_for_other_ways_is_refused():
    contender = scratch("five", MLP(), Glyphs(ways=5), 0, 0.1)
    drawings = [[np.zeros((28, 28))]] * 3
    with pytest.raises(ValueError, match="five: its network has 5 outputs, but the task needs 3"):
        race([contender], drawings_challenge(Glyphs(ways=3), drawings), steps=1)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([], "0 points: expected 1 to 100"),
        ([(0.0, 0.0)] * 101, "101 points"),
        ([(0.0, float("nan"))], "nan"),
        ([(0.0, 1e9)], "expected two numbers within"),
        ([(1.0, 2.0, 3.0)], "expected two numbers"),
    ],
)
def test_points_are_checked(points, said):
    with pytest.raises(ValueError, match=said):
        points_challenge(Sinusoid(), points)


def test_drawings_are_checked():
    blank = np.zeros((28, 28))
    family = Glyphs(ways=3)
    with pytest.raises(ValueError, match="drawings of 2 classes: expected 3"):
        drawings_challenge(family, [[blank]] * 2)
    with pytest.raises(ValueError, match="class 2 has 0 drawings"):
        drawings_challenge(family, [[blank], [], [blank]])
    with pytest.raises(ValueError, match="class 1: a drawing of shape"):
        drawings_challenge(family, [[np.zeros((5, 5))], [blank], [blank]])
    with pytest.raises(ValueError, match="the query: pixels from"):
        drawings_challenge(family, [[blank]] * 3, blank + 7)
    with pytest.raises(ValueError, match="grey images"):
        drawings_challenge(Sinusoid(), [[blank]])
    with pytest.raises(ValueError, match="functions of one variable"):
        points_challenge(family, POINTS)


def test_missing_data_is_said(monkeypatch):
    def missing(_self):
        raise DataMissing("no archive here")

    monkeypatch.setattr(Sinusoid, "require", missing)
    with pytest.raises(DataMissing, match="no archive"):
        sample_challenge(Sinusoid(), 0)


def test_a_memory_forgets_what_was_used_longest_ago():
    memory: Memory[int] = Memory(2)
    assert [memory.get(key, lambda value=value: value) for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4))] == [
        1,
        2,
        1,
        4,
    ]
    assert memory.get("b", lambda: 5) == 5
    assert len(memory) == 2
    with pytest.raises(ValueError, match="size = 0"):
        Memory(0)


def test_a_memory_serves_many_threads():
    memory: Memory[int] = Memory(8)
    wrong = []

    def use(start):
        for i in range(400):
            key = (start + i) % 20
            if memory.get(key, lambda key=key: key * key) != key * key:
                wrong.append(key)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(memory) <= 8
