"""Directories that are there after a power cut: made, and their entries synced, before anything is put in.

Making one blocks for one sync, which happens once per class of objects. Several threads make directories;
whoever finds one that another is making waits until its entry is synced, too. The entries of new files are
made durable by a `Directory`, where many that appeared together share one sync, and a file whose entry is
durable never asks for another.
"""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from pathlib import Path

FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_making = threading.Lock()


def beside(path: Path, suffix: str) -> str:
    """Return where the companion of an object's file is: its name, with another suffix."""
    text = str(path)  # `with_suffix` costs as much as several looks at the disk
    return text[: text.rindex(".")] + suffix


class Directory:
    """The entries of one directory: how many files may have appeared, and for how many that is durable.

    A file is counted after it has appeared, when its sync asks or when it is closed without one. For any
    thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        # What was there before this process is taken to be one file that is not durable.
        self._appeared = 1
        self._durable = 0
        self._descriptor: int | None = None
        self._lost = range(0)
        self._failure: OSError | None = None

    @property
    def appeared(self) -> int:
        """The number of the file that appeared last; a file that is there now has no greater one."""
        return self._appeared

    def count(self) -> int:
        """Count a file that has appeared; return its number."""
        with self._lock:
            self._appeared += 1
            return self._appeared

    def get_ready(self) -> None:
        """Hold the descriptor of all syncs to come, which then need none. Raises: OSError."""
        with self._lock:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, _FLAGS)
                weakref.finalize(self, os.close, self._descriptor)

    def sync_until(self, number: int) -> None:
        """Make all entries up to a number durable, unless they are; blocks. Raises: OSError."""
        with self._syncing:
            if self._failure is not None and number in self._lost:
                # The system may have dropped what it could not write, and would not tell again.
                raise self._failure
            if number <= self._durable:
                return
            appeared = self._appeared
            try:
                self._sync()
            except OSError as error:
                self._failure, self._lost = error, range(self._durable + 1, appeared + 1)
                self.count()  # Who opens a file from now on asks for a sync of its own.
                raise
            self._durable = appeared

    def _sync(self) -> None:
        held = self._descriptor
        # Somebody may have removed the directory since, and another one was made in its place.
        if held is not None and os.path.samestat(os.fstat(held), os.stat(self.path)):
            full_sync(held)
        else:
            sync_directory(self.path)


def make_directory(directory: Path) -> None:
    """Make a directory and what is missing above it, private to the user. Raises: OSError."""
    with _making:
        missing = []
        while not directory.exists():
            missing.append(directory)
            directory = directory.parent
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
            sync_directory(each.parent)


def sync_directory(directory: Path) -> None:
    """Make the entries of a directory durable. Raises: OSError."""
    descriptor = os.open(directory, _FLAGS)
    try:
        full_sync(descriptor)
    finally:
        os.close(descriptor)


def full_sync(descriptor: int) -> None:
    """Make everything of a file durable, past the drive's own cache. Raises: OSError."""
    if FULL_SYNC is not None:
        fcntl.fcntl(descriptor, FULL_SYNC)
    else:
        os.fsync(descriptor)
