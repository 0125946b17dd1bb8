"""Freed memory is kept: the same tensors again cost few new pages. Threads share their arenas."""

import os
import platform
import subprocess
import sys

import pytest

from metalab import allocator

PAGES = """
import resource, sys
from metalab.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
import torch
x, weight = torch.zeros(32, 64, 28, 28), torch.zeros(64, 64, 3, 3, requires_grad=True)
def step():
    y = x
    for _ in range(4):
        y = torch.nn.functional.relu(torch.nn.functional.conv2d(y, weight, padding=1) + 1)
    y.sum().backward()
for _ in range(4):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
ARENAS = """
import ctypes, sys, threading
from metalab.allocator import keep_freed_memory
if sys.argv[1] == "few":
    assert keep_freed_memory()
all_here = threading.Barrier(40)
def hold():
    block = bytearray(100_000)
    all_here.wait()
threads = [threading.Thread(target=hold) for _ in range(40)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is set")


def printed(program, *words, **environment):
    """What a program in a process of its own prints."""
    result = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
        timeout=120,
    )
    return result.stdout.strip()


@glibc
def test_tensors_that_are_made_again_find_their_memory():
    """Counted: the pages that four steps of a small conv net ask the kernel for, after four like them."""
    assert 4 * int(printed(PAGES, "kept")) < int(printed(PAGES, "given back"))


@glibc
def test_threads_share_two_arenas_a_core():
    most = min(2 * len(os.sched_getaffinity(0)), 41)  # there are 41 threads
    assert printed(ARENAS, "few").count("<heap nr=") == most
    assert printed(ARENAS, "many").count("<heap nr=") > most or most == 41


@glibc
def test_what_a_person_has_chosen_stays():
    program = "from metalab.allocator import keep_freed_memory; print(keep_freed_memory())"
    assert printed(program, MALLOC_TRIM_THRESHOLD_="131072") == "False"
    assert printed(program) == "True"


def test_elsewhere_nothing_is_asked(monkeypatch):
    def never(name):
        raise AssertionError(f"no C library {name!r} is there")

    monkeypatch.setattr(allocator.sys, "platform", "win32")
    monkeypatch.setattr(allocator.ctypes, "CDLL", never)
    assert allocator.keep_freed_memory() is False
