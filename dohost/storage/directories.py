"""Directories that are there after a power cut: made, and their entries synced, before anything is put in.

Blocks for one sync per directory made, which happens once per class of objects.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


def make_directory(directory: Path) -> None:
    """Make a directory and what is missing above it, private to the user. Raises: OSError."""
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
