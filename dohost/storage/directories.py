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
from pathlib import Path

FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)
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
                sync_directory(self.path)
            except OSError as error:
                self._failure, self._lost = error, range(self._durable + 1, appeared + 1)
                self.count()  # Who opens a file from now on asks for a sync of its own.
                raise
            self._durable = appeared


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
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if FULL_SYNC is not None:
            fcntl.fcntl(descriptor, FULL_SYNC)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
