"""Copying the write-ahead log back into the main file, off the loop and in small steps.

A pass in a thread has connections of its own and copies while the loop goes on writing; only when
writers pause can it reach the end, and only then does SQLite start the log anew. So the runtime makes
two passes in a thread and lets the object's own connection copy the short tail.

Whatever is copied has been taken over into the object's history before. For that, a pass reads at one
moment all the while: a checkpoint never goes beyond what a reader sees, whatever is written meanwhile.

Nothing is copied out of a log of which a sync has failed: the system shows frames that it has dropped, and a
main file that is ahead of its log is torn after a power cut.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw

from dohost.storage.connection import frames_committed, open_file
from dohost.storage.history import HistoryLimits, opened_history
from dohost.storage.log_file import LogStartedAnew, read_header


def copy_in_thread(
    path: Path, limits: HistoryLimits, *, now_s: int, require_trust: Callable[[], None]
) -> None:
    """Copy what can be copied, on connections of its own; blocks. `require_trust` raises if the log
    must not be copied.

    Raises: apsw.Error, OSError or HostError when the disk fails (nothing is lost: the log keeps what
    was not copied).
    """
    reader, copier = open_file(path), open_file(path)
    try:
        # A connection that has never read does not know that it is in WAL mode and copies nothing.
        copier.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - runs the query
        copier.pragma("synchronous", "normal")
        require_trust()
        if limits.is_kept:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - begins to read
            try:
                take_over(copier, path, limits, now_s=now_s)
            except LogStartedAnew:
                # It had been copied to its end, and nothing of the new one is copied while we read.
                return
        copier.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    finally:
        reader.close()
        copier.close()


def take_over(
    connection: apsw.Connection, path: Path, limits: HistoryLimits, *, now_s: int
) -> None:
    """Keep everything that is committed in the history; `connection` is in no transaction.

    Raises: LogStartedAnew if a commit has begun a new log meanwhile.
    """
    # The header first: frames that are counted before it is read may be those of the log before.
    header = read_header(path)
    frames = frames_committed(connection)
    if header is not None:
        with opened_history(path) as history:
            history.take_over(header, frames, limits=limits, now_s=now_s)


def copy_tail(
    connection: apsw.Connection, path: Path, limits: HistoryLimits, *, now_s: int
) -> bool:
    """Copy the rest on the object's own connection; return whether the log starts anew now."""
    try:
        if limits.is_kept:
            take_over(connection, path, limits, now_s=now_s)
        pages, copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    except (apsw.LockedError, apsw.BusyError):
        # A cursor of user SQL is still reading, or a pass in a thread is: the next commit tries again.
        return False
    return pages == copied
