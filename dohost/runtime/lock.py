"""One process per data directory: an exclusive lock on an open file, never a pid file.

The kernel drops the lock with the process, also after `kill -9`, so a stale file blocks nobody. The
file's text says who holds it and how the command line reaches that process. A clean end empties it, so
text that is found there tells that the process before this one crashed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

import msgspec

from dohost.errors import CallerError, DataDirLocked, StorageFailure
from dohost.storage.directories import make_directory

LOCK_NAME = "dohost.lock"


class LockInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a data directory: process id, the URL it serves and the token of its local API."""

    pid: int
    url: str = ""
    token: str = ""


class DataDirLock:
    """Holds a data directory until `release`."""

    def __init__(self, persist: Path) -> None:
        self._path = persist / LOCK_NAME
        self._fd: int | None = None

    def acquire(self, info: LockInfo) -> bool:
        """Take the lock at once; return whether the last holder ended cleanly.

        Raises: DataDirLocked naming the process that has it; CallerError, StorageFailure.
        """
        try:
            make_directory(self._path.parent)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CallerError(
                f"The data directory {self._path.parent} can't be used: {error.strerror}. "
                "Name another one with --persist-to DIR."
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _parse(os.read(fd, 4096))
            os.close(fd)
            who = "another process"
            if holder is not None:
                who = f"process {holder.pid}" + (f" ({holder.url})" if holder.url else "")
            raise DataDirLocked(
                f"The data directory {self._path.parent} is in use by {who}. "
                "Stop it, or give this one a directory of its own with --persist-to DIR."
            ) from error
        self._fd = fd
        was_released = os.fstat(fd).st_size == 0
        try:
            self.describe(info)
        except StorageFailure:
            self._fd = None
            os.close(fd)
            raise
        return was_released

    def describe(self, info: LockInfo) -> None:
        """Write who holds the lock; called again when the URL is known. Raises: StorageFailure."""
        assert self._fd is not None, "the lock is held"
        text = msgspec.json.encode(info) + b"\n"
        try:
            # In this order: what a crashed process left stays a sign of it until the text is there.
            os.pwrite(self._fd, text, 0)
            os.ftruncate(self._fd, len(text))
        except OSError as error:
            raise StorageFailure(
                f"The data directory {self._path.parent} can't be written: {error.strerror}.",
                outcome="not-applied",
                is_full=error.errno == errno.ENOSPC,
            ) from error

    def release(self) -> None:
        """Give the directory free; idempotent."""
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a disk that takes no writes: it looks like a crash
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def holder(persist: Path) -> LockInfo | None:
    """Return who holds `persist` now, or None if nobody does."""
    try:
        fd = os.open(persist / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _parse(os.read(fd, 4096))
    finally:
        os.close(fd)
    return None


def _parse(text: bytes) -> LockInfo | None:
    try:
        return msgspec.json.decode(text, type=LockInfo)
    except msgspec.DecodeError:
        return None
