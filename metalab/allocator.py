"""How this process keeps the memory that tensors have left.

glibc gives a block of megabytes back to the kernel as soon as it is free, and asks for it again at the next layer: in
conv4's steps that is tens of thousands of pages that the kernel clears one by one. A process that trains keeps them,
and has the largest ones backed by huge pages: a first-order step of conv4-64 took a tenth less, its adaptation to one
task a third less (two cores, torch 2.14).

glibc also gives threads arenas of their own, up to eight a core, each with what it once needed and never gives back in
full. A server has new threads all the time: with fewer arenas it needs a tenth less and stops growing sooner.
"""

from __future__ import annotations

import ctypes
import os
import sys

KEPT = 256 << 20
"""Bytes of free memory that stay at the end of each of the allocator's arenas; more goes back to the kernel."""
FROM_KERNEL = 32 << 20
"""From so many bytes on a block is the kernel's own, and goes back at once: the most that glibc allows."""
ARENAS_PER_CORE = 2
"""No more threads than there are cores ask for memory at the same moment."""
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
"""glibc's M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX."""
CHOSEN_BY_USER = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX")
"""Environment variables by which a person sets the same: they win."""


def keep_freed_memory() -> bool:
    """Set this process's allocator, before torch makes its first tensor; whether it was (on Linux with glibc)."""
    if sys.platform != "linux" or any(name in os.environ for name in CHOSEN_BY_USER):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch: huge pages for tensors from 2 MB on
    wanted = {
        TRIM_THRESHOLD: KEPT,
        MMAP_THRESHOLD: FROM_KERNEL,
        ARENA_MAX: ARENAS_PER_CORE * len(os.sched_getaffinity(0)),
    }
    return all(mallopt(name, value) for name, value in wanted.items())
