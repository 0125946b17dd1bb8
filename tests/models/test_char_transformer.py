"""The character transformer: nothing looks ahead, tasks stay apart, a context is names and not their order's."""

from __future__ import annotations

import pytest
import torch

from metalab.models.char_transformer import CharTransformer, packed
from metalab.params import expand
from metalab.settings import Settings
from metalab.tasks.cldr import TOKENS, encode
from metalab.tasks.languages import Languages
from metalab.tasks.names import POSITIONS, Names, to_predict

SMALL = CharTransformer(width=8, heads=2, layers=2)


def theta_of(model: Settings = SMALL, seed: int = 0):
    """float64 parameters, every entry moved off its plain default."""
    rng = torch.Generator().manual_seed(seed)
    theta = model.init((POSITIONS, TOKENS), TOKENS, rng, torch.float64)
    return {n: v + 0.3 * torch.randn(v.shape, generator=rng, dtype=v.dtype) for n, v in theta.items()}


def read(*names):
    """Names as the network reads them: (1, n, POSITIONS)."""
    return to_predict(torch.from_numpy(encode(names)))[0][None]


def test_a_later_letter_never_changes_an_earlier_prediction():
    phi = expand(theta_of(), 1)
    one, other = SMALL.forward(phi, read("madagaskar")), SMALL.forward(phi, read("madagazzzz"))
    same = len("madaga") + 1
    torch.testing.assert_close(one[:, :, :same], other[:, :, :same], rtol=0, atol=0)
    assert not torch.allclose(one[:, :, same], other[:, :, same])


def test_in_a_context_too_nothing_looks_ahead():
    phi, context = expand(theta_of(), 1), read("islandia", "irlandia")
    one, other = (SMALL.in_context(phi, read(name), context) for name in ("finlandia", "finlaxxxx"))
    same = len("finla") + 1
    torch.testing.assert_close(one[:, :, :same], other[:, :, :same], rtol=0, atol=0)
    assert not torch.allclose(one[:, :, same], other[:, :, same])


def test_one_after_another_is_each_name_in_the_context_of_those_before():
    phi, names = expand(theta_of(), 1), ["peru", "chile", "kuba", "haiti"]
    x = read(*names)
    together = SMALL.one_after_another(phi, x)
    for k, name in enumerate(names):
        alone = SMALL.in_context(phi, x[:, k : k + 1], x[:, :k])[0, 0]
        torch.testing.assert_close(together[0, k, : len(name) + 1], alone[: len(name) + 1], rtol=1e-10, atol=1e-10)
        assert not together[0, k, len(name) + 1 :].any()


def test_no_context_and_a_context_without_names_are_the_plain_network():
    phi, x = expand(theta_of(), 1), read("peru", "chile")
    plain = SMALL.forward(phi, x)
    assert torch.equal(SMALL.in_context(phi, x, x[:, :0]), plain)
    torch.testing.assert_close(SMALL.in_context(phi, x, torch.zeros_like(x)), plain, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(SMALL.in_context(phi, x, read("kuba")), plain)


def test_rows_without_a_name_in_a_context_change_nothing():
    phi, x, context = expand(theta_of(), 1), read("peru"), read("kuba", "haiti")
    longer = torch.cat([context[:, :1], torch.zeros_like(context), context[:, 1:]], 1)
    torch.testing.assert_close(SMALL.in_context(phi, x, longer), SMALL.in_context(phi, x, context))


def test_with_one_layer_the_order_of_the_context_means_nothing():
    model = CharTransformer(width=8, heads=2, layers=1)
    phi, x = expand(theta_of(model), 1), read("peru")
    one, other = model.in_context(phi, x, read("kuba", "haiti")), model.in_context(phi, x, read("haiti", "kuba"))
    torch.testing.assert_close(one, other)


def test_each_task_has_its_own_parameters_and_context():
    thetas = [theta_of(seed=seed) for seed in range(3)]
    phi = {name: torch.stack([theta[name] for theta in thetas]) for name in thetas[0]}
    x = torch.cat([read("peru", "chile"), read("suomi", "ruotsi"), read("isi-zulu", "i-ghana")])
    context = torch.cat([read("kuba"), read("norja"), read("i-united kingdom")])
    for found, single in (
        (SMALL.forward(phi, x), lambda p, t: SMALL.forward(p, x[t])),
        (SMALL.in_context(phi, x, context), lambda p, t: SMALL.in_context(p, x[t], context[t])),
        (SMALL.one_after_another(phi, x), lambda p, t: SMALL.one_after_another(p, x[t])),
    ):
        for task, theta in enumerate(thetas):
            alone = single(expand(theta, 1), slice(task, task + 1))[0]
            torch.testing.assert_close(found[task], alone, rtol=1e-10, atol=1e-10)


def test_packed_keeps_the_names_and_drops_what_filled_them_up():
    found = packed(read("kuba", "haiti"))
    assert found.tokens.shape == (1, 5 + 6)
    assert found.position.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5]]
    assert found.name.tolist() == [[0] * 5 + [1] * 6]


def test_it_says_what_it_cannot_do():
    assert SMALL.misfit_with(Names()) is None
    assert "one answer" in SMALL.misfit_with(Languages())
    with pytest.raises(ValueError, match=r"width = 30 .* heads = 4: expected a multiple, e.g. 28"):
        CharTransformer(width=30)
