"""When an object's file is not to be trusted, and what is done then: nothing.

A file that can't be trusted is *quarantined*: it is left as it is, the object answers with an error that
names it, every other object goes on. SQLite itself takes an empty file for an empty database, deletes a
log when one bit of the main file's header says that there is none, and ignores a log with a damaged
header; each would make an object forget everything without a word. So `check_files` looks at the first
bytes of both files before SQLite does.

Damage that only shows later, when a page is read, is noted in `<id>.quarantined`, so that the answer
stays the same over restarts until a person has looked: they put a good copy back and delete the note.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from pathlib import Path

import apsw
import msgspec

from dohost.errors import Quarantined
from dohost.storage.directories import beside
from dohost.storage.durable_file import write_durably
from dohost.storage.failures import failed_to_read
from dohost.storage.history import main_file
from dohost.storage.log_file import DATABASE_HEADER_BYTES, HEADER_BYTES, log_path

NOTE = ".quarantined"
_MAGIC = b"SQLite format 3\0"
_WAL_FORMAT = b"\x02\x02"
_LITTLE_ENDIAN_SUMS = 0x377F0682
# Codes that mean a damaged file; the others of this family can be provoked by user SQL.
_DAMAGED = frozenset({apsw.SQLITE_CORRUPT, apsw.SQLITE_CORRUPT_INDEX, apsw.SQLITE_NOTADB})


class Headers(msgspec.Struct, frozen=True, kw_only=True):
    """What a sound file says of itself: that it has a log, and that something was written to it."""

    is_wal: bool
    has_log: bool


def note_path(path: Path) -> Path:
    """Return where the note about the damaged object file `path` is."""
    return Path(beside(path, NOTE))


def quarantine(path: Path, reason: str) -> Quarantined:
    """Note durably that a file is damaged; return the error that its object answers with from now on."""
    # A disk that takes no note makes nothing whole: then whoever reads the damaged page next says so.
    with contextlib.suppress(OSError):
        write_durably(note_path(path), f"{reason}\n".encode())
    return _noted(path, reason)


def is_damage(error: apsw.Error) -> bool:
    """Return whether SQLite found the file itself damaged."""
    return getattr(error, "extendedresult", None) in _DAMAGED


def is_there(path: Path) -> bool:
    """Return whether the object has a file.

    Raises: Quarantined if its log alone is there, StorageFailure or TooManyFiles if nobody can tell now: an
    object whose directory can't be read is not a new one.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise failed_to_read(path, error) from error
    else:
        return True
    try:
        log_bytes, _ = _log(path)
    except OSError as error:
        raise failed_to_read(path, error) from error
    if log_bytes:
        raise Quarantined(f"{path} is missing, but its log {log_path(path)} is there")
    return False


def check_files(path: Path) -> None:
    """Look at the files of an object that may be open or not. Raises: Quarantined."""
    size = bytes_of(path)
    with main_file(path) as main:
        check_headers(path, size, main.xRead(min(size, DATABASE_HEADER_BYTES), 0))


def bytes_of(path: Path) -> int:
    """Return the size of an object's file that may be opened. Raises: Quarantined."""
    if os.access(beside(path, NOTE), os.F_OK):
        raise _noted(path, note_path(path).read_text("utf-8", "replace").strip())
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise Quarantined(f"{path} is not a file") from error
    if not stat.S_ISREG(status.st_mode):
        raise Quarantined(f"{path} is not a file")
    if status.st_size <= 1:
        raise Quarantined(f"{path} has {status.st_size} bytes: its content is lost")
    return status.st_size


def check_headers(path: Path, size: int, header: bytes) -> Headers:
    """Look at the first bytes of a file, and of its log, before SQLite does. Raises: Quarantined."""
    log_bytes, log_header = _log(path)
    page_bytes = int.from_bytes(header[16:18], "big")
    if size < DATABASE_HEADER_BYTES or header[:16] != _MAGIC:
        raise Quarantined(f"{path} is not a database")
    if log_bytes and header[18:20] != _WAL_FORMAT:
        raise Quarantined(f"{path} has a log, but says of itself that it has none")
    if not log_bytes and size < int.from_bytes(header[28:32], "big") * max(page_bytes, 512):
        raise Quarantined(f"{path} is cut off: it has {size} bytes")
    # All zero: a file that grew before a power cut and was never written; nothing was acknowledged.
    is_header = len(log_header) == HEADER_BYTES and any(log_header)
    if is_header and not _is_log_header(log_header, page_bytes):
        raise Quarantined(f"{log_path(path)} is damaged: its first bytes are not a log's")
    return Headers(is_wal=header[18:20] == _WAL_FORMAT, has_log=is_header)


def _is_log_header(header: bytes, page_bytes: int) -> bool:
    magic, _, log_page_bytes = struct.unpack_from(">3I", header)
    if magic not in (_LITTLE_ENDIAN_SUMS, _LITTLE_ENDIAN_SUMS + 1):
        return False
    order = "<" if magic == _LITTLE_ENDIAN_SUMS else ">"
    first = second = 0
    words = struct.unpack_from(f"{order}6I", header)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    own = 65536 if page_bytes == 1 else page_bytes
    return (first, second) == struct.unpack_from(">2I", header, 24) and log_page_bytes == own


def _log(path: Path) -> tuple[int, bytes]:
    """Return the size of the log and its first bytes, if it has so many."""
    try:
        descriptor = os.open(log_path(path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0, b""
    try:
        return os.fstat(descriptor).st_size, os.pread(descriptor, HEADER_BYTES, 0)
    finally:
        os.close(descriptor)


def _noted(path: Path, reason: str) -> Quarantined:
    return Quarantined(
        f"{path} is damaged ({reason}). Put a good copy back with `dohost objects restore` or "
        f"`import --replace`, or delete {note_path(path).name} to try it as it is."
    )
