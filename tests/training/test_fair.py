"""Who comes next, worked out by hand."""

from __future__ import annotations

import pytest

from metalab.training.fair import FairQueue


def waiting(*owners: str) -> FairQueue:
    queue = FairQueue()
    for number, owner in enumerate(owners):
        queue.add(f"{owner}{number}", owner)
    return queue


def served(queue: FairQueue) -> str:
    """All runs, one at a time."""
    order = []
    while len(queue):
        order.append(queue.take())
        queue.done(order[-1][0])
    return " ".join(order)


def test_everybody_has_a_first_run_before_anybody_has_a_second():
    assert served(waiting("a", "a", "a", "b", "c")) == "a0 b3 c4 a1 a2"


def test_one_owner_is_served_in_the_order_of_arrival():
    assert served(waiting("a", "a", "a")) == "a0 a1 a2"


def test_who_comes_back_at_once_waits_behind_who_still_waits():
    queue = waiting("a", "a", "b")
    assert queue.take() == "a0"
    queue.done("a")
    assert queue.take() == "b2"
    queue.add("b9", "b")
    queue.done("b")
    assert served(queue) == "a1 b9"


def test_a_free_worker_goes_to_whom_no_run_is_running():
    queue = waiting("a", "a", "b")
    assert [queue.take(), queue.take()] == ["a0", "b2"]
    queue.add("c9", "c")
    assert queue.take() == "c9"
    queue.done("b")
    queue.add("b9", "b")
    assert queue.take() == "b9"
    assert queue.take() == "a1"
    with pytest.raises(IndexError):
        queue.take()


def test_the_place_is_what_then_happens():
    queue = waiting("a", "a", "a", "b", "c")
    assert queue.take() == "a0"
    assert queue.order() == ["b3", "c4", "a1", "a2"]
    assert [queue.place(run) for run in ("b3", "a2", "a0", "x")] == [1, 4, None, None]
    queue.done("a")
    assert served(queue) == "b3 c4 a1 a2"


def test_leaving_the_queue():
    queue = waiting("a", "b")
    assert queue.remove("a0")
    assert not queue.remove("a0")
    assert served(queue) == "b1"
