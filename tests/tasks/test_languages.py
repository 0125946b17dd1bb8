"""Tasks of telling languages apart."""

from __future__ import annotations

import torch

from metalab.tasks.cldr import corpus, decode
from metalab.tasks.languages import Languages


def names(x):
    return [decode(row.numpy()) for row in x]


def test_a_task_has_k_names_of_each_language_and_other_names_to_ask():
    family = Languages(ways=4, shots=3, queries=6)
    batch = family.sample(20, "test", torch.Generator().manual_seed(0))
    assert batch.support.x.shape == (20, 12, family.input_shape[0])
    assert batch.query.x.shape == (20, 24, family.input_shape[0])
    for task in range(20):
        support, query = names(batch.support.x[task]), names(batch.query.x[task])
        assert len(set(support + query)) == 36
        assert batch.support.y[task].bincount().tolist() == [3] * 4
        assert batch.query.y[task].bincount().tolist() == [6] * 4


def test_every_name_is_of_the_language_that_its_label_says_and_of_the_split():
    found = corpus()
    owner = {decode(row): found.titles[place] for row, place in zip(found.tokens, found.language, strict=True)}
    family = Languages()
    for split in ("train", "validation", "test"):
        titles = {found.titles[place] for place in found.of(split)}
        assert family.n_classes(split) == len(titles)
        batch = family.sample(8, split, torch.Generator().manual_seed(1))
        for task in range(8):
            languages = batch.info["languages"][task]
            assert len(set(languages)) == 5
            assert set(languages) <= titles
            for part in (batch.support, batch.query):
                assert [owner[n] for n in names(part.x[task])] == [languages[y] for y in part.y[task]]
    assert family.describe(batch.info, 0) == ", ".join(batch.info["languages"][0])
