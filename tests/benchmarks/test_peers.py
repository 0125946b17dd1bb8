"""Every peer of `benchmarks/versus.py` computes what the engine computes, so that the times are of the same work."""

from __future__ import annotations

from functools import cache

import pytest
from peers import ENGINE, PEERS, Answer, load, work_of
from versus import distance

TOLERANCE = {"W1": 1e-5, "W2": 1e-5, "W3a": 1e-3, "W5": 1e-4}
"""Of single precision: rounding grows over 32 inner steps and in a difference of parameters."""


@cache
def ours(workload: str) -> Answer:
    job = load(ENGINE).job(work_of(workload))
    assert job is not None
    return job.answer()


@pytest.mark.parametrize("workload", TOLERANCE)
@pytest.mark.parametrize("peer", [peer for peer in PEERS if not peer.startswith(ENGINE)])
def test_every_peer_computes_the_same(peer, workload):
    try:
        module = load(peer)
    except ImportError as problem:
        pytest.skip(f"{peer} takes part in benchmarks only: {problem}")
    job = module.job(work_of(workload))
    if job is None:
        pytest.skip(f"{peer} has no means for {workload}")
    assert distance(job.answer(), ours(workload)) < TOLERANCE[workload]


def test_a_distance_is_relative_to_each_entry_and_wants_the_same_entries():
    import numpy as np

    far, near = np.array([3.0, 4.0], np.float32), np.array([0.001], np.float32)
    assert distance({"a": far * 1.01, "b": near}, {"a": far, "b": near}) == pytest.approx(0.01, rel=1e-4)
    assert distance({"a": far, "b": near * 1.5}, {"a": far, "b": near}) == pytest.approx(0.5, rel=1e-4)
    with pytest.raises(ValueError, match="computed"):
        distance({"a": far}, {"a": far, "b": near})
