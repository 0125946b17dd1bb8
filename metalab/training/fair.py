"""Who comes next: first come, first served, but nobody's second run before everybody's first."""

from __future__ import annotations

from collections import Counter


class FairQueue:
    """Runs that wait for a worker. Not thread-safe: whoever holds one locks it."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}
        """Run id to owner, in the order of arrival."""
        self._running: Counter[str] = Counter()
        self._turns: dict[str, int] = {}
        """When each owner last had a turn: a run that was just served goes behind those who still wait."""
        self._turn = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, run_id: str, owner: str) -> None:
        """Wait at the end."""
        self._waiting[run_id] = owner

    def remove(self, run_id: str) -> bool:
        """Wait no longer; False for who did not."""
        return self._waiting.pop(run_id, None) is not None

    def take(self) -> str:
        """The next run, which runs from now on until `done`. Raises IndexError where none waits."""
        if not self._waiting:
            raise IndexError("no run waits")
        run_id = _next(self._waiting, self._running, self._turns)
        self.serve(self._waiting.pop(run_id))
        return run_id

    def serve(self, owner: str) -> None:
        """Count one more running run of `owner`."""
        self._turn += 1
        self._turns[owner] = self._turn
        self._running[owner] += 1

    def done(self, owner: str) -> None:
        """Count one running run of `owner` less."""
        self._running[owner] -= 1
        self._running += Counter()  # drops owners without runs
        if not self._waiting and not self._running:
            self._turns.clear()

    def order(self) -> list[str]:
        """The waiting runs in the order in which they will be taken, as far as is known now."""
        waiting, running, turns, turn = dict(self._waiting), self._running.copy(), dict(self._turns), self._turn
        order = []
        while waiting:
            run_id = _next(waiting, running, turns)
            owner, turn = waiting.pop(run_id), turn + 1
            turns[owner], running[owner] = turn, running[owner] + 1
            order.append(run_id)
        return order

    def place(self, run_id: str) -> int | None:
        """1 for the run that is taken next; None for one that does not wait."""
        return self.order().index(run_id) + 1 if run_id in self._waiting else None


def _next(waiting: dict[str, str], running: Counter[str], turns: dict[str, int]) -> str:
    return min(waiting, key=lambda run_id: (running[waiting[run_id]], turns.get(waiting[run_id], 0)))
