"""Connecting to an object's file: everything that is looked at before the object is believed to be there.

Each look is made once and costs little, because every object that was evicted pays for it when it is needed
again: the first bytes of the file are read through the connection that will use it, before SQLite
looks at them, and one statement looks at all tables of a file that lacks nothing. Of a file that was just
made from the image nothing has to be asked at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec

from dohost.clock import Clock, SystemClock
from dohost.storage import schema
from dohost.storage.connection import (
    Row,
    open_file,
    set_up,
    sync_nothing,
    sync_where_needed,
    use_wal,
)
from dohost.storage.files import ObjectFiles
from dohost.storage.history import DEFAULT_LIMITS, HistoryLimits
from dohost.storage.integrity import bytes_of, check_headers
from dohost.storage.log_file import DATABASE_HEADER_BYTES
from dohost.storage.schema import ObjectMeta


class DatabaseOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the files of a host have in common."""

    is_strict: bool = False
    clock: Clock = SystemClock()
    history: HistoryLimits = DEFAULT_LIMITS


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """A connection that is set up, and what its file has."""

    connection: apsw.Connection
    inventory: schema.Inventory


def connect(path: Path, meta: ObjectMeta, files: ObjectFiles, *, is_strict: bool) -> Connected:
    """Connect to the file of the object that `meta` names.

    Raises: apsw.Error, OSError, Quarantined; then nothing is open, and nothing was changed.
    """
    size = bytes_of(path)
    connection = open_file(path)
    try:
        _, header = connection.read("main", 0, 0, DATABASE_HEADER_BYTES)
        headers = check_headers(path, size, header)
        files.opens(has_log=headers.has_log)

        def rows(sql: str, bindings: Sequence[str | int | None]) -> list[Row]:
            # Not kept: user SQL with the same text has to be compiled under the authorizer.
            return connection.execute(sql, bindings, can_cache=False).fetchall()

        inventory = schema.inspect(rows, meta, path)
        set_up(connection, strict=is_strict)
        if not headers.is_wal:
            use_wal(connection, path)
        sync_where_needed(connection)
    except BaseException:
        connection.close(True)
        raise
    return Connected(connection=connection, inventory=inventory)


def connect_new(path: Path, *, is_strict: bool) -> Connected:
    """Connect to a file that was just made from the image. Raises: apsw.Error; then nothing is open."""
    connection = open_file(path)
    try:
        set_up(connection, strict=is_strict)
        sync_nothing(connection)
        # A read that compiles no schema: it opens the log, and fails now if that is not possible.
        connection.pragma("user_version")
    except BaseException:
        connection.close(True)
        raise
    return Connected(connection=connection, inventory=schema.NEW)
