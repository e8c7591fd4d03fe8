"""Copying the write-ahead log back into the main file, off the loop and in small steps.

A pass in a thread has a connection of its own and copies while the loop goes on writing; only when
writers pause can it reach the end, and only then does SQLite start the log anew. So the runtime makes
two passes in a thread and lets the object's own connection copy the short tail.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from dohost.storage.connection import open_file


def copy_in_thread(path: Path) -> None:
    """Copy what can be copied, on a connection of its own; blocks.

    Raises: apsw.Error when the disk fails (nothing is lost: the log keeps what was not copied).
    """
    connection = open_file(path)
    try:
        # A connection that has never read does not know that it is in WAL mode and copies nothing.
        connection.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - runs the query
        connection.execute("PRAGMA synchronous = normal")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    finally:
        connection.close()


def copy_tail(connection: apsw.Connection) -> bool:
    """Copy the rest on the object's own connection; return whether the log starts anew now."""
    try:
        pages, copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    except (apsw.LockedError, apsw.BusyError):
        # A cursor of user SQL is still reading, or a pass in a thread is: the next commit tries again.
        return False
    return pages == copied
