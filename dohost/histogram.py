"""How long things took: counts by size, cheap enough for every request and every sync.

One set of bounds serves all of the host, from a tenth of a millisecond, which an answer from memory takes,
to half a minute. A histogram belongs to one thread; whoever measures elsewhere hands the figure over.
"""

from __future__ import annotations

from bisect import bisect_left

BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


class Histogram:
    """Durations in seconds: how many in each range, and their sum."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        # One for each bound, of what was above the one before it, and one for what was above all.
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    @property
    def total(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)

    def __repr__(self) -> str:
        return f"<Histogram of {self.total}, {self.sum_s:.3f} s>"
