"""What contenders write, and races on texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metalab.algorithms import MAML
from metalab.algorithms.base import Learner
from metalab.algorithms.prompting import Prompting
from metalab.analysis.adaptation import Contender, race
from metalab.analysis.adapted import WRITTEN
from metalab.analysis.challenge import names_challenge, sample_challenge, words_challenge
from metalab.analysis.text import origins, spelled, written_names
from metalab.models import CharTransformer, NGrams
from metalab.params import expand
from metalab.tasks.cldr import BOUNDARY, LONGEST, SHORTEST, corpus, encode
from metalab.tasks.languages import Languages
from metalab.tasks.names import Names

FAMILY = Names(shots=3, queries=2)
LEARNER = Learner(CharTransformer(width=8, heads=2, layers=1), FAMILY)
THETA = LEARNER.init(torch.Generator().manual_seed(0))


def support():
    return FAMILY.sample(1, "test", torch.Generator().manual_seed(0)).support.x


def written(seed=0, temperature=0.7, n=6):
    return written_names(MAML(), LEARNER, expand(THETA, 1), support(), n, temperature=temperature, seed=seed)


def test_the_same_seed_writes_the_same_and_another_others():
    assert torch.equal(written(), written())
    assert not torch.equal(written(), written(seed=1))
    assert torch.equal(written(n=4), written(n=4))


def test_names_have_letters_then_boundaries_alone():
    found = written(n=40)
    assert found.shape == (1, 40, LONGEST)
    assert int((found[0, :, :SHORTEST] == BOUNDARY).sum()) == 0
    ended = (found == BOUNDARY).cumsum(-1) > 0
    assert not found[ended].any()


def test_a_network_that_is_sure_writes_what_it_is_sure_of():
    """A head that says nothing but one letter; and one that says it half as often as another: e^1 : 1."""
    theta = {n: torch.zeros_like(v) for n, v in THETA.items()}
    theta["head.bias"][5] = 60.0
    found = written_names(MAML(), LEARNER, expand(theta, 1), support(), 3)
    assert set(found.flatten().tolist()) == {5}
    theta["head.bias"][7] = 61.0
    many = written_names(MAML(), LEARNER, expand(theta, 1), support(), 2_000, temperature=1.0)[0, :, 0]
    share = float((many == 7).double().mean())
    assert share == pytest.approx(np.e / (1 + np.e), abs=4 * (0.25 / 2_000) ** 0.5)
    cold = written_names(MAML(), LEARNER, expand(theta, 1), support(), 200, temperature=0.1)[0, :, 0]
    assert float((cold == 7).double().mean()) > share


def test_batched_writing_is_one_by_one():
    other = LEARNER.init(torch.Generator().manual_seed(9))
    phi = {n: torch.stack([THETA[n], other[n]]) for n in THETA}
    x = support().expand(2, -1, -1)
    both = written_names(MAML(), LEARNER, phi, x, 5, seed=3)
    for task, theta in enumerate((THETA, other)):
        alone = written_names(MAML(), LEARNER, expand(theta, 1), support(), 5, seed=3)
        assert torch.equal(both[task], alone[0])


def test_a_temperature_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"temperature = 0: expected a number from 0.1 to 2"):
        written(temperature=0)


def test_where_a_written_name_is_from():
    real = spelled(corpus().tokens[:1])[0]
    found = origins(encode(["wakanda", real, "xqxqxq"]), encode(["wakanda", "peru"]))
    assert found == [("wakanda", "copied"), (real, "real"), ("xqxqxq", "new")]


def contenders():
    return [
        Contender("MAML", MAML(inner_lr=0.1), LEARNER.model, THETA, "a"),
        Contender("Prompting", Prompting(), LEARNER.model, THETA, "b"),
    ]


def test_a_race_of_writers_shows_names_and_perplexity_after_each_step():
    challenge = sample_challenge(FAMILY, 1)
    result = race(contenders(), challenge, steps=2)
    assert (result.kind, result.metric, result.tokens) == ("generation", "perplexity", True)
    maml, prompting = result.lanes
    assert maml.written.shape == (3, WRITTEN, LONGEST)
    assert prompting.written.shape == (FAMILY.shots + 1, WRITTEN, LONGEST)
    np.testing.assert_allclose(maml.query["perplexity"], np.exp(maml.query["loss"]), rtol=1e-5)
    # Both start from the same parameters, without an example.
    np.testing.assert_allclose(maml.query["loss"][0], prompting.query["loss"][0], rtol=1e-6)
    assert np.array_equal(maml.written[0], prompting.written[0])


def test_a_task_of_ones_own_names():
    challenge = names_challenge(FAMILY, ["Borduria", "Syldavia ", "San Theodoros"])
    assert spelled(challenge.support.x[0, :, 1:].numpy()) == ["borduria", "syldavia", "san theodoros"]
    result = race(contenders(), challenge, steps=1)
    assert result.lanes[0].query == {}
    assert result.lanes[0].support_loss[1] < result.lanes[0].support_loss[0]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "0 names: expected 1 to 30"),
        (["ab"], "2 letters"),
        (["peru", "Peru"], "'peru' is there twice"),
        (["<script>"], "'<' is not among"),
        ([f"name{c}" for c in "abc"] + ["x" * 21], "21 letters"),
        (["peru"] * 31, "31 names"),
    ],
)
def test_what_is_no_list_of_names_is_refused_in_one_sentence(names, says):
    with pytest.raises(ValueError, match=says):
        names_challenge(FAMILY, names)


def test_a_task_of_ones_own_lists():
    family = Languages(ways=2, shots=1)
    learner = Learner(NGrams(buckets=64, width=8), family)
    contender = Contender("MAML", MAML(inner_lr=0.4), learner.model, learner.init(torch.Generator()), "c")
    challenge = words_challenge(family, [["oulu", "kuopio"], ["roma"]], "Tampere")
    result = race([contender], challenge, steps=3)
    assert result.lanes[0].probabilities.shape == (4, 1, 2)
    assert result.class_names == ()
    for words, says in (([["oulu"]], "1 lists"), ([["oulu"], []], "list 2"), ([["oulu"], ["oulu"]], "twice")):
        with pytest.raises(ValueError, match=says):
            words_challenge(family, words)
