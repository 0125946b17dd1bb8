"""What the soak counts and what it calls a leak, without a server."""

import os
import subprocess
import sys
from random import Random

import pytest

pytest.importorskip("websockets", reason="websockets is not installed (requirements-dev.txt)")
if sys.platform != "linux":
    pytest.skip("what a server uses is read from /proc", allow_module_level=True)

from classroom.soak import Day, _count, _judge
from classroom.table import Findings
from classroom.usage import Usage, descendants, usage


def used(resident=900.0, threads=20, handles=50, connections=20):
    return Usage(resident, resident, 1, threads, handles, connections, 1.0)


def missed(fill, *given):
    found = Findings("soak")
    fill(found, Day(None, Random(0)), *given)
    assert found.missed == any(line.reached is False for line in found.lines)
    return [line.name for line in found.lines if line.reached is False]


def test_what_stays_open_is_a_leak():
    assert missed(_count, used(), used(threads=36, handles=70, connections=22)) == []
    assert missed(_count, used(), used(threads=37)) == ["threads after"]
    assert missed(_count, used(), used(handles=71)) == ["files and connections after"]
    assert missed(_count, used(), used(connections=23)) == ["connections after"]


def test_growth_is_that_from_the_second_quarter_to_the_last():
    flat = [used(100.0 * n) for n in range(1, 11)] + [used(1000.0)] * 30  # what is filled at first does not count
    assert missed(_judge, flat, used(), used()) == []
    assert missed(_judge, flat[:20] + [used(1060.0)] * 20, used(), used()) == ["growth"]
    assert missed(_judge, [*flat[:30], used(2600.0), *flat[:9]], used(), used()) == ["resident size, largest"]


def test_a_process_is_counted_with_those_that_it_started():
    alone = usage(os.getpid())
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"1\n"
        assert child.pid in descendants(os.getpid())
        family = usage(os.getpid())
        assert family.processes == alone.processes + 2
        assert family.resident > alone.resident + 5
        assert usage(child.pid).processes == 2
        child.communicate(b"\n")
