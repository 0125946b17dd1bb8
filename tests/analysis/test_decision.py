"""One answer taken apart, against finite differences, hand-made networks and recomputation."""

import numpy as np
import pytest
import torch

from metalab.algorithms.base import Learner
from metalab.algorithms.in_context import InContext
from metalab.algorithms.maml import MAML
from metalab.algorithms.prototypes import Prototypes
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Cancelled
from metalab.analysis.challenge import sample_challenge
from metalab.analysis.decision import PATCH, explain
from metalab.analysis.influence import influence
from metalab.analysis.layers import outputs, stack
from metalab.models.conv4 import Conv4
from metalab.models.mlp import MLP
from metalab.models.ngrams import NGrams
from metalab.models.transformer import Transformer
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.languages import Languages
from metalab.tasks.sinusoid import Sinusoid

FAMILY = Glyphs(ways=3, shots=2, queries=2)
MODEL = MLP(widths=(16,), activation="tanh")


def contender(family=FAMILY, model=MODEL, algorithm=None, seed=0):
    algorithm = algorithm or MAML(inner_lr=0.1)
    theta = algorithm.init(Learner(model, family), torch.Generator().manual_seed(seed))
    return Contender("C", algorithm, model, theta, ("test", seed))


@pytest.fixture(scope="module")
def challenge():
    return sample_challenge(FAMILY, 3)


def probability(one, challenge, x, said, steps):
    learner = Learner(one.model, challenge.family)
    *_rest, last = one.algorithm.adapt(learner, one.theta, challenge.support, steps)
    logits = one.algorithm.predict(learner, last.phi, x, challenge.support.x)
    return float(logits[0, 0].softmax(-1)[said])


def test_the_gradient_is_that_of_central_differences(challenge):
    one = contender()
    found = explain(one, challenge, query=1, steps=3)
    x = challenge.query_x[:, 1:2].double()
    one64 = Contender("C", one.algorithm, one.model, {k: v.double() for k, v in one.theta.items()}, 0)
    support = type(challenge.support)(challenge.support.x.double(), challenge.support.y)
    learner = Learner(one.model, FAMILY)
    *_rest, last = one.algorithm.adapt(learner, one64.theta, support, 3)

    def log_p(image):
        logits = one.algorithm.predict(learner, last.phi, image, support.x)
        return float(logits[0, 0].log_softmax(-1)[found.said])

    for row, column in ((5, 9), (14, 14), (20, 11)):
        nudge = torch.zeros_like(x)
        nudge[..., row, column] = 1e-5
        slope = (log_p(x + nudge) - log_p(x - nudge)) / 2e-5
        assert found.after.gradient[row, column] == pytest.approx(slope, rel=1e-2, abs=1e-5)


def test_the_probabilities_and_the_answers_are_the_contenders_own(challenge):
    one = contender()
    found = explain(one, challenge, query=4, steps=2)
    assert found.after.probabilities[found.said] == found.after.probabilities.max()
    expected = probability(one, challenge, challenge.query_x[:, 4:5], found.said, 2)
    assert found.after.probabilities[found.said] == pytest.approx(expected, rel=1e-4)
    assert found.answers[4] == found.said
    assert found.before.probabilities[found.said] == pytest.approx(
        probability(one, challenge, challenge.query_x[:, 4:5], found.said, 0), rel=1e-4
    )


def test_a_network_that_sees_one_corner_is_explained_by_that_corner(challenge):
    """Only weights from an 8 x 8 square of pixels are not zero: nothing else can matter."""
    one = contender()
    inside = torch.zeros(28, 28)
    inside[8:16, 10:18] = 1
    theta = dict(one.theta) | {"layer1.weight": one.theta["layer1.weight"] * inside.reshape(-1, 1) * 20}
    found = explain(Contender("C", one.algorithm, one.model, theta, 1), challenge, query=0, steps=0)
    far = np.ones((28, 28), bool)
    far[8 - PATCH : 16 + PATCH, 10 - PATCH : 18 + PATCH] = False
    np.testing.assert_allclose(found.after.occlusion[far], 0, atol=1e-5)
    np.testing.assert_allclose(found.after.gradient[far], 0, atol=1e-6)
    assert np.abs(found.after.gradient).max() > 1e-3
    np.testing.assert_array_equal(found.before.occlusion, found.after.occlusion)


def test_covering_what_counts_most_gives_the_probability_that_is_told(challenge):
    one = contender()
    found = explain(one, challenge, query=2, steps=3)
    down, across = (share * 28 for share in found.after.place)
    tried = []
    for top in range(-PATCH // 2, 28 - PATCH // 2, 2):
        for left in range(-PATCH // 2, 28 - PATCH // 2, 2):
            x = challenge.query_x[:, 2:3].clone()
            x[..., max(top, 0) : top + PATCH, max(left, 0) : left + PATCH] = 0
            tried.append((probability(one, challenge, x, found.said, 3), top + PATCH / 2, left + PATCH / 2))
    least, row, column = min(tried)
    assert found.after.covered == pytest.approx(least, rel=1e-3)
    assert abs(down - row) <= PATCH / 2
    assert abs(across - column) <= PATCH / 2


def test_a_query_that_is_a_support_image_resembles_it_fully(challenge):
    copied = type(challenge)(
        challenge.family, challenge.support, challenge.support.x.clone(), challenge.support.y.clone(), None, "", "copy"
    )
    found = explain(contender(), copied, query=5, steps=3)
    assert found.after.similarity.argmax() == 5
    assert found.after.similarity[5] == pytest.approx(1, abs=1e-6)


def test_a_network_that_mixes_queries_answers_each_alone(challenge):
    one = contender(model=Conv4(filters=4))
    found = explain(one, challenge, query=0, steps=1)
    assert found.alone
    fewer = type(challenge)(
        challenge.family, challenge.support, challenge.query_x[:, :1], challenge.query_y[:, :1], None, "", "one"
    )
    again = explain(one, fewer, query=0, steps=1)
    np.testing.assert_allclose(again.after.occlusion, found.after.occlusion, atol=1e-4)
    np.testing.assert_allclose(again.after.probabilities, found.after.probabilities, atol=1e-4)


def test_prototypes_know_nothing_before_their_shots(challenge):
    found = explain(contender(algorithm=Prototypes()), challenge, query=0, steps=9)
    np.testing.assert_allclose(found.before.probabilities, 1 / 3, atol=1e-6)
    assert not found.before.gradient.any()
    assert found.steps == 2


def test_a_name_is_explained_letter_by_letter():
    family = Languages(ways=2, shots=2, queries=2)
    challenge = sample_challenge(family, 1)
    found = explain(contender(family, NGrams(buckets=64, width=8)), challenge, query=0, steps=2)
    assert found.tokens
    length = int((found.query_x[0] != 0).sum())
    assert np.count_nonzero(found.after.occlusion[length:]) == 0
    assert np.count_nonzero(found.after.occlusion[:length]) > 0
    assert 0 <= found.after.place[1] < length


def test_what_cannot_be_explained_says_so(challenge):
    reader = contender(model=Transformer(), algorithm=InContext())
    with pytest.raises(ValueError, match="reads the support set as a whole"):
        explain(reader, challenge, query=0, steps=1)
    with pytest.raises(ValueError, match="query 99: expected 0 to 5"):
        explain(contender(), challenge, query=99, steps=1)
    with pytest.raises(ValueError, match="nothing but a head"):
        explain(contender(model=MLP(widths=())), challenge, query=0, steps=1)

    def stop(_fraction):
        raise Cancelled

    with pytest.raises(Cancelled):
        explain(contender(), challenge, query=0, steps=1, report=stop)


def test_the_pull_of_a_linear_network_is_its_closed_form():
    """f(x) = w x + b after one step from theta: df(x)/dy_j = 2 alpha / n (x_j x + 1)."""
    family = Sinusoid(shots=5, queries=2)
    challenge = sample_challenge(family, 2)
    found = influence(contender(family, MLP(widths=()), MAML(inner_lr=0.03)), challenge, steps=1)
    x = challenge.support.x[0, :, 0].numpy()
    expected = 2 * 0.03 / 5 * (np.outer(x, found.probe_x) + 1)
    np.testing.assert_allclose(found.pull, expected, atol=2e-3)
    with pytest.raises(ValueError, match="expected functions of one variable"):
        influence(contender(), sample_challenge(FAMILY, 1), steps=1)


def test_layers_add_up_and_unmoved_ones_say_so(challenge):
    one = contender(model=Conv4(filters=4))
    found = stack(one, challenge, steps=2)
    assert found[0].shape == (1, 28, 28)
    assert sum(layer.parameters for layer in found) == sum(v.numel() for v in one.theta.values())
    assert all(layer.moved > 0 for layer in found[1:])
    assert all(layer.moved == 0 for layer in stack(one, challenge, steps=0))
    by_name = {layer.name: layer.shape for layer in found}
    assert (by_name["conv1"], by_name["norm4"], by_name["head"]) == ((14, 14, 4), (2, 2, 4), (3,))


@pytest.mark.parametrize("downsampling", ["strided", "max_pool"])
def test_the_shapes_are_those_of_the_features(downsampling):
    model = Conv4(filters=4, downsampling=downsampling)
    theta = model.init((1, 28, 28), 3, torch.Generator().manual_seed(0))
    width = model.features({k: v[None] for k, v in theta.items()}, torch.rand(1, 2, 1, 28, 28)).shape[-1]
    assert np.prod(outputs(model, FAMILY)["norm4"]) == width


def test_layers_stand_in_the_networks_order_however_theta_was_stored(challenge):
    one = contender(model=MLP(widths=(6, 5)))
    stored = dict(sorted(one.theta.items(), reverse=True))
    found = stack(Contender("C", one.algorithm, one.model, stored, 2), challenge, steps=1)
    assert [layer.name for layer in found] == ["input", "layer1", "layer2", "head"]
