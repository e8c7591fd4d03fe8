"""What an instance that ended badly left behind, and what the next one has to do about it first.

*unsynced*: commits in the log that no sync has covered; the next instance shows nothing before it has
synced them. *sync-failed*: the system may have dropped what it could not write and show it all the same;
the log is written again before it is trusted. *unfinished*: the file itself was new and its first sync failed, so
nothing in it was ever acknowledged; it is set aside. The last two are noted beside the file as well, for a
process that comes after this one.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

from dohost.storage.files import FailedSync, failed_sync, rewrite_log, set_aside


class Aftermath(IntEnum):
    """The worse, the greater; of several the worst counts."""

    unsynced = 1
    sync_failed = 2
    unfinished = 3

    def deal_with(self, path: Path) -> None:
        """Do what has to be done before the file is opened; a sync has to follow if there is one.

        Raises: StorageFailure while the disk still fails; then it is to be done again.
        """
        match self:
            case Aftermath.sync_failed:
                rewrite_log(path)
            case Aftermath.unfinished:
                set_aside(path)
            case Aftermath.unsynced:
                pass


class Aftermaths:
    """By object id, until a new instance has dealt with it."""

    def __init__(self) -> None:
        self._found: dict[str, Aftermath] = {}

    def note(self, object_id: str, aftermath: Aftermath) -> None:
        """Remember what an instance of the object leaves behind."""
        self._found[object_id] = max(aftermath, self._found.get(object_id, aftermath))

    def of(self, object_id: str, path: Path) -> Aftermath | None:
        """Return what is to be dealt with, if anything, also what an earlier process has left."""
        found = self._found.get(object_id) if self._found else None
        noted = failed_sync(path)
        if noted is None:
            return found
        told = Aftermath.sync_failed if noted is FailedSync.log else Aftermath.unfinished
        return told if found is None else max(told, found)

    def outstanding(self) -> tuple[tuple[str, Aftermath], ...]:
        """Return all that no new instance has dealt with."""
        return tuple(self._found.items())

    def dealt_with(self, object_id: str) -> None:
        """Forget: the new instance has done its part."""
        self._found.pop(object_id, None)
