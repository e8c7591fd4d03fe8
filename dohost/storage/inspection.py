"""Looking into an object's file from outside the object: read-only, whether it lives or not.

A second connection of the same library in the same process is safe beside the object's own (no other
library is, see `files`), and sees what was committed. It can't write: the file is opened read-only,
`query_only` is on, nothing can be attached. Statements are bounded in rows and in steps, because people
type them against servers that others use.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import apsw
import msgspec

from dohost.errors import CallerError, Quarantined
from dohost.storage.failures import message_of
from dohost.storage.integrity import check_files
from dohost.storage.schema import ALARM, ObjectMeta, inspect

_TABLES = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
    "ORDER BY name"
)
ROWS_MAX = 1000
STEPS_MAX = 50_000_000
_STEPS_BETWEEN_CHECKS = 100_000


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, as hex digits, so that a table can travel as JSON."""

    hex: str


Cell = str | int | float | Blob | None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a query; `is_cut` says that there were more rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    is_cut: bool = False


class FileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of its object; `alarm_ms` is when its alarm is due, since the epoch."""

    name: str | None
    alarm_ms: int | None


def query(path: Path, sql: str, *, rows_max: int = ROWS_MAX) -> Table:
    """Run one read-only statement on the file.

    Raises:
        CallerError: SQLite refuses the statement, it would write, or it takes too long.
        Quarantined: the file is no database.
    """
    with _opened(path) as connection:
        try:
            cursor = connection.execute(sql)
            columns = tuple(cell[0] for cell in cursor.get_description())
            rows = tuple(tuple(map(_cell, row)) for row in itertools.islice(cursor, rows_max))
            is_cut = len(rows) == rows_max and next(cursor, None) is not None
        except apsw.ExecutionCompleteError:  # a statement without columns has no description
            return Table(columns=(), rows=())
        except apsw.NotADBError as error:
            raise Quarantined(f"{path} is not a database.") from error
        except apsw.ReadOnlyError as error:
            raise CallerError("This statement writes; objects are opened read-only.") from error
        except apsw.InterruptError as error:
            raise CallerError("The statement took too long and was stopped.") from error
        except apsw.Error as error:
            raise CallerError(f"{error}") from error
    return Table(columns=columns, rows=rows, is_cut=is_cut)


def facts(path: Path, owner: ObjectMeta | None = None) -> FileFacts:
    """Return what the file says of its object.

    Raises: Quarantined if it is no database, or that of another object than `owner`.
    """
    with _opened(path) as connection:
        try:
            if owner is not None:
                inspect(
                    lambda sql, bindings: connection.execute(sql, bindings).fetchall(), owner, path
                )
            names = _column(connection, "_cf_META", "SELECT name FROM _cf_META")
            alarms = _column(
                connection,
                "_cf_METADATA",
                f"SELECT value FROM _cf_METADATA WHERE key = {ALARM} AND value IS NOT NULL",
            )
        except apsw.Error as error:
            raise Quarantined(f"{path} can't be read: {error}") from error
    name = names[0] if names else None
    alarm_ns = alarms[0] if alarms else None
    return FileFacts(
        name=name if isinstance(name, str) else None,
        alarm_ms=alarm_ns // 1_000_000 if isinstance(alarm_ns, int) else None,
    )


class FileDetails(msgspec.Struct, frozen=True, kw_only=True):
    """How many keys a file holds, how many rows each table, and when it was last written to."""

    keys: int
    tables: Mapping[str, int]
    written_ms: int | None


def details(path: Path) -> FileDetails:
    """Look into a file more closely. Raises: Quarantined if it can't be read."""
    with _opened(path) as connection:
        try:
            names = [str(row[0]) for row in connection.execute(_TABLES)]
            counts = {name: _count(connection, name) for name in names}
            marked_s = connection.pragma("user_version")
        except apsw.Error as error:
            raise Quarantined(f"{path} can't be read: {error}") from error
    keys = counts.get("_cf_KV", 0)
    return FileDetails(
        keys=keys,
        tables={name: count for name, count in counts.items() if not name.startswith("_cf_")},
        written_ms=(marked_s & 0xFFFFFFFF) * 1000 or None,
    )


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a file; nothing, if `problems` is empty."""

    problems: tuple[str, ...]


def verify(path: Path, meta: ObjectMeta) -> Verdict:
    """Read a whole file and say what is wrong with it: damage, another owner, a newer format."""
    try:
        check_files(path)
        with _opened(path, steps_max=None) as connection:
            inspect(lambda sql, bindings: connection.execute(sql, bindings).fetchall(), meta, path)
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
            found += [
                f"a foreign key of table {row[0]} is violated"
                for row in connection.execute("PRAGMA foreign_key_check")
            ]
    except Quarantined as error:
        return Verdict(problems=(str(error),))
    except apsw.Error as error:
        return Verdict(problems=(f"{path} is damaged: {message_of(error)}",))
    return Verdict(problems=tuple(f"{path}: {each}" for each in found if each != "ok"))


@contextlib.contextmanager
def _opened(path: Path, *, steps_max: int | None = STEPS_MAX) -> Iterator[apsw.Connection]:
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.CantOpenError as error:
        raise CallerError(f"There is no file {path}.") from error
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
        connection.pragma("query_only", 1)
        if steps_max is not None:
            checks = iter(range(steps_max // _STEPS_BETWEEN_CHECKS))
            connection.set_progress_handler(
                lambda: next(checks, None) is None, _STEPS_BETWEEN_CHECKS
            )
        yield connection
    finally:
        connection.close()


def _cell(value: apsw.SQLiteValue) -> Cell:
    return Blob(hex=value.hex()) if isinstance(value, bytes) else value


def _count(connection: apsw.Connection, table: str) -> int:
    quoted = table.replace('"', '""')
    count = connection.execute(f'SELECT count(*) FROM "{quoted}"').get
    assert isinstance(count, int), "a count"
    return count


def _column(connection: apsw.Connection, table: str, sql: str) -> list[apsw.SQLiteValue]:
    """Return the first column of `sql`, or nothing where the file has no such table."""
    has_table = connection.execute(
        "SELECT count(*) FROM sqlite_schema WHERE name = ?", (table,)
    ).get
    return [row[0] for row in connection.execute(sql)] if has_table else []
