"""How a batch of tasks is shared among threads: results do not depend on their number."""

from __future__ import annotations

import pytest
import torch

from metalab.models import MLP, Conv4, Model
from metalab.tasks import Sinusoid
from metalab.training.parallel import Workers

CPU = torch.device("cpu")


def batch(n_tasks: int):
    return Sinusoid().sample(n_tasks, "test", torch.Generator().manual_seed(0))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("model", "most", "sizes"),
    [
        (MLP(), None, [25]),
        (MLP(), 25, [25]),
        (MLP(), 10, [8, 8, 9]),
        (Conv4(filters=64), None, [1] * 25),
        (Conv4(filters=64), 10, [1] * 25),
        (Conv4(filters=16), None, [3, 4, 3, 4, 4, 3, 4]),
    ],
)
def test_parts_come_back_in_order_whole_and_no_larger_than_wanted(model: Model, most, sizes, threads):
    tasks = batch(25)
    workers = Workers(model, CPU, threads)
    found = workers.map(lambda part: part.support.x, tasks, most)
    workers.close()
    assert sorted(n for n, _ in found) == sorted(sizes)
    assert [n for n, _ in found] == [len(x) for _, x in found]
    assert torch.equal(torch.cat([x for _, x in found]), tasks.support.x)


def test_only_a_meta_batch_that_is_cut_is_computed_by_several_threads():
    assert Workers(MLP(), CPU, 3).threads == 1
    assert Workers(Conv4(), CPU, 3).threads == 3
    assert Workers(MLP(), CPU, 3).sizes(25) == [25]
