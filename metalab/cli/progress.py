"""One line on stderr that says how far a run is: a bar on a terminal, else a line every ten seconds."""

from __future__ import annotations

import sys
import time
from typing import TextIO

BAR = 24
SECONDS_BETWEEN = {True: 0.1, False: 10.0}
"""Seconds between two drawings, on a terminal and elsewhere."""


class Progress:
    """Draws `done` of `total` outer steps; the rate and the time left count from `start`."""

    def __init__(self, total: int, start: int = 0, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar = self._stream.isatty()
        self._total, self._start = total, start
        self._began = self._drawn = time.monotonic()
        self._width = 0

    @property
    def due(self) -> bool:
        """Whether it is time to draw again."""
        return time.monotonic() - self._drawn >= SECONDS_BETWEEN[self._bar]

    def draw(self, done: int, note: str = "") -> None:
        """Say how far the run is, with `note` at the end."""
        self._drawn = time.monotonic()
        text = line(done, self._total, self._start, self._drawn - self._began, note)
        if self._bar:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def say(self, text: str) -> None:
        """Leave a line that stays above the bar."""
        lead = "\r" if self._bar else ""
        self._stream.write(lead + text.ljust(self._width) + "\n")

    def finish(self, done: int, note: str = "") -> None:
        """Say where it ended and leave the line."""
        self.draw(done, note)
        if self._bar:
            self._stream.write("\n")


def line(done: int, total: int, start: int, seconds: float, note: str = "") -> str:
    """'[######......]  50%  1000/2000  412 steps/s  ETA 0:02  <note>'."""
    part = done / total if total else 1.0
    filled = round(BAR * part)
    taken = done - start
    rate = taken / seconds if seconds > 0 else 0.0
    left = clock((total - done) / rate) if rate > 0 else "-:--"
    pieces = [
        f"[{'#' * filled}{'.' * (BAR - filled)}] {part:4.0%}",
        f"{done}/{total}",
        f"{rate:.3g} steps/s" if rate < 1000 else f"{rate:.0f} steps/s",
        f"ETA {left}",
        note,
    ]
    return "  ".join(piece for piece in pieces if piece)


def clock(seconds: float) -> str:
    """75 -> '1:15', 3675 -> '1:01:15'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
