"""Whether a database that is open is still the one that its path names.

Who deletes or replaces a file beneath a running process leaves it writing to one that nobody will find
again. SQLite doesn't look, so whoever acknowledges writes looks before each of them, and opens anew. Of a log
that has gone alone nothing is lost: the connection has it still, and copies it into its file when it is closed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

Identity = tuple[int, int]


class NamedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A database and its log as they were when it was opened."""

    path: Path
    database: Identity | None
    log: Identity | None

    @property
    def is_there(self) -> bool:
        """Whether the path names the same files now."""
        return (
            self.database is not None
            and _identity(self.path) == self.database
            and _identity(_log(self.path)) == self.log
        )

    def remove_log(self) -> None:
        """Remove a log that was left of a file which is gone: SQLite would add it to the next one."""
        log = _log(self.path)
        if self.log is not None and _identity(log) == self.log:
            with contextlib.suppress(FileNotFoundError):
                log.unlink()


def named_file(path: Path) -> NamedFile:
    """Return what `path` names; for a connection that was just opened and has its log."""
    return NamedFile(path=path, database=_identity(path), log=_identity(_log(path)))


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _identity(path: Path) -> Identity | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_dev, state.st_ino
