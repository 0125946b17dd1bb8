"""Curvature equals numpy's eigenvalues, and every grid equals adaptation at its own setting."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import quiet
from metalab.analysis.best_cell import FEWEST, best_cell
from metalab.analysis.bootstrap import weights
from metalab.analysis.curvature import ITERATIONS, SETTLED, largest, steepest
from metalab.analysis.sensitivity import MODES, over_modes, over_rates, over_shots_and_steps, rates_of
from metalab.analysis.sensitivity_waves import AMPLITUDES, PHASES, away, spread
from metalab.analysis.speed import held_out, measure
from metalab.models import MODELS
from metalab.tasks.base import Examples, TaskBatch, TaskFamily
from metalab.tasks.sinusoid import Sinusoid

LINE, NET = MODELS["mlp"](widths=()), MODELS["mlp"](widths=(6,), activation="tanh")
WAVES = Sinusoid(shots=5, queries=7)


def contender(algorithm="maml", model=NET, family=WAVES, seed=0, **settings):
    chosen = ALGORITHMS[algorithm](**settings)
    theta = chosen.init(Learner(model, family), torch.Generator().manual_seed(seed))
    return Contender(algorithm, chosen, model, theta, ("test", algorithm, seed, repr(model)))


class Blobs(TaskFamily):
    """Images of noise, brighter for a higher class."""

    kind: ClassVar[str] = "classification"
    input_shape: ClassVar[tuple[int, ...]] = (1, 16, 16)
    name: str = "blobs"
    ways: int = 2
    shots: int = 1
    queries: int = 3

    @property
    def output_size(self):
        return self.ways

    def sample(self, n_tasks, split, rng, device="cpu"):
        y = torch.arange(self.ways).repeat_interleave(self.shots + self.queries).expand(n_tasks, -1)
        x = torch.randn(*y.shape, 1, 16, 16, generator=rng) + 2 * y[..., None, None, None]
        parts = [part.unflatten(1, (self.ways, -1)) for part in (x, y)]
        support, query = (
            Examples(*(part[:, :, cut].flatten(1, 2) for part in parts))
            for cut in (slice(None, self.shots), slice(self.shots, None))
        )
        return TaskBatch(support, query)


def test_the_curvature_of_a_straight_line_is_that_of_its_inputs():
    """The loss mean (w x + b - y)^2 has the Hessian 2/n sum (x, 1)(x, 1)^T, whatever w and b."""
    found = steepest(contender(model=LINE), WAVES, n_tasks=7, seed=2)
    x = held_out(WAVES, 7, 2).support.x.double().numpy()
    rows = np.concatenate([x, np.ones_like(x)], 2)
    expected = np.linalg.eigvalsh(2 / 5 * rows.transpose(0, 2, 1) @ rows)[:, -1]
    assert found.settled.all()
    np.testing.assert_allclose(found.steepest, expected, rtol=1e-4)
    held = steepest(contender("imaml", LINE, proximal=3.0), WAVES, n_tasks=7, seed=2)
    np.testing.assert_allclose(held.steepest, expected + 3, rtol=1e-4)
    with_head_alone = steepest(contender("anil", NET), WAVES, n_tasks=3).steepest
    assert (with_head_alone <= steepest(contender("maml", NET), WAVES, n_tasks=3).steepest * (1 + 1e-3)).all()


def times(matrices):
    """v -> H v for matrices H, how often it was asked, and a beginning."""
    h, asked = torch.tensor(np.stack(matrices)), []
    begin = {"v": torch.randn(*h.shape[:2], generator=torch.Generator().manual_seed(0)).double()}
    return lambda v: asked.append(1) or {"v": (h @ v["v"][..., None])[..., 0]}, asked, begin


def test_a_strong_bend_downwards_is_not_taken_for_the_largest_eigenvalue():
    rng = np.random.default_rng(0)
    bases = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2)]
    matrices = [q @ np.diag(d) @ q.T for q, d in zip(bases, ([-9.0, 1.0, 2.0], [-1.0, 0.5, 4.0]), strict=True)]
    product, _asked, begin = times(matrices)
    found, off = largest(product, begin, torch.zeros(2).double(), 300, quiet)
    assert (off <= SETTLED).all()
    np.testing.assert_allclose(found, [2, 4], rtol=2 * SETTLED)


def test_power_iteration_ends_where_it_has_settled_and_says_so_where_it_has_not():
    q = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    easy, hard = (q @ np.diag(d) @ q.T for d in ([8.0, 0.1, 0.1, 0.1], [8.0, 7.99, -7.9, 0.1]))
    product, asked, begin = times([easy])
    found, off = largest(product, begin, torch.zeros(1).double(), ITERATIONS, quiet)
    assert len(asked) < 10
    assert abs(float(found) - 8) <= 8 * float(off) <= 8 * SETTLED
    product, asked, begin = times([hard])
    found, off = largest(product, begin, torch.zeros(1).double(), 12, quiet)
    assert len(asked) >= 12
    assert float(off) > SETTLED
    assert float(found) < 8


def test_the_best_cell_is_chosen_by_some_tasks_and_judged_by_the_others():
    rng = np.random.default_rng(0)
    luck = rng.normal(size=(5, 6, 40))  # no cell is better than another
    found = best_cell(luck, higher=True)
    assert found.place == np.unravel_index(luck[..., ::2].mean(-1).argmax(), (5, 6))
    assert float(found.value.mean) == pytest.approx(luck[found.place][1::2].mean())
    assert float(found.value.mean) < luck[..., ::2].mean(-1).max()
    behind = luck[found.place][1::2] - luck[..., 1::2]
    low = np.percentile(behind @ weights(20).T, 2.5, axis=-1, method="nearest")
    np.testing.assert_array_equal(found.level, low <= 0)
    assert found.level[found.place]
    assert found.level.sum() > 20


def test_a_cell_that_is_better_on_every_task_stands_alone_and_a_lost_one_is_neither():
    hard = np.random.default_rng(0).normal(size=20)
    losses = np.tile(hard, (2, 3, 1)) + 5
    losses[1, 2] -= 1
    losses[0, 1, 3] = np.inf
    losses[0, 2, :] = -100  # were it not for the one task that it loses
    losses[0, 2, 0] = np.nan
    found = best_cell(losses, higher=False, own=(0, 0))
    assert found.place == (1, 2)
    assert found.level.sum() == 1
    assert [float(v) for v in (found.own_gap.mean, found.own_gap.low, found.own_gap.high)] == pytest.approx([1, 1, 1])
    assert best_cell(losses[..., : FEWEST - 1], higher=False) is None
    assert best_cell(np.full((1, 2, 20), np.nan), higher=False) is None


def test_a_first_look_is_of_the_same_tasks_and_rates_and_says_nothing_of_the_best():
    one = contender(inner_lr=0.02)
    whole, first = (over_rates(one, WAVES, n_tasks=20, steps=2, first=first) for first in (None, 5))
    assert first.n_tasks == 5
    assert first.best is first.limits is None
    np.testing.assert_allclose(first.rows, whole.rows[2::4])
    assert first.own == (2, one.algorithm.inner_steps)
    same = measure([one], WAVES, n_tasks=20, steps=2).curves[0].values
    np.testing.assert_allclose(first.values[2], same[:5].mean(0), rtol=1e-5)
    assert over_shots_and_steps(one, WAVES, n_tasks=20, steps=1, first=5).n_tasks == 5


def test_each_row_of_the_rates_is_a_run_at_that_rate_and_beyond_the_line_it_gets_worse():
    one = contender(model=LINE, inner_lr=0.02)
    found = over_rates(one, WAVES, n_tasks=30, steps=6)
    assert found.rows[10] == pytest.approx(0.02)
    np.testing.assert_allclose(np.diff(np.log2(found.rows)), 0.5)
    at = measure([contender(model=LINE, inner_lr=float(found.rows[12]))], WAVES, n_tasks=30, steps=6)
    np.testing.assert_allclose(found.values[12], at.curves[0].band.mean, rtol=1e-5)
    sharp = steepest(one, WAVES, n_tasks=30).steepest
    np.testing.assert_allclose(found.limits, np.quantile(2 / sharp, [0.1, 0.5, 0.9]), rtol=1e-6)
    assert found.trained == (0.02, one.algorithm.inner_steps)
    growing = found.rows > 2 / sharp.max() * 2
    assert growing.any()
    assert (np.diff(found.values[growing], axis=1)[:, -2:] > 0).all()
    assert found.own == (10, one.algorithm.inner_steps)
    assert found.best.level[found.best.place]
    assert found.unsettled[1] == 30


def test_who_has_no_rate_is_refused_and_a_rate_stays_within_what_its_algorithm_takes():
    with pytest.raises(ValueError, match="no inner learning rate"):
        rates_of(contender("cnp", MODELS["cnp"](width=8)))
    with pytest.raises(ValueError, match="no inner learning rate"):
        rates_of(contender("meta_sgd"))
    assert rates_of(contender(inner_lr=1.0)).max() == pytest.approx(2.0)


def test_each_row_of_the_shots_is_a_run_with_so_many_shots():
    one = contender(inner_lr=0.03)
    found = over_shots_and_steps(one, WAVES, n_tasks=10, steps=3)
    assert list(found.rows) == [1, 2, 3, 5, 10, 20]
    assert found.trained[0] == 5
    most = measure([one], WAVES.model_copy(update={"shots": 20}), n_tasks=10, steps=3)
    np.testing.assert_allclose(found.values[-1], most.curves[0].band.mean, rtol=1e-5)
    np.testing.assert_allclose(found.values[:, 0], found.values[0, 0], rtol=1e-5)
    assert found.limits is None


def test_the_ways_of_normalising_differ_and_running_averages_come_from_training_where_theta_has_none():
    images = Blobs()
    one = contender(model=MODELS["conv4"](filters=4), family=images, inner_lr=0.1)
    found = over_modes(one, images, n_tasks=12, steps=2)
    assert found.modes == MODES
    assert found.values.shape == (3, 12)
    assert found.calibrated
    usual = measure([one], images, n_tasks=12, steps=2)
    np.testing.assert_allclose(found.values[0], usual.curves[0].values[:, -1])
    assert found.gap("transductive").mean == found.gap("transductive").high == 0
    own = contender(model=MODELS["conv4"](filters=4, batch_norm="running"), family=images)
    assert not over_modes(own, images, n_tasks=2, steps=1).calibrated
    with pytest.raises(ValueError, match="no batch normalisation"):
        over_modes(contender(), WAVES, n_tasks=2, steps=1)


def test_an_unadapted_zero_function_is_wrong_by_the_whole_wave_everywhere():
    one = contender(model=LINE)
    nothing = Contender("zero", one.algorithm, LINE, {n: 0 * v for n, v in one.theta.items()}, "zero")
    found = away(nothing, WAVES, steps=0)
    assert found.errors.shape == (len(AMPLITUDES), len(PHASES))
    np.testing.assert_allclose(found.errors, 1, rtol=1e-5)
    assert found.inside[0, 0]
    assert not found.inside[-1, 0]
    assert not found.inside[0, -1]
    assert found.median(inside=True) == pytest.approx(1)


def test_a_half_without_points_is_where_functions_differ_and_the_seen_half_is_where_they_agree():
    one = contender(model=MODELS["mlp"](widths=(20,)), inner_lr=0.05)
    half = spread(one, WAVES, where="left", shots=10, steps=20, seed=5)
    assert (half.support[:, 0] <= 0).all()
    assert half.seen == (-5, 0)
    whole = spread(one, WAVES, where="anywhere", shots=10, steps=20, seed=5)
    assert whole.support[:, 0].max() > 0
    np.testing.assert_allclose(half.truth, whole.truth)
    np.testing.assert_allclose(half.truth[half.x == 0], half.truth[50])
    assert half.error(seen=False) > whole.error(seen=True)
    assert np.isnan(whole.width(seen=False))
    assert half.times[0] < half.width(seen=False) / half.width(seen=True) < half.times[1]
    assert np.isnan(whole.times).all()
    assert (half.low <= half.mean + 1e-9).all()
    fixed = spread(one, WAVES, where="right", shots=3, steps=0)
    assert fixed.width(seen=True) == pytest.approx(0)
