"""Whole copies of an object's database: out of its files at a moment, and back into them.

A copy out is made of the main file and the frames of the log up to a commit that was chosen before
(`LogState`), while the object goes on writing behind it. Nothing is locked meanwhile; only checkpoints
must rest, because they change the main file. A log that was started anew has been copied into the main
file entirely, so then that file alone is the state.

A copy in replaces the content of an existing file in one transaction, which keeps its past, or becomes a
new file by one rename. Every copy is checked before it is used. Blocking; for threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import apsw
import msgspec

from dohost.errors import CallerError, HostError, StorageFailure
from dohost.storage import schema
from dohost.storage.connection import open_file
from dohost.storage.directories import sync_directory
from dohost.storage.failures import message_of
from dohost.storage.history import main_file
from dohost.storage.integrity import is_damage
from dohost.storage.log_file import Run, read_header, read_runs
from dohost.storage.schema import ObjectMeta
from dohost.storage.timeline import LogState

_ROLLBACK_JOURNAL = b"\x01\x01"
_COPIED_AT_ONCE = 1 << 20


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """A finished copy: where it is and its size."""

    file: str
    size_bytes: int


def copy_out(path: Path, log: LogState, target: Path) -> Copied:
    """Write the state of the object file `path` at `log` to the new file `target`, checked and durable.

    Raises: CallerError if `target` exists, StorageFailure if the state is damaged or can't be written;
    then there is no `target`.
    """
    if target.exists():
        raise CallerError(f"{target} exists already.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            runs = _runs(path, log)
            pages = ((frame.page, frame.content) for run in runs for frame in run.frames())
            write_database(path, target, pages, database_pages=_size(runs))
            check(target)
            _sync(target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageFailure(
            f"{path} can't be copied to {target}: {error.strerror or error}",
            outcome="not-applied",
            is_full=error.errno in (errno.ENOSPC, errno.EDQUOT),
        ) from error
    return Copied(file=str(target), size_bytes=target.stat().st_size)


def write_database(
    path: Path, target: Path, pages: Iterable[tuple[int, bytes]], *, database_pages: int | None
) -> None:
    """Write the main file of `path` to `target`, then pages over it; the result needs no log.

    `database_pages`: the size of the result in pages; None: that of the main file.
    """
    with main_file(path) as main, target.open("wb") as copy:
        size = main.xFileSize()
        for start in range(0, size, _COPIED_AT_ONCE):
            copy.write(main.xRead(min(_COPIED_AT_ONCE, size - start), start))
        page_bytes = int.from_bytes(main.xRead(2, 16), "big")
        page_bytes = 65536 if page_bytes == 1 else page_bytes
        for page, content in pages:
            copy.seek((page - 1) * page_bytes)
            copy.write(content)
        if database_pages is not None:
            copy.truncate(database_pages * page_bytes)
        copy.seek(18)
        copy.write(_ROLLBACK_JOURNAL)


def check(path: Path) -> None:
    """Raise StorageFailure unless SQLite finds nothing wrong with a database that nobody has open."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        verdict = str(connection.pragma("quick_check"))
    except apsw.Error as error:
        verdict = message_of(error)
    finally:
        connection.close()
    if verdict != "ok":
        raise StorageFailure(
            f"the copy {path} is damaged and was not used: {verdict}", outcome="not-applied"
        )


def prepare_import(source: Path, prepared: Path, meta: ObjectMeta) -> None:
    """Copy any SQLite database to `prepared`, as the database of the object that `meta` names.

    Raises: CallerError if it is none, is damaged, or is of a newer format.
    """
    if not source.is_file():
        raise CallerError(f"There is no file {source}.")
    try:
        with _opened(source, apsw.SQLITE_OPEN_READONLY) as origin, _opened(prepared) as target:
            with target.backup("main", origin, "main") as backup:
                backup.step()
            target.pragma("journal_mode", "delete")
            schema.adopt(
                lambda sql, bindings: target.execute(sql, bindings).fetchall(), meta, source
            )
        check(prepared)
    except (apsw.Error, StorageFailure) as error:
        reason = message_of(error) if isinstance(error, apsw.Error) else str(error)
        raise CallerError(f"{source} can't be imported: {reason}") from error
    _sync(prepared)


def install(prepared: Path, path: Path) -> None:
    """Make a prepared database the file of an object that has none; by one rename."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    prepared.chmod(0o600)
    prepared.replace(path)
    sync_directory(path.parent)


def replace_content(path: Path, prepared: Path) -> None:
    """Replace the content of an object's file, which no instance has open, in one durable transaction.

    Raises: HostError; the file is as it was, or was damaged before.
    """
    source = apsw.Connection(str(prepared), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection = open_file(path)
        try:
            connection.pragma("synchronous", "full")
            with connection.backup("main", source, "main") as backup:
                backup.step()
        finally:
            connection.close()
    except apsw.Error as error:
        hint = " Remove the object first." if is_damage(error) else ""
        raise HostError(f"{path} can't be replaced: {message_of(error)}.{hint}") from error
    finally:
        source.close()


@contextlib.contextmanager
def _opened(path: Path, flags: int | None = None) -> Iterator[apsw.Connection]:
    create = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(str(path), flags=create if flags is None else flags)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        yield connection
    finally:
        connection.close()


def _runs(path: Path, log: LogState) -> list[Run]:
    if log.header is None or not log.frames:
        return []
    try:
        return list(read_runs(path, salt=log.header.salt, first=1, last=log.frames))
    except HostError:
        header = read_header(path)
        if header is not None and header.salt == log.header.salt:
            raise
        return []


def _size(runs: list[Run]) -> int | None:
    if not runs:
        return None
    *_, (_, _, database_pages, _) = runs[-1].heads()
    return database_pages


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)
