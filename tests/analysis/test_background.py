"""Computations in the background: kept, shared, cancelled, and their failures in one sentence."""

import itertools
import threading
import time

import numpy as np
import pytest
import torch

from metalab.analysis import background
from metalab.analysis.background import UNKNOWN, Background
from metalab.analysis.kept import Kept


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """These tests ask once and look later, as no page does."""
    monkeypatch.setattr(background, "UNATTENDED_SECONDS", 1e9)


@pytest.fixture
def pool():
    return Background(at_once=1, kept=2)


def test_a_result_is_computed_once_and_kept(pool):
    calls = []

    def make(report):
        calls.append(threading.current_thread())
        report(0.5)
        return 42

    first = pool.ask("a", make, "me", wait=5)
    second = pool.ask("a", make, "you", wait=5)
    assert (first.state, first.result, second.result) == ("done", 42, 42)
    assert len(calls) == 1
    assert calls[0] is not threading.current_thread()


def test_only_so_many_results_are_kept(pool):
    for key in ("a", "b", "c"):
        pool.ask(key, lambda report: 1, "me", wait=5)
    again = []
    pool.ask("a", lambda report: again.append(1), "me", wait=5)
    assert again == [1]


def _blocking(begun, go):
    def make(report):
        begun.set()
        while not go.wait(0.005):
            report(0.3)
        return "through"

    return make


def test_asking_for_another_lets_go_of_what_nobody_else_follows(pool):
    begun, go = threading.Event(), threading.Event()
    slow = pool.ask("slow", _blocking(begun, go), "me")
    assert begun.wait(5)
    quick = pool.ask("quick", lambda report: 1, "me", wait=5)
    assert (slow.state, quick.result) == ("cancelled", 1)
    assert slow.ended.wait(5)


def test_what_somebody_else_follows_goes_on(pool):
    begun, go = threading.Event(), threading.Event()
    slow = pool.ask("slow", _blocking(begun, go), "me")
    assert begun.wait(5)
    pool.ask("slow", _blocking(begun, go), "you")
    pool.cancel("me")
    go.set()
    assert slow.ended.wait(5)
    assert slow.result == "through"


def test_a_cancelled_one_begins_anew_when_asked_again(pool):
    begun, go = threading.Event(), threading.Event()
    slow = pool.ask("slow", _blocking(begun, go), "me")
    assert begun.wait(5)
    pool.cancel("me")
    assert slow.ended.wait(5)
    go.set()
    assert pool.ask("slow", _blocking(begun, go), "me", wait=5).result == "through"


def test_a_waiting_one_is_cancelled_without_being_begun(pool):
    begun, go = threading.Event(), threading.Event()
    pool.ask("slow", _blocking(begun, go), "me")
    assert begun.wait(5)
    never = []
    waiting = pool.ask("later", never.append, "you")
    assert waiting.state == "waiting"
    pool.cancel("you")
    assert (waiting.state, waiting.over) == ("cancelled", True)
    go.set()
    pool.ask("last", lambda report: 1, "me", wait=5)
    assert never == []


def test_expected_problems_are_told_and_others_are_logged(pool, caplog):
    def bad(_report):
        raise ValueError("ways = 99, expected at most 20")

    def worse(_report):
        raise ZeroDivisionError

    assert pool.ask("bad", bad, "me", wait=5).problem == "ways = 99, expected at most 20"
    assert pool.ask("worse", worse, "me", wait=5).problem == UNKNOWN
    assert "ZeroDivisionError" in caplog.text
    pool.again("bad")
    assert pool.ask("bad", lambda report: 3, "me", wait=5).result == 3


def test_the_time_left_follows_the_rate_so_far(pool):
    begun, go = threading.Event(), threading.Event()
    work = pool.ask("slow", _blocking(begun, go), "me")
    assert begun.wait(5)
    time.sleep(0.05)
    spent = time.monotonic() - work.started
    assert work.seconds_left == pytest.approx(spent * 7 / 3, rel=0.2)
    go.set()


def test_at_the_end_of_the_program_a_computation_ends(pool):
    begun, go = threading.Event(), threading.Event()
    work = pool.ask("slow", _blocking(begun, go), "me")
    assert begun.wait(5)
    pool.close()
    assert (work.state, work.result) == ("cancelled", None)
    assert not any(thread.is_alive() for thread in pool._threads)
    with pytest.raises(RuntimeError, match="the program ends"):
        pool.ask("more", lambda report: 1, "me")


def _counting(order, name, reports):
    def make(report):
        for done in range(reports):
            order.append(name)
            time.sleep(0.005)
            report(done / reports)
        return name

    return make


def test_a_short_one_is_not_held_up_by_a_long_one(pool, monkeypatch):
    monkeypatch.setattr(background, "TURN_SECONDS", 0.02)
    begun, go, order = threading.Event(), threading.Event(), []
    long = pool.ask("long", _blocking(begun, go), "me")
    assert begun.wait(5)
    short = pool.ask("short", _counting(order, "short", 3), "you", wait=5)
    assert (short.state, long.state) == ("done", "running")
    go.set()
    assert long.ended.wait(5)


def test_equal_ones_take_turns_and_one_runs_at_a_time(pool, monkeypatch):
    monkeypatch.setattr(background, "TURN_SECONDS", 0.02)
    order, begun, go = [], threading.Event(), threading.Event()
    pool.ask("gate", _blocking(begun, go), "nobody")
    assert begun.wait(5)
    works = [pool.ask(name, _counting(order, name, 40), name) for name in "ab"]
    go.set()
    assert all(work.ended.wait(5) for work in works)
    turns = 1 + sum(former != later for former, later in itertools.pairwise(order))
    assert turns >= 5
    assert sorted(order) == ["a"] * 40 + ["b"] * 40


def test_many_at_once_all_end_though_only_so_many_are_begun(monkeypatch):
    monkeypatch.setattr(background, "TURN_SECONDS", 0.01)
    pool, order = Background(at_once=2, kept=50, most_begun=3), []
    works = [pool.ask(name, _counting(order, name, 4), name) for name in range(12)]
    assert all(work.ended.wait(10) for work in works)
    assert [work.result for work in works] == list(range(12))
    assert len(pool._threads) <= 3
    pool.close()


def test_one_that_waits_for_its_turn_can_be_stopped(pool, monkeypatch):
    monkeypatch.setattr(background, "TURN_SECONDS", 0.01)
    begun, go = threading.Event(), threading.Event()
    first = pool.ask("first", _blocking(begun, go), "me")
    assert begun.wait(5)
    second_begun, second_go = threading.Event(), threading.Event()
    pool.ask("second", _blocking(second_begun, second_go), "you")
    assert second_begun.wait(5)  # so the first has given way, at least once
    pool.cancel("me")
    assert first.ended.wait(5)
    assert first.state == "cancelled"
    second_go.set()


def _resting(pool, work):
    end = time.monotonic() + 5
    while work not in pool._paused and time.monotonic() < end:
        time.sleep(0.005)
    return work in pool._paused


def test_one_that_no_page_asks_for_rests_until_one_does(pool, monkeypatch):
    monkeypatch.setattr(background, "UNATTENDED_SECONDS", 0.02)
    order = []
    work = pool.ask("long", _counting(order, "long", 40), "me")
    assert _resting(pool, work)
    done = len(order)
    time.sleep(0.1)
    assert len(order) == done < 40
    assert pool.ask("other", lambda report: 1, "you", wait=5).result == 1
    assert pool.ask("long", _counting(order, "long", 40), "me", wait=5).result == "long"
    assert len(order) == 40, "what it had done was not done again"


def test_a_persons_computations_rest_until_asked_for_and_nobody_elses_do(pool, monkeypatch):
    monkeypatch.setattr(background, "UNATTENDED_SECONDS", 5.0)
    order = []
    work = pool.ask("long", _counting(order, "long", 40), "me", person="one")
    pool.rest("one")
    assert _resting(pool, work)
    assert pool.ask("other", _counting([], "other", 3), "you", person="two", wait=5).result == "other"
    done = len(order)
    assert done < 40
    pool.rest("two")
    assert pool.ask("long", _counting(order, "long", 40), "me", wait=5).result == "long"
    assert len(order) == 40


@pytest.mark.parametrize(("most_begun", "begun_of_one"), [(1, 4), (12, 1)])
def test_one_that_rests_leaves_its_place_to_another(monkeypatch, most_begun, begun_of_one):
    monkeypatch.setattr(background, "UNATTENDED_SECONDS", 0.02)
    monkeypatch.setattr(background, "BEGUN_OF_ONE", begun_of_one)
    pool = Background(at_once=1, most_begun=most_begun)
    work = pool.ask("long", _counting([], "long", 10_000), "Speed", person="me")
    assert _resting(pool, work)
    assert pool.ask("short", lambda report: 1, "Theta", wait=5, person="me").result == 1
    assert work.state == "cancelled"
    pool.close()


def test_what_comes_later_lets_others_go_first_and_then_begins(pool):
    order = []
    never = pool.ask("never", _counting(order, "never", 1), "you", after=3600.0)
    assert _resting(pool, never)
    assert pool.ask("now", _counting(order, "now", 1), "me", wait=5).result == "now"
    assert pool.ask("later", _counting(order, "later", 1), "she", wait=5, after=0.05).result == "later"
    assert order == ["now", "later"]
    pool.cancel("you")
    assert never.ended.wait(5)


def test_what_is_kept_in_a_file_is_there_at_once_however_late_it_may_begin(tmp_path):
    files = Kept(lambda: tmp_path)
    assert files.put("key", 42)
    pool = Background(at_once=1, files=files)
    assert pool.ask("key", lambda report: 1, "me", wait=5, after=3600.0).result == 42
    pool.close()


# --- one person's many


def test_one_persons_many_do_not_hold_up_anothers_one(pool, monkeypatch):
    """Eve always has a new one in line; each by itself has had no time yet, and would go first."""
    monkeypatch.setattr(background, "TURN_SECONDS", 0.01)
    order, gate, go = [], threading.Event(), threading.Event()
    pool.ask("gate", _blocking(gate, go), "nobody")
    assert gate.wait(5)
    numbers = itertools.count()

    def more(report):
        pool.ask(next(numbers), more, f"tab {next(numbers)}", person="eve")
        return _counting(order, "eve", 8)(report)

    for tab in range(2):
        pool.ask(f"first {tab}", more, f"first {tab}", person="eve")
    ada = pool.ask("ada", _counting(order, "ada", 40), "a tab", person="ada")
    go.set()
    assert ada.ended.wait(20)
    assert ada.state == "done"
    assert order.count("eve") < 3 * order.count("ada")
    pool.close()


def test_one_person_begins_only_so_many_and_others_find_a_place(monkeypatch):
    monkeypatch.setattr(background, "TURN_SECONDS", 0.01)
    pool, go = Background(at_once=1, kept=9, most_begun=background.BEGUN_OF_ONE + 1), threading.Event()
    begun = [threading.Event() for _ in range(background.BEGUN_OF_ONE + 2)]
    works = [pool.ask(n, _blocking(each, go), n, person="eve") for n, each in enumerate(begun)]
    assert all(each.wait(5) for each in begun[: background.BEGUN_OF_ONE])
    assert pool.ask("ada", lambda report: 1, "ada", wait=5).result == 1
    assert [each.is_set() for each in begun].count(True) == background.BEGUN_OF_ONE
    go.set()
    assert all(work.ended.wait(5) for work in works)
    pool.close()


def test_one_person_has_only_so_many_and_what_is_not_asked_for_any_more_is_left(pool, monkeypatch):
    begun, go = threading.Event(), threading.Event()
    pool.ask("slow", _blocking(begun, go), "me", person="me")
    assert begun.wait(5)
    works = [pool.ask(n, lambda report: 1, n, person="eve") for n in range(background.MOST_OF_ONE + 2)]
    assert [work.state for work in works] == ["cancelled"] * 2 + ["waiting"] * background.MOST_OF_ONE
    other = pool.ask("other", lambda report: 1, "ada", person="ada")
    monkeypatch.setattr(background, "ABANDONED_SECONDS", 60.0)
    for work in works:
        work.asked -= 61
    pool.ask("one more", lambda report: 1, "bob", person="bob")
    assert {work.state for work in works} == {"cancelled"}
    go.set()
    assert other.ended.wait(5)
    assert other.result == 1


def test_what_is_kept_in_memory_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(background, "KEPT_BYTES", 1000)
    pool = Background(at_once=1, kept=50)
    for key in ("a", "b", "c"):
        pool.ask(key, lambda report: (np.zeros(100, np.float32), {"more": [torch.zeros(2)]}), "me", wait=5)
    assert [key for key, work in pool._works.items() if work.over] == ["b", "c"]
    assert background.size_of(pool.ask("c", lambda report: None, "me").result) == 408
    pool.close()
