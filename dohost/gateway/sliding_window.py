"""A sliding window of one minute, counted in slots of one second.

A slot counts until it lies wholly outside the last 60 s, so the count is never too low and the limit
holds over every 60 s, whatever their phase; a unit comes back at most one second late. Counts are a
plain dict from slot number to units.
"""

from __future__ import annotations

from collections.abc import Mapping

SLOT_NS = 1_000_000_000
SLOTS = 60
Counts = Mapping[int, int]


def slot_of(now: int) -> int:
    """Return the number of the slot that `now` lies in."""
    return now // SLOT_NS


def counted(counts: Counts, now: int) -> int:
    """Return the units within the window."""
    first = slot_of(now) - SLOTS
    return sum(units for slot, units in counts.items() if slot >= first)


def pruned(counts: Counts, now: int) -> dict[int, int]:
    """Return the counts without slots that have left; none lies after the present one."""
    last = slot_of(now)
    kept: dict[int, int] = {}
    for slot, units in counts.items():
        if slot >= last - SLOTS:
            kept[min(slot, last)] = kept.get(min(slot, last), 0) + units
    return kept


def wait_for(counts: Counts, now: int, *, excess: int) -> int:
    """Return the time until `excess` units have left the window."""
    if excess <= 0:
        return 0
    for slot in sorted(slot for slot in counts if slot >= slot_of(now) - SLOTS):
        excess -= counts[slot]
        if excess <= 0:
            return (slot + SLOTS + 1) * SLOT_NS - now
    return (SLOTS + 1) * SLOT_NS
