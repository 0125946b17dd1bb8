"""The conditional neural process against the paper's equations, in plain numpy."""

from __future__ import annotations

import numpy as np
import torch

from metalab.models.cnp import CNP

MODEL = CNP(width=8, layers=2)
RNG = torch.Generator().manual_seed(0)
THETA = MODEL.init((1,), 2, RNG, torch.float64)


def dense(layer: str, x: np.ndarray) -> np.ndarray:
    return x @ THETA[f"{layer}.weight"].numpy() + THETA[f"{layer}.bias"].numpy()


def test_mean_and_deviation_are_those_of_the_papers_encoder_and_decoder():
    """r = mean_j e(x_j, y_j), mu and s = d(x, r), sigma = 0.1 + 0.9 log(1 + e^s): for one task, by hand."""
    x, y, query = (torch.randn(1, n, d, generator=RNG, dtype=torch.float64) for n, d in ((3, 1), (3, 2), (4, 1)))
    found = MODEL.distribution(THETA, MODEL.read(THETA, x, y), query)
    code = np.maximum(dense("encoder1", np.concatenate([x[0], y[0]], 1)), 0)
    r = dense("encoder2", code).mean(0)
    h = np.concatenate([query[0], np.tile(r, (4, 1))], 1)
    for layer in ("decoder1", "decoder2"):
        h = np.maximum(dense(layer, h), 0)
    mean, s = np.split(dense("head", h), 2, axis=1)
    np.testing.assert_allclose(found[0][0], mean, rtol=1e-12)
    np.testing.assert_allclose(found[1][0], 0.1 + 0.9 * np.log1p(np.exp(s)), rtol=1e-12)


def test_however_sure_the_deviation_stays_above_a_tenth():
    sure = THETA | {"head.bias": torch.full((4,), -1e3, dtype=torch.float64)}
    known = MODEL.read(sure, torch.zeros(1, 0, 1, dtype=torch.float64), torch.zeros(1, 0, 2, dtype=torch.float64))
    spread = MODEL.distribution(sure, known, torch.zeros(1, 3, 1, dtype=torch.float64))[1]
    np.testing.assert_allclose(spread, 0.1)
