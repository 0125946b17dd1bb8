"""What is asked of the system's memory, and where nothing is."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, resource
from metalab.training.machine import keep_memory
keep_memory()
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
SIZE = 16 * 2**20

def used():
    place = library.malloc(SIZE)
    ctypes.memset(place, 1, SIZE)
    library.free(place)

used()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    used()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no mallopt")
def test_large_pieces_of_memory_are_used_again_without_asking_the_system_for_their_pages():
    """Sixteen megabytes have 4,096 pages: fetched anew each time, ten times as many."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400


def test_elsewhere_nothing_is_asked(monkeypatch):
    from metalab.training import machine

    def never(name: object) -> None:
        raise AssertionError("no C library of this name elsewhere")

    monkeypatch.setattr(machine.sys, "platform", "win32")
    monkeypatch.setattr(machine.ctypes, "CDLL", never)
    machine.keep_memory.__wrapped__()
