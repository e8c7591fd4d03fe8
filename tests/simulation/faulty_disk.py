"""A disk that fails at the n-th call of a kind, once or until it is repaired.

A `Fault` says which calls count, in which files, and what happens at call number n. `FaultyDisk` is what a
`Supervisor` asks about every call of the watched process; it may be armed and repaired at any moment, and
it knows when the fault began and when it ended. A sector is written whole or not at all, so a short write
ends at a sector's end.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from enum import StrEnum

import msgspec

from tests.simulation.system_calls import Call, Decision, Fails, Waits, WritesLess

SLOW_S = 0.3
SECTOR_BYTES = 512
_WRITES = frozenset({"write", "pwrite64"})
_SYNCS = frozenset({"fsync", "fdatasync"})
_CHANGES = frozenset({"mkdir", "rename", "ftruncate", "fallocate"})


class Kind(StrEnum):
    """What goes wrong."""

    write_full = "write-full"
    write_fails = "write-fails"
    write_short = "write-short"
    sync_fails = "sync-fails"
    sync_slow = "sync-slow"
    open_many = "open-many"
    open_fails = "open-fails"
    create_full = "create-full"
    change_full = "change-full"

    def counts(self, call: Call) -> bool:
        """Whether this kind of fault can happen at this call."""
        match self:
            case Kind.write_full | Kind.write_fails:
                return call.name in _WRITES
            case Kind.write_short:
                return call.name == "pwrite64"
            case Kind.sync_fails | Kind.sync_slow:
                return call.name in _SYNCS
            case Kind.open_many | Kind.open_fails:
                return call.name == "open"
            case Kind.create_full:
                return call.name == "open" and bool(call.flags & os.O_CREAT)
            case Kind.change_full:
                return call.name in _CHANGES

    def outcome(self, call: Call, hits: int) -> Decision:
        """Return what happens at the call that the fault has hit as number `hits`, from 1."""
        match self:
            case Kind.write_short if hits % 2 and (size := _whole_sectors(call)):
                # The rest of the same write comes next, and finds no room at all.
                return WritesLess(size)
            case Kind.write_full | Kind.write_short | Kind.create_full | Kind.change_full:
                return Fails(errno.ENOSPC)
            case Kind.write_fails | Kind.sync_fails | Kind.open_fails:
                return Fails(errno.EIO)
            case Kind.sync_slow:
                return Waits(SLOW_S)
            case Kind.open_many:
                return Fails(errno.EMFILE)


def _whole_sectors(call: Call) -> int:
    """Return how much of a write fills sectors to their end, if it is not all of it."""
    middle = call.offset + call.size // 2
    end = middle - middle % SECTOR_BYTES
    return max(0, end - call.offset)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault at call `number` of its kind, in files whose paths begin so; `lasts`: until repaired."""

    kind: Kind
    number: int
    lasts: bool
    prefix: str


class FaultyDisk:
    """The calls that were seen since a fault was armed, and what it has done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._counted = 0
        self.hits = 0

    def arm(self, fault: Fault) -> None:
        """Let `fault` happen from now on, counting from its first call."""
        with self._lock:
            self._fault, self._counted, self.hits = fault, 0, 0

    def repair(self) -> float:
        """End the fault; return when that was."""
        with self._lock:
            self._fault = None
            return time.monotonic()

    def decide(self, call: Call) -> Decision:
        """Say what becomes of a call."""
        fault = self._fault
        if fault is None or not call.path.startswith(fault.prefix) or not fault.kind.counts(call):
            return None
        with self._lock:
            if self._fault is not fault:
                return None
            self._counted += 1
            # A short write is followed by one that fails: that is what makes it one fault.
            most = 2 if fault.kind is Kind.write_short else 1
            if self._counted < fault.number or (self.hits >= most and not fault.lasts):
                return None
            self.hits += 1
            return fault.kind.outcome(call, self.hits)
