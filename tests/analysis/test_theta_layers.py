"""Layers: frozen ones stay and the rest is the algorithm's own inner loop; movement and CKA against numpy."""

import numpy as np
import pytest
import torch

from metalab.algorithms import ALGORITHMS, MAML, Prototypes
from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.theta import held_out_tasks
from metalab.analysis.theta_layers import adapt_with_frozen, cka, features, frozen_curve, layers, layers_of, movement
from metalab.models.conv4 import Conv4
from metalab.models.mlp import MLP
from metalab.params import network
from metalab.tasks import FAMILIES

SINES = FAMILIES["sinusoid"](shots=6)
LEARNER = Learner(MLP(widths=(5, 4)), SINES)
TASKS = held_out_tasks(SINES, 3, 0)


def fits(name):
    cls = ALGORITHMS[name]
    return cls.axis == "inner step" and hasattr(cls, "rates") and cls().misfit(LEARNER) is None


FITTING = [name for name in ALGORITHMS if fits(name)]


def theta_of(algorithm, learner=LEARNER):
    return algorithm.init(learner, torch.Generator().manual_seed(0))


def contender(algorithm, learner=LEARNER):
    return Contender("A", algorithm, learner.model, theta_of(algorithm, learner), "drawn")


def ends(algorithm, theta, frozen, steps=3):
    return [each.phi for each in adapt_with_frozen(algorithm, LEARNER, theta, TASKS.support, steps, frozen)]


@pytest.mark.parametrize("name", FITTING)
def test_frozen_layers_stay_and_in_the_first_step_the_others_go_where_they_always_go(name):
    algorithm = ALGORITHMS[name]()
    theta = theta_of(algorithm)
    frozen, free = ends(algorithm, theta, ["1"]), ends(algorithm, theta, [])
    for entry in network(free[0]):
        same = frozen[0] if entry.startswith("layer1") else free[1]
        assert torch.equal(frozen[1][entry], same[entry])
    assert all(torch.equal(frozen[3][entry], free[0][entry]) for entry in ("layer1.weight", "layer1.bias"))


@pytest.mark.parametrize("name", FITTING)
def test_freezing_what_cannot_move_changes_nothing(name):
    """Units that are off for every input have no gradient: rates, optimiser and proximal term are all the same."""
    options = {"reptile": {"inner_optimiser": "adam", "inner_batch": 2}, "imaml": {"proximal": 3.0}}
    algorithm = ALGORITHMS[name](**options.get(name, {}))
    theta = theta_of(algorithm)
    theta["layer1.bias"] = torch.full_like(theta["layer1.bias"], -100.0)
    for a, b in zip(ends(algorithm, theta, ["1"]), ends(algorithm, theta, []), strict=True):
        assert all(torch.equal(a[entry], b[entry]) for entry in a)


def test_maml_without_its_body_is_anil_and_without_its_head_boil():
    theta = theta_of(MAML())
    for name, frozen in (("anil", ["1", "2"]), ("boil", ["head"])):
        other = ALGORITHMS[name](inner_lr=MAML().inner_lr)
        for a, b in zip(ends(MAML(), theta, frozen), ends(other, theta, []), strict=True):
            assert all(torch.equal(a[entry], b[entry]) for entry in a)


def test_with_everything_frozen_nothing_moves():
    theta = theta_of(MAML())
    found = ends(MAML(), theta, ["1", "2", "head"])
    assert len(found) == 4
    assert all(torch.equal(found[-1][entry][0], theta[entry]) for entry in theta)


def test_an_unknown_layer_is_named():
    with pytest.raises(ValueError, match="layer '7': expected one of 1, 2, head"):
        ends(MAML(), theta_of(MAML()), ["7"])


def test_a_convolution_and_its_normalisation_are_one_layer():
    learner = Learner(Conv4(filters=4), FAMILIES["glyphs"](ways=2))
    found = layers_of(theta_of(MAML(), learner))
    assert list(found) == ["1", "2", "3", "4", "head"]
    assert found["2"] == ["conv2.weight", "norm2.scale", "norm2.shift"]


def test_layers_stand_in_the_networks_order_whatever_the_order_of_theta():
    theta = theta_of(MAML())
    backwards = dict(sorted(theta.items(), reverse=True))
    assert list(layers_of(backwards)) == list(layers_of(dict(sorted(theta.items())))) == ["1", "2", "head"]
    assert list(layers_of({"block10.a": theta["head.bias"], "block9.a": theta["head.bias"]})) == ["9", "10"]


def test_movement_is_a_share_of_each_layers_length():
    before, *_rest, after = ends(MAML(inner_lr=0.1), theta_of(MAML()), [])
    found = movement(before, after)
    for column, names in zip(found.T, layers_of(before).values(), strict=True):
        flat = [np.concatenate([phi[n].reshape(3, -1).double().numpy() for n in names], 1) for phi in (before, after)]
        expected = np.linalg.norm(flat[1] - flat[0], axis=1) / np.linalg.norm(flat[0], axis=1)
        np.testing.assert_allclose(column, expected, rtol=1e-4)
    assert (found > 0).all()


def test_cka_is_one_for_rotated_and_scaled_features_and_matches_its_definition():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 9, 4)), rng.normal(size=(2, 9, 6))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    same = cka(torch.from_numpy(a), torch.from_numpy(3 * a @ turn + 5))
    np.testing.assert_allclose(same, 1, rtol=1e-9)
    x, y = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)

    def square(m):
        return np.linalg.norm(m, axis=(1, 2)) ** 2

    crossed = square(np.einsum("tni,tnj->tij", y, x))
    own = [np.sqrt(square(np.einsum("tni,tnj->tij", each, each))) for each in (x, y)]
    np.testing.assert_allclose(cka(torch.from_numpy(a), torch.from_numpy(b)), crossed / own[0] / own[1], rtol=1e-9)


@pytest.mark.parametrize(
    ("model", "family", "widths"),
    [
        (MLP(widths=(5, 4), activation="tanh"), SINES, [5, 4, 1]),
        (Conv4(filters=4), FAMILIES["glyphs"](ways=3), [784, 196, 64, 16, 3]),
        (Conv4(filters=4, downsampling="max_pool"), FAMILIES["glyphs"](ways=3), [784, 196, 36, 4, 3]),
    ],
)
def test_features_are_what_leaves_each_layer(model, family, widths):
    learner = Learner(model, family)
    theta = learner.init(torch.Generator().manual_seed(0))
    tasks = held_out_tasks(family, 2, 0)
    phi = {name: value.expand(2, *value.shape) for name, value in theta.items()}
    found = features(learner, phi, tasks.query.x)
    assert [part.shape[2] for part in found] == widths
    assert all(part.shape[:2] == tasks.query.x.shape[:2] for part in found)
    torch.testing.assert_close(found[-1], learner.model.forward(phi, tasks.query.x))
    if model.name == "mlp":
        torch.testing.assert_close(found[-2], learner.model.features(phi, tasks.query.x))


def test_one_contender_layer_by_layer():
    one, same = contender(MAML(inner_lr=0.05)), {"steps": 2, "n_tasks": 11}
    found, chosen = layers(one, SINES, **same), frozen_curve(one, SINES, frozen=("1", "2"), **same)
    assert found.names == ("1", "2", "head")
    assert found.free_curve.mean.shape == chosen.mean.shape == (3,)
    assert found.frozen.mean.shape == (4,)
    assert found.frozen.mean[0] == found.free_curve.mean[2]
    assert found.frozen.mean[2] == pytest.approx(chosen.mean[2])
    assert found.frozen.mean[3] == pytest.approx(found.free_curve.mean[0])
    assert (found.movement.low <= found.movement.high).all()
    assert (found.similarity.mean <= 1 + 1e-9).all()


def test_anil_leaves_the_body_and_its_features_where_they_are():
    found = layers(contender(ALGORITHMS["anil"](inner_lr=0.05)), SINES, steps=2, n_tasks=4)
    assert found.movement.mean[:2].tolist() == [0, 0]
    np.testing.assert_allclose(found.similarity.mean[:2], 1)
    assert found.movement.mean[2] > 0
    np.testing.assert_allclose(found.frozen.mean[:3], found.frozen.mean[0])


def test_whoever_takes_no_inner_steps_is_refused():
    learner = Learner(Conv4(filters=4), FAMILIES["glyphs"](ways=2))
    with pytest.raises(ValueError, match="takes no inner steps"):
        layers(contender(Prototypes(), learner), learner.family, steps=1, n_tasks=1)
    with pytest.raises(ValueError, match="steps = 0"):
        layers(contender(MAML()), SINES, steps=0, n_tasks=1)
