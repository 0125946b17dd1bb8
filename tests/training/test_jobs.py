"""A trainer's courtesy towards short computations."""

from __future__ import annotations

import threading
import time

from small_runs import PATIENCE

from metalab.training.jobs import COURTESY_SECONDS, Courtesy, Foreground


def test_a_trainer_waits_for_the_foreground_but_not_for_long():
    foreground = Foreground()
    courtesy = Courtesy(foreground)
    start = time.monotonic()
    courtesy.wait()
    assert time.monotonic() - start < COURTESY_SECONDS / 2
    with foreground():
        start = time.monotonic()
        courtesy.wait()
        waited = time.monotonic() - start
        assert waited >= COURTESY_SECONDS * 0.9
        courtesy.wait()  # it has not worked as long as it waited
        assert time.monotonic() - start < waited + COURTESY_SECONDS / 2


def test_a_waiting_trainer_goes_on_as_soon_as_the_foreground_is_free(monkeypatch):
    monkeypatch.setattr("metalab.training.jobs.COURTESY_SECONDS", PATIENCE)
    foreground, entered = Foreground(), threading.Event()
    courtesy = Courtesy(foreground)

    def wait():
        entered.set()
        courtesy.wait()

    with foreground():
        thread = threading.Thread(target=wait)
        thread.start()
        entered.wait()
    thread.join(PATIENCE / 2)
    assert not thread.is_alive()
