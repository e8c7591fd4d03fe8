"""What a live object knows of its own log without looking: how long it is, and whether it is copied.

SQLite reports the length with every commit, so a bookmark and the decision to copy cost nothing. Whatever
it can't know is looked up: at the first question of an instance, and after a big transaction that spilt into
the log before its commit.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from dohost.storage.checkpoint import copy_tail
from dohost.storage.failures import failed_to_checkpoint, failed_to_read
from dohost.storage.history import HistoryLimits
from dohost.storage.log_file import read_header
from dohost.storage.restore import committed_frames
from dohost.storage.timeline import LogState


class OwnLog:
    """The log of one open file; `pages`: its length when last heard of, 0 once it starts anew."""

    def __init__(self, path: Path, limits: HistoryLimits) -> None:
        self._path = path
        self._limits = limits
        self.pages = 0
        self._frames: int | None = None
        self._copied_salt: str | None = None

    def committed(self, pages: int) -> None:
        """A commit left the log with so many pages."""
        self.pages = self._frames = pages
        self._copied_salt = None

    def state(self) -> LogState:
        """Return the log's header and how many of its frames are committed. Raises: HostError, apsw.Error."""
        try:
            header = read_header(self._path)
        except OSError as error:
            raise failed_to_read(self._path, error) from error
        if header is None:
            return LogState(header=None, frames=0)
        if self._copied_salt is not None and header.salt != self._copied_salt:
            # A big transaction has started the log anew and is not committed yet.
            return LogState(header=header, frames=0)
        if self._frames is None:
            self._frames = committed_frames(self._path)
        return LogState(header=header, frames=self._frames)

    def copy_tail(self, connection: apsw.Connection, *, now_s: int) -> None:
        """Copy what is left on the object's own connection, in no transaction. Raises: HostError."""
        try:
            if copy_tail(connection, self._path, self._limits, now_s=now_s):
                self.pages = 0
                header = read_header(self._path)
                self._copied_salt = None if header is None else header.salt
        except apsw.Error as error:
            raise failed_to_checkpoint(self._path, error) from error
        except OSError as error:
            raise failed_to_read(self._path, error) from error
