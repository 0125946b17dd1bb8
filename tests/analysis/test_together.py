"""Requests that wait at the same time go into one call; nobody waits for others to come or suffers from them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from metalab.analysis.together import Together

SECONDS = 30


class Doubling:
    """Doubles numbers and notes each call; the first of a key waits until it is let go."""

    def __init__(self):
        self.calls, self.first, self.go = [], threading.Event(), threading.Event()

    def __call__(self, requests):
        self.calls.append(list(requests))
        if len(self.calls) == 1:
            self.first.set()
            assert self.go.wait(SECONDS)
        if "bad" in requests:
            raise ValueError(f"bad among {len(requests)}")
        return [2 * request for request in requests]


def until(condition):
    for _ in range(int(SECONDS / 0.005)):
        if condition():
            return
        threading.Event().wait(0.005)
    raise TimeoutError


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def asked(pool, together, doubling, requests, **ways):
    """The futures of `requests`, the first of which is computed while the others wait in their order."""
    futures = [pool.submit(together.ask, "key", requests[0], doubling, **ways)]
    assert doubling.first.wait(SECONDS)
    for n, request in enumerate(requests[1:], 1):
        futures.append(pool.submit(together.ask, "key", request, doubling, **ways))
        until(lambda n=n: together.waiting() == n)
    doubling.go.set()
    return futures


def test_who_asks_alone_is_answered_at_once_on_their_own_thread():
    together, threads = Together(), []
    assert together.ask("key", 4, lambda requests: [threads.append(threading.current_thread()), *requests][1:]) == 4
    assert threads == [threading.current_thread()]


def test_those_who_wait_are_answered_by_one_call_each_with_their_own(pool):
    together, doubling = Together(), Doubling()
    futures = asked(pool, together, doubling, [1, 2, 3, 4])
    assert [future.result(SECONDS) for future in futures] == [2, 4, 6, 8]
    assert doubling.calls == [[1], [2, 3, 4]]
    assert together.waiting() == 0
    assert together._lines == {}


def test_no_call_takes_more_than_it_may(pool):
    doubling = Doubling()
    futures = asked(pool, Together(), doubling, [1, 2, 3, 4], most=2)
    assert [future.result(SECONDS) for future in futures] == [2, 4, 6, 8]
    assert doubling.calls == [[1], [2, 3], [4]]


def test_what_one_asked_in_vain_hurts_nobody_else(pool):
    together, doubling = Together(), Doubling()
    futures = asked(pool, together, doubling, [1, 2, "bad", 4])
    assert [futures[n].result(SECONDS) for n in (0, 1, 3)] == [2, 4, 8]
    with pytest.raises(ValueError, match="bad among 1"):
        futures[2].result(SECONDS)
    assert doubling.calls == [[1], [2, "bad", 4], [2], ["bad"], [4]]
    assert together.ask("key", 5, doubling) == 10


def test_another_key_waits_for_nobody(pool):
    together, doubling = Together(), Doubling()
    slow = pool.submit(together.ask, "key", 1, doubling)
    assert doubling.first.wait(SECONDS)
    assert together.ask("another key", 3, doubling) == 6
    assert not slow.done()
    doubling.go.set()
    assert slow.result(SECONDS) == 2


def test_where_calls_may_run_side_by_side_nobody_waits_for_the_first(pool):
    together, doubling = Together(), Doubling()
    slow = pool.submit(together.ask, "key", 1, doubling, at_once=2)
    assert doubling.first.wait(SECONDS)
    assert together.ask("key", 3, doubling, at_once=2) == 6
    doubling.go.set()
    assert slow.result(SECONDS) == 2


def test_a_call_that_is_broken_off_leaves_nobody_waiting(pool):
    class BrokenOff(BaseException):
        pass

    together, doubling = Together(), Doubling()

    def broken(requests):
        doubling(requests)
        raise BrokenOff

    first = pool.submit(together.ask, "key", 1, broken)
    assert doubling.first.wait(SECONDS)
    others = [pool.submit(together.ask, "key", n, broken if n == 2 else doubling) for n in (2, 3)]
    until(lambda: together.waiting() == 2)
    doubling.go.set()
    with pytest.raises(BrokenOff):
        first.result(SECONDS)
    problems = {type(future.exception(SECONDS)) for future in others}
    assert problems <= {BrokenOff, RuntimeError, type(None)}
    assert together._lines == {}
