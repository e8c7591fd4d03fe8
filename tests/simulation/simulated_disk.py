"""A disk under real files: which bytes a power cut spares, and which syncs fail.

The files are real, on a file system in memory. What is simulated is the one thing that a program can't see:
how much of a file is on the disk. That grows when the host syncs, and only then. A sync that fails has
dropped what it should have written, and later ones that succeed do not bring it back; writing again does.
`cut_power` leaves of each file what was synced and a random part of what was not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from dohost.runtime import aftermath
from dohost.storage import directories, files

SECTOR_BYTES = 512


class SimulatedDisk:
    """The files in `directory` below `root`; `before_sync` may take time or raise what the sync fails with."""

    def __init__(self, root: Path, directory: str, chance: random.Random) -> None:
        self.root = root
        self._directory = root / directory
        self._chance = chance
        self.before_sync: Callable[[], None] = _succeed
        # By inode, because names change hands; an entry is durable as a name of an inode.
        self._durable: dict[int, int] = {}
        self._dropped: set[int] = set()
        self._entries: set[tuple[str, int]] = set()
        self.syncs = 0
        self.failures = 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Stand under the host's own calls."""
        replaced = [
            (files, "_data_sync", self._sync),
            (files, "full_sync", self._sync),
            (directories, "full_sync", self._sync_directory),
            (aftermath, "rewrite_log", self._rewriting(aftermath.rewrite_log)),
        ]
        with contextlib.ExitStack() as undo:
            for module, name, replacement in replaced:
                undo.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, replacement)
            yield

    def sync_all(self) -> None:
        """Make everything durable but what the system has dropped; the host does so after a crash."""
        for path, status in self._files():
            if status.st_ino not in self._dropped:
                self._durable[status.st_ino] = status.st_size
            self._entries.add((path, status.st_ino))

    def cut_power(self) -> None:
        """Leave what was synced, and a random part of the rest; nothing may be open."""
        for path, status in self._files():
            kept = self._kept_bytes(path, status)
            if kept is None:
                os.unlink(path)
            elif kept < status.st_size:
                os.truncate(path, kept)
        self._dropped.clear()
        self.sync_all()

    def _kept_bytes(self, path: str, status: os.stat_result) -> int | None:
        """Return how much of a file is left; None: not even its name."""
        chance, inode, size = self._chance, status.st_ino, status.st_size
        durable = min(self._durable.get(inode, 0), size)
        is_named = (path, inode) in self._entries
        if path.endswith("-shm") or (not is_named and chance.random() < 0.5):
            return None
        if inode in self._dropped or chance.random() < 0.3:
            return durable
        kept = chance.randint(durable, size)
        return kept - (kept - durable) % SECTOR_BYTES if chance.random() < 0.5 else kept

    def _sync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.syncs += 1
        try:
            self.before_sync()
        except OSError:
            self.failures += 1
            if status.st_size > self._durable.get(status.st_ino, 0):
                self._dropped.add(status.st_ino)
            raise
        if status.st_ino in self._dropped:
            # Linux tells every descriptor that was open then; one that is opened later hears nothing.
            raise io_error()
        self._durable[status.st_ino] = status.st_size

    def _sync_directory(self, descriptor: int) -> None:
        if not os.path.samestat(os.fstat(descriptor), os.stat(self._directory)):
            return
        self._entries.update((path, status.st_ino) for path, status in self._files())

    def _rewriting(self, rewrite: Callable[[Path], None]) -> Callable[[Path], None]:
        def rewrite_log(path: Path) -> None:
            with contextlib.suppress(FileNotFoundError):
                self._dropped.discard(os.stat(f"{path}-wal").st_ino)
            rewrite(path)

        return rewrite_log

    def _files(self) -> list[tuple[str, os.stat_result]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._directory) as entries:
            return sorted((entry.path, entry.stat()) for entry in entries)
        return []


def io_error() -> OSError:
    """Return what a disk answers that is broken."""
    return OSError(errno.EIO, "Input/output error")


def _succeed() -> None:
    """Neither take time nor fail."""
