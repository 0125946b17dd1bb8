"""What a CUDA graph reads besides the tasks that it is given stays where it is (the graphs: `test_cuda`)."""

from __future__ import annotations

import gc
import weakref

import torch

from metalab.training.recording import Reads


def test_what_is_read_and_was_not_made_meanwhile_is_held():
    read, unread = torch.ones(3), torch.ones(3)
    there = [weakref.ref(value) for value in (read, unread)]
    with Reads() as reads:
        made = read[1:] * 2
        made = (made + 1).sum()
    assert [value.untyped_storage().data_ptr() for value in reads.found] == [read.untyped_storage().data_ptr()]
    del read, unread
    gc.collect()
    assert torch.equal(reads.found[0], torch.ones_like(reads.found[0]))
    assert there[1]() is None


def test_it_sees_what_a_gradient_reads():
    x, factor = torch.ones(2, requires_grad=True), torch.tensor([2.0, 3.0])
    with Reads() as reads:
        (found,) = torch.autograd.grad((x * factor).sum(), x)
    assert torch.equal(found, factor)
    assert {value.data_ptr() for value in reads.found} >= {x.data_ptr(), factor.data_ptr()}
