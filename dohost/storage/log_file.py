"""Reading a write-ahead log: its header and the pages of its frames.

The -wal file is the one file of an object that a second descriptor may be open on (see `files`), so it
is read here as bytes. How many frames are committed is not decided here: SQLite says so, and its
checksums were checked when it did. A log's *salt* changes whenever SQLite starts the log anew, and a
frame with another salt is a leftover.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dohost.errors import HostError

HEADER_BYTES = 32
DATABASE_HEADER_BYTES = 100
FRAME_HEADER_BYTES = 24
_MAGIC = (0x377F0682, 0x377F0683)
_TIME_AT = 60  # the user version in the database header, where `database` marks the time
FRAMES_PER_RUN = 256


class LogStartedAnew(HostError):
    """The log that was to be read is not there any more; SQLite had copied all of it."""


class LogHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Which generation of the log this is, and the size of a page. `salt`: 16 hex digits."""

    salt: str
    page_bytes: int

    def follows(self, salt: str) -> bool:
        """Return whether SQLite itself started this log right after the one with `salt`."""
        return int(self.salt[:8], 16) == (int(salt[:8], 16) + 1) & 0xFFFFFFFF


class Frame(msgspec.Struct, frozen=True):
    """One page as a transaction wrote it; `database_pages` is 0 but for a transaction's last frame."""

    number: int
    page: int
    database_pages: int
    content: bytes


def time_of(first_page: bytes) -> int:
    """Return the time in a database's first page, in seconds since the epoch; 0 if it has none."""
    return int.from_bytes(first_page[_TIME_AT : _TIME_AT + 4], "big")


def signed_time(time_s: int) -> int:
    """Return a time as `PRAGMA user_version` takes it: 32 bits with a sign, enough until 2106."""
    return (time_s + (1 << 31)) % (1 << 32) - (1 << 31)


def log_path(path: Path) -> str:
    """Return where the log of the database at `path` is."""
    return f"{path}-wal"


def read_header(path: Path) -> LogHeader | None:
    """Return the header of the log beside `path`, or None if nothing was ever written to it."""
    try:
        descriptor = os.open(log_path(path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return _header(os.pread(descriptor, HEADER_BYTES, 0))
    finally:
        os.close(descriptor)


class Run(msgspec.Struct, frozen=True):
    """Frames in a row as the log holds them: the number of the first one, and their bytes."""

    first: int
    page_bytes: int
    content: bytes

    def frames(self) -> Iterator[Frame]:
        """Yield each frame."""
        shape = struct.Struct(f">2I16x{self.page_bytes}s")
        for number, (page, pages, content) in enumerate(
            shape.iter_unpack(self.content), self.first
        ):
            yield Frame(number, page, pages, content)

    def heads(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield number, page, size of the database (0: no commit) and salt of each frame."""
        shape = struct.Struct(f">2I8s8x{self.page_bytes}x")
        for number, (page, pages, salt) in enumerate(shape.iter_unpack(self.content), self.first):
            yield number, page, pages, salt

    def marked_s(self, number: int) -> int:
        """Return the time that frame `number`, a version of the first page, is marked with."""
        start = (number - self.first) * (FRAME_HEADER_BYTES + self.page_bytes) + FRAME_HEADER_BYTES
        return time_of(self.content[start : start + DATABASE_HEADER_BYTES])

    def until(self, last: int) -> Run:
        """Return the same frames without those after `last`."""
        size = (last - self.first + 1) * (FRAME_HEADER_BYTES + self.page_bytes)
        return Run(self.first, self.page_bytes, self.content[:size])


def read_runs(path: Path, *, salt: str, first: int, last: int) -> Iterator[Run]:
    """Yield frames `first` to `last` (from 1) of the log with this salt.

    Raises: LogStartedAnew; HostError if the log ends before `last`.
    """
    descriptor = os.open(log_path(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        header = _header_with(salt, descriptor, path)
        wanted = bytes.fromhex(salt)
        size = FRAME_HEADER_BYTES + header.page_bytes
        for number in range(first, last + 1, FRAMES_PER_RUN):
            count = min(FRAMES_PER_RUN, last - number + 1)
            content = os.pread(descriptor, count * size, HEADER_BYTES + (number - 1) * size)
            run = Run(number, header.page_bytes, content[: len(content) // size * size])
            if [each for *_, each in run.heads()] != [wanted] * count:
                _header_with(salt, descriptor, path)
                raise HostError(f"{log_path(path)} ends before frame {last}")
            yield run
    finally:
        os.close(descriptor)


def _header_with(salt: str, descriptor: int, path: Path) -> LogHeader:
    header = _header(os.pread(descriptor, HEADER_BYTES, 0))
    if header is None or header.salt != salt:
        raise LogStartedAnew(f"{log_path(path)} was started anew while it was being read")
    return header


def _header(content: bytes) -> LogHeader | None:
    if len(content) < HEADER_BYTES:
        return None
    magic, _, page_bytes = struct.unpack_from(">3I", content)
    if magic not in _MAGIC:
        return None
    return LogHeader(salt=content[16:24].hex(), page_bytes=page_bytes)
