"""How a connection to an object's file is set up, and when a file is not to be trusted.

Set-up follows Cloudflare's. SQLite never checkpoints
by itself here: not every thousand pages (that would stall a turn) and not on close (that would make
eviction slow), which also leaves the -wal file in place for the next start.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from dohost.errors import StorageFailure

SQLiteValue = str | int | float | bytes | None
Row = tuple[SQLiteValue, ...]

# Eight MiB and the slack that Cloudflare leaves for its own encoding of values.
LENGTH_MAX = 8 * 1024 * 1024 + 34
STRICT_LENGTH_MAX = 2 * 1024 * 1024
STRICT_FILE_BYTES_MAX = 10 * 1024**3
SQL_BYTES_MAX = 100_000

LIMITS = (
    (apsw.SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES_MAX),
    (apsw.SQLITE_LIMIT_COLUMN, 100),
    (apsw.SQLITE_LIMIT_EXPR_DEPTH, 100),
    (apsw.SQLITE_LIMIT_COMPOUND_SELECT, 5),
    (apsw.SQLITE_LIMIT_VDBE_OP, 25_000),
    (apsw.SQLITE_LIMIT_FUNCTION_ARG, 127),
    (apsw.SQLITE_LIMIT_ATTACHED, 0),
    (apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
    (apsw.SQLITE_LIMIT_VARIABLE_NUMBER, 100),
    (apsw.SQLITE_LIMIT_TRIGGER_DEPTH, 10),
    (apsw.SQLITE_LIMIT_WORKER_THREADS, 0),
)

_LOOKS_MAX = 1_000
SETTINGS = (
    (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
    (apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1),
    (apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1),
    (apsw.SQLITE_DBCONFIG_DQS_DDL, 1),
    (apsw.SQLITE_DBCONFIG_DQS_DML, 1),
    (apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
)


def use_little_memory() -> None:
    """Let connections keep no small pieces of memory in advance: 87 KiB each instead of 202, and no slower.

    At the start of a process, before its first connection; with one open it does nothing.
    """
    if not apsw.connections():
        apsw.shutdown()
        apsw.config(apsw.SQLITE_CONFIG_LOOKASIDE, 0, 0)
        apsw.initialize()


def open_file(path: Path) -> apsw.Connection:
    """Open an existing file without reading it. Raises: apsw.Error."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    if connection.readonly("main"):
        # SQLite falls back on this without a word, and the object would refuse writes for all its life.
        connection.close(True)
        raise apsw.CantOpenError("unable to open database file for writing")
    connection.wal_autocheckpoint(0)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    return connection


def set_up(connection: apsw.Connection, *, strict: bool) -> None:
    """Apply Cloudflare's settings and limits to a connection that user SQL will use."""
    for setting, value in SETTINGS:
        connection.config(setting, value)
    for limit, value in LIMITS:
        connection.limit(limit, value)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, STRICT_LENGTH_MAX if strict else LENGTH_MAX)
    if strict:
        connection.pragma("max_page_count", STRICT_FILE_BYTES_MAX // connection.pragma("page_size"))


def use_wal(connection: apsw.Connection, path: Path) -> None:
    """Put a file that has no log in WAL mode. Raises: StorageFailure."""
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise StorageFailure(f"{path} can't use a write-ahead log ({mode})", outcome="not-applied")


def sync_where_needed(connection: apsw.Connection) -> None:
    """Sync only where SQLite must: what is copied into the file, and the start of a log that is used again."""
    connection.pragma("synchronous", "normal")


def sync_nothing(connection: apsw.Connection) -> None:
    """Leave all syncing to the host, for as long as nothing of the file is durable."""
    connection.pragma("synchronous", "off")


def frames_committed(connection: apsw.Connection) -> int:
    """Return how many frames of its file's log a connection sees, which has read before.

    Raises: apsw.Error.
    """
    for _ in range(_LOOKS_MAX - 1):
        try:
            return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0]
        except apsw.BusyError:
            # A commit is changing the log's index at this moment; SQLite does not wait for it here.
            continue
    return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0]


def sqlite_version() -> str:
    """Return the version of the SQLite that holds the objects."""
    return apsw.sqlite_lib_version()
