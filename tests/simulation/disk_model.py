"""A disk on which only what was synced is certain: every state that a power cut may leave.

What was written and not synced may be there or not, in any part and order, down to a sector; where a write
was cut, a sector that held nothing before may hold zeros or junk. Entries of directories are separate: a synced file whose entry
was not synced may be gone. Two things are taken for granted, as SQLite takes them: bytes outside
a write are not harmed by it (power-safe overwrite), and what a sync promised stays.

This is stricter than ext4 or XFS, which order more than they promise. Pure: effects in, images out.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from tests.simulation.disk_trace import (
    Created,
    Effect,
    Left,
    Linked,
    Removed,
    Renamed,
    SyncBegan,
    SyncEnded,
    SyncFailed,
    Truncated,
    Wrote,
)

SECTOR = 512


class Fate(StrEnum):
    """What became of the unsynced writes of one file."""

    dropped = "dropped"
    kept = "kept"
    prefix = "prefix"
    subset = "subset"
    torn = "torn"
    zeros = "zeros"
    junk = "junk"


FATES = tuple(Fate)


class File:
    """One inode: its synced content, and the writes since."""

    __slots__ = ("certain", "pending", "promised")

    def __init__(self) -> None:
        self.certain = bytearray()
        self.pending: list[Wrote | Truncated] = []
        self.promised = 0

    def written(self) -> int:
        """Return how many writes there were so far."""
        return self.promised + len(self.pending)

    def promise(self, written: int) -> None:
        """Make the first `written` writes certain."""
        count = written - self.promised
        if count > 0:
            for change in self.pending[:count]:
                _apply(self.certain, change)
            del self.pending[:count]
            self.promised = written

    def drop(self, chance: random.Random) -> None:
        """Lose what is not certain, or a part of it: no later sync brings it back."""
        for part in _sectors(self.pending):
            if chance.random() < 0.3:
                _apply(self.certain, part)
        self.promised += len(self.pending)
        self.pending.clear()

    def image(self, fate: Fate, chance: random.Random) -> bytes:
        """Return the content after a power cut."""
        content = bytearray(self.certain)
        survivors = _survivors(self.pending, fate, chance)
        if fate in (Fate.zeros, Fate.junk):
            new = [change for change in self.pending if not self._holds(change)]
            for change in self.pending:
                if self._holds(change) and chance.random() < 0.5:
                    _apply(content, change)
            survivors = _survivors(new, fate, chance)
        for change in survivors:
            _apply(content, change)
        return bytes(content)

    def _holds(self, change: Wrote | Truncated) -> bool:
        """Return whether this part of the file was certain before: it is old or new, but not spoilt."""
        return isinstance(change, Truncated) or change.offset < len(self.certain)


class Entry:
    """A name in a directory: what it is certain to mean, and what it was made to mean since."""

    __slots__ = ("certain", "pending", "promised")

    def __init__(self) -> None:
        self.certain: File | None = None
        self.pending: list[File | None] = []
        self.promised = 0

    def latest(self) -> File | None:
        """Return what a running program sees."""
        return self.pending[-1] if self.pending else self.certain

    def changed(self) -> int:
        """Return how often the meaning changed so far."""
        return self.promised + len(self.pending)

    def promise(self, changed: int) -> None:
        """Make the first `changed` changes certain."""
        count = changed - self.promised
        if count > 0:
            self.certain = self.pending[count - 1]
            del self.pending[:count]
            self.promised = changed

    def after_power_cut(self, chance: random.Random) -> File | None:
        """Return what the name means when the power is back."""
        if not self.pending:
            return self.certain
        return chance.choice((self.certain, *self.pending))


class _Sync(msgspec.Struct, frozen=True):
    file: File | None
    written: int
    names: tuple[tuple[Entry, int], ...]


class Disk:
    """The disk under one directory, after the effects so far."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.entries: dict[str, Entry] = {}
        self._syncs: dict[int, _Sync] = {}

    def take(self, effect: Effect) -> None:
        """Let one effect happen."""
        match effect:
            case Created(path):
                self._entry(path).pending.append(File())
            case Removed(path):
                self._entry(path).pending.append(None)
            case Renamed(path, new_path):
                self._entry(new_path).pending.append(self._entry(path).latest())
                self._entry(path).pending.append(None)
            case Linked(path, new_path):
                self._entry(new_path).pending.append(self._entry(path).latest())
            case Wrote(path) | Truncated(path):
                file = self._entry(path).latest()
                # A file that was removed while it is open is nobody's after a power cut.
                if file is not None:
                    file.pending.append(effect)
            case SyncBegan(path, number):
                self._syncs[number] = self._sync_of(path)
            case SyncEnded(_, number):
                sync = self._syncs.pop(number)
                if sync.file is not None:
                    sync.file.promise(sync.written)
                for entry, changed in sync.names:
                    entry.promise(changed)
            case SyncFailed(path):
                file = self._entry(path).latest()
                if file is not None:
                    file.drop(self._chance)
            case Left():
                pass

    def is_uncertain(self) -> bool:
        """Return whether a power cut may leave more than one state."""
        return any(
            entry.pending or (entry.certain is not None and entry.certain.pending)
            for entry in self.entries.values()
        )

    def after_power_cut(self, chance: random.Random) -> dict[str, File]:
        """Return the files that can be reached when the power is back."""
        found = {path: entry.after_power_cut(chance) for path, entry in self.entries.items()}
        reachable: dict[str, File] = {}
        for path, file in found.items():
            directory = path.rpartition("/")[0]
            while directory in found and found[directory] is not None:
                directory = directory.rpartition("/")[0]
            if file is not None and directory not in found:
                reachable[path] = file
        return reachable

    def _entry(self, path: str) -> Entry:
        return self.entries.setdefault(path, Entry())

    def _sync_of(self, path: str) -> _Sync:
        entry = self.entries.get(path)
        file = None if entry is None else entry.latest()
        names = [
            (each, each.changed())
            for name, each in self.entries.items()
            if name.rpartition("/")[0] == path
        ]
        return _Sync(file, 0 if file is None else file.written(), tuple(names))


def _apply(content: bytearray, change: Wrote | Truncated) -> None:
    if isinstance(change, Truncated):
        if change.size <= len(content):
            del content[change.size :]
        else:
            content.extend(bytes(change.size - len(content)))
        return
    if change.offset > len(content):
        content.extend(bytes(change.offset - len(content)))
    content[change.offset : change.offset + len(change.content)] = change.content


def _survivors(
    pending: list[Wrote | Truncated], fate: Fate, chance: random.Random
) -> Iterable[Wrote | Truncated]:
    match fate:
        case Fate.dropped:
            return []
        case Fate.kept:
            return pending
        case Fate.prefix:
            return pending[: chance.randrange(len(pending) + 1)]
        case Fate.subset:
            return [change for change in pending if chance.random() < 0.5]
        case Fate.torn:
            share = chance.choice((0.1, 0.5, 0.9))
            return [part for part in _sectors(pending) if chance.random() < share]
        case Fate.zeros | Fate.junk:
            return [_spoilt(part, fate, chance) for part in _sectors(pending)]


def _sectors(pending: list[Wrote | Truncated]) -> Iterable[Wrote | Truncated]:
    for change in pending:
        if isinstance(change, Truncated):
            yield change
            continue
        end = change.offset + len(change.content)
        start = change.offset
        while start < end:
            stop = min(end, (start // SECTOR + 1) * SECTOR)
            yield Wrote(
                change.path, start, change.content[start - change.offset : stop - change.offset]
            )
            start = stop


def _spoilt(part: Wrote | Truncated, fate: Fate, chance: random.Random) -> Wrote | Truncated:
    if isinstance(part, Truncated) or chance.random() < 0.5:
        return part
    size = len(part.content)
    return Wrote(
        part.path, part.offset, bytes(size) if fate is Fate.zeros else chance.randbytes(size)
    )
