"""The bag of letter pieces: what is counted, and that padding, tasks and inner gradients are kept apart."""

from __future__ import annotations

import torch

from metalab.models.ngrams import NGrams, pieces
from metalab.params import expand
from metalab.tasks.cldr import TOKENS, encode
from metalab.tasks.languages import Languages
from metalab.tasks.names import Names
from metalab.tasks.sinusoid import Sinusoid

MANY = 1 << 16
"""Buckets enough that no two pieces of a short name share one."""


def counts(name, buckets=MANY):
    return pieces(torch.from_numpy(encode([name]))[None], buckets)[0, 0]


def test_letters_pairs_and_triples_with_the_ends():
    """abab: a a b b; ^a ab ba ab b$; ^ab aba bab ab$."""
    assert sorted(counts("abab")[counts("abab") > 0].tolist()) == [1, 1, 1, 1, 1, 1, 1, 2, 2, 2]
    assert counts("abc").sum() == 3 + 4 + 3


def test_only_the_pieces_count_not_their_order_nor_what_fills_up():
    assert torch.equal(counts("abab"), pieces(torch.from_numpy(encode(["abab"]))[None, :, :5], MANY)[0, 0])
    assert not torch.equal(counts("abc"), counts("cba"))
    assert int((counts("abc") * counts("abd")).count_nonzero()) == 2 + 2 + 1
    assert counts("x" * 20).max() == 20


def test_each_task_has_its_own_parameters():
    model, x = (
        NGrams(buckets=64, width=8),
        torch.randint(0, TOKENS, (3, 4, 20), generator=torch.Generator().manual_seed(0)),
    )
    thetas = [model.init((20, TOKENS), 5, torch.Generator().manual_seed(seed), torch.float64) for seed in range(3)]
    together = model.forward({n: torch.stack([t[n] for t in thetas]) for n in thetas[0]}, x)
    for task, theta in enumerate(thetas):
        torch.testing.assert_close(together[task], model.forward(expand(theta, 1), x[task : task + 1])[0])


def test_it_says_what_it_cannot_read():
    assert NGrams().misfit_with(Languages()) is None
    assert "every next letter" in NGrams().misfit_with(Names())
    assert "reads letters" in NGrams().misfit_with(Sinusoid())
