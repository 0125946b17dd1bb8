"""A small class on the real server, by its protocols and without browsers: nothing fails, nobody jumps the queue."""

import asyncio
import random
import sys

import pytest
from classroom.scenarios import Hand, following, problems_of, queue, unfair
from classroom.school import school, start_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(sys.platform != "linux", reason="what a server uses is read from /proc"),
]


@pytest.fixture(scope="module")
def at():
    """A server that serves nobody else."""
    with school(idle=False) as started:
        yield started


def test_viewers_and_moves_at_once_are_all_answered(at):
    asyncio.run(_look_and_move(at))


async def _look_and_move(at):
    hands = [Hand(at.tab(), random.Random(seed), seed) for seed in range(3)]
    starter = at.tab()
    run_id = await start_run(at, starter, outer_steps=300)
    await starter.close()
    for hand in hands:
        await hand.sit_down()
    before = at.usage()
    async with following(at, [hand.tab for hand in hands], run_id) as viewers:
        for _ in range(2):
            await asyncio.gather(*(hand.move() for hand in hands))
        while at.run(run_id).state != "finished" or not all(viewer.ended for viewer in viewers):
            await asyncio.sleep(0.05)
    assert problems_of([hand.tab for hand in hands]) == []
    assert [viewer.problem for viewer in viewers] == [""] * 3
    assert [len(hand.taken) for hand in hands] == [2] * 3
    assert all(len(viewer.ages) > 1 for viewer in viewers)
    for hand in hands:
        await hand.tab.close()
    for _ in range(100):
        after = at.usage()
        if after.connections <= before.connections - len(hands):
            break
        await asyncio.sleep(0.05)
    assert after.connections <= before.connections - len(hands)


def test_everybodys_first_run_comes_before_anybodys_second(at):
    # The first run trains until the last has been started, on a slow machine too.
    found = asyncio.run(queue(at, clients=3, outer_steps=5, first=3000, many=3))
    assert found.problems == []
    assert {line.name: line.reached for line in found.lines if line.unit == ""} == {
        "runs that waited when all were started": None,
        "runs that finished": True,
        "first runs behind somebody's second": True,
        "errors": True,
    }


def test_who_was_overtaken_is_counted():
    assert unfair(["a", "b", "c", "a", "b"]) == 0
    assert unfair(["a", "a", "b", "c", "a"]) == 2
