"""One colour for each algorithm, on every page: the figures' table, for what is not a figure."""

from metalab.figures.style import ALGORITHM_COLOURS, FALLBACK_COLOURS, colour_of

__all__ = ["ALGORITHM_COLOURS", "FALLBACK_COLOURS", "colour_of"]
