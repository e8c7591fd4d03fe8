"""The descriptors of an object's files that SQLite does not own: creation and making durable.

SQLite's locks are POSIX locks, and closing *any* descriptor of a locked file drops them. So the main
file is opened here only to create it, and that descriptor stays open until SQLite's connection is
closed; the -wal file is never locked and may have a second descriptor, on which commits are
synced. It is opened before anything is written: a lack of descriptors costs no write then, and the
system reports what it fails to write to descriptors that were open at the time. `sync` runs in worker
threads; one lock keeps `close` from pulling a descriptor away under it.

After a failed sync nothing is believed any more: the first failure is replayed, and a note
beside the file tells the next process, which could not see it: the system shows what it has dropped. The
note need not be durable, because after a power cut nothing is shown that is not on the disk. Files that
somebody has removed take writes as before, so each sync looks whether they are still there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from enum import StrEnum
from pathlib import Path

from dohost.errors import StorageFailure, TooManyFiles
from dohost.storage.directories import (
    FULL_SYNC,
    Directory,
    beside,
    full_sync,
    make_directory,
    sync_directory,
)
from dohost.storage.log_room import LogRoom

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_REWRITTEN_AT_ONCE = 1 << 20
_NOTE = ".sync-failed"
_COMPANIONS = ("-wal", "-shm")
_UNTRUSTED = " can't be used until its log is written again"


class FailedSync(StrEnum):
    """What could not be synced: a new file's first writes, or the log of one that was durable before."""

    new_file = "new-file"
    log = "log"


class FilesGone(OSError):
    """Somebody has removed or replaced the files of a live object: what it writes is lost with it."""


def failed_sync(path: Path) -> FailedSync | None:
    """Return what is noted of a failed sync that nobody has dealt with. Raises: StorageFailure."""
    if not os.access(beside(path, _NOTE), os.F_OK):
        return None
    try:
        return FailedSync(_note_path(path).read_text("utf-8"))
    except ValueError:
        # The note was cut short; the log is what has to be written again in any case but one.
        return FailedSync.log
    except OSError as error:
        raise _failure(f"{path}{_UNTRUSTED}", error) from error


def set_aside(path: Path) -> None:
    """Rename the files of an object that never acknowledged anything, so that it can begin anew.

    Nothing is thrown away: `<file>.unfinished` is there for whoever wants to look. Once this returns, not
    even a power cut brings them back: somebody may be told that the object is empty. Blocks.
    Raises: StorageFailure, TooManyFiles; then it is to be done again.
    """
    try:
        # First, or a later start could set aside what the object has stored since.
        _note_path(path).unlink(missing_ok=True)
        for suffix in ("", *_COMPANIONS):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{path}.unfinished{suffix}")
        sync_directory(path.parent)
    except OSError as error:
        raise _failure(f"{path} can't be set aside", error) from error


def rewrite_log(path: Path) -> None:
    """Write the log of an object's file over itself and sync it; blocks.

    Raises: StorageFailure, TooManyFiles; then it is to be done again.

    After a sync has failed, the system may have dropped what it could not write, show it all the same, and
    report success for every later sync. Only what is written again is written at all. The same bytes in
    the same places harm nothing, whenever the power goes.
    """
    try:
        descriptor = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        _note_path(path).unlink(missing_ok=True)
        return
    except OSError as error:
        raise _failure(f"{path}{_UNTRUSTED}", error) from error
    try:
        offset = 0
        while content := os.pread(descriptor, _REWRITTEN_AT_ONCE, offset):
            offset += os.pwrite(descriptor, content, offset)
        _data_sync(descriptor)
        _note_path(path).unlink(missing_ok=True)
    except OSError as error:
        # The next process could not see it either.
        _note(path, FailedSync.log)
        raise _failure(f"{path}{_UNTRUSTED}", error) from error
    finally:
        os.close(descriptor)


class ObjectFiles:
    """Creates an object's main file and makes its committed writes durable."""

    def __init__(self, path: Path, directory: Directory) -> None:
        self._path = path
        self._directory = directory
        self._wal_path = f"{path}-wal"
        self._lock = threading.Lock()
        self._main: int | None = None
        self._wal: int | None = None
        self._is_main_synced = True
        # The number of the last entry that has to be durable with the log; None: it is not counted yet.
        self._entry: int | None = 0
        self._is_entry_synced = False
        self._failure: OSError | None = None
        # Whether the descriptors of the next sync are open.
        self.is_ready = False
        self.log_room: LogRoom | None = None

    @property
    def is_created_now(self) -> bool:
        """Whether the main file was created here and has not been synced yet."""
        return not self._is_main_synced

    def opens(self, *, has_log: bool) -> None:
        """Note that the file is about to be opened, and whether its log is there with content.

        An empty log may have been made by somebody who only looked, and its entry be new.
        """
        self._entry = self._directory.appeared if has_log else None

    def create(self, image: bytes) -> None:
        """Write the main file. Raises: StorageFailure, TooManyFiles; then nothing is left behind."""
        try:
            self._main = self._open_new()
        except OSError as error:
            raise _failure(f"{self._path} can't be created", error) from error
        try:
            _write_all(self._main, image)
        except OSError as error:
            self.discard()
            raise _failure(f"{self._path} can't be created", error) from error
        self._is_main_synced = False
        self._entry = None

    def _open_new(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            make_directory(self._path.parent)
            return os.open(self._path, flags, 0o600)

    def discard(self) -> None:
        """Remove a file that was created here and could not be used; nothing was ever stored in it."""
        for suffix in ("", *_COMPANIONS):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._path}{suffix}")
        self._close_main()
        self._is_main_synced = True

    def get_ready(self) -> None:
        """Open what `sync` needs; the log is there, and nothing was written to it from here.

        Raises: StorageFailure, TooManyFiles.
        """
        try:
            self._directory.get_ready()
            self._wal = os.open(self._wal_path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _failure(f"{self._path} can't be written", error) from error
        self.log_room = LogRoom(self._wal)
        self.is_ready = True

    def sync(self) -> None:
        """Make every committed write durable, once ready; blocks, and may run in any thread.

        Raises: OSError; what was committed is then of unknown fate, and every later call raises
        the same error.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            try:
                self._sync()
            except FilesGone as error:
                self._failure = error
                raise
            except OSError as error:
                self._failure = error
                _note(self._path, FailedSync.new_file if self.is_created_now else FailedSync.log)
                raise

    @property
    def has_failed(self) -> bool:
        """Whether a sync has failed, as far as is known now; does not wait."""
        return self._failure is not None

    def require_trust(self) -> None:
        """Refuse to build on a log whose sync has failed; waits for a sync that runs. Raises: OSError.

        Ask after opening the descriptors that will be synced: what fails from then on the system
        reports to them as well; what failed before it reports to nobody any more.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """Close the descriptors; call it after SQLite's connection is closed. Idempotent."""
        with self._lock:
            if self._entry is None:
                # Uncommitted frames may be in the log; whoever finds them must not think its entry durable.
                self._entry = self._directory.count()
            self._close_main()
            if self._wal is not None:
                os.close(self._wal)
                self._wal = self.log_room = None

    def _sync(self) -> None:
        assert self._wal is not None, "get_ready comes first"
        if not self._is_main_synced and self._main is not None:
            full_sync(self._main)
        _data_sync(self._wal)
        if not self._is_entry_synced:
            if self._entry is None:
                self._entry = self._directory.count()
            self._directory.sync_until(self._entry)
            self._is_entry_synced = True
        if not self._is_in_place():
            raise FilesGone(errno.ESTALE, "its files were removed or replaced", str(self._path))
        self._is_main_synced = True

    def _is_in_place(self) -> bool:
        """Whether what was synced is what the next process will open."""
        assert self._wal is not None, "it was synced"
        try:
            os.stat(self._path)
            named, own = os.stat(self._wal_path), os.fstat(self._wal)
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)

    def _close_main(self) -> None:
        if self._main is not None:
            os.close(self._main)
            self._main = None


def _note_path(path: Path) -> Path:
    return Path(beside(path, _NOTE))


def _note(path: Path, failed: FailedSync) -> None:
    # A disk that takes not even this leaves it to the memory of this process.
    with contextlib.suppress(OSError):
        descriptor = os.open(_note_path(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, failed.encode())
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _failure(what: str, error: OSError) -> StorageFailure | TooManyFiles:
    """Return why something could not be done of which nothing is left behind."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return TooManyFiles(f"{what}: no file descriptor left")
    return StorageFailure(
        f"{what}: {error.strerror}",
        outcome="not-applied",
        is_full=error.errno in _NO_ROOM,
    )


def _data_sync(descriptor: int) -> None:
    if FULL_SYNC is not None:
        fcntl.fcntl(descriptor, FULL_SYNC)
    else:
        os.fdatasync(descriptor)
