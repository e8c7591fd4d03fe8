"""A key's counters in memory, and the marks that are kept of them.

The mark leads what was granted by a lease, so forgetting the counters, as a crash does, makes a limit only
stricter. Which mark is durable is told afterwards (`confirm`); until then only answers that wait for the
writes before them may stand on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from dohost.gateway import gcra, sliding_window


class Mark(Struct, frozen=True, kw_only=True):
    """The durable form of a bucket; JSON in the store."""

    tat_ns: int = 0
    interval_ns: int = 0
    slots: dict[int, int] = {}


class MarkStore(Protocol):
    """Durable marks (JSON); what `save` got must be durable before the grant leaves the object."""

    def load(self, key: str) -> bytes | None: ...
    def save(self, key: str, mark: bytes) -> None: ...
    def drop(self, keys: Sequence[str]) -> None: ...
    def items(self) -> Iterable[tuple[str, bytes]]: ...


# Calls back when everything that was saved before is durable.
WhenDurable = Callable[[Callable[[], None]], None]


class Bucket:
    """One key's counters in memory, how far ahead the stored mark is, and one known to be durable."""

    __slots__ = (
        "durable_tat",
        "interval",
        "is_renewing",
        "leased_slots",
        "leased_tat",
        "slots",
        "tat",
    )

    def __init__(self, mark: Mark) -> None:
        self.tat = self.leased_tat = mark.tat_ns
        self.durable_tat = 0
        # Whether somebody was sent to have the lease renewed before it ends.
        self.is_renewing = False
        self.interval = mark.interval_ns
        self.slots = dict(mark.slots)
        self.leased_slots = dict(mark.slots)

    def debt(self, now: int, *, interval: int, burst: int) -> int:
        """Return the debt in tokens of `interval`.

        After a change of tier, or of the clock, the debt is first written in terms of what holds
        now; that changes its form and charges nothing.
        """
        if self.interval == interval or self.interval == 0:
            debt = gcra.debt_of(self.tat, now, interval=interval, burst=burst)
            if debt and self.tat > now + debt:
                self.tat = now + debt
            return debt
        debt = gcra.converted(max(0, self.tat - now), old=self.interval, new=interval, burst=burst)
        self.tat, self.interval, self.leased_tat, self.durable_tat = now + debt, interval, 0, 0
        return debt

    def advance(self, tat: int, *, interval: int, lease: int) -> bool:
        """Move to `tat`; True if that reached the stored mark, which then leads by a lease again.

        It does so before, if somebody was sent to have it renewed.
        """
        self.tat, self.interval = tat, interval
        ahead = spare(lease, interval) if self.is_renewing else 0
        if tat + ahead <= self.leased_tat:
            return False
        self.leased_tat = tat + lease * interval
        return True

    def advance_leased(self, tat: int, *, lease: int) -> bool:
        """Move to `tat` if the durable mark covers that; one of the last tokens goes to renewing it."""
        if tat > self.durable_tat:
            return False
        if tat + spare(lease, self.interval) > self.leased_tat and not self.is_renewing:
            self.is_renewing = True
            return False
        self.tat = tat
        return True

    def confirm(self, tat: int) -> None:
        """Note that the mark at `tat` is durable, unless another has followed it."""
        if tat == self.leased_tat:
            self.durable_tat = tat
            self.is_renewing = False

    def is_full(self, now: int) -> bool:
        """True if forgetting the bucket changes nothing."""
        return self.tat <= now and not sliding_window.counted(self.slots, now)


def spare(lease: int, interval: int) -> int:
    """Return how far before its end a lease is renewed, so that nobody has to wait for that."""
    return lease // 4 * interval
