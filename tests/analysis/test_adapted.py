"""Several people's tasks in one call give what each gives alone, at the inner learning rate of each."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.base import Learner
from metalab.analysis import adapted as module
from metalab.analysis.adaptation import Contender, race
from metalab.analysis.challenge import Challenge, changed, sample_challenge
from metalab.models import MODELS
from metalab.models.conv4 import Conv4
from metalab.models.mlp import MLP
from metalab.tasks.base import Examples
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.sinusoid import Sinusoid

RATES = (0.01, 0.3, 0.02)
STEPS = 3


def challenges(n=3):
    return [sample_challenge(Sinusoid(), seed, shots=5, queries=7) for seed in range(n)]


def compare(theta, algorithm, learner, tasks):
    """Three tasks, each at a rate of its own, at once and one by one."""
    own = [changed(algorithm, inner_lr=rate) if algorithm.alpha is not None else algorithm for rate in RATES]
    wishes = [module._Wish(one, task) for one, task in zip(own, tasks, strict=True)]
    together = module._run(theta, learner, wishes, STEPS)
    assert len(together) == len(tasks)
    for columns, wish in zip(together, wishes, strict=True):
        (alone,) = module._run(theta, learner, [wish], STEPS)
        assert columns.keys() == alone.keys()
        for name, values in alone.items():
            assert columns[name].shape == values.shape, name
            np.testing.assert_allclose(columns[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    return together


def fitting():
    """Each algorithm with a network that learns sine waves, where there is one."""
    models, found = [MLP(widths=(6, 5), activation="tanh"), *(kind() for kind in MODELS.values())], []
    for name, kind in ALGORITHMS.items():
        model = next((model for model in models if kind().misfit(Learner(model, Sinusoid())) is None), None)
        if model is not None:
            found.append(pytest.param(kind(), model, id=name))
    return found


@pytest.mark.parametrize(("algorithm", "model"), fitting())
def test_at_once_and_one_by_one_are_the_same(algorithm, model):
    tasks = challenges()
    learner = Learner(model, tasks[0].family)
    theta = algorithm.init(learner, torch.Generator().manual_seed(1), torch.float64)
    together = compare(theta, algorithm, learner, tasks)
    if algorithm.alpha is not None:
        assert not np.allclose(together[0]["functions"][-1], together[1]["functions"][-1])


def test_images_that_are_normalised_by_task_are_not_mixed():
    family = changed(Glyphs(), ways=2)
    chance = torch.Generator().manual_seed(0)
    y = torch.tensor([[0, 1, 0, 1]])
    x = [torch.rand(1, 4, 1, 28, 28, generator=chance, dtype=torch.float64) * scale for scale in (1.0, 3.0, 0.2)]
    tasks = [Challenge(family, Examples(each, y), each.flip(1), y.flip(1), None, "", n) for n, each in enumerate(x)]
    learner = Learner(Conv4(filters=4), family)
    theta = learner.init(torch.Generator().manual_seed(1), torch.float64)
    compare(theta, ALGORITHMS["maml"](), learner, tasks)


def test_races_of_one_theta_that_wait_at_once_are_one_call(monkeypatch):
    net = MLP(widths=(6, 5))
    theta = net.init((1,), 1, torch.Generator().manual_seed(0))
    contender = Contender("maml", ALGORITHMS["maml"](), net, theta, ("test", "waiting"))
    other = Contender("maml", ALGORITHMS["maml"](), net, theta, ("test", "waiting", "alone"))
    tasks, sizes = challenges(4), []
    first, go, computed = threading.Event(), threading.Event(), module._run

    def run(theta, learner, wishes, steps):
        sizes.append(len(wishes))
        if len(sizes) == 1:
            first.set()
            assert go.wait(30)
        return computed(theta, learner, wishes, steps)

    monkeypatch.setattr(module, "_run", run)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(race, [contender], tasks[0], steps=STEPS)]
        assert first.wait(30)
        for n, rate in enumerate(RATES, 1):
            futures.append(pool.submit(race, [contender], tasks[n], steps=STEPS, inner_lr={"maml": rate}))
        for _ in range(6000):
            if module._together.waiting() == 3:
                break
            threading.Event().wait(0.005)
        go.set()
        races = [future.result(30) for future in futures]
    assert sizes == [1, 3]
    for n, (result, rate) in enumerate(zip(races, (0.01, *RATES), strict=True)):
        (alone,) = race([other], tasks[n], steps=STEPS, inner_lr={"maml": rate}).lanes
        (lane,) = result.lanes
        assert lane.inner_lr == rate
        np.testing.assert_allclose(lane.support_loss, alone.support_loss, rtol=1e-4)
        np.testing.assert_allclose(lane.query["loss"], alone.query["loss"], rtol=1e-4)
        np.testing.assert_allclose(lane.functions, alone.functions, rtol=1e-3, atol=1e-5)
