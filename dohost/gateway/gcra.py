"""The token bucket as one integer: pure arithmetic in nanoseconds (GCRA).

`debt` is how long from now the bucket needs to be full. One token is `interval` long, and the bucket
holds `burst` of them, so a cost of n is allowed iff debt + n * interval <= burst * interval. The
interval is rounded up, so over any 60 s at most burst + rpm - 1 tokens are granted for every rpm; the
tiers of the product divide a minute exactly.
"""

from __future__ import annotations

MINUTE_NS = 60_000_000_000


def interval_of(rpm: int) -> int:
    """Return the time in which one token grows back; `rpm` is at least 1."""
    return -(-MINUTE_NS // rpm)


def debt_of(tat: int, now: int, *, interval: int, burst: int) -> int:
    """Return the debt at `now`, never above the capacity: a clock that went back locks nobody out."""
    debt = tat - now
    return 0 if debt <= 0 else min(debt, burst * interval)


def converted(debt: int, *, old: int, new: int, burst: int) -> int:
    """Return a debt in tokens of another length, so that an upgrade sheds the old plan's penalty."""
    used = -(-debt // old)
    return min(used * new, burst * new)


def remaining(debt: int, *, interval: int, burst: int) -> int:
    """Return the whole tokens left."""
    return (burst * interval - debt) // interval


def next_unit(debt: int, left: int, *, interval: int, burst: int) -> int:
    """Return the time until one more token than the `left` whole ones is there; 0 for a full bucket."""
    return 0 if left == burst else debt - (burst - left - 1) * interval


def retry_after(debt: int, cost: int, *, interval: int, burst: int) -> int:
    """Return the time until `cost` tokens are there; 0 if they are now."""
    return max(0, debt + cost * interval - burst * interval)
