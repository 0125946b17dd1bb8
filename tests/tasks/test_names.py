"""Tasks of writing names: which names, what is to be predicted, and the loss by hand."""

from __future__ import annotations

import math

import torch

from metalab.tasks.cldr import LONGEST, TOKENS, corpus, decode, encode
from metalab.tasks.names import IGNORED, POSITIONS, Names, to_predict


def test_a_task_is_one_kind_of_name_in_one_language_of_the_split():
    found = corpus()
    of = {decode(row): (found.titles[p], k) for row, p, k in zip(found.tokens, found.language, found.kind, strict=True)}
    kinds = ("place", "language", "currency")
    for split in ("train", "validation", "test"):
        titles = {found.titles[place] for place in found.of(split)}
        batch = Names(shots=4, queries=6).sample(10, split, torch.Generator().manual_seed(0))
        assert batch.support.x.shape == (10, 4, POSITIONS)
        assert batch.query.y.shape == (10, 6, POSITIONS)
        for task in range(10):
            x = torch.cat([batch.support.x[task], batch.query.x[task]])
            names = [decode(row[1:].numpy()) for row in x]
            assert len(set(names)) == 10
            said = {of[name] for name in names}
            assert len(said) == 1
            title, kind = said.pop()
            assert (title, kinds[kind]) == (batch.info["language"][task], batch.info["kind"][task])
            assert title in titles


def test_each_letter_is_predicted_from_those_before_and_then_the_end():
    tokens = torch.from_numpy(encode(["peru", "a" * LONGEST]))
    x, y = to_predict(tokens)
    p, e, r, u = tokens[0, :4].tolist()
    assert x[0, :6].tolist() == [0, p, e, r, u, 0]
    assert y[0, :6].tolist() == [p, e, r, u, 0, IGNORED]
    assert set(y[0, 5:].tolist()) == {IGNORED}
    assert y[1].tolist() == [tokens[1, 0].item()] * LONGEST + [0]


def test_loss_is_the_mean_over_letters_and_perplexity_its_exponential():
    """Two names of 4 and 3 letters: 9 predictions; a network that gives the right one 1/2 at 5 of them, 1/4 at 4."""
    family = Names()
    _x, y = to_predict(torch.from_numpy(encode(["peru", "sao"])))
    share = torch.full((1, 2, POSITIONS, TOKENS), 0.0, dtype=torch.float64)
    for name in range(2):
        right = 0.5 if name == 0 else 0.25
        share[0, name] = (1 - right) / (TOKENS - 1)
        for i, target in enumerate(y[name].tolist()):
            if target != IGNORED:
                share[0, name, i, target] = right
    figures = family.metrics(share.log(), y[None])
    by_hand = (5 * math.log(2) + 4 * math.log(4)) / 9
    torch.testing.assert_close(figures["loss"], torch.tensor([by_hand], dtype=torch.float64))
    torch.testing.assert_close(figures["perplexity"], torch.tensor([math.exp(by_hand)], dtype=torch.float64))


def test_perplexity_of_not_knowing_anything_is_the_number_of_tokens():
    family = Names()
    batch = family.sample(3, "train", torch.Generator().manual_seed(1))
    found = family.metrics(torch.zeros(3, 10, POSITIONS, TOKENS), batch.query.y)
    torch.testing.assert_close(found["perplexity"], torch.full((3,), float(TOKENS)))
    assert family.metric == "perplexity"
    assert family.describe({"language": ["Czech"], "kind": ["currency"]}, 0) == "Czech, names of currencies"
