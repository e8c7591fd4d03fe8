"""The descriptors of an object's files that SQLite does not own: creation and making durable.

SQLite's locks are POSIX locks, and closing *any* descriptor of a locked file drops them. So the main
file is opened here only to create it, and that descriptor stays open until SQLite's connection is
closed; the -wal file is never locked and may have a second descriptor, on which commits are
synced. `sync` runs in worker threads; one lock keeps `close` from pulling a descriptor
away under it. After a failed sync nothing is believed any more: the first failure is replayed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

from dohost.errors import StorageFailure, TooManyFiles

_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


class ObjectFiles:
    """Creates an object's main file and makes its committed writes durable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal_path = f"{path}-wal"
        self._lock = threading.Lock()
        self._main: int | None = None
        self._wal: int | None = None
        self._is_main_synced = True
        # The -wal file may be new whenever a connection was opened, hence its directory.
        self._directories: tuple[Path, ...] = (path.parent,)
        self._failure: OSError | None = None

    @property
    def is_created_now(self) -> bool:
        """Whether the main file was created here and has not been synced yet."""
        return not self._is_main_synced

    def create(self, image: bytes) -> None:
        """Write the main file. Raises: StorageFailure, TooManyFiles; then nothing is left behind."""
        try:
            self._directories = _make_directories(self._path.parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._main = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise _creation_failure(self._path, error) from error
        try:
            _write_all(self._main, image)
        except OSError as error:
            os.unlink(self._path)
            self._close_main()
            raise _creation_failure(self._path, error) from error
        self._is_main_synced = False

    def sync(self) -> None:
        """Make every committed write durable; blocks, and may run in any thread.

        Raises: OSError; what was committed is then of unknown fate, and every later call raises
        the same error.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            try:
                self._sync()
            except OSError as error:
                self._failure = error
                raise

    def close(self) -> None:
        """Close the descriptors; call it after SQLite's connection is closed. Idempotent."""
        with self._lock:
            self._close_main()
            if self._wal is not None:
                os.close(self._wal)
                self._wal = None

    def _sync(self) -> None:
        if self._wal is None:
            self._wal = os.open(self._wal_path, os.O_RDONLY | os.O_CLOEXEC)
        if not self._is_main_synced and self._main is not None:
            _full_sync(self._main)
        _data_sync(self._wal)
        for directory in self._directories:
            _sync_directory(directory)
        self._directories = ()
        self._is_main_synced = True

    def _close_main(self) -> None:
        if self._main is not None:
            os.close(self._main)
            self._main = None


def _make_directories(directory: Path) -> tuple[Path, ...]:
    """Make what is missing, private to the user; return the directories whose entries are new."""
    changed = [directory]
    missing = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
        changed.append(directory)
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
    return tuple(changed)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _creation_failure(path: Path, error: OSError) -> StorageFailure | TooManyFiles:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return TooManyFiles(f"no file descriptor left to create {path}")
    return StorageFailure(f"creating {path} failed: {error.strerror}", outcome="not-applied")


def _full_sync(descriptor: int) -> None:
    if _FULL_SYNC is not None:
        fcntl.fcntl(descriptor, _FULL_SYNC)
    else:
        os.fsync(descriptor)


def _data_sync(descriptor: int) -> None:
    if _FULL_SYNC is not None:
        fcntl.fcntl(descriptor, _FULL_SYNC)
    else:
        os.fdatasync(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _full_sync(descriptor)
    finally:
        os.close(descriptor)
