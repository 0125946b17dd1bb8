"""conv4's patches against torch's own unfold and fold, its three ways to normalise, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from metalab.models import Conv4
from metalab.models.conv4 import Patches, Scatter, _convolve
from metalab.models.normalised import Moments
from metalab.params import Params, expand

SHAPES = [(2, 6, 6, 3), (1, 5, 7, 2), (3, 4, 3, 1), (2, 1, 2, 2)]
IMAGE = (2, 16, 16)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unfolded(x: torch.Tensor, stride: int) -> torch.Tensor:
    """torch's patches of x (B, H, W, C) in the engine's order: (B, H', W', 3 * 3 * C)."""
    b, height, width, channels = x.shape
    columns = F.unfold(x.permute(0, 3, 1, 2), 3, padding=1, stride=stride)
    size = [(side + stride - 1) // stride for side in (height, width)]
    return columns.view(b, channels, 9, *size).permute(0, 3, 4, 2, 1).reshape(b, *size, 9 * channels)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_patches_are_torchs_unfold(shape, stride):
    x = random(*shape)
    assert torch.equal(Patches.apply(x, stride), unfolded(x, stride))
    turned = x.transpose(1, 2)
    assert torch.equal(Patches.apply(turned, stride), unfolded(turned, stride))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_scatter_is_torchs_fold_and_the_adjoint_of_patches(shape, stride):
    b, height, width, channels = shape
    x = random(*shape)
    patches = random(*Patches.apply(x, stride).shape, seed=1)
    size = patches.shape[1:3].numel()
    columns = patches.view(b, size, 9, channels).permute(0, 3, 2, 1).reshape(b, 9 * channels, size)
    folded = F.fold(columns, (height, width), 3, padding=1, stride=stride).permute(0, 2, 3, 1)
    found = Scatter.apply(patches, x.shape, stride)
    torch.testing.assert_close(found, folded, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close((x * found).sum(), (Patches.apply(x, stride) * patches).sum(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 3, 4, 2), (2, 3, 3, 1)])
def test_patches_and_scatter_differentiate_twice(shape, stride):
    """A squared output gives both maps a curvature to get right."""
    x = random(*shape).requires_grad_()
    patches = random(*Patches.apply(x, stride).shape, seed=1).requires_grad_()
    for function, value in (
        (lambda v: Patches.apply(v, stride).square(), x),
        (lambda v: Scatter.apply(v, x.shape, stride).square(), patches),
    ):
        assert torch.autograd.gradcheck(function, value)
        assert torch.autograd.gradgradcheck(function, value)


@pytest.mark.parametrize("stride", [1, 2])
def test_each_task_is_convolved_with_its_own_filters(stride):
    images, filters = random(3, 4, 2, 6, 5), random(3, 7, 2, 3, 3, seed=1)
    weight = filters.permute(0, 3, 4, 2, 1).reshape(3, 18, 7)
    found = _convolve(images.flatten(0, 1).permute(0, 2, 3, 1), weight, stride)
    expected = torch.cat([F.conv2d(x, w, stride=stride, padding=1) for x, w in zip(images, filters, strict=True)])
    torch.testing.assert_close(found.permute(0, 3, 1, 2), expected, rtol=1e-12, atol=1e-12)


def setup(mode: str, downsampling: str = "strided") -> tuple[Conv4, Params, torch.Tensor, torch.Tensor]:
    """A network, different parameters for each of two tasks, five support and four query images each."""
    model = Conv4(filters=4, batch_norm=mode, downsampling=downsampling)
    theta = model.init(IMAGE, 3, torch.Generator().manual_seed(0), torch.float64)
    rng = torch.Generator().manual_seed(1)
    phi = {
        name: value + 0.1 * torch.rand(value.shape, generator=rng, dtype=value.dtype)
        for name, value in expand(theta, 2).items()
    }
    return model, phi, random(2, 5, *IMAGE), random(2, 4, *IMAGE, seed=1)


@pytest.mark.parametrize("downsampling", ["strided", "max_pool"])
@pytest.mark.parametrize(
    ("mode", "by_queries", "by_support"),
    [("transductive", True, False), ("support_plus_one", False, True), ("running", False, False)],
)
def test_what_a_prediction_depends_on_besides_its_own_image(mode, by_queries, by_support, downsampling):
    model, phi, support, query = setup(mode, downsampling)
    before = model.forward(phi, query, support=support)[:, 0]
    others, elsewhere = query.clone(), support.clone()
    others[:, 1:] += 1
    elsewhere[:, 1:] *= 2
    change = (model.forward(phi, others, support=support)[:, 0] - before).abs().max()
    assert (float(change) > 1e-3) if by_queries else (float(change) < 1e-12)
    change = (model.forward(phi, query, support=elsewhere)[:, 0] - before).abs().max()
    assert (float(change) > 1e-3) if by_support else (float(change) < 1e-12)


def test_support_plus_one_is_a_loop_over_the_query_images():
    model, phi, support, query = setup("support_plus_one")
    found = model.forward(phi, query, support=support)
    for i in range(query.shape[1]):
        alone = model.forward(phi, torch.cat([support, query[:, i : i + 1]], 1))[:, -1]
        torch.testing.assert_close(found[:, i], alone, rtol=1e-12, atol=1e-12)


def test_running_normalises_queries_with_the_running_averages_and_nothing_else():
    model, phi, support, query = setup("running")
    before = model.forward(phi, query, support=support)
    for i in range(1, 5):
        for entry in ("mean", "variance"):
            name = f"running.norm{i}.{entry}"
            after = model.forward(phi | {name: phi[name] + 0.5}, query, support=support)
            assert (after - before).abs().max() > 1e-6, name
    alone = torch.cat([model.forward(phi, query[:, i : i + 1], support=support) for i in range(4)], 1)
    torch.testing.assert_close(alone, before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["transductive", "support_plus_one", "running"])
def test_a_support_set_is_always_normalised_with_its_own_statistics(mode):
    """Without `support` all three settings are the same network."""
    model, phi, support, _ = setup(mode)
    expected = setup("transductive")[0].forward(phi, support)
    torch.testing.assert_close(model.forward(phi, support), expected, rtol=0, atol=0)


def test_training_collects_batch_statistics_and_normalises_with_them():
    model, phi, support, query = setup("running")
    collected: Params = {}
    found = model.forward(phi, query, support=support, collect=collected)
    transductive = setup("transductive")[0]
    torch.testing.assert_close(found, transductive.forward(phi, query), rtol=0, atol=0)
    assert set(collected) == {name for name in phi if name.startswith("running.")}
    assert not any(value.requires_grad for value in collected.values())
    first = torch.stack(
        [
            F.conv2d(x, w.view(3, 3, 2, 4).permute(3, 2, 0, 1), stride=2, padding=1)
            for x, w in zip(query, phi["conv1.weight"], strict=True)
        ]
    )
    torch.testing.assert_close(collected["running.norm1.mean"], first.mean((1, 3, 4)).mean(0))
    torch.testing.assert_close(collected["running.norm1.variance"], first.var((1, 3, 4), correction=0).mean(0))


def test_tasks_do_not_touch_each_other():
    for mode in ("transductive", "support_plus_one", "running"):
        model, phi, support, query = setup(mode)
        both = model.forward(phi, query, support=support)
        for task in range(2):
            own = {name: value[task : task + 1] for name, value in phi.items()}
            alone = model.forward(own, query[task : task + 1], support=support[task : task + 1])
            torch.testing.assert_close(both[task : task + 1], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("downsampling", "pixels"), [("strided", 4), ("max_pool", 1)])
def test_a_28x28_image_ends_as_so_many_pixels(downsampling, pixels):
    model = Conv4(filters=4, downsampling=downsampling)
    theta = model.init((1, 28, 28), 5, torch.Generator().manual_seed(0))
    assert theta["head.weight"].shape == (4 * pixels, 5)
    images = torch.rand(2, 3, 1, 28, 28)
    assert model.features(expand(theta, 2), images).shape == (2, 3, 4 * pixels)
    assert model.forward(expand(theta, 2), images).shape == (2, 3, 5)


def test_initial_filters_have_he_variance():
    theta = Conv4(filters=128).init((1, 28, 28), 5, torch.Generator().manual_seed(0), torch.float64)
    for i, fan_in in enumerate((9, 9 * 128, 9 * 128, 9 * 128), start=1):
        variance = float(theta[f"conv{i}.weight"].var())
        assert variance == pytest.approx(2 / fan_in, rel=0.15 if i == 1 else 0.02)


def test_misfit_names_what_is_wrong():
    model = Conv4()
    assert model.misfit((1, 28, 28)) is None
    assert model.misfit((1, 16, 16)) is None
    assert model.misfit((1,)) == "conv4 reads images (channels, height, width), but inputs here have shape (1,)"
    assert (
        model.misfit((1, 28, 15)) == "conv4 halves the image four times, so it needs 16x16 pixels or more, not (28, 15)"
    )


def test_moments_are_torchs_and_differentiate_twice():
    x = random(2, 3, 7, 4).requires_grad_()
    variance, mean = torch.var_mean(x, 2, correction=0, keepdim=True)
    torch.testing.assert_close(Moments.apply(x), (mean, variance), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda v: Moments.apply(v), (x,))
    assert torch.autograd.gradgradcheck(lambda v: [part.pow(3) for part in Moments.apply(v)], (x,))


@pytest.mark.parametrize("stride", [1, 2])
def test_one_task_alone_is_convolved_as_beside_another(stride):
    x, weight = random(6, 5, 7, 3), random(2, 27, 4, seed=1)
    together = _convolve(x, weight, stride)
    for task in range(2):
        alone = _convolve(x[3 * task : 3 * task + 3], weight[task : task + 1], stride)
        torch.testing.assert_close(alone, together[3 * task : 3 * task + 3], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["transductive", "running"])
def test_pooling_before_a_normalisation_with_scales_of_both_signs_is_pooling_after_it(mode):
    model = Conv4(filters=4, downsampling="max_pool", batch_norm=mode)
    theta = model.init(IMAGE, 3, torch.Generator().manual_seed(0), torch.float64)
    for i in range(1, 5):
        theta[f"norm{i}.scale"] = random(4, seed=i)
        if mode == "running":
            theta[f"running.norm{i}.mean"], theta[f"running.norm{i}.variance"] = random(4, seed=9), random(4).square()
    x = random(1, 6, *IMAGE)
    found = model.features(expand(theta, 1), x, support=x)
    h = x[0]
    for i in range(1, 5):
        filters = theta[f"conv{i}.weight"].reshape(3, 3, -1, 4).permute(3, 2, 0, 1)
        averages = [theta.get(f"running.norm{i}.{name}") for name in ("mean", "variance")]
        scale, shift = theta[f"norm{i}.scale"], theta[f"norm{i}.shift"]
        h = F.batch_norm(F.conv2d(h, filters, padding=1), *averages, scale, shift, training=mode == "transductive")
        h = F.max_pool2d(h.relu(), 2)
    torch.testing.assert_close(found[0], h.permute(0, 2, 3, 1).flatten(1), rtol=1e-10, atol=1e-10)
